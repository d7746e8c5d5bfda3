"""The application: common options, exit codes, output. Commands are in the other modules of this package."""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from adamcmp import signals
from adamcmp.cli.usage import Group, usage_text
from adamcmp.errors import InputError, command_text, describe_exception, explain_external, one_line
from adamcmp.storage.backend import open_path
from adamcmp.text_safety import show_control_chars

EXIT_OK, EXIT_RUN_FAILED, EXIT_USAGE, EXIT_BUG = 0, 1, 2, 3

USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""Click's UsageError, of whichever click Typer has: newer versions bring their own."""

app = typer.Typer(
    name="adamcmp",
    cls=Group,
    help="Compare optimizers (Adam, AdamW, SGD, …) on your model and data, with confidence intervals.",
    epilog="Start:  adamcmp sweep mnist1d optimizer=adam,adamw optimizer.lr=1e-3,1e-2 study.seeds=5\n\n"
    "Exit codes: 0 done, 1 some run failed, 2 bad input, 3 a defect in adamcmp, 130 interrupted.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Format = StrEnum("Format", ["md", "csv", "tex", "png", "svg", "pdf", "html"])
"""A file format of reports."""


Width = StrEnum("Width", ["single", "double"])
"""Width of figures: one or two columns of a journal."""


WIDTH = 100
"""Columns of lines in a pipe, and of a wide terminal."""
ANSWER_SCHEMA = 1
"""Version of the ``--json`` output, see docs/reference/json.md: within a version, keys are added, never renamed or
removed.
"""
_json_values: dict[str, Any] = {}
_words: list[str] | None = None
"""Words of a command that a Python program calls; None: those that were typed."""


def command_words() -> list[str]:
    """Return the words of the command that runs, without the program's name."""
    return sys.argv[1:] if _words is None else _words


def is_called_from_python() -> bool:
    """Return whether a Python program has called the command that runs."""
    return _words is not None


@contextmanager
def as_command(words: Sequence[str]) -> Iterator[None]:
    """Let the words of the running command be these inside the block."""
    global _words
    before, _words = _words, list(words)
    try:
        yield
    finally:
        _words = before
        _json_values.clear()


def wants_json() -> bool:
    """Return whether one JSON object is to be all of standard output; read before parsing, whose errors go there
    too.
    """
    return "--json" in command_words()


def is_verbose() -> bool:
    """Return whether details were requested; read before parsing, as ``--json``."""
    return not {"-v", "--verbose"}.isdisjoint(command_words())


def is_quiet() -> bool:
    """Return whether only verdicts were requested."""
    return not {"-q", "--quiet"}.isdisjoint(command_words())


def add_json(**values: Any) -> None:
    """Add values to the object that ``--json`` prints; lists of one key are joined."""
    for key, value in values.items():
        if isinstance(value, list) and isinstance(_json_values.get(key), list):
            value = [*_json_values[key], *value]
        _json_values[key] = value


def _print_json(code: int) -> None:
    name = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    head = {"schema": ANSWER_SCHEMA, "adamcmp": _version_here(), "command": name, "exit_code": code}
    typer.echo(json.dumps(_to_json_value({**head, **_json_values}), ensure_ascii=False))


def _version_here() -> str:
    from importlib.metadata import version

    return version("adamcmp")


def _to_json_value(value: Any) -> Any:
    """Return a value as JSON allows it; NaN and infinity become null."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {str(key): _to_json_value(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_to_json_value(item) for item in value]
        case _ if hasattr(value, "item"):
            return _to_json_value(value.item())
        case _ if hasattr(value, "isoformat"):
            return value.isoformat()
    return str(value)


def main() -> None:
    """Run the command line: set the exit code, and print one clear line in place of a traceback."""
    code = EXIT_BUG
    _json_values.clear()
    try:
        code = app(standalone_mode=False) or EXIT_OK
    except InputError as error:
        _exit_with_error(str(error), EXIT_USAGE, error)
    except USAGE_ERROR as error:
        _exit_with_error(usage_text(error, sys.argv[1:]), EXIT_USAGE, error)
    except Exception as error:  # a defect of ours: still one line, and how to see more
        if not signals.stop_requested():
            if reason := explain_external(error):
                _exit_with_error(reason, EXIT_USAGE, error)
            _exit_with_error(f"{describe_exception(error)} (a defect in adamcmp; --debug shows where)", EXIT_BUG, error)
    if signals.stop_requested():
        signals.exit_now()
    if wants_json():
        _print_json(code)
    sys.exit(code)


def _exit_with_error(text: str, code: int, error: BaseException) -> NoReturn:
    if "--debug" in sys.argv:
        raise error
    line = one_line(InputError(text))
    print_note(f"adamcmp: {line}", "red", whole=True)
    if wants_json():
        add_json(error=line)
        _print_json(code)
    sys.exit(code)


def print_note(text: str, style: str = "", *, err: bool = True, whole: bool = False) -> None:
    """Print a line, in color if a terminal shows it and NO_COLOR is not set.

    Lines break between words on a terminal, unless they are to stay ``whole``, since commands in them may be pasted.
    """
    from rich.console import Console

    console = Console(force_jupyter=False, stderr=err or wants_json(), highlight=False)
    console.print(show_control_chars(text), style=style, markup=False, soft_wrap=whole or not console.is_terminal)


def print_lines(lines: Sequence[Sequence[tuple[str, str]]]) -> None:
    """Print lines of styled text on standard output, each whole."""
    from rich.console import Console
    from rich.text import Text

    console = Console(force_jupyter=False, stderr=wants_json(), highlight=False)
    for parts in lines:
        console.print(Text.assemble(*parts), soft_wrap=True)


def terminal_width() -> int:
    """Return the columns that text may take: those of the terminal up to ``WIDTH``, which a pipe has."""
    from rich.console import Console

    console = Console(force_jupyter=False, stderr=wants_json())
    return max(min(console.width, WIDTH), 60) if console.is_terminal else WIDTH


def print_line(text: str) -> None:
    """Print lines on standard output, whole."""
    typer.echo(show_control_chars(text), err=wants_json())


def current_command() -> str:
    """Return the command that runs."""
    return shlex.join(["adamcmp", *command_words()])


def complete_names(*groups: str) -> Callable[[str], list[str]]:
    """Return a completion function for an argument that names configurations of some groups."""

    def names(incomplete: str) -> list[str]:
        from adamcmp.config.lookup import list_group

        return [name for group in groups for name in list_group(group) if name.startswith(incomplete)]

    return names


def _print_version(is_requested: bool) -> None:
    if is_requested:
        from importlib.metadata import version

        typer.echo(f"adamcmp {version('adamcmp')}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def help_(
    command_: Annotated[str | None, typer.Argument(metavar="COMMAND")] = None,
) -> None:
    """Print the help of adamcmp or of one command."""
    app([*([command_] if command_ else []), "--help"], standalone_mode=False)


def home_expanded(overrides: list[str] | None) -> list[str] | None:
    """Replace ``~`` at the beginning of a value, which Hydra does not read, by the home folder; quote commands."""
    if not overrides or not any("=~" in text or "{" in text or "command=" in text for text in overrides):
        return overrides
    from adamcmp.config.overrides import quote_home_path
    from adamcmp.config.program_overrides import quote_raw_value

    return [quote_raw_value(quote_home_path(text)) for text in overrides]


def _not_a_setting(name: str) -> str:
    """Refuse a setting in place of the configuration that comes first.

    Raises:
        InputError: the name is a setting.
    """
    if re.match(r"[+~]*[\w.]+=", name) and not name.endswith((".yaml", ".yml")):
        command = sys.argv[1] if len(sys.argv) > 1 else "run"
        raise InputError(
            f"{name}: is a setting, and no configuration is named before it; see `adamcmp list configs`, "
            f"or try {command_text(command, 'digits', name)}"
        )
    return name


ConfigName = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG",
        help="Name of a built-in configuration (see `adamcmp list configs`) or path to a YAML file.",
        autocompletion=complete_names(""),
        callback=_not_a_setting,
    ),
]
StudyName = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG",
        help="Name of a built-in configuration or study (see `adamcmp list`) or path to a YAML file.",
        autocompletion=complete_names("study", ""),
        callback=_not_a_setting,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Settings to change, such as optimizer.lr=1e-3. `adamcmp sweep` takes several values: 1e-3,1e-2.",
        callback=home_expanded,
    ),
]
ResultFolders = Annotated[
    list[Path],
    typer.Argument(metavar="RESULTS…", help="results/STUDY, or the folder above studies.", parser=open_path),
]
ResultsDir = Annotated[
    Path,
    typer.Option(
        help="Results folder or URL (s3://bucket/results).",
        envvar="ADAMCMP_RESULTS_DIR",
        parser=open_path,
        metavar="FOLDER",
    ),
]
ConfigDir = Annotated[Path | None, typer.Option(help="Folder with your own YAML files (model/, data/, optimizer/, …).")]
Device = Annotated[
    str | None, typer.Option(help="Device: cpu, cuda, cuda:1, mps or auto (use an accelerator if available).")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan with estimated time and memory, then exit.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run code that the results folder names; see `adamcmp docs trust`.")
]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="Train at most N of the missing runs.")]
Margin = Annotated[
    float | None,
    typer.Option(min=0, help="Equivalence margin, in the unit of the reported metric (0.5 = 0.5 pp)."),
]
Formats = Annotated[
    list[Format] | None,
    typer.Option("--format", help="Output format (repeatable): md, csv, tex, png, svg, pdf, html. Default: all."),
]
# read from sys.argv by _exit_with_error, which may run before anything is parsed
Debug = Annotated[bool, typer.Option("--debug", help="Show the full traceback on errors.")]
# likewise
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout; everything else goes to stderr.")]
# read from sys.argv by is_verbose and is_quiet
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also print training strategies, full verdicts and all warnings.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print verdicts only.")]
DEFAULT_RESULTS = Path("results")


def print_table(renderable: Any) -> None:
    """Print a table or text of rich; in a file or pipe without blanks at the ends of lines."""
    from rich.console import Console

    console = Console(force_jupyter=False, highlight=False, stderr=wants_json())
    if console.is_terminal:
        console.print(renderable)
        return
    with console.capture() as captured:
        console.print(renderable)
    typer.echo("\n".join(line.rstrip() for line in captured.get().splitlines()), err=wants_json())
