"""The exception for errors that the user can correct: every layer raises it, only the CLI catches it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher, get_close_matches

MAX_LISTED_NAMES = 20
"""Names that are listed whole."""
SUGGESTION_MARGIN = 0.15
"""Similarity, of 1, below that of the closest name within which other names are suggested too."""
MAX_ERROR_CHARS = 1200
"""Characters of an error's text that are shown; user input may be of any length."""


class InputError(Exception):
    """Bad input. Its text is one line: the given value, the allowed values, the next step.

    The CLI prints the text and exits with code 2; with ``--debug`` it shows the traceback too.

    >>> import adamcmp
    >>> try:
    ...     adamcmp.load("no/folder")
    ... except adamcmp.InputError as error:
    ...     print(error)
    no/folder: no such folder; give results/<study>, or the folder that holds studies
    """

    summary: Sequence[tuple[str, str]] = ()
    """Data as far as they were read, as pairs of heading and text, for ``adamcmp show-data``."""


def suggest_names(word: str, allowed: Iterable[str]) -> str:
    """Return a clause to end an error with: the closest names if there are some, else all of them, if they are few.

    Capitals make no difference, and a name such as ``lr`` is close to each that ends with it, as ``optimizer.lr``.
    """
    names = sorted(set(allowed))
    lower = {name.casefold(): name for name in reversed(names)}
    given = word.casefold()
    near = [lower[given]] if given in lower else []
    near += [name for name in names if "." not in word and name.casefold().endswith(f".{given}")][:3]
    if not near:
        near = get_close_matches(word, names, n=3, cutoff=0.6)
    if not near:
        near = [lower[match] for match in get_close_matches(given, list(lower), n=3, cutoff=0.6)]
    if near:
        alike = {name: SequenceMatcher(None, given, name.casefold()).ratio() for name in near}
        near = [
            name for name in near if alike[name] > max(alike.values()) - SUGGESTION_MARGIN or name.endswith(f".{word}")
        ]
        return f"did you mean {' or '.join(near)}?"
    if len(names) > MAX_LISTED_NAMES:
        return f"closest of {len(names)}: {', '.join(get_close_matches(word, names, n=3, cutoff=0.0))}."
    return f"known: {', '.join(names)}." if names else "none is known."


def command_text(*words: str) -> str:
    """Return a command that can be pasted into a shell."""
    return f"`{shlex.join(['adamcmp', *map(str, words)])}`"


def one_line(error: BaseException) -> str:
    """Return an error's text without its line breaks, of bearable length; its type where it has no text."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= MAX_ERROR_CHARS else f"{text[: MAX_ERROR_CHARS // 2]} … {text[-MAX_ERROR_CHARS // 2 :]}"


def describe_exception(error: BaseException) -> str:
    """Return ``ValueError: message`` in one line, for errors of other code."""
    return f"{type(error).__name__}: {one_line(error)}"


def quote_value(text: object) -> str:
    """Return a given text in quotes, as Python writes it, of bearable length."""
    quoted = repr(text)
    return quoted if len(quoted) <= 80 else f"{quoted[:60]}…{quoted[-10:]}"


MEMORY_PHRASES = ("cannot allocate memory", "can't allocate memory", "failed to map segment", "start new thread",
             "failed to launch worker thread", "resource temporarily unavailable", "out of memory")  # fmt: skip
"""Phrases of libraries for a process that has used up its memory or threads."""
OBJECT_STORE_PACKAGES = (
    "botocore",
    "aiobotocore",
    "aiohttp",
    "fsspec",
    "s3fs",
    "gcsfs",
    "adlfs",
    "google",
    "azure",
    "urllib3",
)
"""Packages whose errors are those of an object store."""


def explain_external(error: BaseException) -> str:
    """Return one line for an error that is none of adamcmp's: of files, memory, or an object store; else nothing."""
    chain = list(_causes(error))
    if any(
        isinstance(cause, MemoryError) or any(text in str(cause).lower() for text in MEMORY_PHRASES) for cause in chain
    ):
        return (
            f"not enough memory ({describe_exception(chain[-1])}); close other programs, raise the limit (ulimit -v), "
            "or take fewer rows and processes (execute.rows, execute.processes); stored runs are whole"
        )
    if any(type(cause).__module__.partition(".")[0] in OBJECT_STORE_PACKAGES for cause in chain):
        return f"the results folder cannot be reached ({describe_exception(chain[-1])}); stored runs are whole"
    if isinstance(error, OSError) and error.errno is not None:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or one_line(error)}; give another file or folder, or correct this one"
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what caused it, the first cause last."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__
