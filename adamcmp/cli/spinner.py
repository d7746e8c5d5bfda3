"""One status line before there is progress to show, from the first half second of a command on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def show_status(first: str) -> Iterator[Callable[[str], None]]:
    """Show a line on stderr if that is a terminal; the yielded function changes it, the end of the block removes it."""
    from rich.console import Console

    from adamcmp.cli.progress import is_notebook

    if is_notebook():  # whose output would keep every frame
        yield lambda _: None
        return
    with Console(force_jupyter=False, stderr=True, highlight=False).status(f"{first} …") as spinner:
        yield lambda text: spinner.update(f"{text} …")
