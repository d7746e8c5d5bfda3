"""Typing errors in a command: the error in one line, and the command to type instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from typer.core import TyperCommand, TyperGroup

TYPES = {"str": "TEXT", "path": "PATH", "int": "INTEGER", "float": "NUMBER"}
"""Python types in the words of a command line."""


class _InWords:
    """Help that shows the values of options in the words of a command line, and none for flags."""

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters."""
        params = super().get_params(ctx)  # type: ignore[misc]  # of the class that stands behind it
        for param in params:
            if param.param_type_name == "argument":
                param.display_type_rich = lambda **_: None  # its metavar says it
            elif param.metavar is None and param.is_flag:
                param.metavar = ""
            elif param.metavar is None and hasattr(param, "display_type"):  # typer's own click shows Python's types
                text = param.display_type(ctx).strip("<>").removeprefix("list[").removesuffix("]")
                kind, _, limits = text.partition(" range")
                param.metavar = TYPES.get(kind.lower(), text) + limits
        return params


class Command(_InWords, TyperCommand):
    """A command."""


class Group(_InWords, TyperGroup):
    """A group of commands."""


def usage_text(error: Exception, words: Sequence[str]) -> str:
    """Return one line for an error of click.

    Args:
        error: click's UsageError.
        words: of the command line, without the program's name.
    """
    context: Any = getattr(error, "ctx", None)
    text = str(getattr(error, "format_message", error.__str__)()).rstrip(".").replace(": Value error, ", ": ")
    name = getattr(context, "info_name", None) if getattr(context, "parent", None) else None
    option = getattr(error, "option_name", None)
    if name and option is not None and type(error).__name__ == "NoSuchOption":
        text = _unknown_option(option, words, _options(context), [param.name for param in context.command.params])
    elif name and type(error).__name__ == "MissingParameter":
        example = str(context.command.epilog or "").removeprefix("Example:").strip()
        text += f". Example: `{example}`" if example else ""
    elif not name and (match := re.fullmatch(r"No such command '(.+)'", text)):
        text = _unknown_command(match[1])
    return f"{text.rstrip('?')}{'?' if text.endswith('?') else '.'} See `adamcmp {f'{name} ' if name else ''}--help`."


def _options(context: Any) -> list[str]:
    return [option for param in context.command.params for option in getattr(param, "opts", ()) if option[:2] == "--"]


def _unknown_option(option: str, words: Sequence[str], options: Sequence[str], params: Sequence[str]) -> str:
    """Return a suggestion for an option that a command does not have; ``params`` are the names of its parameters."""
    typed = next((word for word in words if word.startswith(option) or word.lstrip("-") == option.lstrip("-")), option)
    typed = typed.partition("=")[0]
    near = get_close_matches(f"--{typed.lstrip('-')}", options, n=2, cutoff=0.75)
    if near:
        return f"No such option: {typed}. Did you mean {' or '.join(near)}?"
    if "overrides" not in params:
        return f"No such option: {typed}"
    key = typed.lstrip("-").replace("-", "_")
    return f"No such option: {typed}. Settings have no dashes: {key}=VALUE (`adamcmp show digits` lists all settings)"


SYNONYMS = {
    "train": ("run", "sweep"), "fit": ("run", "sweep"), "tune": ("sweep",), "search": ("sweep",), "plot": ("report",),
    "results": ("report",), "delete": ("remove",), "rm": ("remove",), "ls": ("list",), "status": ("watch",),
    "config": ("show",), "test": ("settle",),
}  # fmt: skip
"""Other words for commands."""


def _unknown_command(name: str) -> str:
    """Return a suggestion for a configuration, a setting or another word in the place of a command."""
    if name in SYNONYMS:
        return f"No such command: {name}. Did you mean {' or '.join(SYNONYMS[name])}?"
    if "=" in name:
        return f"No such command: {name}. A command and a configuration come first: `adamcmp run digits {name}`"
    from adamcmp.config.lookup import list_group

    if name in {*list_group(""), *list_group("study")} or name.endswith((".yaml", ".yml")):
        return f"No such command: {name}. Did you mean `adamcmp sweep {name}` or `adamcmp run {name}`?"
    return f"No such command: {name}"
