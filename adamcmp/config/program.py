"""Programs of the user: a training script or function in place of a data set and a model.

A script is a command with placeholders such as ``{lr}``; a function is an importable callable of a trial.
"""

from __future__ import annotations

import ast
import hashlib
import re
import shlex
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, field_validator

from adamcmp.base_settings import Settings
from adamcmp.config.source_hash import imported_user_files, source_hash
from adamcmp.errors import InputError, suggest_names

PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_][\w.]*)\}")
"""A placeholder of a command; doubled braces stand for themselves."""
BASE_PLACEHOLDERS = ("optimizer", "lr", "weight_decay", "seed", "split_seed", "steps", "folder")
SHELL_WORDS = frozenset({"|", "||", "&&", ";", "&", ">", ">>", "<", "2>", "2>&1", "&>"})
"""Words of a command that only a shell understands."""
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
"""Beginning of a word that sets a variable of a shell."""
INPUT_SUFFIXES = frozenset({
    ".yaml", ".yml", ".json", ".toml", ".cfg", ".ini", ".conf", ".gin", ".py", ".sh", ".csv", ".tsv", ".npz", ".npy",
    ".parquet", ".pt", ".safetensors",
})  # fmt: skip
"""Endings of files in a command that are taken for inputs."""
OUTPUT_FLAG = re.compile(r"out|log|save|dest|result|write|report|dump", re.IGNORECASE)
"""Options whose file a script writes."""
MAX_HASHED_BYTES = 16 * 2**20
"""Size of a file beyond which its size and time of change stand for its content."""
ProgramKind = Literal["script", "function"]


class MetricSettings(Settings):
    """Which of the values that a program reports are its metrics."""

    source: Literal["auto", "stdout", "file", "tensorboard"] = "auto"
    """Where metrics are read: standard output, files in ``{folder}`` or TensorBoard event files; ``auto`` tries them
    in this order, and standard error last."""
    validation: str = "auto"
    """Name of the validation metric, which selects trials; ``auto`` finds it by name."""
    test: str | None = "auto"
    """Name of the test metric, which is compared; null: there is none."""
    train: str | None = "auto"
    """Name of the metric on training data; null: there is none."""
    train_loss: str | None = "auto"
    """Name of the training loss; null: there is none."""
    step: str = "auto"
    """Name of the step of an evaluation."""
    better: Literal["auto", "lower", "higher"] = "auto"
    """Whether lower or higher is better; ``auto`` decides by name."""
    unit: str = "auto"
    """``share``, ``percent``, ``none``, or a unit to show; ``auto`` decides by name and values."""
    pattern: str | None = None
    """Regular expression of a line, with named groups."""
    file: str | None = None
    """Path of a JSON, JSON lines or CSV file in ``{folder}``."""
    tensorboard: str | None = None
    """Path of a folder with event files in ``{folder}``."""
    examples: str | None = "auto"
    """File with one error per test example; null: there is none."""

    @field_validator("file", "tensorboard", "examples")
    @classmethod
    def _is_inside(cls, path: str | None) -> str | None:
        inside = path.removeprefix("{folder}/") if path is not None else ""
        if Path(inside).expanduser().is_absolute() or ".." in Path(inside).parts:
            raise ValueError("is a path in {folder}, the folder of the run: all runs would share another one")
        return path

    @field_validator("pattern")
    @classmethod
    def _has_groups(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise ValueError(f"is not a regular expression ({error})") from error
        if not groups:
            raise ValueError("needs named groups, such as 'val: (?P<validation>[0-9.]+)'")
        return pattern


class Program(Settings):
    """A training script or function of the user."""

    kind: ProgramKind
    command: tuple[str, ...] = ()
    """Words of a script's command, with placeholders; one word, the whole line, for a shell."""
    shell: bool = False
    """Run the command by /bin/sh, for pipes and variables."""
    target: str = ""
    """Importable name of a function."""
    source: str | None = None
    """Hash of the script or the function's module, the user's files that it imports, and files that it is given."""
    params: Mapping[str, Any] = Field(default_factory=dict)
    """Further placeholders: ``params.dropout=0.1,0.2`` is ``{params.dropout}``, or ``trial.params["dropout"]``."""
    metrics: MetricSettings = MetricSettings()
    folder: str = "."
    """Working folder of the script; not part of its identity."""
    file_hashes: Mapping[str, str] = Field(default_factory=dict)
    """Hash of each file by path, of a function's module by target; not part of the identity, unlike ``source``."""

    @property
    def name(self) -> str:
        """Short name: ``train.py``, or the function's name."""
        if self.kind == "function":
            return self.target
        words = shell_words(self.command[0]) if self.shell else list(self.command)
        script = _script_word(words)
        return Path(script).name if script is not None else Path(words[0]).name

    @property
    def placeholders(self) -> set[str]:
        """Names of placeholders in the command and in paths of metrics, by their canonical names."""
        texts = [*self.command, self.metrics.file or "", self.metrics.tensorboard or "", self.metrics.examples or ""]
        return {name for text in texts for match in PLACEHOLDER.finditer(text) if (name := match[1])}

    @property
    def varies_split(self) -> bool:
        """Whether each seed has a data split of its own."""
        return "split_seed" in self.placeholders


def fill_placeholders(text: str, values: Mapping[str, Any], *, quote: bool = False) -> str:
    """Return a text with its placeholders replaced; ``quote``: values are quoted for a shell.

    >>> fill_placeholders("--lr={lr} {{x}}", {"lr": 0.001})
    '--lr=0.001 {x}'
    """

    def value_of(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        filled = format_value(values[match[1]])
        return shlex.quote(filled) if quote else filled

    return PLACEHOLDER.sub(value_of, text)


def format_value(value: Any) -> str:
    """Return a value as a command line has it: ``0.001``, ``true``, ``0.9,0.999``."""
    match value:
        case bool():
            return str(value).lower()
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case list() | tuple():
            return ",".join(map(format_value, value))
    return str(value)


def make_program(kind: ProgramKind, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of ``Program`` from the sections of a configuration.

    Raises:
        InputError: a command or target is missing, cannot be read, or names a file that is not there.
    """
    params, metrics = values.get("params") or {}, values.get("metrics") or {}
    files = values.get("files") or []
    files = [files] if isinstance(files, str) else files
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise InputError(f"files={files}: give paths, such as files=[data/train.bin]")
    if not isinstance(params, Mapping) or not isinstance(metrics, Mapping):
        raise InputError("params and metrics: are mappings of names to values, such as params.dropout=0.1")
    shared = {"kind": kind, "params": params, "metrics": metrics, "folder": str(Path.cwd())}
    if kind == "function":
        target = values.get("target")
        if not isinstance(target, str) or "." not in target:
            raise InputError(
                f"target={target}: give the importable name of a training function, such as target=my_module.train"
            )
        module = source_hash(target)
        source = _joined_hash([module or "", *_hashes_of(files)])
        by_path = {**({target: module} if module else {}), **_hash_by_path(files)}
        return {**shared, "target": target, "source": source, "file_hashes": by_path}
    shell = bool(values.get("shell"))
    words = parse_command(values.get("command"), shell=shell)
    every = _shell_files(shell_words(words[0]), has_files=bool(files)) if shell else _script_files(words)
    every += files
    source = _joined_hash(_hashes_of(every))
    return {**shared, "command": words, "shell": shell, "source": source, "file_hashes": _hash_by_path(every)}


def _hash_by_path(files: Sequence[str | Path]) -> dict[str, str]:
    """Return a hash per file or folder."""
    return {str(Path(file).expanduser().absolute()): _joined_hash(_hashes_of([file])) or "" for file in files}


def check_unchanged(program: Program) -> None:
    """Refuse a program whose files have changed since its runs were planned: their IDs hold the old content.

    Folders, files that are not on this machine, and files so large that the time of their change stands for their
    content, are not compared.

    Raises:
        InputError: a file has changed.
    """
    for name, planned in program.file_hashes.items():
        if name == program.target:
            changed = source_hash(name) != planned
        else:
            path = Path(name)
            is_compared = path.is_file() and path.stat().st_size <= MAX_HASHED_BYTES
            changed = is_compared and _joined_hash(_hashes_of([path])) != planned
        if changed:
            raise InputError(
                f"{Path(name).name} has changed since these runs were planned; run the sweep again. A file that runs "
                "write belongs into {folder}"
            )


def parse_command(command: Any, *, shell: bool) -> tuple[str, ...]:
    """Return the words of a command; for a shell the line as its only word.

    Raises:
        InputError: it is missing or empty, or cannot be split into words.
    """
    if isinstance(command, str) and command.lstrip().startswith("["):
        try:
            command = yaml.safe_load(command)
        except yaml.YAMLError as error:
            raise InputError(f"command={command}: is not a list; write [python, train.py, --lr, '{{lr}}']") from error
    if command is None or (isinstance(command, str) and not command.strip()) or command == []:
        raise InputError(
            "command: is missing; give the command of your script with placeholders, such as "
            "command='python train.py --optimizer {optimizer} --lr {lr} --seed {seed}'"
        )
    if isinstance(command, list):
        if shell:
            raise InputError("shell=true: takes the command as one text, not as a list")
        return tuple(map(_word, command))
    line = str(command)
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InputError(f"command={line}: {str(error).lower()}; close each quote") from error
    if shell:
        return (line,)
    if special := next((word for word in words if word in SHELL_WORDS or word.endswith((";", "|"))), None):
        raise InputError(f"command: {special} needs a shell; add shell=true, or write a script that adamcmp can call")
    if ASSIGNMENT.match(words[0]):
        raise InputError(
            f"command: {words[0]} sets a variable, which needs a shell; add shell=true, or write env {words[0]} …"
        )
    if variable := next((word for word in words if re.search(r"\$\w|\$\{|`", word)), None):
        raise InputError(f"command: {variable} needs a shell; add shell=true, or write its value")
    return tuple(words)


def _word(item: Any) -> str:
    """Return a word of a list; YAML reads ``{lr}`` without quotes as a mapping."""
    if isinstance(item, Mapping) and len(item) == 1 and next(iter(item.values())) is None:
        return f"{{{next(iter(item))}}}"
    return format_value(item)


def _script_word(words: Sequence[str]) -> str | None:
    """Return the word of a command that names the script: the first that ends in .py or .sh, or that -m names."""
    for i, word in enumerate(words):
        if word == "-m" and i + 1 < len(words):
            return words[i + 1]
        if word.endswith((".py", ".sh")) and not word.startswith("-"):
            return word
    return None


def _script_files(words: Sequence[str]) -> list[Path]:
    """Return the files that a command without a shell names.

    Raises:
        InputError: the program or the script is not there.
    """
    plain = [word for word in words if not PLACEHOLDER.search(word)]
    if plain and words[0] == plain[0] and shutil.which(words[0]) is None:
        raise InputError(
            f"command: {words[0]}: no such program; give a program that can be executed, such as python, and start "
            "adamcmp in the folder of your script"
        )
    return _named_files(words, Path.cwd())


def _shell_files(words: Sequence[str], *, has_files: bool) -> list[Path]:
    """Return the files that a line for a shell names; ``has_files``: files are given, so that its script may be absent.

    Raises:
        InputError: the script is not there.
    """
    folder = Path.cwd()
    for before, word in pairwise(words):
        if before == "cd" and not PLACEHOLDER.search(word):
            folder = folder / Path(word).expanduser()
    try:
        return _named_files(words, folder)
    except InputError as error:
        if has_files:
            return []
        raise InputError(f"{error}; if it is elsewhere, give files=[PATH], which identify its runs") from error


def _named_files(words: Sequence[str], folder: Path) -> list[Path]:
    """Return the files that a command names in its folder, with the imports of its script and Hydra's configurations.

    Raises:
        InputError: the script is not there.
    """
    plain = [word for word in words if not PLACEHOLDER.search(word)]
    script = _script_word(words)
    files: list[Path] = []
    if script is not None and script in plain:
        is_module = "-m" in words[:-1] and words[words.index("-m") + 1] == script
        path = _module_file(folder, script) if is_module else folder / script
        if path is None or not path.is_file():
            raise InputError(f"command: {script}: no such {'module' if is_module else 'file'} in {folder}")
        files = imported_user_files(path, [path.resolve().parent, *([folder] if is_module else [])])
        files += [other for file in files for other in _hydra_files(file)]
    elif words[0] in plain and (program := shutil.which(words[0])) is not None:
        files = [Path(program)] if Path(words[0]).exists() else []
    for before, word in pairwise(plain):
        key, equals, value = word.partition("=")
        flag, path = (key, folder / value) if equals else (before, folder / word)
        is_input = path.suffix in INPUT_SUFFIXES and not OUTPUT_FLAG.search(flag)
        if is_input and word != script and path.is_file():
            files.append(path)
    return list(dict.fromkeys(files))


def shell_words(line: str) -> list[str]:
    """Return the words of a line for a shell, with its operators as words.

    >>> shell_words("cd sub && (python train.py --lr {lr} 2>&1)")
    ['cd', 'sub', '&&', '(', 'python', 'train.py', '--lr', '{lr}', '2', '>&', '1', ')']
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    return list(lexer)


def _module_file(folder: Path, name: str) -> Path | None:
    """Return the file of a module in a folder, that ``python -m`` runs."""
    base = folder.joinpath(*name.split("."))
    candidates = (base.with_suffix(".py"), base / "__main__.py")
    return next((path for path in candidates if path.is_file()), None)


def _hydra_files(path: Path) -> Iterator[Path]:
    """Yield the configurations of a script that is decorated by ``hydra.main(config_path=…)``."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "config_path" and isinstance(node.value, ast.Constant):
            folder = path.parent / str(node.value.value)
            if folder.is_dir():
                yield from sorted(folder.rglob("*.yaml"))


def _hashes_of(files: Sequence[str | Path]) -> list[str]:
    """Return a hash of each file, and of all files of each folder.

    Raises:
        InputError: one is not there.
    """
    hashes = []
    for name in files:
        path = Path(name).expanduser()
        if not path.exists():
            raise InputError(f"files: {name}: no such file or folder in {Path.cwd()}")
        members = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        hashes += [_file_hash(member, member.stat().st_size, member.stat().st_mtime_ns) for member in members]
    return hashes


@cache
def _file_hash(path: Path, size: int, changed: int) -> str:
    if size > MAX_HASHED_BYTES:
        return hashlib.sha256(f"{size} {changed}".encode()).hexdigest()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _joined_hash(hashes: Sequence[str]) -> str | None:
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:12] if any(hashes) else None


def check_placeholders(program: Program, settings: Collection[str], varying: Collection[str], *, steps: bool) -> None:
    """Refuse a command whose placeholders do not fit the settings.

    Args:
        program: a script.
        settings: names of the optimizer's other settings, such as ``betas``.
        varying: keys with several values, such as ``optimizer.weight_decay`` and ``seed``.
        steps: ``train.steps`` is set.

    Raises:
        InputError: a placeholder is unknown or lacks a value, or a setting that is varied has none.
    """
    params = [f"params.{name}" for name in program.params]
    known = {*BASE_PLACEHOLDERS, *settings, *(f"optimizer.{name}" for name in settings), *params}
    used = program.placeholders
    for name in sorted(used - known):
        if name.startswith("params."):
            raise InputError(f"command: {{{name}}} has no value; give {name}=VALUE")
        raise InputError(
            f"command: {{{name}}} is not a placeholder; {suggest_names(name, known)} A setting of your own is "
            f"{{params.{name}}}, with params.{name}=VALUE; literal braces are doubled"
        )
    in_command = {name for text in program.command for match in PLACEHOLDER.finditer(text) if (name := match[1])}
    for name, meaning in (("lr", "the learning rate"), ("seed", "the seed")):
        if name not in in_command and not (name == "seed" and "split_seed" in in_command):
            raise InputError(
                f"command: has no {{{name}}}; put it where your script takes {meaning}, such as --{name} {{{name}}}"
            )
    if "steps" in used and not steps:
        raise InputError("command: {steps} has no value; give train.steps=N")
    for key in varying:
        name = key.removeprefix("optimizer.")
        if key != "seed" and not {name, key} & used:
            raise InputError(f"{key}: has several values, but the command has no {{{name}}}; add it to the command")
