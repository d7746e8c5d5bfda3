"""The command ``watch``: a live dashboard of running sweeps."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adamcmp import signals
from adamcmp.cli.app import DEFAULT_RESULTS, Debug, Json, add_json, print_table
from adamcmp.storage.backend import open_path

if TYPE_CHECKING:
    from rich.console import RenderableType


def watch(
    results: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RESULTS…]", help="results/STUDY, or the folder above studies. Default: results.", parser=open_path
        ),
    ] = None,
    every: Annotated[float, typer.Option(min=0.2, help="Refresh interval in seconds.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print once and exit.")] = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Show a live dashboard of running sweeps."""
    from rich.console import Console
    from rich.live import Live

    from adamcmp.cli.dashboard import StudyMonitor, find_monitors, render_dashboard

    monitors = [StudyMonitor(folder) for path in results or [DEFAULT_RESULTS] for folder in find_monitors(path)]

    def refresh_all() -> RenderableType:
        for monitor in monitors:
            monitor.refresh()
        return render_dashboard(monitors)

    console = Console(force_jupyter=False, highlight=False)
    first = refresh_all()
    if not once and console.is_terminal:
        with signals.defer_signals(), Live(first, console=console, screen=True, auto_refresh=False) as live:
            while any(monitor.is_alive for monitor in monitors) and not signals.stop_requested():
                deadline = time.monotonic() + every
                while time.monotonic() < deadline and not signals.stop_requested():
                    time.sleep(0.05)
                live.update(refresh_all(), refresh=True)
    studies: list[dict[str, object]] = []
    for monitor in monitors:
        now = monitor.progress
        # scripts may read the former name of updated_at
        fields = {**asdict(now), "told": now.updated_at, "state": now.state} if now else {"state": None}
        studies.append({"folder": str(monitor.folder), **fields})
    add_json(studies=studies)
    print_table(render_dashboard(monitors))
