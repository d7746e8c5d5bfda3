"""Parse the lines that a training program prints: JSON objects, ``name: value``, tables, and phrases such as
``val acc 0.91``.

A *record* is the values of one line or one step: a mapping of names to numbers.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from adamcmp.metrics.names import CAMEL, MAX_NAMES, PREFIXES, is_higher_better, is_share, metric_of, split_of

Record = dict[str, float]
Records = Sequence[Mapping[str, float]]
SPLIT_WORDS = "|".join(word for words in PREFIXES.values() for word in words if len(word) > 2)
METRIC_WORDS = "loss|accuracy|acc|error|err|rmse|mae|mse|f1|auc|perplexity|ppl|r2|score|top-?[15]"
NUMBER = (
    r"[-+]?(?:[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?"
    r"|nan(?![a-z])|inf(?:inity)?(?![a-z]))"
)
"""A number; commas separate thousands. ``91,2`` is none."""
VALUE = rf"(?P<value>{NUMBER})(?:\s*/\s*(?P<total>\d+)(?![\d.]))?\s*(?P<percent>%?)(?!\w|\.\d|,\d)"
"""A number, the denominator of a fraction, and a sign of percent."""
MARKS = (":", "=", "->", "→", "：")
"""Marks between a name and its value."""
COUNTERS = ("epoch", "step", "iteration", "iter")
PLAIN_COLUMNS = {*COUNTERS, "lr", "time", "seconds", "secs"}
"""Columns next to metrics in a table whose columns are separated by single spaces."""
WORD = r"[^\W\d_][\w./@-]*"
PAIR = re.compile(
    rf"(?<!\w)(?P<name>(?:best )?{WORD}(?: {WORD})?)[*`\"']*(?P<note>\s*[(\[][^()\[\]]{{0,20}}[)\]])?"
    rf"\s*(?:{'|'.join(MARKS)})\s*{VALUE}",
    re.IGNORECASE,
)
"""``val_acc: 0.91``, ``Test error = 12 %``, ``Accuracy: 97/100``, ``acc (val): 0.9``."""
PHRASE = re.compile(
    rf"\b(?P<name>(?:best )?(?:{SPLIT_WORDS})(?: set)?[ _/.-](?:{METRIC_WORDS})(?:@\d+)?)\s+(?:is |of |was )?{VALUE}",
    re.IGNORECASE,
)
"""``val acc 0.91``."""
BARE = re.compile(rf"(?<![\w/.-])(?P<name>(?:{METRIC_WORDS})(?:@\d+)?)\s+{VALUE}", re.IGNORECASE)
"""``Acc@1 76.1``, which is a metric after the name of a split only."""
ON_SPLIT = re.compile(
    rf"\b(?P<name>{METRIC_WORDS})\b[\w ]{{0,40}}?\bon (?:the )?(?:\d+ )?(?P<split>{SPLIT_WORDS})\b[\w ]{{0,20}}"
    rf"\s*(?:{'|'.join(MARKS)})\s*{VALUE}",
    re.IGNORECASE,
)
"""``Accuracy of the network on the 10000 test images: 54 %``."""
AT_TIME = re.compile(
    rf"\b(?P<name>(?:best )?(?:{SPLIT_WORDS})(?: set)?[ _/.-](?:{METRIC_WORDS}))\s+(?:at|@|for|with|after|in|of)\s+"
    rf"(?:(?:the )?best\s[\w ]{{0,30}}?|(?:{'|'.join(COUNTERS)})\s*\d+|\d+ (?:{'|'.join(COUNTERS)})s?)"
    rf"\s*(?:{'|'.join(MARKS)}|is|was)\s*{VALUE}",
    re.IGNORECASE,
)
"""``test acc at best val acc: 0.75``, which is a test accuracy; ``val acc after epoch 3: 0.7``."""
HEADING = re.compile(
    rf"(?<![\w/.-])({SPLIT_WORDS})(?:[ _-](?:set|results?|metrics|phase|split|subset|stats)){{0,3}}"
    rf"(?:[ _-](?:{'|'.join(COUNTERS)})\s*\d+)?\s*[:(\])|>-]+(?!\s*(?:[-+]?\.?\d|\[))",
    re.IGNORECASE,
)
"""``Test set: …``, ``[val] …``: the split of the metrics that follow in a line. ``Test: [5/78]`` is of a batch."""
TWO_CELLS = re.compile(
    rf"[\s|│┃║]*({WORD})[\s|│┃║]+([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|nan|inf)[\s|│┃║]*", re.IGNORECASE
)
"""``│ test_acc │ 0.91 │``, as Lightning prints results."""
COLUMNS = (re.compile(r"\s*[|│┃]\s*"), re.compile(r"\t"), re.compile(r"\s*,\s*"), re.compile(r"\s{2,}"))
"""Separators of the columns of a table, of which the first that occurs in its heading counts."""
ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
"""Colors and movements of a terminal."""
NOT_FINITE = re.compile(r"(?<![\w'\".])(-?(?:nan|inf))(?![\w'\".(])", re.IGNORECASE)
"""A number that is not finite, in a Python dictionary."""
HAS_NUMBER = re.compile(r"\d|nan|inf", re.IGNORECASE)
COUNTER = re.compile(rf"\b({'|'.join(COUNTERS)})[ :=#]*(\d+)(?![\w.])(?!\s*(?:ms|sec|s)\b)", re.IGNORECASE)
"""``Epoch 3``."""
WRAPPED = re.compile(r"\b(?:np|numpy|jnp)\.\w+\(([^(),]*)\)|\btensor\(([^(),\[\]]*)[^()]*\)")
"""``np.float64(0.9)``, ``tensor(0.9, device='cuda:0')``: a number as NumPy and torch print it."""
MAX_COUNTER_LINE = 80
"""Characters of a line with a counter alone, such as ``Epoch 5/10``, which counts for the values after it."""
MAX_RECORDS = 20_000
"""Records of a run that are kept while it prints."""
MAX_OBJECTS = 64
"""Braces of a line at which an object is looked for."""
MAX_LITERAL = 2**20
"""Characters of a Python dictionary; JSON objects may be longer."""
MAX_TEXT_LINE = 4096
"""Characters of a line that may hold metrics as text; objects may be longer."""


class LineParser:
    """Collects records from the lines that a program prints.

    >>> parser = LineParser()
    >>> for line in ("epoch  train_loss  valid_acc", "1      0.6         0.87", "Test set: Accuracy: 9913/10000"):
    ...     _ = parser.feed(line)
    >>> parser.records
    [{'epoch': 1.0, 'train_loss': 0.6, 'valid_acc': 0.87, 'test_accuracy': 0.9913}]
    """

    def __init__(self, pattern: str | None = None) -> None:
        """Parse lines; with ``pattern`` only those that it matches, by its named groups."""
        self._pattern = re.compile(pattern) if pattern else None
        self._is_open = False
        self._columns: list[str] = []
        self._is_plain = False
        self._counters: Record = {}
        self.records: list[Record] = []

    def feed(self, line: str) -> Record | None:
        """Take a line; return the record that it adds or completes, if any."""
        line = ANSI.sub("", line) if "\x1b" in line else line
        if self._pattern is not None:
            match = self._pattern.search(line)
            values = {k: n for k, v in match.groupdict().items() if (n := to_number(v)) is not None} if match else {}
            return self._add(values, merges=True) if values else None
        line = WRAPPED.sub(r"\1\2", line) if "(" in line else line
        if (objects := parse_objects(line)) is not None:
            self._is_open = False
            counters = counters_of(line[: line.find("{")])
            return [self._add({**counters, **record}, merges=False) for record in objects][-1]
        if len(line) > MAX_TEXT_LINE:
            return None
        if values := self._table_row(line) or (named_values(line) if HAS_NUMBER.search(line) else {}):
            return self._add(values, merges=True)
        if len(line) <= MAX_COUNTER_LINE and (counters := counters_of(line)):
            self._counters = counters
        return None

    def _table_row(self, line: str) -> Record:
        """Return the values of a row of a table whose heading was printed before; remember a heading."""
        cells = (line.split() if self._is_plain else split_cells(line)) if self._columns else []
        is_row = len(cells) == len(self._columns) > 0
        if is_row and not (self._is_plain and None in map(read_number, cells)):
            pairs = zip(self._columns, cells, strict=True)
            values = {name: n for name, cell in pairs if (n := read_number(cell)) is not None}
            if any(split_of(name) for name in values):
                return values
        if may_name_split(line):
            for cells, is_plain in ((split_cells(line), False), (line.split(), True)):
                if is_plain_heading(cells) if is_plain else is_heading(cells):
                    self._columns, self._is_plain = column_names(cells), is_plain
                    break
        return {}

    def _add(self, values: Record, *, merges: bool) -> Record:
        """Add values; those of separate lines belong together until a name is repeated."""
        if merges and self._is_open and not values.keys() & self.records[-1].keys():
            self.records[-1].update(values)
        else:
            has_counter = not values.keys().isdisjoint(COUNTERS)
            self.records.append(values if has_counter else {**values, **self._counters})
            self._is_open = merges
            if len(self.records) > MAX_RECORDS:
                self._drop_half()
        return self.records[-1]

    def _drop_half(self) -> None:
        """Forget older records without a validation or test metric; of many others every second one."""
        half = len(self.records) // 2
        kept = [r for r in self.records[:half] if any(split_of(name) in ("validation", "test") for name in r)]
        self.records[:half] = kept if len(kept) < half // 2 else kept[::2]


def named_values(line: str) -> Record:
    """Return the values of a line in which names precede them.

    A name without a split is of the split that the line has named as a heading before it.

    >>> named_values("Test set: Average loss: 0.0268, Accuracy: 9913/10000 (99%)")
    {'test_average_loss': 0.0268, 'test_accuracy': 0.9913}
    """
    headings: list[tuple[int, str]] = []
    matches = list(PAIR.finditer(line)) if any(mark in line for mark in MARKS) else []
    if may_name_split(line):
        headings = [(match.end(), match[1].lower()) for match in HEADING.finditer(line)]
        matches += [*PHRASE.finditer(line), *ON_SPLIT.finditer(line), *AT_TIME.finditer(line)]
    if headings:
        matches += BARE.finditer(line, headings[0][0])
    if not matches:
        cells = TWO_CELLS.fullmatch(line)
        if cells is None or split_of(cells[1]) is None or not metric_of(cells[1]):
            return {}
        return {clean_name(cells[1]): float(cells[2])}
    values: Record = {}
    end, spoken = 0, ""
    for match in sorted(matches, key=lambda match: match.start()):
        number, name = read_number(match["value"]), clean_name(match["name"])
        is_progress = bool(match["percent"]) and line[match.end() : match.end() + 1] == "|"
        if number is None or is_progress or match.start() < end:  # "loss 0.5" of "val loss 0.5"
            continue
        end, groups = match.end(), match.groupdict()
        note = groups.get("note") or ""
        heading = next((word for after, word in reversed(headings) if after <= match.start()), None)
        heading = groups.get("split") or split_of(note) or heading
        if split_of(name) is not None:
            spoken = match["name"].lower().partition(" ")[0] if " " in match["name"] else ""
        elif heading is not None:
            name = f"{heading.lower()}_{name}"
        elif split_of(spoken) and f"{spoken}_{name}" not in values and is_higher_better(name) is not None:
            name = f"{spoken}_{name}"  # "Val Loss: 0.6 Acc: 0.8"
        if match["percent"] or "%" in note:
            number /= 100
        elif match["total"] and int(match["total"]) and (is_share(metric_of(name)) or not metric_of(name)):
            number /= int(match["total"])
        values[name] = number
    for name, number in counters_of(line).items() if values else ():
        values.setdefault(name, number)
    return values


def counters_of(text: str) -> Record:
    """Return the counters in a text, such as ``Epoch 3``.

    >>> counters_of("Epoch 3, step 40: 12 ms")
    {'epoch': 3.0, 'step': 40.0}
    """
    counters: Record = {}
    for match in COUNTER.finditer(text):
        counters.setdefault(match[1].lower(), float(match[2]))
    return counters


def column_names(cells: Sequence[str]) -> list[str]:
    """Return the names of a table's columns. Metrics next to a validation loss are of validation data, as in fastai.

    >>> column_names(["epoch", "train_loss", "valid_loss", "error_rate", "time"])
    ['epoch', 'train_loss', 'valid_loss', 'valid_error_rate', 'time']
    """
    names = [clean_name(cell) for cell in cells]
    validation = [name for name in names if split_of(name) == "validation"]
    if [metric_of(name) for name in validation] != ["loss"]:
        return names
    prefix = validation[0].removesuffix("loss")
    return [
        f"{prefix}{name}" if split_of(name) is None and is_higher_better(name) is not None else name for name in names
    ]


def may_name_split(line: str) -> bool:
    """Return whether a line may hold the name of a split; fast, since programs print millions of lines."""
    lower = line.lower()
    return any(part in lower for part in ("val", "test", "train", "dev", "predict"))


def split_cells(line: str) -> list[str]:
    """Return the cells of a line of a table.

    >>> split_cells("| 0 | 0.5 |   |"), split_cells("1  0.5")
    (['0', '0.5', ''], ['1', '0.5'])
    """
    text = line.strip()
    if text[:1] in ("|", "│", "┃"):
        text = text[1:].rstrip()
        text = text[:-1] if text[-1:] in ("|", "│", "┃") else text
    separator = next((pattern for pattern in COLUMNS if pattern.search(text)), COLUMNS[-1])
    return [cell.strip() for cell in separator.split(text)]


def is_heading(cells: Sequence[str]) -> bool:
    """Return whether cells are the heading of a table of metrics: distinct names, one of them with a split."""
    return (
        len(cells) > 1
        and len(set(cells)) == len(cells)
        and all(re.fullmatch(rf"{WORD}(?: {WORD})?", cell) for cell in cells)
        and any(split_of(cell) is not None and metric_of(cell) for cell in cells)
    )


def is_plain_heading(words: Sequence[str]) -> bool:
    """Return whether words between single spaces are a heading, not a sentence: all name metrics, counters or times.

    >>> is_plain_heading(["epoch", "val_acc"]), is_plain_heading(["computing", "val_loss", "now"])
    (True, False)
    """
    return is_heading(words) and all(
        word.lower() in PLAIN_COLUMNS or is_higher_better(word) is not None or ("_" in word and split_of(word))
        for word in words
    )


def parse_objects(line: str) -> list[Record] | None:
    """Return the records of the JSON objects, or the Python dictionary, in a line; None if they hold no number.

    >>> parse_objects("12:30 {'eval_loss': 0.5, 'epoch': 1.0}")
    [{'eval_loss': 0.5, 'epoch': 1.0}]
    """
    start, end = line.find("{"), line.rfind("}")
    if start < 0 or end < start:
        return None
    records: list[Record] = []
    for value in _objects(line, start) or _python_objects(line[start : end + 1]):
        records += expand(value)
    return records or None


DECODER = json.JSONDecoder()


def _objects(line: str, start: int) -> list[dict[str, Any]]:
    """Return the JSON objects of a line from a position on."""
    objects = []
    for _ in range(MAX_OBJECTS):
        try:
            value, end = DECODER.raw_decode(line, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            objects.append(value)
        start = line.find("{", end)
        if start < 0:
            break
    return objects


def _python_objects(text: str) -> list[dict[str, Any]]:
    """Return a dictionary that is written as in Python."""
    if len(text) > MAX_LITERAL:
        return []
    try:
        value = ast.literal_eval(NOT_FINITE.sub(r"'\1'", text))  # Python has no literal of them
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return []
    return [value] if isinstance(value, dict) else []


def expand(value: Mapping[Any, Any]) -> list[Record]:
    """Return the records of a mapping; lists of numbers are histories with a record per entry.

    >>> expand({"val_acc": [0.5, 0.7], "test_acc": 0.6})
    [{'val_acc': 0.5}, {'val_acc': 0.7, 'test_acc': 0.6}]
    """
    scalars = flatten(value)
    series: dict[int, list[Record]] = {}
    for name, history in _histories(value):
        rows = series.setdefault(len(history), [{} for _ in history])
        for row, number in zip(rows, history, strict=True):
            row[name] = number
    records = [row for rows in series.values() for row in rows]
    if len(series) == 1:
        records[-1] |= scalars
    elif scalars:
        records.append(scalars)
    return records


def _histories(value: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, list[float]]]:
    """Yield the names and values of lists that hold numbers alone."""
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _histories(item, f"{prefix}{key}.")
        elif isinstance(item, list | tuple) and item:
            numbers = [number for entry in item if (number := to_number(entry)) is not None]
            if len(numbers) == len(item):
                yield f"{prefix}{key}", numbers


def flatten(value: Mapping[Any, Any], prefix: str = "") -> Record:
    """Return the numbers of nested mappings; names are joined by a point."""
    record: Record = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            record |= flatten(item, f"{name}.")
        elif (number := to_number(item)) is not None:
            record[name] = number
    return record


def to_number(value: Any) -> float | None:
    """Return a value as a number, None if it is not one."""
    if isinstance(value, bool) or value is None:
        return None
    if hasattr(value, "item") and getattr(value, "numel", lambda: getattr(value, "size", 1))() == 1:
        value = value.item()
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:  # a whole number of hundreds of digits
            return math.inf if value > 0 else -math.inf
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return read_number(value) if value.rstrip().endswith("%") else None
    return None


def read_number(text: str) -> float | None:
    """Return a printed number, which may have commas between thousands and a sign of percent.

    >>> read_number("1,234.5"), read_number("91 %"), read_number("91,2")
    (1234.5, 0.91, None)
    """
    text = text.strip()
    is_percent = text.endswith("%")
    text = text.removesuffix("%").rstrip()
    if re.fullmatch(NUMBER, text, re.IGNORECASE) is None:
        return None
    number = float(text.replace(",", ""))
    return number / 100 if is_percent else number


@lru_cache(MAX_NAMES)
def clean_name(name: str) -> str:
    """Return a name in small letters with underscores: ``Test Acc`` and ``testAcc`` are ``test_acc``."""
    return re.sub(r"[\s-]+", "_", re.sub(CAMEL, r"\1_\2", name.strip())).lower()
