"""Draw the figures of this report again, from the tables beside this file: python plot.py [--width single]

Needs matplotlib and pandas, and nothing else. Change what you like: colours, fonts, sizes and words stand below.
"""

from __future__ import annotations

import argparse
from PIL import Image
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from dataclasses import replace
from functools import wraps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PatchCollection
from matplotlib.collections import PathCollection
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator
from matplotlib.ticker import FuncFormatter
from matplotlib.ticker import LogLocator
from matplotlib.ticker import MaxNLocator
from matplotlib.ticker import NullFormatter
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray
from pathlib import Path
from typing import Any
from typing import Literal
from typing import NamedTuple
from typing import ParamSpec
from typing import TextIO
from typing import TypeVar
import io
import math
import matplotlib as mpl
import numpy as np
import pandas as pd
import textwrap

FOOTER = 'Made from: study figure3 · mnist1d_20000 · mlp_100_100 · 8,640 steps × 100 · 200 runs (0 diverged, 0 failed) · seeds 0–7, 1000000–1000015 · adamcmp 0.1.0, torch 2.14.1 · runs 38d6a260'
ARMS = ('Adam + L2', 'AdamW (normalized)')
DRAWN = {

    'verdicts': ('verdicts_figure', ('verdicts',)),

    'learning_curves': ('learning_curves', ('learning_curves',)),

    'error_vs_decay': ('error_vs_decay', ('grid',)),

    'error_vs_train_loss': ('error_vs_train_loss', ('grid',)),

    'budget': ('budget_figure', ('best_of_k',)),

    'ranks': ('ranks_figure', ('ranks',)),

    'decay_curves': ('decay_curves', ('decay_curves',)),

}
"""Figure → the function that draws it, and the tables that it takes."""


# -------------------- criteria: What predictions are judged by: the loss that a task minimises and the error that it is compared by, as data.


Targets = Literal["classes", "quantities", "labels"]
"""What is predicted of an example: one class (of each position), real numbers, or which of several labels hold."""


@dataclass(frozen=True)
class ErrorMetric:
    """What runs of a task are compared and selected by."""

    name: str
    """``train.error``, and the record's ``error_metric``."""
    label: str
    """How people spell it behind the name of a part: ``test error``, ``test RMSE``."""
    baseline: str = ""
    """What the best constant prediction is."""
    unit: str = ""
    """As shown: ``%`` of shares, else that of the data."""
    higher_is_better: bool = False
    is_root: bool = False
    """The root of a mean over examples."""

    @property
    def factor(self) -> float:
        """What stored values are multiplied by to be shown in the unit."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def stored_unit(self) -> str:
        """Of stored values: ``1`` of shares."""
        return "1" if self.unit == "%" else self.unit

    @property
    def gap_unit(self) -> str:
        """Unit of a difference of two values."""
        return "pp" if self.unit == "%" else self.unit

    @property
    def better(self) -> str:
        """Which way is better: ``lower`` or ``higher``."""
        return "higher" if self.higher_is_better else "lower"

    @property
    def sign(self) -> float:
        """1 where lower is better, else −1: sign · value is what selection makes small."""
        return -1.0 if self.higher_is_better else 1.0

    def text(self, value: float) -> str:
        """A value for people, of one run: ``2.31%``, ``54.3``, ``54.3 mg/dl``."""
        return f"{value:.2%}" if self.unit == "%" else f"{value:.4g} {self.unit}".rstrip()


ERRORS: Mapping[Targets, tuple[ErrorMetric, ...]] = {
    "classes": (ErrorMetric("error_rate", "error", "the majority class", "%"),),
    "quantities": (
        ErrorMetric("rmse", "RMSE", "the mean of training", is_root=True),
        ErrorMetric("mae", "MAE", "the median of training"),
        ErrorMetric("r2", "R²", "the mean of training", higher_is_better=True),
    ),
    "labels": (
        ErrorMetric("average_precision", "average precision", "the same ranking for all", "%", True),
        ErrorMetric("f1", "F1", "all labels for all", "%", True),
        ErrorMetric("hamming_loss", "Hamming loss", "the more common answer", "%"),
    ),
}
"""What fits which targets; the first is taken where ``train.error`` is ``auto``."""
UNITLESS = ("r2",)
"""Errors of quantities that do not have their unit."""

LOSSES: Mapping[Targets, tuple[str, ...]] = {
    "classes": ("cross_entropy",),
    "quantities": ("mse", "huber"),
    "labels": ("bce",),
}
"""What fits which targets; the first is taken where ``train.loss`` is ``auto``."""
LOSS_TEXTS: Mapping[str, tuple[str, str]] = {
    "cross_entropy": ("cross-entropy", "nat"),
    "bce": ("binary cross-entropy", "nat"),
    "mse": ("squared error of standardised targets", ""),
    "huber": ("Huber loss of standardised targets", ""),
}
"""What each is called, and its unit."""


@dataclass(frozen=True)
class Criteria:
    """What compared runs share: the loss that they are measured by and their error."""

    loss: str
    error: ErrorMetric

    @property
    def loss_unit(self) -> str:
        """``nat``, or nothing."""
        return LOSS_TEXTS.get(self.loss, ("", ""))[1]

    @property
    def loss_text(self) -> str:
        """What the loss is called; an own one is called by its path."""
        return LOSS_TEXTS.get(self.loss, (self.loss, ""))[0]


def error_metric(name: str, unit: str = "") -> ErrorMetric:
    """The error of that name; of quantities in a unit of the data.

    Raises:
        KeyError: there is none.
    """
    targets, found = {each.name: (kind, each) for kind, every in ERRORS.items() for each in every}[name]
    return replace(found, unit=unit) if targets == "quantities" and name not in UNITLESS else found


CLASSIFICATION = Criteria("cross_entropy", ERRORS["classes"][0])
"""What records say that were stored before there was any other."""


def criteria_of(table: pd.DataFrame) -> Criteria:
    """What runs or cells of one task are judged by; records from before there was a choice tell of classification."""
    known = {name: table[name].dropna() for name in ("loss", "error_metric", "error_unit") if name in table}
    if any(each.empty for each in known.values()) or len(known) < 3:
        return CLASSIFICATION
    loss, name, unit = (str(each.iloc[0]) for each in known.values())
    return Criteria(loss, error_metric(name, unit))


# -------------------- labels: How numbers, metrics and conventions are spelt in figures and tables. No matplotlib here.


DECAYS: dict[str, str] = {
    "l2": "L2",
    "l2_m_only": "L2 in m only",
    "l2_v_only": "L2 in v only",
    "lr_scaled": "decoupled, ηαλ per step",
    "schedule_only": "decoupled, ηλ per step",
    "normalized": "decoupled, normalized",
    "lr_squared": "decoupled, η²αλ per step",
    "lr_free": "decoupled, λ per step",
    "cautious": "decoupled, ηαλ where signs agree",
    "fixed_norm": "norms are fixed",
    "trust_ratio": "in the scaled step",
}
"""Decay conventions; behind "decoupled" stands what one step takes off a weight."""

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def decay_name(decay: object) -> str:
    """A convention for people; an own optimizer has none of ours."""
    return DECAYS.get(str(decay), "own convention")


def named(column: str, criteria: Criteria) -> str:
    """A measured column for people: ``test_error`` → ``test error`` or ``test RMSE``."""
    if column == "gap":
        return "generalization gap"
    part, _, what = column.partition("_")
    return f"{part} {criteria.error.label}" if what == "error" else f"{part.replace('train', 'training')} {what}"


def requested_name(metric: str) -> str:
    """A metric on request for people: ``validation_mae`` → ``validation MAE``."""
    part, _, name = metric.partition("_")
    known = {each.name: each.label for every in ERRORS.values() for each in every}
    return f"{part} {known[name]}" if name in known else metric.replace("_", " ")


def metric_name(metric: str, criteria: Criteria) -> str:
    """``final_test_error`` → ``final test error``; ``best_test_error`` → ``test error at the best epoch``."""
    when, _, name = metric.partition("_")
    text = named(name, criteria).replace("training", "train")
    return f"final {text}" if when == "final" else f"{text} at the best epoch"


def scale(metric: str, criteria: Criteria) -> tuple[float, str]:
    """Factor and unit in which a metric is shown: shares in percent, quantities in theirs, losses in nat or none."""
    error = criteria.error
    if metric.endswith("gap"):
        return error.factor, error.gap_unit
    return (error.factor, error.unit) if metric.endswith("error") else (1.0, criteria.loss_unit)


def with_unit(name: str, *units: str) -> str:
    """A name and in brackets its unit, if it has one: ``test error (%)``."""
    told = "; ".join(filter(None, units))
    return f"{name} ({told})" if told else name


def short(x: float, digits: int = 2) -> str:
    """A number for a tick: at most ``digits`` significant digits, ``5e-4`` below 0.01 and from 1000 on.

    >>> [short(x) for x in (0, 1e-3, 0.00048828125, 0.0125, 0.5, 16, 2000)]
    ['0', '1e-3', '4.9e-4', '0.013', '0.5', '16', '2e3']
    """
    if not math.isfinite(x) or x == 0:
        return f"{x:g}"
    exponent = int(f"{x:.{digits - 1}e}".partition("e")[2])
    return _trimmed(f"{x:.{max(digits - 1 - exponent, 0)}f}") if -2 <= exponent < 3 else power(x, digits)


def power(x: float, digits: int = 2) -> str:
    """A number as a power of ten, whatever its size.

    >>> [power(x) for x in (0, 1e-3, 0.0125, 0.5, 16)]
    ['0', '1e-3', '1.3e-2', '5e-1', '1.6e1']
    """
    if not math.isfinite(x) or x == 0:
        return f"{x:g}"
    mantissa, _, exponent = f"{x:.{digits - 1}e}".partition("e")
    return f"{_trimmed(mantissa)}e{int(exponent)}"


def _trimmed(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number


def ten_to(exponent: int) -> str:
    """``10⁻³``, in letters of the text's size."""
    return "10" + str(exponent).translate(_SUPERSCRIPT)


def ticks(values: Sequence[float]) -> list[str]:
    """Labels of one axis, all different: 2⁻⁵ where all are powers of two, else ``short`` with the digits it takes."""
    positive = [x for x in values if x > 0]
    if len(positive) > 2 and min(positive) < 0.1 and all(math.frexp(x)[0] == 0.5 for x in positive):
        return ["0" if x == 0 else "2" + str(math.frexp(x)[1] - 1).translate(_SUPERSCRIPT) for x in values]
    for digits in range(2, 8):
        labels = [short(x, digits) for x in values]
        if any("e" in label for label in labels):  # one notation for all
            labels = [power(x, digits) for x in values]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{x:.17g}" for x in values]


# -------------------- reading: A table as a report's csv holds it.


_NAMES = (
    "arm",
    "a",
    "b",
    "other",
    "task",
    "kind",
    "decay",
    "metric",
    "edge",
    "restarts",
    "convention",
    "part",
    "by",
    "unit",
)
"""Columns that hold text, whatever it looks like."""


def read_table(source: Path | TextIO) -> pd.DataFrame:
    """What is empty is missing, and nothing else is; an apostrophe that keeps text from being a formula goes."""
    text: Any = dict.fromkeys(_NAMES, str)
    found = pd.read_csv(source, dtype=text, keep_default_na=False, na_values=[""])
    texts = found.select_dtypes(exclude=["number", "bool"])
    safe = {str(name): texts[name].str.replace(r"^'(?=[=+@-])", "", regex=True) for name in texts}
    return found.assign(**safe)


# -------------------- style: One look for all figures: column widths, colours that colour-blind readers tell apart, a footer, deterministic bytes.


WIDTHS = {"single": 3.5, "double": 7.0}
"""Inches: one column of a journal (89 mm), and two (178 mm)."""
SMALLEST_FONT = 6
"""Points, of any text in a figure at its printed size."""
DPI = 200
"""Of png."""
GREY = "#666666"
FLAG = "#D55E00"
"""What asks for attention: a best cell on the edge, a failed cell."""

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


class Page(NamedTuple):
    """What all figures of a report share."""

    width: str = "double"
    """One of ``WIDTHS``."""
    arms: tuple[str, ...] = ()
    """All that there are, so that each has one look in all figures."""
    footer: str = ""
    """What they were made from."""

    @property
    def inches(self) -> float:
        """How wide a figure may be."""
        return WIDTHS[self.width]

    @property
    def is_narrow(self) -> bool:
        """It is one column."""
        return self.width == "single"


_PAGE: ContextVar[Page] = ContextVar("page", default=Page())  # noqa: B039 - it is immutable


def page() -> Page:
    """The page that is drawn for."""
    return _PAGE.get()


@contextmanager
def on_page(given: Page) -> Iterator[None]:
    """Draw for a page."""
    token = _PAGE.set(given)
    try:
        yield
    finally:
        _PAGE.reset(token)


def rc() -> Any:
    """Our settings of matplotlib, for the page."""
    size = _SIZES[page().width]
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


class NotDrawn(Exception):  # noqa: N818 - not an error: the report says why a figure is missing
    """There is nothing to draw; the text says why."""


class Look(NamedTuple):
    """How an arm is drawn in every figure."""

    colour: str
    marker: str
    dash: Any


_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C7A00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1)))


def looks(arms: Iterable[str]) -> dict[str, Look]:
    """The look of each arm: fixed by its place in alphabetical order among all of the page."""
    wanted = set(arms)
    ordered = sorted({*page().arms, *wanted}, key=lambda arm: (arm.casefold(), arm))
    return {
        arm: Look(_COLOURS[i % 8], _MARKERS[(i + i // 8) % 8], _DASHES[i % 5])
        for i, arm in enumerate(ordered)
        if arm in wanted
    }


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Run a function under our settings and leave matplotlib's own as they were."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        with mpl.rc_context(rc()):
            return draw(*args, **kwargs)

    return wrapper


def figure(width: float, height: float) -> Figure:
    """An empty figure (inches) for axes of ``height``; the page's footer comes below, and ``legend`` between them.

    It is no wider than the page, and as wide where that is one column.
    """
    width = page().inches if page().is_narrow else min(width, page().inches)
    text = textwrap.fill(page().footer, int(20 * width))
    below = 0.03 + 0.1 * (text.count("\n") + 1) if text else 0.0
    fig = Figure(figsize=(width, height), layout="constrained")
    if text:
        look: dict[str, Any] = {
            "fontsize": SMALLEST_FONT,
            "color": GREY,
            "va": "bottom",
            "ha": "left",
            "linespacing": 1.15,
        }
        fig.text(0.04, 0.02, text, transform=fig.dpi_scale_trans, **look)
    _grow(fig, below)
    return fig


def legend(fig: Figure, handles: Sequence[Artist], columns: int, labels: Sequence[str] | None = None) -> None:
    """A legend below the axes and above the footer; the figure grows by its height.

    At most ``columns`` columns, fewer where their texts are long (at 200 dpi they are some 5 % wider than here).
    """
    texts = labels or [str(handle.get_label()) for handle in handles]
    below = _reserved(fig)
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


def _engine(fig: Figure) -> ConstrainedLayoutEngine:
    engine = fig.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    return engine


def _reserved(fig: Figure) -> float:
    """Inches at the foot that the axes leave free."""
    return float(_engine(fig).get()["rect"][1] * fig.get_figheight())


def _grow(fig: Figure, inches: float) -> None:
    below, height = _reserved(fig) + inches, fig.get_figheight() + inches
    fig.set_size_inches(fig.get_figwidth(), height)
    _engine(fig).set(rect=(0, below / height, 1, 1 - below / height), w_pad=0.04, h_pad=0.04)


@styled
def arrange(fig: Figure) -> None:
    """Give everything its place, once for all formats: that takes as long as drawing it."""
    fig.set_dpi(DPI)
    fig.draw_without_rendering()
    fig.set_layout_engine("none")


@styled
def render(fig: Figure, kind: str) -> bytes:
    """The figure as png, svg or pdf: the same bytes for the same figure, as no date goes in."""
    metadata: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    buffer = io.BytesIO()
    fig.savefig(buffer, format=kind, dpi=DPI, metadata=metadata.get(kind, {}))
    return _with_palette(buffer) if kind == "png" else buffer.getvalue()


def _with_palette(picture: io.BytesIO) -> bytes:
    """The same picture in 256 colours of its own: a third of the size, no colour off by more than a fifteenth."""
    few = io.BytesIO()
    with Image.open(picture) as full:
        flat = full.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        flat.save(few, format="png", optimize=True, dpi=(DPI, DPI))
    return few.getvalue()


def grid_of(panels: int, most: int, narrow: int) -> tuple[int, int]:
    """Rows and columns of so many panels: at most ``most`` side by side, ``narrow`` in one column."""
    columns = min(panels, narrow if page().is_narrow else most)
    return math.ceil(panels / columns), columns


def shared_legend(fig: Figure, columns: int) -> None:
    """One legend of all arms that some axes show, each once, in the order of their looks."""
    handles = {str(h.get_label()): h for ax in fig.axes for h in ax.get_legend_handles_labels()[0]}
    legend(fig, [handles[name] for name in sorted(handles, key=lambda name: (name.casefold(), name))], columns)


def log_if_wide(ax: Axes, values: Sequence[float], ratio: float = 4.0) -> bool:
    """Make y logarithmic when positive values span more than ``ratio``."""
    positive = [v for v in values if v > 0]
    if len(positive) < len(values) or not positive or max(positive) / min(positive) <= ratio:
        return False
    log_ticks(ax, "y", min(positive), max(positive))
    return True


def log_ticks(ax: Axes, which: str, low: float, high: float) -> None:
    """A logarithmic axis with plain numbers, the fewer a decade the more decades there are."""
    axis = ax.yaxis if which == "y" else ax.xaxis
    (ax.set_yscale if which == "y" else ax.set_xscale)("log")
    ratio = high / low
    subs = (1, 1.5, 2, 3, 4, 5, 7) if ratio < 12 else (1, 2, 5) if ratio < 300 else (1,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}" if 1e-3 <= x < 1e5 else power(x)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def fixed_ticks(ax: Axes, which: str, places: Sequence[float], texts: Sequence[str]) -> None:
    """Major ticks at ``places`` with ``texts``, and no minor ones."""
    axis = ax.yaxis if which == "y" else ax.xaxis
    named = dict(zip(places, texts, strict=True))
    axis.set_major_locator(FixedLocator(list(places)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: min(named.items(), key=lambda item: abs(item[0] - x))[1]))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


# -------------------- budget: What a search of k cells brings, and who leads when: tables in, figures out.


WIDE = 5.8
FEW_ARMS = 6
"""Up to which bands do not hide each other."""


@styled
def budget_figure(found: pd.DataFrame) -> Figure:
    """Expected validation and test error of the best of k cells by validation; band of the middle 80 % of searches.

    Args:
        found: ``analysis.budget.best_of_k`` of one task.

    Raises:
        NotDrawn: no arm has two cells.
    """
    if found.empty or found["k"].max() < 2:
        raise NotDrawn("no optimizer has two cells to search among")
    criteria = criteria_of(found)
    fig = figure(WIDE, 1.9 if page().is_narrow else 2.3)
    axes = fig.subplots(1, 2, sharey=True)
    look = looks(found["arm"])
    for ax, part in zip(axes, ("validation", "test"), strict=True):
        metric = f"final_{part}_error"
        factor, unit = scale(metric, criteria)
        for arm, style in look.items():
            own = found[found["arm"] == arm]
            x, low, high = (own[name].to_numpy(float) for name in ("k", f"{part}_low", f"{part}_high"))
            y = factor * own[part].to_numpy(float)
            at = np.unique(np.geomspace(1, len(x), min(7, len(x))).astype(int)) - 1  # evenly on the axis
            ax.plot(
                x, y, color=style.colour, ls=style.dash, marker=style.marker, ms=3, markevery=at.tolist(), lw=1.1,
                label=arm, zorder=3,
            )  # fmt: skip
            if len(look) <= FEW_ARMS:
                ax.fill_between(x, factor * low, factor * high, color=style.colour, alpha=0.10, lw=0, zorder=2)
        ax.set(xlabel="cells tried, k", ylabel=with_unit(named(f"{part}_error", criteria), unit))
        log_ticks(ax, "x", 1, float(found["k"].max()))
        ax.grid(visible=True)
        ax.margins(x=0.02)
    lines = factor * found[["validation", "test"]].to_numpy(float)
    log_if_wide(axes[0], lines.ravel().tolist())
    shared_legend(fig, 4)
    return fig


@styled
def ranks_figure(found: pd.DataFrame) -> Figure:
    """Mean rank by test error at every evaluation, over shared seeds; and how many pairs stand as at the end.

    Args:
        found: ``analysis.ranks.ranks`` of one task.

    Raises:
        NotDrawn: there are no two arms, or no two evaluations.
    """
    if found.empty:
        raise NotDrawn("no two optimizers share two evaluations")
    rows, columns = grid_of(2, 2, 1)
    look = looks(found["arm"])
    height = 2.2 + 0.06 * max(len(look) - 8, 0)
    fig = figure(WIDE, (1.6 * rows if page().is_narrow else height))
    ratios = {"width_ratios": (1.5, 1)} if columns == 2 else {"height_ratios": (1.5, 1)}
    ranks, agreement = fig.subplots(rows, columns, gridspec_kw=ratios)
    few = found["epoch"].nunique() <= 20
    for arm, style in look.items():
        own = found[found["arm"] == arm]
        every = None if few else (len(own) // 12)
        ranks.plot(
            own["epoch"], own["rank"], color=style.colour, ls=style.dash, marker=style.marker, ms=3, markevery=every,
            lw=1.1, label=arm,
        )  # fmt: skip
    ranks.set(xlabel="epoch", ylabel="mean rank by test error")
    ranks.set_ylim(len(look) + 0.15, 0.85)
    ranks.yaxis.set_major_locator(MaxNLocator(integer=True))
    one = found.drop_duplicates("epoch")
    agreement.plot(one["epoch"], 100 * one["agreement"], color="black", lw=1.2)
    agreement.set(xlabel="epoch", ylabel="pairs as at\nthe end (%)", ylim=(0, 103))
    for ax in (ranks, agreement):
        ax.grid(visible=True)
        ax.margins(x=0.02)
    shared_legend(fig, 4)
    return fig


@styled
def profiles_figure(ratios: pd.DataFrame) -> Figure:
    """Performance profiles over tasks, of steps and of seconds to each task's target.

    Args:
        ratios: ``analysis.ranks.to_targets`` of several tasks.

    Raises:
        NotDrawn: there are fewer than two tasks with two arms.
    """
    if ratios["task"].nunique() < 2:
        raise NotDrawn("a profile needs two tasks with two optimizers each")
    fig = figure(WIDE, 1.7 if page().is_narrow else 2.2)
    axes = fig.subplots(1, 2, sharey=True)
    look = looks(ratios["arm"])
    for ax, name in zip(axes, ("steps", "seconds"), strict=True):
        found = profile(ratios, name)
        most = float(found["tau"].max())
        for arm, style in look.items():
            own = found[found["arm"] == arm]
            x = [*own["tau"], 1.05 * most]
            ax.plot(x, [*(100 * own["share"]), 100 * own["share"].iloc[-1]], color=style.colour, ls=style.dash,
                    drawstyle="steps-post", label=arm)  # fmt: skip
        ax.set(xlabel=f"{name} to the target,\nby those of the fastest", ylim=(0, 103))
        if most > 1:
            log_ticks(ax, "x", 1, most)
        ax.grid(visible=True)
    axes[0].set_ylabel("tasks (%)")
    shared_legend(fig, 4)
    return fig


def profile(ratios: pd.DataFrame, name: str) -> pd.DataFrame:
    """Of each arm the share of tasks that it reaches within each ratio τ that occurs: ``arm``, ``tau``, ``share``."""
    tasks = ratios["task"].nunique()
    finite = ratios[np.isfinite(ratios[f"{name}_ratio"])]
    taus = np.unique([1.0, *finite[f"{name}_ratio"]])
    rows = [
        (arm, tau, float((part[f"{name}_ratio"] <= tau * (1 + 1e-12)).sum()) / tasks)
        for arm, part in ratios.groupby("arm")
        for tau in taus
    ]
    return pd.DataFrame(rows, columns=["arm", "tau", "share"])


# -------------------- decay_curves: Learning curves of every λ at one learning rate (the paper's Figure 3): the best in bold, the others thin.


SHADES = "Greys"
"""Thin lines: the darker, the larger λ."""


@styled
def decay_curves(curves: pd.DataFrame) -> Figure:
    """A column an arm; above training loss, below test error, against epochs.

    Args:
        curves: Mean curves of every cell: ``arm``, ``weight_decay``, ``best``, ``epoch`` and the metrics.

    Raises:
        NotDrawn: no cell has two evaluations.
    """
    if curves.empty or curves["step"].nunique() < 2:
        raise NotDrawn("no cell was evaluated twice; train.evaluations=5 makes a curve")
    criteria, look = criteria_of(curves), looks(curves["arm"])
    metrics = ("train_loss", "test_error")
    fig = figure(1.2 + 2.6 * len(look), 3.0 if page().is_narrow else 3.9)
    axes = fig.subplots(len(metrics), len(look), squeeze=False, sharex=True, sharey="row")
    shades = mpl.colormaps[SHADES]
    handles = []
    for column, (arm, style) in enumerate(look.items()):
        own = curves[curves["arm"] == arm]
        decays = np.unique(own["weight_decay"])
        best = own[own["best"]]
        for row, metric in enumerate(metrics):
            ax = axes[row, column]
            factor, unit = scale(metric, criteria)
            for i, decay in enumerate(decays):
                part = own[own["weight_decay"] == decay]
                shade = shades(0.3 + 0.6 * i / max(len(decays) - 1, 1))
                ax.plot(part["epoch"], factor * part[metric], color=shade, lw=0.6, ls=":" if decay == 0 else "-")
            ax.plot(best["epoch"], factor * best[metric], color=style.colour, lw=1.8, ls=style.dash, zorder=4)
            ax.grid(visible=True)
            ax.margins(x=0.02)
            ax.set_xlabel("epoch" if row else "")
            ax.set_ylabel(with_unit(named(metric, criteria), unit) if column == 0 else "")
        axes[0, column].set_title(arm)
        if len(best):
            text = f"{arm}: best λ {short(best['weight_decay'].iloc[0])}"
            handles.append(Line2D([], [], color=style.colour, lw=1.8, ls=style.dash, label=text))
    for row, metric in enumerate(metrics):
        values = (scale(metric, criteria)[0] * curves[metric]).dropna()
        log_if_wide(axes[row, 0], values[values > 0].tolist() if metric == "train_loss" else values.tolist())
    handles.append(Line2D([], [], color=shades(0.9), lw=0.6, label="largest λ"))
    handles.append(Line2D([], [], color=shades(0.3), lw=0.6, label="smallest λ"))
    if (curves["weight_decay"] == 0).any():
        handles.append(Line2D([], [], color=shades(0.3), lw=0.6, ls=":", label="λ = 0"))
    legend(fig, handles, 5)
    return fig


# -------------------- forest: Differences between arms as a forest plot: a row a pair, its intervals, the margin within which both are the same.


LONG = 45
"""Characters of a pair from which on it takes two lines; in one column it always does."""
MOST_PAIRS = 28
"""That have room."""
SE_IN_95 = 1.96
KINDS = {
    "apart": ("significantly different", "#0072B2", "o"),
    "same": ("equivalent", "#009E73", "s"),
    "open": ("no significant difference", GREY, "D"),
}


@styled
def verdicts_figure(found: pd.DataFrame) -> Figure:
    """Draw the difference of every pair with its simultaneous 95 % CI; thick: the standard error over seeds alone.

    Args:
        found: ``analysis.verdicts.frame`` of one task.

    Raises:
        NotDrawn: no pair has an interval.
    """
    known = found[np.isfinite(found[["low", "high"]].to_numpy(float)).all(axis=1)]
    rows: list[Any] = known.head(MOST_PAIRS).to_dict("records")
    if not rows:
        raise NotDrawn("no pair of optimizers has a confidence interval")
    criteria = criteria_of(found)
    factor, unit = scale("final_gap", criteria)
    names = [f"{each['a']} − {each['b']}" for each in rows]
    long = max(map(len, names)) > (24 if page().is_narrow else LONG)
    if long:
        names = [f"{each['a']}\n− {each['b']}" for each in rows]
    fig = figure(7.0 if long else 6.2, 0.55 + (0.36 if long else 0.24) * len(rows))
    ax = fig.subplots()
    margin = factor * rows[0]["margin"]
    if not math.isnan(margin):
        ax.axvspan(-margin, margin, color="#009E73", alpha=0.10, lw=0)
    ax.axvline(0, color="black", lw=0.7)
    for row, each in enumerate(rows):
        _, colour, marker = KINDS[each["kind"]]
        ax.plot([factor * each["low"], factor * each["high"]], [row, row], color=colour, lw=0.9, zorder=3)
        half = factor * each["se_seeds"] * SE_IN_95
        centre = factor * each["mean"]
        ax.plot([centre - half, centre + half], [row, row], color=colour, lw=2.6, solid_capstyle="butt", zorder=3)
        ax.plot(factor * each["mean"], row, marker=marker, color=colour, ms=5, mec="white", mew=0.6, zorder=4)
        if not math.isnan(each["budget"]):
            ax.plot(factor * each["mean_as_tuned"], row, marker="|", color=FLAG, ms=9, mew=1.4, zorder=5)
    ax.set_yticks(range(len(rows)), names)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel(with_unit(f"difference of the final test {criteria.error.label}", unit))
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=True, axis="x")
    used = {each["kind"] for each in rows}
    handles = [
        Line2D([], [], color=colour, marker=marker, ms=5, lw=0.9, label=text)
        for kind, (text, colour, marker) in KINDS.items()
        if kind in used
    ]
    handles.append(Line2D([], [], color=GREY, lw=0.9, label="95 % CI, simultaneous"))
    handles.append(Line2D([], [], color=GREY, lw=2.6, label="±1.96 SE over seeds alone"))
    if any(not math.isnan(each["budget"]) for each in rows):
        handles.append(Line2D([], [], color=FLAG, marker="|", ms=9, mew=1.4, lw=0, label="as tuned, unequal budgets"))
    patches = [] if math.isnan(margin) else [Patch(color="#009E73", alpha=0.2, lw=0, label="margin")]
    legend(fig, [*handles, *patches], 6)
    return fig


# -------------------- learning_curves: Learning curves of each arm's best cell: mean curves in, a figure out (the paper's Figure 3, left and middle).


LEARNING = ("validation_error", "test_error", "train_loss")


@styled
def learning_curves(means: pd.DataFrame) -> Figure:
    """Validation error, test error and training loss against epochs: mean over seeds, band of 95 % (Student t).

    Args:
        means: ``analysis.mean_curves`` of each arm's best cell, with its ``lr`` and ``weight_decay``.

    Raises:
        NotDrawn: no arm has a best cell, or none of their runs has a curve of two evaluations.
    """
    if means.empty:
        raise NotDrawn("no optimizer has a best cell whose runs have stored curves")
    if (means.groupby("arm")["step"].nunique() < 2).all():
        raise NotDrawn("the winners were evaluated once, after the last step; train.evaluations=5 makes a curve")
    look, criteria = looks(means["arm"]), criteria_of(means)
    rows, columns = grid_of(len(LEARNING), 3, 1)
    fig = figure(7.0, 1.25 * rows if page().is_narrow else 2.15)
    axes = fig.subplots(rows, columns, squeeze=False, sharex=page().is_narrow).ravel()
    for ax, metric in zip(axes, LEARNING, strict=True):
        factor, unit = scale(metric, criteria)
        draw_curves(ax, means, metric, factor, look)
        ax.set(xlabel="epoch", ylabel=with_unit(named(metric, criteria), unit))
    for ax in axes[:-1] if page().is_narrow else ():
        ax.set_xlabel("")
    errors, losses = ["validation_error", "test_error"], ["train_loss"]
    for ax, metrics in zip(axes, (errors, errors, losses), strict=True):  # both errors on one scale
        limit_curves(ax, means, metrics, scale(metrics[0], criteria)[0])
    handles, _ = axes[0].get_legend_handles_labels()
    cells = means.drop_duplicates("arm").set_index("arm")
    winners = {
        str(arm): f"{arm}: lr {short(row['lr'])}, λ {short(row['weight_decay'])}" for arm, row in cells.iterrows()
    }
    legend(fig, handles, 3 if len(handles) > 4 else 2, [winners[str(handle.get_label())] for handle in handles])
    return fig


def draw_curves(ax: Axes, means: pd.DataFrame, metric: str, factor: float, look: dict[str, Look]) -> None:
    """The mean of each arm against epochs, with its band."""
    groups = dict(iter(means.groupby("arm")))
    for arm, style in ((arm, style) for arm, style in look.items() if arm in groups):
        part = groups[arm]
        x, y = part["epoch"].to_numpy(float), part[metric].to_numpy(float) * factor
        half = np.nan_to_num(part[f"{metric}_half_width"].to_numpy(float)) * factor
        marker = style.marker if np.isfinite(y).sum() < 3 else ""
        ax.plot(x, y, color=style.colour, ls=style.dash, marker=marker, label=arm, zorder=3)
        if (half > 0).any():
            low = np.where(y > 0, np.maximum(y - half, 0.01 * y), y - half)  # what is positive has a band above zero
            ax.fill_between(x, low, y + half, color=style.colour, alpha=0.15, lw=0, zorder=2)
    ax.grid(visible=True)
    ax.margins(x=0.02)


def limit_curves(ax: Axes, means: pd.DataFrame, metrics: list[str], factor: float) -> None:
    """Room for all lines, and for bands as far as they do not squeeze the lines; logarithmic where it helps."""
    mean = means[metrics].to_numpy(float) * factor
    half = np.nan_to_num(means[[f"{metric}_half_width" for metric in metrics]].to_numpy(float)) * factor
    known = np.isfinite(mean)
    if not known.any():
        return
    lines, low, high = mean[known], float(mean[known].min()), float(mean[known].max())
    band_low, band_high = float((mean - half)[known].min()), float((mean + half)[known].max())
    if log_if_wide(ax, lines.tolist()):
        ax.set_ylim(max(band_low, 0.6 * low) / 1.06, min(band_high, 1.5 * high) * 1.06)
    else:
        room = (high - low) or abs(high) or 1.0
        floor = 0.0 if low >= 0 else -np.inf
        ax.set_ylim(max(band_low, low - room / 2, floor) - 0.04 * room, min(band_high, high + room / 2) + 0.04 * room)


# -------------------- heatmap: Error over lr × λ, one panel an arm (the paper's Figures 1 and 2): cells in, a figure out.


COLOURMAP = "viridis"
DIVERGED, HATCH = "#DDDDDD", "//////"


SCATTERED = 0.5
"""Share of the rows × columns that has to be there for cells to be a grid: a search draws a point at a time."""


def is_grid(cells: pd.DataFrame) -> bool:
    """Whether the cells of an arm fill a grid of lr × λ, or are points that were drawn."""
    return len(cells) >= SCATTERED * cells["lr"].nunique() * cells["weight_decay"].nunique()


def grids(table: pd.DataFrame) -> pd.DataFrame:
    """The cells of those arms that have a grid."""
    return table[table["arm"].map({arm: is_grid(part) for arm, part in table.groupby("arm")}).astype(bool)]


class Colours(NamedTuple):
    """What colour a value has, alike in all panels: the best is dark, whichever way that is."""

    norm: Normalize
    name: str


@styled
def heatmap(
    table: pd.DataFrame,
    metric: str = "final_test_error",
) -> Figure:
    """One panel an arm: x weight decay (categorical, 0 first), y lr (rising), colour the mean of ``metric``.

    Args:
        table: ``analysis.cells`` of one task; star and circles go by its column ``rank``.
        metric: What colour shows; any of ``analysis.METRICS``.

    Raises:
        NotDrawn: no arm has two learning rates and two weight decays.
    """
    sizes = table.groupby("arm")[["lr", "weight_decay"]].nunique()
    if not (sizes > 1).all(axis=1).any():
        raise NotDrawn("no optimizer has two learning rates and two weight decays: there is no grid to show")
    arms = list(looks(table["arm"]))
    most = len(arms) if len(arms) <= 3 else 2 if len(arms) == 4 else 3 if len(arms) <= 9 else 4
    rows, columns = grid_of(len(arms), most, 2)
    narrow = page().is_narrow
    fig = figure(1.3 + 2.7 * columns, 0.1 + (1.75 if narrow else 2.3 if columns < 3 else 2.0) * rows)
    width = fig.get_figwidth()
    axes = fig.subplots(rows, columns, squeeze=False)
    panels = dict(zip(arms, axes.flat, strict=False))
    for ax in axes.flat[len(arms) :]:
        ax.remove()

    criteria = criteria_of(table)
    factor, unit = scale(metric, criteria)
    more_is_better = metric.endswith("error") and criteria.error.higher_is_better
    sign = -1 if more_is_better else 1
    values = table.loc[table["n"] > 0, metric].to_numpy(dtype=np.float64) * factor
    low, high, clipped = colour_limits(sign * values)
    if more_is_better:
        low, high = -high, -low
    colours = Colours(Normalize(low, high), COLOURMAP + ("_r" if more_is_better else ""))
    k = circled(table)
    best, top = table[table["rank"] == 1], table[table["rank"] <= k]
    mesh: QuadMesh | PathCollection | None = None
    for arm, ax in panels.items():
        part = table[table["arm"] == arm].assign(value=lambda t: t[metric] * factor)
        across, down = part["weight_decay"].nunique(), part["lr"].nunique()
        if is_grid(part):
            cell_points = 72 * min(width / columns * 0.72 / across, 1.75 / down)
            mesh = _heatmap_panel(ax, part, colours)
            _heatmap_marks(ax, part, best[best["arm"] == arm], top[top["arm"] == arm], cell_points)
        else:
            mesh = _scattered_panel(ax, part, colours, best[best["arm"] == arm])
        named = decay_name(part["decay"].iloc[0])
        ax.set(
            title=textwrap.fill(arm, int(10 * width / columns)),
            xlabel=f"weight decay λ ({named})"
            if columns < 3 and not narrow
            else _fitting(f"λ ({named})", width / columns),
        )
    for row, ax in ((i // columns, ax) for i, ax in enumerate(panels.values())):
        ax.set_ylabel("learning rate" if ax is axes[row, 0] else "")
    assert mesh is not None
    worse = "min" if more_is_better else "max"
    bar = fig.colorbar(
        mesh,
        ax=list(panels.values()),
        extend=worse if clipped else "neither",
        aspect=28,
        pad=0.015,
        location="top" if narrow else "right",
    )
    bar.set_label(with_unit(metric_name(metric, criteria), unit))
    handles = _heatmap_legend(table, best, k, {arm: table[table["arm"] == arm] for arm in arms})
    legend(fig, handles, 5 if width > 5 else 2)
    return fig


def _fitting(text: str, inches: float) -> str:
    """Broken into lines that a panel of such a width has room for."""
    return textwrap.fill(text, int(12 * inches))


def colour_limits(values: NDArray[np.float64]) -> tuple[float, float, bool]:
    """Limits of the colour scale, and whether some value lies above them.

    From the lowest value to the highest one that is at most ``min + 4 (q25 − min)``. Of a quadratic bowl in the middle
    of the grid that shows all but the corners (q25 lies at 0.16 of its height). Cells far above, such as those at
    chance level, have the colour of the end, and a few of them more or less hardly move the limits.
    """
    known = np.sort(values[np.isfinite(values)])
    if known.size == 0:
        return 0.0, 1.0, False
    low, top = float(known[0]), float(known[-1])
    above = known[known > low]
    quarter = np.quantile(known, 0.25, method="higher")
    reach = 4 * float((quarter if quarter > low else above[0] if above.size else low) - low)
    high = float(known[known <= low + reach * (1 + 1e-9)][-1])
    if high == low:
        return low, low + max(abs(low) * 0.01, 1e-9), False
    return low, high, top > high


def circled(table: pd.DataFrame) -> int:
    """How many best cells are circled in each panel: ten as in the paper, fewer where that were over a quarter."""
    return int(min(10, max(1, table.groupby("arm").size().max() // 4)))


def _positions(part: pd.DataFrame, all_of: pd.DataFrame) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    x = np.searchsorted(np.unique(all_of["weight_decay"]), part["weight_decay"])
    y = np.searchsorted(np.unique(all_of["lr"]), part["lr"])
    return x, y


def _heatmap_panel(ax: Axes, part: pd.DataFrame, colours: Colours) -> QuadMesh:
    decays, lrs = np.unique(part["weight_decay"]), np.unique(part["lr"])
    x, y = _positions(part, part)
    values = np.full((len(lrs), len(decays)), np.nan)
    values[y, x] = part["value"]
    big = values.size > 1600
    mesh = ax.pcolormesh(
        np.ma.masked_invalid(values),
        norm=colours.norm,
        cmap=colours.name,
        edgecolors="face",
        linewidth=0.2,
        rasterized=big,
    )
    for status, face, hatch, edge_colour in (
        ("diverged", DIVERGED, HATCH, "#8A8A8A"),
        ("failed", "#F4F4F4", None, GREY),
    ):
        for rows, colour in (((part["n"] == 0), face), ((part["n"] > 0), "none")):
            hit = (rows & (part[status] > 0)).to_numpy()
            boxes = [Rectangle((i, j), 1, 1) for i, j in zip(x[hit], y[hit], strict=True)]
            if boxes and (hatch or colour != "none"):
                patches = PatchCollection(boxes, label=status, facecolor=colour, edgecolor=edge_colour, linewidth=0)
                patches.set(hatch=hatch, rasterized=big)
                ax.add_collection(patches, autolim=False)
    hit = (part["failed"] > 0).to_numpy()
    ax.scatter(x[hit] + 0.5, y[hit] + 0.5, marker="x", s=16, linewidths=1.0, color=FLAG, label="failed")
    ax.set(xlim=(0, len(decays)), ylim=(0, len(lrs)))
    if decays[0] == 0 and len(decays) > 1:
        ax.axvline(1, color="white", lw=1.2)  # λ = 0 is no neighbour of the lowest λ on a logarithmic scale
    ax.spines[:].set_visible(True)
    for which, known in (("x", decays), ("y", lrs)):
        texts = ticks([float(v) for v in known])
        every = math.ceil(len(known) / 12)
        axis = ax.xaxis if which == "x" else ax.yaxis
        axis.set_ticks(np.arange(len(known))[::every] + 0.5, texts[::every])
    if len(decays) > 5:
        ax.tick_params(axis="x", labelrotation=90)
    return mesh


def _scattered_panel(ax: Axes, part: pd.DataFrame, colours: Colours, best: pd.DataFrame) -> PathCollection:
    """A dot for each point that was drawn, on logarithmic axes; λ = 0 has a column of its own on the left."""
    positive = part.loc[part["weight_decay"] > 0, "weight_decay"]
    low = float(positive.min()) if len(positive) else 1.0
    zero = low / 10 ** max(0.35, 0.08 * math.log10(float(positive.max()) / low) if len(positive) else 0.35)
    x = part["weight_decay"].where(part["weight_decay"] > 0, zero)
    good = part["n"] > 0
    lost = part[~good]
    ax.scatter(x[~good], lost["lr"], marker="x", s=14, linewidths=0.8, color="#8A8A8A", zorder=2)
    dots = ax.scatter(x[good], part.loc[good, "lr"], c=part.loc[good, "value"], norm=colours.norm, cmap=colours.name,
                      s=22, edgecolors="white", linewidths=0.3, zorder=3)  # fmt: skip
    star = best["weight_decay"].where(best["weight_decay"] > 0, zero)
    ax.scatter(star, best["lr"], s=110, marker="*", c="white", edgecolors="black", linewidths=0.6, zorder=4)
    ax.set(xscale="log", yscale="log")
    if (part["weight_decay"] == 0).any():
        ax.axvline(math.sqrt(zero * low), color=GREY, lw=0.6, ls=":", zorder=1)
        ax.annotate("0", (zero, 0), xycoords=("data", "axes fraction"), xytext=(0, -3), textcoords="offset points",
                    ha="center", va="top", fontsize="small")  # fmt: skip
        ticks_ = [each for each in ax.get_xticks() if each >= low * 0.99 and each <= float(positive.max()) * 1.01]
        ax.set_xticks(ticks_)
        ax.minorticks_off()
    low_lr, high_lr = float(part["lr"].min()), float(part["lr"].max())
    nice = [m * 10.0**e for e in range(math.floor(math.log10(low_lr)), math.ceil(math.log10(high_lr)) + 1) for m in
            ((1, 2, 5) if high_lr < 100 * low_lr else (1,))]  # fmt: skip
    shown = [each for each in nice if low_lr <= each <= high_lr]
    ax.set_yticks(shown, ticks(shown))
    ax.yaxis.minorticks_off()
    ax.spines[:].set_visible(True)
    return dots


def _heatmap_marks(ax: Axes, part: pd.DataFrame, best: pd.DataFrame, top: pd.DataFrame, cell_points: float) -> None:
    size = min(max(0.72 * cell_points, 3.5), 12.0)
    ring = [withStroke(linewidth=1.7, foreground="black")]
    x, y = _positions(top, part)
    ax.scatter(
        x + 0.5,
        y + 0.5,
        s=size**2,
        facecolors="none",
        edgecolors="white",
        linewidths=0.9,
        path_effects=ring,
        label="top",
    )
    x, y = _positions(best, part)
    colour = [FLAG if each else "white" for each in best["edge"].fillna("")]
    ax.scatter(
        x + 0.5,
        y + 0.5,
        s=max(0.8 * size, 6.0) ** 2,
        marker="*",
        c=colour,
        edgecolors="black",
        linewidths=0.4,
        label="best",
    )


def _heatmap_legend(
    table: pd.DataFrame, best: pd.DataFrame, k: int, parts: dict[str, pd.DataFrame]
) -> list[Line2D | Patch]:
    def mark(marker: str, face: str, text: str, edge_colour: str = "black", size: float = 7) -> Line2D:
        return Line2D([], [], ls="", marker=marker, mfc=face, mec=edge_colour, mew=0.6, ms=size, label=text)

    flagged = {bool(each) for each in best["edge"].fillna("")}
    handles: list[Line2D | Patch] = []
    if False in flagged:
        handles.append(mark("*", "white", "best on validation"))
    if True in flagged:
        handles.append(mark("*", FLAG, "best, on the edge of the grid"))
    full = [part for part in parts.values() if is_grid(part)]
    if flagged and k > 1 and full:
        handles.append(mark("o", "none", f"{k} best on validation", size=6))
    if len(full) < len(parts) and (table["n"] == 0).any():
        handles.append(mark("x", "#8A8A8A", "diverged or ended early", "#8A8A8A", 5))
    if full and (table["diverged"] > 0).any():
        text = (
            "diverged" if (table.loc[table["diverged"] > 0, "n"] == 0).all() else "diverged (over colour: some seeds)"
        )
        handles.append(Patch(facecolor=DIVERGED, edgecolor="#8A8A8A", hatch=HATCH, linewidth=0, label=text))
    if (table["failed"] > 0).any():
        handles.append(mark("x", FLAG, "failed", FLAG, 5))
    if any(len(p) < p["lr"].nunique() * p["weight_decay"].nunique() for p in full):
        handles.append(Patch(facecolor="white", edgecolor=GREY, linewidth=0.5, label="not run"))
    return handles


# -------------------- profiles: Test error along one axis of the grid, the other tuned on validation: how much λ and lr matter.


@styled
def error_vs_decay(table: pd.DataFrame, metric: str = "final_test_error") -> Figure:
    """Mean ``metric`` against λ at the lr that is best for that λ on validation; bars of 95 % over seeds.

    Args:
        table: ``analysis.cells`` of one task.
        metric: Any of ``analysis.METRICS``.

    Raises:
        NotDrawn: no arm has eligible cells at two weight decays.
    """
    return _along_axis(table, "weight_decay", metric, "weight decays")


@styled
def error_vs_lr(table: pd.DataFrame, metric: str = "final_test_error") -> Figure:
    """Mean ``metric`` against lr at the λ that is best for that lr on validation; else as ``error_vs_decay``.

    Raises:
        NotDrawn: no arm has eligible cells at two learning rates.
    """
    return _along_axis(table, "lr", metric, "learning rates")


def _along_axis(table: pd.DataFrame, axis: str, metric: str, plural: str) -> Figure:
    table = grids(table)
    ranked = table[table["rank"].notna()].sort_values(["arm", "rank"])
    profile = ranked.drop_duplicates(["arm", axis]).sort_values(["arm", axis])
    profile = profile[profile[metric].notna()]
    profile = profile[profile.groupby("arm")[axis].transform("nunique") > 1]
    if profile.empty:
        raise NotDrawn(f"no optimizer has eligible cells at two {plural}")
    by_convention = axis == "weight_decay"
    profile = profile.assign(panel=profile["decay"].map(decay_name, na_action=None) if by_convention else "")
    panels = list(profile.groupby("panel", sort=True))
    rows, columns = grid_of(len(panels), 3, 2)
    fig = figure({1: 4.2, 2: 5.8}.get(columns, 7.0), 0.05 + (1.8 if page().is_narrow else 2.1) * rows)
    axes = fig.subplots(rows, columns, squeeze=False, sharey=True)
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    look = looks(table["arm"])
    criteria = criteria_of(table)
    factor, unit = scale(metric, criteria)
    for place, (ax, (name, part)) in enumerate(zip(axes.flat, panels, strict=False)):
        _profile_panel(ax, part, axis, metric, factor, look)
        ax.set(title=name, xlabel="weight decay λ" if by_convention else "learning rate")
        ax.set_ylabel(with_unit(metric_name(metric, criteria), unit) if place % columns == 0 else "")
    means = (profile[metric] * factor).to_list()
    if log_if_wide(axes[0, 0], means):
        axes[0, 0].set_ylim(bottom=max(0.5 * min(means), axes[0, 0].get_ylim()[0]))
    handles = {h.get_label(): h for ax in fig.axes for h in ax.get_legend_handles_labels()[0]}
    ordered = [handles[arm] for arm in look if arm in handles]
    legend(fig, ordered, {1: 2, 2: 4}.get(columns, 5))
    return fig


def _profile_panel(ax: Axes, part: pd.DataFrame, axis: str, metric: str, factor: float, look: dict[str, Look]) -> None:
    positive = np.unique(part.loc[part[axis] > 0, axis])
    zero = place_of_zero(positive)
    ax.set_xscale("log")
    arms = [arm for arm in look if (part["arm"] == arm).any()]
    spread = 0.035 * math.log(max(positive[-1] / zero, 10.0)) / 2 if 1 < len(positive) <= 30 else 0.0
    for i, arm in enumerate(arms):
        own = part[part["arm"] == arm]
        dodge = math.exp(spread * (i - (len(arms) - 1) / 2) / max(len(arms) - 1, 1))  # bars side by side
        x = np.where(own[axis] > 0, own[axis], zero) * dodge
        y, half = own[metric].to_numpy(float) * factor, own[f"{metric}_half_width"].to_numpy(float) * factor
        lower = np.where(y > 0, np.minimum(half, 0.9 * y), half)  # what is positive has a bar above zero,
        upper = np.minimum(half, np.maximum(100 - y, 0)) if factor == 100 else half  # and a share one up to 100 %
        style = look[arm]
        body = own[axis].to_numpy(float) > 0
        colour, marker = style.colour, style.marker if len(x) <= 30 else ""
        ax.plot(x[body], y[body], color=colour, lw=1.2, ls=style.dash, marker=marker, ms=3.8, zorder=3, label=arm)
        if not body.all():
            ax.plot(x[:2], y[:2], color=colour, lw=0.8, ls=":", zorder=3)
            ax.plot(x[:1], y[:1], color=colour, ls="", marker=style.marker, ms=3.8, zorder=3)
        ax.errorbar(x, y, yerr=[lower, upper], fmt="none", ecolor=style.colour, elinewidth=0.8, capsize=1.8, alpha=0.8)
    _profile_ticks(ax, positive, zero, with_zero=bool((part[axis] == 0).any()))
    ax.grid(visible=True, axis="y")


def place_of_zero(positive: np.ndarray) -> float:
    """A step and a half left of the lowest positive value, a step being the typical ratio of neighbours; not closer
    than an eighth of the axis.
    """
    if len(positive) < 2:
        return float(positive[0] / 4) if len(positive) else 1.0
    step = float(np.exp(np.median(np.diff(np.log(positive)))))
    return float(positive[0] / max(min(step, 10.0) ** 1.5, (positive[-1] / positive[0]) ** 0.125))


def _profile_ticks(ax: Axes, positive: np.ndarray, zero: float, *, with_zero: bool) -> None:
    """Powers of ten where two or more fit, else the values themselves; and "0" left of the break."""
    low, high = float(positive[0]), float(positive[-1])
    powers = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    every = max(1, math.ceil(len(powers) / 6))
    places = [10.0**k for k in powers][::-1][::every][::-1]
    texts = [ten_to(k) for k in powers][::-1][::every][::-1]
    if len(places) < 2:
        places = [float(v) for v in positive[:: math.ceil(len(positive) / 6)]]
        texts = [short(v) for v in places]
    if with_zero:
        places, texts = [zero, *places], ["0", *texts]
        mark_break(ax, zero, low, high)
    fixed_ticks(ax, "x", places, texts)


def mark_break(ax: Axes, zero: float, low: float, high: float) -> None:
    """Two strokes through the axis between where 0 stands and the lowest positive value."""
    gap = math.sqrt(zero * low)
    for shift in (0.985, 1.015):
        at = gap * (high / zero) ** (shift - 1)
        ax.plot(
            [at],
            [0],
            marker=[(-0.5, -1), (0.5, 1)],
            ms=6,
            color=GREY,
            mew=0.8,
            clip_on=False,
            transform=ax.get_xaxis_transform(),
        )


# -------------------- scatter: Test error against training loss, one point a cell (the paper's Figure 3, right): does equal fit generalize alike?


BEYOND = 10.0
"""Training loss (as of guessing among 22,026 classes) above which points are drawn at the edge of the figure."""
CLOSE = 9.0
"""Points between two winners below which they would cover each other."""
_LEAST_AREA, NESTED = 45.0, 2.0
"""Area of a winner in square points, and how many times larger each is that others are nested in."""


@styled
def error_vs_train_loss(
    table: pd.DataFrame,
    metric: str = "final_test_error",
) -> Figure:
    """Mean ``metric`` against mean final training loss of every cell with a completed run; winners outlined.

    Points above ``BEYOND`` are drawn there: an exploded run must not squeeze all others.

    Args:
        table: ``analysis.cells`` of one task.
        metric: Any of ``analysis.METRICS``.

    Raises:
        NotDrawn: fewer than two cells have a completed run.
    """
    loss = "final_train_loss"
    drawn = table[(table["n"] > 0) & table[metric].notna() & table[loss].notna()]
    if len(drawn) < 2:
        raise NotDrawn("fewer than two cells have a completed run")
    criteria = criteria_of(table)
    factor, unit = scale(metric, criteria)
    look = looks(table["arm"])
    best = table[table["rank"] == 1].set_index("arm")
    best[loss] = best[loss].clip(upper=BEYOND)
    fig = figure(4.6, 2.4 if page().is_narrow else 3.0)
    ax = fig.subplots()
    beyond = int((drawn[loss] > BEYOND).sum())
    drawn = drawn.assign(**{loss: drawn[loss].clip(upper=BEYOND)})
    size, alpha = (14, 0.65) if len(drawn) < 2000 else (4, 0.35)
    for arm, style in look.items():
        own = drawn[drawn["arm"] == arm]
        ax.scatter(
            own[loss], own[metric] * factor, s=size, c=style.colour, marker=style.marker, alpha=alpha,
            linewidths=0, label=arm, rasterized=len(drawn) > 5000, zorder=2,
        )  # fmt: skip
    log_if_wide(ax, list(drawn[metric] * factor))
    low, high = float(drawn[loss].min()), float(drawn[loss].max())
    if low > 0 and high / low > 4:
        log_ticks(ax, "x", low, high)
    _winners(ax, [(look[str(arm)], row[loss], row[metric] * factor) for arm, row in best.iterrows()])
    cut = f"{beyond} cell{'' if beyond == 1 else 's'} above {BEYOND:g} at the edge" if beyond else ""
    ax.set(
        xlabel=with_unit("final training loss", criteria.loss_unit, cut),
        ylabel=with_unit(metric_name(metric, criteria), unit),
    )
    ax.grid(visible=True)
    handles = [
        Line2D([], [], ls="", marker=style.marker, color=style.colour, ms=5, label=arm)
        for arm, style in look.items()
        if (drawn["arm"] == arm).any()
    ]
    handles.append(
        Line2D([], [], ls="", marker="o", mfc="white", mec="black", mew=1.1, ms=7, label="best on validation")
    )
    legend(fig, handles, 3)
    return fig


def _winners(ax: Axes, points: Sequence[tuple[Look, float, float]]) -> None:
    """Outlined, each where it belongs; those that would cover each other are nested, the first the largest."""
    places = [ax.transData.transform((x, y)) * 72 / ax.figure.dpi for _, x, y in points]
    for i, (style, x, y) in enumerate(points):
        later = sum(math.dist(places[i], other) < CLOSE for other in places[i + 1 :])
        ax.scatter(
            x, y, s=_LEAST_AREA * NESTED**later, c=style.colour, marker=style.marker, edgecolors="black",
            linewidths=0.9, label="winner", zorder=4 + i / len(points),
        )  # fmt: skip


# -------------------- what this file does


def main() -> None:
    """Read the tables, draw, and write."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"of {', '.join(DRAWN)}; all without it")
    parser.add_argument("--width", choices=list(WIDTHS), default='double', help="columns of a journal")
    parser.add_argument("--format", nargs="+", choices=["png", "svg", "pdf"], default=["png", "svg", "pdf"])
    parser.add_argument("--out", type=Path, default=here / "redrawn", help="the folder to write to")
    given = parser.parse_args()
    unknown = [name for name in given.figures if name not in DRAWN]
    if unknown:
        parser.error(f"no such figure: {', '.join(unknown)}")
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.figures or DRAWN:
        draw, tables = DRAWN[name]
        with on_page(Page(given.width, ARMS, FOOTER)):
            fig = globals()[draw](*(read_table(here / f"{table}.csv") for table in tables))
            arrange(fig)
            for kind in given.format:
                (given.out / f"{name}.{kind}").write_bytes(render(fig, kind))


if __name__ == "__main__":
    main()