"""Hydra's override grammar, with one sweep more: ``geomspace``, the short form of a log grid."""

# Hydra reads the annotations of a sweep function as objects, so this module must not postpone their evaluation.

import math
import re
import shlex
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException

from adamcmp.errors import InputError, command_text, one_line
from adamcmp.text_safety import quote_hydra


def geomspace(start: int | float, stop: int | float, num: int, zero: bool = False) -> ChoiceSweep:
    """Return ``num`` values from ``start`` to ``stop`` in equal ratios, like numpy.geomspace; ``zero=true`` puts 0 in
    front.

    Values are rounded to 12 digits, so that 1e-3 is 0.001 and not 0.0010000000000000002.
    """
    if num < 1 or start <= 0 or stop <= 0:
        raise ValueError("needs start > 0, stop > 0 and num >= 1")
    if num > MAX_VALUES:
        raise ValueError(f"of {num:,} values; at most {MAX_VALUES:,} make sense")
    ratio = (stop / start) ** (1 / (num - 1)) if num > 1 else 1.0
    values = [float(f"{start * ratio**i:.12g}") for i in range(num)]
    return ChoiceSweep(list=[0.0, *values] if zero else list(values))


MAX_VALUES = 100_000
"""Maximum number of values per key of a grid."""
TEXT_SETTINGS = ("data.label", "data.path", "data.test_path", "data.group", "data.time")
"""Settings whose value may be a text with commas and blanks."""
GROUPS = ("model", "data", "optimizer", "schedule")


@cache
def _parser() -> OverridesParser:
    functions = create_functions()
    functions.register(name="geomspace", func=geomspace)
    return OverridesParser(functions)


@lru_cache(maxsize=4096)
def parse_override(text: str) -> Override:
    """Return one override in Hydra's grammar, with ``geomspace`` as one more sweep.

    Raises:
        InputError: it is not in the grammar, or it sweeps an empty or a continuous range.
    """
    try:
        override = _parser().parse_override(text)
        _check_key(override, text)
        if not override.is_sweep_override():
            return override
        if not override.is_discrete_sweep():
            raise InputError(f"{text}: a grid needs single values; write geomspace(low, high, n) or choice(…)")
        _check_length(override.value(), text)
        if not list(override.sweep_iterator()):
            raise InputError(f"{text}: an empty grid; give at least one value")
    except (HydraException, ValueError) as error:
        raise InputError(_unreadable(text, error)) from error
    if override.key_or_group in TEXT_SETTINGS and ", " in text and "(" not in text:
        raise InputError(f"{text}: {_parse_value(text)}; of several values write no blank after the comma")
    return override


def _unreadable(text: str, error: Exception) -> str:
    """Return why an override cannot be read, without the parser's words if it needs quotes."""
    key, equals, value = text.partition("=")
    if text.endswith(","):
        return f"{text}: ends with a comma; write several values without spaces: {key}=v1,v2"
    if not equals or not re.fullmatch(r"[+~]*[\w./@-]+", key):
        return f"{text}: is not a setting; write {_setting_of(text)}"
    for opening, closing in ("()", "[]", "{}"):
        if value.count(opening) != value.count(closing) and re.match(r"\w*[(\[{]", value):
            quoted = quote_override(key, value)
            return f"{text}: {opening!r} and {closing!r} do not match; close each bracket, or quote: {quoted}"
    strange = sorted(set(re.sub(r"[\w.,:+/%*$@?|\\-]", "", value, flags=re.ASCII)) - set("()[]{}'\""))
    brackets = sorted(set(value) & set("()[]{}'\""))
    calls = isinstance(error, ValueError) or re.fullmatch(r"\w+\(.*\)", value)
    if calls or value.startswith(("[", "{", "'", '"')) or not (strange or brackets):
        reason = one_line(error).partition(". See https")[0].partition(" See")[0]
        return f"{text}: cannot be read ({reason}); write key=value or key=v1,v2"
    held = " ".join("a blank" if bracket == " " else bracket for bracket in (*strange, *brackets))
    return f"{text}: the value holds {held}, and needs quotes: {quote_override(key, value)}"


def _setting_of(name: str) -> str:
    """Return the setting whose value a name is, such as ``optimizer=adamw``."""
    from adamcmp.config.lookup import list_group

    groups = [
        group for group in ("optimizer", "model", "data", "schedule", "search", "execute") if name in list_group(group)
    ]
    return " or ".join(f"{group}={name}" for group in groups) or "key=value or key=v1,v2"


def quote_override(key: str, value: str) -> str:
    """Return an override with its value in quotes, as it is typed in a shell."""
    return shlex.quote(f"{key}={quote_hydra(value)}")


def _parse_value(text: str) -> str:
    key, _, value = text.partition("=")
    return f"a comma separates values of a sweep; one value with a comma needs quotes: {quote_override(key, value)}"


def quote_home_path(text: str) -> str:
    """Return an override whose value is a path from ``~``, which Hydra does not read, with the path in quotes."""
    match = re.fullmatch(r"([+]*[\w.@/]+)=(~(/[^,'\"]*)?)", text)
    return text if match is None else f'{match[1]}="{Path(match[2]).expanduser()}"'


def _check_length(sweep: object, text: str) -> None:
    """Refuse a range that would take for ever, or all memory, before it is written out."""
    if isinstance(sweep, RangeSweep):
        start, stop, step = (float(number or 0) for number in (sweep.start, sweep.stop, sweep.step))
        count = abs(stop - start) / abs(step) if step else math.inf
        if not count <= MAX_VALUES:
            raise InputError(f"{text}: a range of {count:,.0f} values; at most {MAX_VALUES:,} make sense")


def _check_key(override: Override, text: str) -> None:
    key = override.key_or_group
    if not key:
        raise InputError(f"{text}: names no setting; write key=value")
    if key.partition(".")[0] == "hydra":
        raise InputError(f"{text}: adamcmp uses Hydra to compose only; its own settings have no effect here")
    if key in (*GROUPS, "study", "execute", "search") and not override.is_delete():
        sweep = override.is_discrete_sweep()
        for value in override.sweep_iterator() if sweep else [override.value()]:
            if not isinstance(value, str):
                example = f"{key}={value}" if sweep else text
                raise InputError(f"{example}: takes the name of a file, such as those of `adamcmp list`")


def require_single_run(config: str, overrides: Sequence[str]) -> None:
    """Refuse what names more than one run.

    Raises:
        InputError: an override is a sweep.
    """
    for text in overrides:
        if parse_override(text).is_sweep_override():
            hint = f"; {_parse_value(text)}" if not re.search(r"[\[({]", text) else ""
            raise InputError(f"{text}: several values are a sweep; use {command_text('sweep', config, text)}{hint}")
