"""The one exception that means "the user can mend this": every layer raises it, only the CLI catches it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from difflib import get_close_matches

FEW = 20
"""Names that are listed whole."""
LONGEST = 1200
"""Characters of an error's text that are shown; user input may be of any length."""


class InputError(Exception):
    """Bad input. Its text is one line: what was given, what is allowed, what to do next.

    The CLI prints the text and exits with code 2; with ``--debug`` it shows the traceback too.
    """


def closest(word: str, allowed: Iterable[str]) -> str:
    """A clause to end an error with: the closest names where there are some, else all of them, if they are few."""
    names = sorted(set(allowed))
    near = get_close_matches(word, names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(near)}?"
    if len(names) > FEW:
        return f"closest of {len(names)}: {', '.join(get_close_matches(word, names, n=3, cutoff=0.0))}."
    return f"known: {', '.join(names)}." if names else "none is known."


def command(*words: str) -> str:
    """A command that can be pasted into a shell."""
    return f"`{shlex.join(['adamcmp', *map(str, words)])}`"


def one_line(error: BaseException) -> str:
    """An error's text without its line breaks, of bearable length; its type where it has no text."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"


def told(error: BaseException) -> str:
    """``ValueError: what it says``, in one line: of errors that are not ours."""
    return f"{type(error).__name__}: {one_line(error)}"


def shown(text: object) -> str:
    """A given text in quotes, as Python writes it, of bearable length."""
    found = repr(text)
    return found if len(found) <= 80 else f"{found[:60]}…{found[-10:]}"
