"""Draw the figures of docs/explanation: the two stages of a comparison, and the flow of data between packages.

    .venv/bin/python scripts/docs_figures.py

Nothing in them is measured; they change with the stages and packages that they show.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "explanation"
COLORS = {"tuning": "#3b6ea5", "held-out": "#b3541e", "ink": "#222222", "pale": "#e8edf3"}
VALIDATION_ERRORS = [[42, 40, 41, 44], [38, 36, 35, 39], [39, 34, 34.4, 40], [45, 43, 46, 48]]
"""Invented errors of 4 × 4 trials, for their shades alone."""
CANDIDATES = {(2, 1): "64 %", (2, 2): "28 %"}
"""Row and column of trials that resamples select, and how often."""


PACKAGES = {
    "config": (1, 12), "plan": (14, 12), "execute": (27, 12), "storage": (41, 12), "analysis": (55, 12),
    "report": (69, 12), "figures": (83, 12), "engine": (27, 3), "data, models, optim, metrics": (1, 3),
    "studies, claims": (69, 21),
}  # fmt: skip
"""Packages → left end and middle of their boxes."""
FLOWS = [
    ("config", "plan"), ("plan", "execute"), ("execute", "storage"), ("storage", "analysis"), ("analysis", "report"),
    ("report", "figures"), ("data, models, optim, metrics", "engine"),
]  # fmt: skip


def draw_packages() -> Figure:
    """Return the flow of data between packages."""
    figure = Figure(figsize=(9.4, 2.5))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 94), ylim=(0, 25))
    ax.axis("off")
    widths = {name: 22 if "," in name and "data" in name else 11 if "," in name else 9 for name in PACKAGES}
    for name, (x, y) in PACKAGES.items():
        box(ax, x, y - 2, widths[name], 4, COLORS["pale"])
        text(ax, x + widths[name] / 2, y, name, weight="bold")
    for start, end in FLOWS:
        (x, y), (right, _) = PACKAGES[start], PACKAGES[end]
        arrow(ax, (x + widths[start] + 0.3, y), (right - 0.3, y))
    for x, (low, high), words in ((29.5, (9.7, 5.3), "shards"), (33.5, (5.3, 9.7), "results")):
        arrow(ax, (x, low), (x, high))
        text(ax, x + (4 if words == "results" else -3.8), 7.5, words, size=8.5)
    arrow(ax, (73.5, 18.7), (73.5, 14.3))
    return figure


def draw_stages() -> Figure:
    """Return the two stages of a comparison."""
    figure = Figure(figsize=(9.1, 3.4))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 91), ylim=(0, 34))
    ax.axis("off")
    stage(ax, 1, "1  Tuning", "all trials × 5 tuning seeds", COLORS["tuning"])
    grid(ax, 3, 6.5)
    text(ax, 11, 2.2, "validation error of each trial\n(learning rate × weight decay)", size=8)
    arrow(ax, (22, 15), (29.5, 15))
    box(ax, 30, 8, 17, 14, COLORS["pale"])
    text(ax, 38.5, 19, "resample the seeds", weight="bold")
    text(ax, 38.5, 13.6, "which trials might\nhave been selected?\n64 %, 28 % of resamples", size=8.5)
    arrow(ax, (47.5, 15), (54, 15))
    stage(ax, 54, "2  Held-out runs", "these trials × 8 new seeds", COLORS["held-out"])
    for row, share in enumerate(CANDIDATES.values()):
        y = 17.2 - 6.2 * row
        text(ax, 57.6, y + 1.4, share, size=8.5)
        for seed in range(8):
            ax.add_patch(FancyBboxPatch((60 + 1.35 * seed, y + 0.6), 0.9, 1.7, boxstyle="round,pad=0.1",
                                        color=COLORS["held-out"]))  # fmt: skip
    text(ax, 64, 5.4, "test error, weighted\nby the shares", size=8.5)
    arrow(ax, (71.8, 15), (77, 15))
    text(ax, 83.6, 15, "leaderboard\n\nverdict with its\n95 % interval", weight="bold")
    return figure


def stage(ax: Axes, x: float, title: str, subtitle: str, color: str) -> None:
    """Write the heading of a stage."""
    ax.text(x + 1, 31, title, fontsize=13, weight="bold", color=color, va="center")
    ax.text(x + 1, 27.6, subtitle, fontsize=9.5, color=COLORS["ink"], va="center")


def grid(ax: Axes, x: float, y: float) -> None:
    """Draw a heatmap of trials; candidates have a frame."""
    errors = [error for row in VALIDATION_ERRORS for error in row]
    low, high = min(errors), max(errors)
    for i, row in enumerate(VALIDATION_ERRORS):
        for j, error in enumerate(row):
            shade = 0.25 + 0.65 * (error - low) / (high - low)
            edge = COLORS["held-out"] if (i, j) in CANDIDATES else "white"
            ax.add_patch(FancyBboxPatch((x + 4.2 * j, y + 4.2 * i), 3.2, 3.2, boxstyle="round,pad=0.15",
                                        facecolor=mpl.colormaps["Blues_r"](shade), edgecolor=edge,
                                        linewidth=2.2 if edge != "white" else 0.5))  # fmt: skip


def box(ax: Axes, x: float, y: float, width: float, height: float, color: str) -> None:
    """Draw a box with round corners."""
    ax.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0.3", facecolor=color, edgecolor="none"))


def text(ax: Axes, x: float, y: float, words: str, size: float = 9.5, weight: str = "normal") -> None:
    """Write centered words."""
    ax.text(x, y, words, ha="center", va="center", fontsize=size, weight=weight, color=COLORS["ink"])


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow."""
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=14, color=COLORS["ink"], linewidth=1.3))


if __name__ == "__main__":
    with mpl.rc_context({"svg.hashsalt": "adamcmp", "svg.fonttype": "path"}):
        for name, drawn in {"two-stages": draw_stages(), "packages": draw_packages()}.items():
            drawn.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})
