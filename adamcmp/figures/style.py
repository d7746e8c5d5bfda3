"""Style of all figures: column widths, colors for color-blind readers, a footer, deterministic bytes.

A figure is drawn for a page (``use_style``): one column or two of a journal, at that size, with fonts of 6 pt and more.
Lines differ in dashes and markers as well as in color, so that they are distinguishable in gray.

Figures are ``matplotlib.figure.Figure`` objects, never pyplot's: nothing global is left behind.
Colours: Okabe & Ito, "Color Universal Design" (2008).
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from PIL import Image

from adamcmp.figures.axis_labels import format_power

WIDTHS = {"single": 3.5, "double": 7.0}
"""Inches: one column of a journal (89 mm), and two (178 mm)."""
SMALLEST_FONT = 6
"""Points, of any text in a figure at its printed size."""
DPI = 150
"""Resolution of PNG files."""
GRAY = "#666666"
FLAG_COLOR = "#D55E00"
"""Color of warnings: a selected trial at the boundary, a failed trial."""

_RC: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],  # of the same width, where a reader lacks the first
    "mathtext.fontset": "dejavusans",
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "hatch.linewidth": 0.6,
    "pdf.fonttype": 42,  # TrueType: text in a PDF stays text
    "svg.fonttype": "none",  # so it does in an SVG, which is half as large
    "svg.hashsalt": "adamcmp",
}

_SIZES: Any = {
    "single": {"font": 6.5, "title": 7, "label": 6.5, "tick": 6, "legend": 6.5},
    "double": {"font": 8, "title": 8.5, "label": 8, "tick": 7, "legend": 7.5},
}
"""Points."""


class FigureStyle(NamedTuple):
    """Properties that all figures of a report share."""

    width: str = "double"
    """One of ``WIDTHS``."""
    arms: tuple[str, ...] = ()
    """All that there are, so that each has one look in all figures."""
    footer: str = ""
    """Provenance of the figures."""

    @property
    def inches(self) -> float:
        """How wide a figure may be."""
        return WIDTHS[self.width]

    @property
    def is_narrow(self) -> bool:
        """It is one column."""
        return self.width == "single"


_STYLE: ContextVar[FigureStyle] = ContextVar("page", default=FigureStyle())  # noqa: B039 - it is immutable


def current_style() -> FigureStyle:
    """Return the style of the figure that is being drawn."""
    return _STYLE.get()


@contextmanager
def use_style(style: FigureStyle) -> Iterator[None]:
    """Draw for a page."""
    token = _STYLE.set(style)
    try:
        yield
    finally:
        _STYLE.reset(token)


def matplotlib_settings() -> Any:
    """Return our settings of matplotlib, for the page."""
    size = _SIZES[current_style().width]
    return _RC | {
        "font.size": size["font"],
        "axes.titlesize": size["title"],
        "axes.labelsize": size["label"],
        "xtick.labelsize": size["tick"],
        "ytick.labelsize": size["tick"],
        "legend.fontsize": size["legend"],
    }


P = ParamSpec("P")
T = TypeVar("T")


class FigureSkipped(Exception):  # noqa: N818 - not an error: the report says why a figure is missing
    """There is nothing to draw; the text says why."""


class ArmStyle(NamedTuple):
    """How an optimizer is drawn in every figure."""

    colour: str
    marker: str
    dash: Any


_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C7A00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1)))


def arm_styles(arms: Iterable[str]) -> dict[str, ArmStyle]:
    """Return the look of each optimizer: fixed by its place in alphabetical order among all of the page."""
    wanted = set(arms)
    ordered = sorted({*current_style().arms, *wanted}, key=lambda arm: (arm.casefold(), arm))
    return {
        arm: ArmStyle(_COLORS[i % 8], _MARKERS[(i + i // 8) % 8], _DASHES[i % 5])
        for i, arm in enumerate(ordered)
        if arm in wanted
    }


def with_style(draw: Callable[P, T]) -> Callable[P, T]:
    """Run a function under our settings and leave matplotlib's own as they were."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        with mpl.rc_context(matplotlib_settings()):
            return draw(*args, **kwargs)

    return wrapper


def new_figure(width: float, height: float) -> Figure:
    """Draw an empty figure (inches) for axes of ``height``; the page's footer comes below, and ``add_legend`` between
    them.

    It is no wider than the page, and as wide where that is one column.
    """
    width = current_style().inches if current_style().is_narrow else min(width, current_style().inches)
    text = textwrap.fill(current_style().footer, int(20 * width))
    below = 0.03 + 0.1 * (text.count("\n") + 1) if text else 0.0
    fig = Figure(figsize=(width, height), layout="constrained")
    if text:
        look: dict[str, Any] = {
            "fontsize": SMALLEST_FONT,
            "color": GRAY,
            "va": "bottom",
            "ha": "left",
            "linespacing": 1.15,
        }
        fig.text(0.04, 0.02, text, transform=fig.dpi_scale_trans, **look)
    _grow(fig, below)
    return fig


def add_legend(fig: Figure, handles: Sequence[Artist], columns: int, labels: Sequence[str] | None = None) -> None:
    """Add a legend below the axes and above the footer; the figure grows by its height.

    At most ``columns`` columns, fewer where their texts are long (at 200 dpi they are some 5 % wider than here).
    """
    texts = labels or [str(handle.get_label()) for handle in handles]
    below = _foot_inches(fig)
    rows = math.ceil(len(handles) / columns)
    renderer = FigureCanvasAgg(fig).get_renderer()  # type: ignore[no-untyped-call]  # matplotlib leaves it untyped
    for ncols in range(math.ceil(len(handles) / rows), 0, -1):
        box = fig.legend(
            handles,
            texts,
            loc="lower center",
            bbox_to_anchor=(fig.get_figwidth() / 2, below),
            bbox_transform=fig.dpi_scale_trans,
            borderaxespad=0.2,
            ncols=ncols,
            columnspacing=1.4,
            handlelength=2.6,
        )
        extent = box.get_window_extent(renderer)
        if extent.width <= 0.93 * fig.get_figwidth() * fig.dpi or ncols == 1:
            break
        box.remove()
    box.set_in_layout(False)
    _grow(fig, extent.height / fig.dpi + 0.06)


def _layout_engine(fig: Figure) -> ConstrainedLayoutEngine:
    engine = fig.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    return engine


def _foot_inches(fig: Figure) -> float:
    """Return inches at the foot that the axes leave free."""
    return float(_layout_engine(fig).get()["rect"][1] * fig.get_figheight())


def _grow(fig: Figure, inches: float) -> None:
    below, height = _foot_inches(fig) + inches, fig.get_figheight() + inches
    fig.set_size_inches(fig.get_figwidth(), height)
    _layout_engine(fig).set(rect=(0, below / height, 1, 1 - below / height), w_pad=0.04, h_pad=0.04)


@with_style
def layout(fig: Figure) -> None:
    """Give everything its place, once for all formats: that takes as long as drawing it."""
    fig.set_dpi(DPI)
    fig.draw_without_rendering()
    fig.set_layout_engine("none")


@with_style
def render_figure(fig: Figure, kind: str) -> bytes:
    """Return the figure as png, svg or pdf: the same bytes for the same figure, as no date goes in."""
    metadata: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    buffer = io.BytesIO()
    fig.savefig(buffer, format=kind, dpi=DPI, metadata=metadata.get(kind, {}))
    return _to_palette(buffer) if kind == "png" else buffer.getvalue()


def _to_palette(picture: io.BytesIO) -> bytes:
    """Return the image in 256 colors of its own: a third of the size, no color off by more than a fifteenth."""
    few = io.BytesIO()
    with Image.open(picture) as full:
        flat = full.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        flat.save(few, format="png", optimize=True, dpi=(DPI, DPI))
    return few.getvalue()


def panel_grid(panels: int, most: int, narrow: int) -> tuple[int, int]:
    """Return rows and columns of so many panels: at most ``most`` side by side, ``narrow`` in one column."""
    columns = min(panels, narrow if current_style().is_narrow else most)
    return math.ceil(panels / columns), columns


def add_shared_legend(fig: Figure, columns: int) -> None:
    """Add one legend of all optimizers in some axes, each once, in the order of their styles."""
    handles = {str(h.get_label()): h for ax in fig.axes for h in ax.get_legend_handles_labels()[0]}
    add_legend(fig, [handles[name] for name in sorted(handles, key=lambda name: (name.casefold(), name))], columns)


def log_if_wide(ax: Axes, values: Sequence[float], ratio: float = 4.0, *, higher_is_better: bool = False) -> bool:
    """Make y logarithmic when positive values span more than ``ratio``; not for accuracies."""
    if higher_is_better:
        return False
    positive = [v for v in values if v > 0]
    if len(positive) < len(values) or not positive or max(positive) / min(positive) <= ratio:
        return False
    log_ticks(ax, "y", min(positive), max(positive))
    return True


def log_ticks(ax: Axes, which: str, low: float, high: float) -> None:
    """Set a logarithmic axis with plain numbers: the more decades, the fewer per decade."""
    axis = ax.yaxis if which == "y" else ax.xaxis
    (ax.set_yscale if which == "y" else ax.set_xscale)("log")
    ratio = high / low
    subs = (1, 1.5, 2, 3, 4, 5, 7) if ratio < 12 else (1, 2, 5) if ratio < 300 else (1,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}" if 1e-3 <= x < 1e5 else format_power(x)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def fixed_ticks(ax: Axes, which: str, places: Sequence[float], texts: Sequence[str]) -> None:
    """Set major ticks at ``places`` with ``texts``, and no minor ones."""
    axis = ax.yaxis if which == "y" else ax.xaxis
    named = dict(zip(places, texts, strict=True))
    axis.set_major_locator(FixedLocator(list(places)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: min(named.items(), key=lambda item: abs(item[0] - x))[1]))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
