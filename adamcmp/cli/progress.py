"""Progress bars on standard error."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from adamcmp.text_safety import escape_rich as escape
from adamcmp.text_safety import show_control_chars

if TYPE_CHECKING:
    from adamcmp.engine.run_result import Evaluation, RunResult
    from adamcmp.plan.runs import Run


NOTEBOOK_SECONDS = 0.5
"""Seconds between two updates of a notebook's progress bar."""


class ProgressBar:
    """A progress bar over all steps: runs done, time left, and the best validation error so far; gone at the end."""

    def __init__(self, runs: Sequence[Run], *, label: str = "", compiles: bool = False) -> None:
        self._single = len(runs) == 1
        console = Console(force_jupyter=False, stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn(f"  {label}"),
            TextColumn("{task.fields[done]}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=16),
            TaskProgressColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            expand=True,
            transient=True,
            console=console,
            disable=not console.is_terminal or is_notebook(),
        )
        self._total = len(runs)
        self._ended = self._diverged = self._failed = 0
        self._best = float("inf")
        self._error = runs[0].task.criteria.error
        self._comparable = len({run.task.comparison for run in runs}) == 1
        self._note = ""
        self._notebook = NotebookLine(label) if is_notebook() else None
        self._began = time.monotonic()
        total = sum(run.task.steps for run in runs)
        self._task = self._bar.add_task("", total=total, done=self._done(), note="compiling" if compiles else "")

    def done_text(self, stored: int) -> str:
        """Return how long it took, and how many runs diverged or failed; ``stored`` runs were there before."""
        counts = [(self._diverged, "diverged"), (self._failed, "failed")]
        lost = "".join(f", {count:,} {name}" for count, name in counts if count)
        stopped = "" if self._ended >= self._total else f", {self._total - self._ended:,} still missing"
        trained = f"{stored:,} stored, {self._ended:,} trained" if stored else "done"
        return f"{trained} in {format_duration(time.monotonic() - self._began)}{lost}{stopped}"

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if self._notebook is not None:
            self._notebook.clear()

    def stepped(self, steps: int, evaluation: Evaluation | None) -> None:
        """Count steps of the runs in training, all together."""
        if self._single and evaluation:
            error = self._error.text(evaluation.validation_error)
            self._note = f"train loss {evaluation.train_loss:.4f}, validation {self._error.label} {error}"
        self._bar.update(self._task, advance=steps, done=self._done(), note=self._note)
        self._show_in_notebook()

    def say(self, text: str) -> None:
        """Print a message for the user."""
        self._bar.console.print(show_control_chars(text), markup=False, soft_wrap=True)

    def elsewhere(self, runs: Sequence[Run]) -> None:
        """Count runs that other drivers have stored."""
        self._ended += len(runs)
        self._bar.update(self._task, advance=sum(run.task.steps for run in runs), done=self._done())

    def ended(self, outcome: RunResult) -> None:
        """Count a run that has ended."""
        self._ended += 1
        self._diverged += outcome.status == "diverged"
        self._failed += outcome.status == "failed"
        completed = self._comparable and outcome.status == "completed"
        if completed and self._error.sign * (error := outcome.evaluations[-1].validation_error) < self._best:
            self._best = self._error.sign * error
            optimizer = outcome.run.optimizer
            where = escape(f"{outcome.run.arm}, lr {optimizer.lr:.3g}, λ {optimizer.weight_decay:.3g}")
            best = f"best {self._error.text(error)} ({where})"
            self._note = self._note if self._single else best
        self._bar.update(self._task, done=self._done(), note=self._note)
        self._show_in_notebook()

    def _show_in_notebook(self) -> None:
        if self._notebook is not None:
            task = self._bar.tasks[0]
            self._notebook.show(task.completed / max(task.total or 1, 1), self._done(), self._note)

    def _done(self) -> str:
        counts = f"{self._ended:,}/{self._total:,} runs"
        diverged = f", {self._diverged:,} diverged" if self._diverged else ""
        failed = f", [red]{self._failed:,} failed[/red]" if self._failed else ""
        return counts + diverged + failed


class NotebookLine:
    """A progress bar of a notebook, as one line of text that replaces itself: rich needs ipywidgets for its own."""

    def __init__(self, label: str) -> None:
        self._label, self._shown_at, self._began = label, 0.0, time.monotonic()
        self._handle: Any = None

    def show(self, share: float, done: str, note: str) -> None:
        """Show the share that is done, the time left and a note, at most twice a second."""
        now = time.monotonic()
        if now - self._shown_at < NOTEBOOK_SECONDS:
            return
        self._shown_at = now
        seconds = (now - self._began) * (1 - share) / share if share > 0 else float("inf")
        left = f"{format_duration(seconds)} left" if share > 0 else ""
        filled = round(20 * min(share, 1.0))
        bar = "█" * filled + "░" * (20 - filled)
        plain = Text.from_markup(f"{done}  {note}").plain
        self._put(f"<pre>{self._label} {bar} {share:.0%}  {html.escape(plain)}  {left}</pre>")

    def clear(self) -> None:
        """Remove the line."""
        if self._handle is not None:
            self._put("")

    def _put(self, text: str) -> None:
        display: Any = import_module("IPython.display")
        if self._handle is None:
            self._handle = display.display(display.HTML(text), display_id=True)
        else:
            self._handle.update(display.HTML(text))


def is_notebook() -> bool:
    """Return whether this is the kernel of a notebook."""
    shell: Any = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


def format_duration(seconds: float) -> str:
    """Return a human-readable duration: ``0.4 s``, ``12 s``, ``3 min 20 s``, ``5 h 02 min``, ``12 days``, ``190
    years``.
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    days = seconds / 86400
    if days >= 3:
        return f"{days:,.0f} days" if days < 730 else f"{days / 365.25:,.0f} years"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02} min"


@contextmanager
def item_progress(total: int, unit: str) -> Iterator[Callable[[str], None]]:
    """Show a progress bar over items, each of which is named when it begins; it is removed at the end."""
    columns = (
        TextColumn("{task.completed:.0f}/{task.total:.0f} " + unit), BarColumn(),
        TextColumn("{task.description}"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(force_jupyter=False, stderr=True, highlight=False), transient=True) as bar:
        task = bar.add_task("", total=total)
        begun = 0

        def begin(name: str) -> None:
            nonlocal begun
            bar.update(task, completed=begun, description=escape(name))
            begun += 1

        yield begin
