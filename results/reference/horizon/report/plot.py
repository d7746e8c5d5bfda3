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
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator
from matplotlib.ticker import FuncFormatter
from matplotlib.ticker import LogLocator
from matplotlib.ticker import MaxNLocator
from matplotlib.ticker import NullFormatter
from matplotlib.ticker import NullLocator
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

FOOTER = 'Made from: study horizon · mnist1d_20000 · mlp_100_100 · 1,080 steps × 100, mnist1d_20000 · mlp_100_100 · 2,160 steps × 100, mnist1d_20000 · mlp_100_100 · 240 steps × 100, … · 1,373 runs (0 diverged, 0 failed) · seeds 0–4, 1000000–1000015 · adamcmp 0.1.0, torch 2.14.1 · runs 99074af7'
ARMS = ('AdamW', 'AdamW without decay')
DRAWN = {

    'profiles': ('profiles_figure', ('profiles',)),

    'optima': ('optima_figure', ('optima',)),

    'gains': ('gains_figure', ('gains',)),

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
    is_mean: bool = True
    """It is a mean over examples, or the root of one: what each example says can be told, and drawn again."""
    is_root: bool = False

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
        ErrorMetric("r2", "R²", "the mean of training", higher_is_better=True, is_mean=False),
    ),
    "labels": (
        ErrorMetric("average_precision", "average precision", "the same ranking for all", "%", True, is_mean=False),
        ErrorMetric("f1", "F1", "all labels for all", "%", True, is_mean=False),
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


# -------------------- moving: How the best λ, and what it brings, move with the budget and with the size of the training set.


CONVENTIONS = {"raw": "raw λ, ηλ per step", "normalised": "normalised λ"}
PREDICTED = {0.0: "-", -0.5: "--", -1.0: ":"}
"""Slopes, and how their lines are drawn."""


@styled
def budgets(table: pd.DataFrame) -> Figure:
    """Test error against raw and normalised λ, a line a budget, the best λ marked; and the best λ against the budget.

    Args:
        table: rows of ``part`` profile (``x`` epochs, ``weight_decay``, ``test``, ``half_width``) and of ``part``
            optimum (``x``, ``best``, ``low``, ``high``, ``side``), of both in each ``convention``.

    Raises:
        NotDrawn: fewer than two budgets.
    """
    profile, found = (table[table["part"] == part] for part in ("profile", "optimum"))
    xs = sorted(set(found["x"]))
    if len(xs) < 2:
        raise NotDrawn("the best λ was found at fewer than two budgets")
    criteria = criteria_of(table)
    factor, unit = scale("final_test_error", criteria)
    look = looks(f"{x:g} epochs" for x in xs)
    styles = dict(zip(xs, (look[f"{x:g} epochs"] for x in xs), strict=True))
    rows, columns = (2, 2) if page().is_narrow else (1, 3)
    fig = figure(7.0, 1.75 * rows if page().is_narrow else 2.4)
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    for ax, convention in zip(axes, CONVENTIONS, strict=False):
        own = profile[(profile["convention"] == convention) & (profile["weight_decay"] > 0)]
        best = found[found["convention"] == convention].set_index("x")
        for x, style in styles.items():
            line = own[own["x"] == x].sort_values("weight_decay")
            ax.plot(
                line["weight_decay"], factor * line["test"], color=style.colour, ls=style.dash, marker=style.marker,
                ms=3, label=f"{x:g} epochs",
            )  # fmt: skip
            at = best.loc[[x], "best"].to_numpy(float)
            y = np.interp(np.log(at), np.log(line["weight_decay"]), factor * line["test"])
            ax.plot(at, y, marker="*", ms=9, color=style.colour, mec="black", mew=0.5, zorder=5)
        ax.set_xlabel(f"{convention} λ" if page().is_narrow else CONVENTIONS[convention])
        low, high = (math.log10(each) for each in (own["weight_decay"].min(), own["weight_decay"].max()))
        powers = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
        ax.set_xscale("log")
        fixed_ticks(ax, "x", [10.0**k for k in powers], [ten_to(k) for k in powers])
        ax.grid(visible=True)
    axes[0].set_ylabel(with_unit(f"final test {criteria.error.label}", unit))
    axes[1].sharey(axes[0])
    ax = axes[2]
    for convention, colour, marker in (("raw", "black", "X"), ("normalised", GREY, "h")):
        optima_line(ax, found[found["convention"] == convention], colour, marker, f"{convention} λ")
    ax.set(xlabel="epochs", ylabel="best λ")
    log_ticks(ax, "y", float(found["low"].min()), float(found["high"].max()))
    ax.set_xscale("log")
    fixed_ticks(ax, "x", xs, [short(x, 3) for x in xs])
    ax.grid(visible=True)
    for spare in axes[3:]:
        spare.remove()
    handles = [h for each in (axes[0], ax) for h in each.get_legend_handles_labels()[0]]
    handles.append(Line2D([], [], ls="", marker="*", ms=9, mfc="white", mec="black", mew=0.5, label="best λ"))
    legend(fig, handles, 4)
    return fig


@styled
def optima_figure(table: pd.DataFrame) -> Figure:
    """The best λ against what varies, a panel each, with the slopes that are predicted.

    Args:
        table: ``by`` (what varies), ``x``, ``best``, ``low``, ``high``, ``side``.

    Raises:
        NotDrawn: nothing varies over two tasks.
    """
    panels = [(by, part) for by, part in table.groupby("by", sort=True) if len(part) > 1]
    if not panels:
        raise NotDrawn("the best λ was found on fewer than two tasks")
    rows, columns = grid_of(len(panels), 2, 2)
    fig = figure(1.0 + 2.4 * columns, (1.8 if page().is_narrow else 2.4) * rows)
    axes = fig.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for ax, (by, part) in zip(axes, panels, strict=False):
        optima_line(ax, part, "#0072B2", "o", "best λ")
        x = part["x"].to_numpy(float)
        middle, height = np.exp(np.log(x).mean()), np.exp(np.log(part["best"]).mean())
        for slope, dash in PREDICTED.items():
            ax.plot(x, height * (x / middle) ** slope, color=GREY, lw=0.9, ls=dash, zorder=1, label=f"slope {slope:g}")
        ax.set(xlabel=str(by))
        ax.set_xscale("log")
        fixed_ticks(ax, "x", x.tolist(), [short(each, 4) if each < 1000 else f"{each:,.0f}" for each in x])
        ax.grid(visible=True)
    log_ticks(axes[0], "y", float(table["low"].min()), float(table["high"].max()))
    axes[0].set_ylabel("best λ (ηαλ per step)")
    legend(fig, axes[0].get_legend_handles_labels()[0], 4)
    return fig


@styled
def gains_figure(table: pd.DataFrame) -> Figure:
    """What the best λ takes off the error of λ = 0, against the budget.

    Args:
        table: ``x`` (epochs), ``gain`` with ``gain_low`` and ``gain_high`` (best λ minus none, as shown), ``unit``.

    Raises:
        NotDrawn: fewer than two budgets.
    """
    if len(table) < 2:
        raise NotDrawn("the gain was measured at fewer than two budgets")
    fig = figure(3.8, 2.0 if page().is_narrow else 2.4)
    ax = fig.subplots()
    x, y = table["x"].to_numpy(float), -table["gain"].to_numpy(float)
    ax.axhline(0, color="black", lw=0.7)
    low, high = -table["gain_high"].to_numpy(float), -table["gain_low"].to_numpy(float)
    known = np.isfinite(low) & np.isfinite(high)
    ax.errorbar(
        x[known], y[known], yerr=[y[known] - low[known], high[known] - y[known]], fmt="none", ecolor="#0072B2",
        elinewidth=1.0, capsize=2,
    )  # fmt: skip
    ax.plot(x, y, color="#0072B2", marker="o", ms=4)
    ax.set_xscale("log")
    fixed_ticks(ax, "x", x.tolist(), [short(each, 3) for each in x])
    error = criteria_of(table).error
    ax.set(xlabel="epochs", ylabel=with_unit(f"gain in test {error.label}", error.gap_unit))
    ax.grid(visible=True)
    return fig


def optima_line(ax: Axes, part: pd.DataFrame, colour: str, marker: str, label: str) -> None:
    """The best λ with its interval; open where it lies on the edge of the grid."""
    x, best = part["x"].to_numpy(float), part["best"].to_numpy(float)
    low, high = (part[name].fillna(part["best"]).to_numpy(float) for name in ("low", "high"))
    ax.errorbar(x, best, yerr=[best - low, high - best], fmt="none", ecolor=colour, elinewidth=0.9, capsize=2)
    ax.plot(x, best, color=colour, lw=1.0, label=label, marker=marker, ms=4.5)
    edge = (part["side"] != 0).to_numpy()
    ax.plot(x[edge], best[edge], color=colour, ls="", marker=marker, ms=4.5, mfc="white", zorder=4)


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