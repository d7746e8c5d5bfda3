r"""The basin of each optimizer on its grid of lr × λ: the coupling of lr and λ, and the basin's width.

With x = log lr and y = log λ, these are estimated from mean validation errors over T tuning seeds:

- the slope d log λ*/d log lr of the best λ at each lr, −1 where it is lr · λ that counts, 0 where each can be chosen
  alone: by *rows*, a line through the optima of all rows, each the vertex of a parabola through the best trial of a row
  and its neighbors; and by the *ridge* ∂f/∂y = 0 of a quadratic surface f = ½ a x² + b x y + ½ c y² + …, fitted to the
  best ``BASIN_FRACTION`` of all trials, −b/c. *Columns* are the same as rows with lr and λ exchanged,
  d log lr*/d log λ;
- *separability* −b/√(a c), from −1 to 1: the correlation of the ellipse that is a level of f, 0 where lr and λ are
  separable;
- the *area*: the share of all tried trials whose error is within ``BASIN_MARGIN`` of the best.

A row whose optimum lies on the grid's edge, or next to a diverged trial, is known to lie beyond the middle
between that trial and the one before: it is censored (Tobit), not dropped, and so is one where λ = 0 is better than all
others. All errors that grow alike with the distance from the minimum have the same ridge, quadratic or not.

Intervals are θ ± t_{T−1} √(T/(T−1) s_B² + s_r²) with the spread s_B over draws of the tuning seeds (of the middle 68 %,
since a fit may have no minimum on some draw), and s_r the standard error of the slope by the scatter around line or
surface.

Sources: J. Tobin, Econometrica 26, 1958 (censored lines, here by the EM algorithm); G. E. P. Box and K. B. Wilson,
Journal of the Royal Statistical Society B 13, 1951 (quadratic surfaces).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from adamcmp.analysis.bootstrap import bootstrap_weights
from adamcmp.analysis.intervals import Array, Estimate, bootstrap_estimate
from adamcmp.analysis.selection import trials_table, tuning_runs
from adamcmp.analysis.verdicts import DEFAULT_MARGIN
from adamcmp.figures.heatmap import is_grid
from adamcmp.metrics.spec import task_metrics

MIN_AXIS_VALUES = 3
"""Minimum number of learning rates, and of weight decays above 0, for an estimate."""
BASIN_FRACTION, MIN_BASIN_TRIALS = 0.4, 9
"""The share of the trials that a surface is fitted to; and how many these are at least."""
BASIN_MARGIN = 2 * DEFAULT_MARGIN
"""Width of the basin: 1 percentage point for shares, else this share of the best error."""
NUM_RESAMPLES = 1000
PARABOLA = 0.15
"""Standard error of a parabola's vertex, in steps of the grid."""
ITERATIONS = 60
"""Iterations of the EM algorithm."""
NO_ESTIMATE = Estimate(math.nan)


class Basin(NamedTuple):
    """Basin of one optimizer; NaN for numbers that cannot be estimated."""

    arm: str
    rows: Estimate
    columns: Estimate
    ridge: Estimate
    separability: Estimate
    area: Estimate
    within: float
    """Largest distance to the best error within the basin, in the stored unit of errors."""
    lrs: int
    decays: int
    """Rows, and columns with λ > 0."""
    censored: int
    """Rows and columns whose optimum lies on an edge."""


class ErrorGrid(NamedTuple):
    """Validation errors of an optimizer: L learning rates × J weight decays above 0, on T seeds; lower is better."""

    x: Array
    """(L,) log lr."""
    y: Array
    """(J,) log λ."""
    errors_LJT: Array
    """NaN where a trial is lost or was not tried."""
    at_zero_LT: Array
    """At λ = 0."""


class GridRow(NamedTuple):
    """Where log λ is best at one x: as it is, then on ``NUM_RESAMPLES`` draws of the seeds."""

    x: float
    best_B: Array
    side_B: NDArray[np.int64]
    """−1 or 1: it lies beyond that place, on this side."""
    steps: Array
    """Steps of the grid of log λ."""
    seeds: int
    decays: int
    """λ > 0 that are not lost."""

    @property
    def best(self) -> Estimate:
        """The best log λ."""
        return _estimate(self.best_B, self.seeds)


def estimate_basins(records: pd.DataFrame, table: pd.DataFrame | None = None) -> list[Basin]:
    """Estimate the basin of every optimizer of a task with at least ``MIN_AXIS_VALUES`` × ``MIN_AXIS_VALUES`` trials.
    ``table`` is the task's ``trials_table``.
    """
    table = trials_table(records) if table is None else table
    error = task_metrics(records).error
    runs = tuning_runs(records)
    runs = runs[runs["status"] == "completed"]
    by_arm = dict(iter(runs.groupby("arm")))
    estimates = []
    for arm, tried in table.groupby("arm"):
        eligible = tried[tried["eligible"]]
        if arm in by_arm and (grid := grid_of(by_arm[arm], eligible, error.sign)) is not None:
            best = float((error.sign * eligible["final_validation_error"]).min())
            within = BASIN_MARGIN if error.unit == "%" else BASIN_MARGIN * abs(best)
            estimates.append(estimate_basin(str(arm), grid, len(tried), within))
    return estimates


def grid_of(runs: pd.DataFrame, eligible: pd.DataFrame, sign: float) -> ErrorGrid | None:
    """Return the errors of an optimizer's eligible trials, on the seeds that most of them have; None where they are too
    few.
    """
    kept = runs.merge(eligible[["lr", "weight_decay"]])
    if kept.empty:
        return None
    wide = kept.pivot(index=["lr", "weight_decay"], columns="seed", values="final_validation_error") * sign
    wide = wide.loc[:, wide.notna().sum() >= wide.notna().sum().max()]
    lrs, decays = (np.unique(wide.index.get_level_values(name)) for name in ("lr", "weight_decay"))
    positive = decays[decays > 0]
    if len(lrs) < MIN_AXIS_VALUES or len(positive) < MIN_AXIS_VALUES or not is_grid(eligible):
        return None
    full = wide.reindex(pd.MultiIndex.from_product([lrs, decays])).to_numpy().reshape(len(lrs), len(decays), -1)
    at_zero_LT = full[:, 0] if len(decays) > len(positive) else np.full((len(lrs), full.shape[2]), math.nan)
    return ErrorGrid(np.log(lrs), np.log(positive), full[:, len(decays) - len(positive) :], at_zero_LT)


def estimate_basin(arm: str, grid: ErrorGrid, tried: int, within: float) -> Basin:
    """Estimate the basin of one optimizer's grid of this many trials."""
    seeds = grid.errors_LJT.shape[2]
    weight_BT = _weights(seeds)
    mean_BLJ, zero_BL = _resample(grid)
    rows, lost_rows = _ridge_line(grid.x, grid.y, mean_BLJ, zero_BL, seeds)
    none_B = np.full((len(mean_BLJ), len(grid.y)), np.inf)
    columns, lost_columns = _ridge_line(grid.y, grid.x, mean_BLJ.swapaxes(1, 2), none_B, seeds)
    ridge, separability = _surface(grid, weight_BT)
    all_BC = np.concatenate([mean_BLJ.reshape(len(mean_BLJ), -1), zero_BL], axis=1)
    share_B = (all_BC <= all_BC.min(1, keepdims=True) + within).sum(1) / tried
    area = _count_estimate(share_B, seeds, tried)
    return Basin(
        arm, rows, columns, ridge, separability, Estimate(area.value, max(area.low, 0.0), min(area.high, 1.0)), within,
        len(grid.x), len(grid.y), lost_rows + lost_columns,
    )  # fmt: skip


def row_of(grid: ErrorGrid) -> GridRow:
    """Return the optimum of λ on a grid of one learning rate."""
    mean_BLJ, zero_BL = _resample(grid)
    best_BL, side_BL = _with_zero(grid.y, mean_BLJ, zero_BL)
    seeds, num_known = grid.errors_LJT.shape[2], int(np.isfinite(mean_BLJ[0]).sum())
    return GridRow(float(grid.x[0]), best_BL[:, 0], side_BL[:, 0], np.diff(grid.y), seeds, num_known)


def slope_of_rows(rows: Sequence[GridRow]) -> Estimate:
    """Return the slope d log λ*/dx over rows that may have grids of λ of their own, and the same seeds."""
    known_rows = [row for row in rows if row.decays >= MIN_AXIS_VALUES]
    if len(known_rows) < MIN_AXIS_VALUES:
        return NO_ESTIMATE
    best_BL = np.stack([row.best_B for row in known_rows], 1)
    side_BL = np.stack([row.side_B for row in known_rows], 1)
    step = float(np.median(np.concatenate([row.steps for row in rows])))
    return _fit_line(np.array([row.x for row in known_rows]), best_BL, side_BL, step, rows[0].seeds)[0]


def _resample(grid: ErrorGrid) -> tuple[Array, Array]:
    """Return mean errors, and those of ``NUM_RESAMPLES`` resamples of the seeds: (B, L, J), and at λ = 0 (B, L); inf
    for lost trials.
    """
    weight_BT = _weights(grid.errors_LJT.shape[2])
    means = (_mean(grid.errors_LJT, weight_BT), _mean(grid.at_zero_LT, weight_BT))
    mean_BLJ, zero_BL = (np.where(np.isnan(mean), np.inf, mean) for mean in means)
    return mean_BLJ, zero_BL


def _weights(seeds: int) -> Array:
    return np.concatenate([np.full((1, seeds), 1 / seeds), bootstrap_weights(seeds)[:NUM_RESAMPLES]])


def _mean(errors: Array, weight_BT: Array) -> Array:
    """Return means over seeds, for each resample: (B, …)."""
    return np.moveaxis(errors @ weight_BT.T, -1, 0)


def _estimate(draws_B: Array, seeds: int, scatter: float = 0.0) -> Estimate:
    """Return the first draw with its interval by the spread of the others, which are of redrawn seeds."""
    value = float(draws_B[0])
    if seeds < 2 or np.isnan(draws_B).mean() > 0.1:
        return Estimate(value)
    low, high = np.nanquantile(draws_B[1:], [0.16, 0.84])
    return bootstrap_estimate(value, float(high - low) / 2, seeds, scatter)


def _count_estimate(share_B: Array, seeds: int, tried: int) -> Estimate:
    """Return a share of trials with its interval: the spread over resamples, and one trial at the threshold."""
    value = float(share_B[0])
    if seeds < 2:
        return Estimate(value)
    return bootstrap_estimate(value, float(share_B[1:].std()), seeds, (1 / tried) ** 2)


def _ridge_line(x: Array, y: Array, mean_BLJ: Array, zero_BL: Array, seeds: int) -> tuple[Estimate, int]:
    """Return the slope of the line through each row's optimum, and how many of these are censored."""
    is_known = np.isfinite(mean_BLJ[0]).sum(1) >= MIN_AXIS_VALUES
    if is_known.sum() < MIN_AXIS_VALUES:
        return NO_ESTIMATE, 0
    x, mean_BLJ, zero_BL = x[is_known], mean_BLJ[:, is_known], zero_BL[:, is_known]
    best_BL, side_BL = _with_zero(y, mean_BLJ, zero_BL)
    return _fit_line(x, best_BL, side_BL, float(np.median(np.diff(y))), seeds)


def _with_zero(y: Array, mean_BLJ: Array, zero_BL: Array) -> tuple[Array, NDArray[np.int64]]:
    """Return ``row_optima``, censored from below where λ = 0 is better than all others."""
    best_BL, side_BL = row_optima(y, mean_BLJ)
    beaten_BL = zero_BL < mean_BLJ.min(2)
    return np.where(beaten_BL, y[0], best_BL), np.where(beaten_BL, -1, side_BL)


def _fit_line(x: Array, best_BL: Array, side_BL: NDArray[np.int64], step: float, seeds: int) -> tuple[Estimate, int]:
    """Return the slope of a line through optima on a grid of such steps, and how many of them are censored."""
    inside = side_BL[0] == 0
    censored = int((~inside).sum())
    if inside.sum() < MIN_AXIS_VALUES:
        return NO_ESTIMATE, censored
    variance_L = best_BL[1:].var(0) * seeds / max(seeds - 1, 1) + (PARABOLA * step) ** 2
    slope_B = censored_slope(x, best_BL, side_BL, variance_L)
    weight, y_known = 1 / variance_L[inside], best_BL[0, inside]
    centred = x[inside] - (weight * x[inside]).sum() / weight.sum()
    rest = y_known - (weight * y_known).sum() / weight.sum() - slope_B[0] * centred
    scatter = float((weight * rest**2).sum() / (inside.sum() - 2) / (weight * centred**2).sum())
    return _estimate(slope_B, seeds, scatter), censored


def row_optima(y: Array, mean_BLJ: Array) -> tuple[Array, NDArray[np.int64]]:
    """Return the optimum of each row: the vertex of the parabola through its best trial and the neighbors.

    Returns:
        The optimum, and 0; or the nearest place that it lies beyond, and −1 or 1, the side on which it does.
    """
    last = len(y) - 1
    j = mean_BLJ.argmin(-1)
    middle = np.clip(j, 1, last - 1)

    def at(place: NDArray[np.int64]) -> Array:
        return np.asarray(np.take_along_axis(mean_BLJ, place[..., None], -1)[..., 0])

    lower, upper = np.clip(j - 1, 0, last), np.clip(j + 1, 0, last)
    open_below, open_above = (j == 0) | ~np.isfinite(at(lower)), (j == last) | ~np.isfinite(at(upper))
    y0, y1, y2 = y[middle - 1], y[middle], y[middle + 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        rise, further = (at(middle) - at(middle - 1)) / (y1 - y0), (at(middle + 1) - at(middle)) / (y2 - y1)
        bend = (further - rise) / (y2 - y0)
        vertex = np.clip((y0 + y1) / 2 - rise / (2 * bend), y0, y2)
    inside = np.where(np.isfinite(vertex) & (bend > 0), vertex, y[j])
    side = np.where(open_below & open_above, 0, np.where(open_below, -1, np.where(open_above, 1, 0)))
    bound = np.where(side > 0, (y[j] + y[lower]) / 2, (y[j] + y[upper]) / 2)
    return np.where(side == 0, inside, bound), side


def censored_slope(x: Array, y_BL: Array, side_BL: NDArray[np.int64], variance_L: Array) -> Array:
    """Return the slope of y = α + β x + N(0, variance), (B,), where ``side`` ±1 marks a y that lies beyond the given
    value.

    EM: a censored value is replaced by its mean given line and bound, μ ± σ φ(u)/Φ(−u), and the line is fitted again.
    """
    weight_L, sd_L = 1 / variance_L, np.sqrt(variance_L)
    centred_L = x - (weight_L * x).sum() / weight_L.sum()
    squares = (weight_L * centred_L**2).sum()
    filled_BL, slope_B = y_BL, np.zeros(len(y_BL))
    for _ in range(ITERATIONS):
        height_B = (weight_L * filled_BL).sum(1) / weight_L.sum()
        slope_B = (weight_L * centred_L * filled_BL).sum(1) / squares
        line_BL = height_B[:, None] + slope_B[:, None] * centred_L
        u_BL = np.clip(side_BL * (y_BL - line_BL) / sd_L, -30, 30)
        hazard_BL = np.exp(-0.5 * u_BL**2 - special.log_ndtr(-u_BL)) / math.sqrt(2 * math.pi)
        filled_BL = np.where(side_BL == 0, y_BL, line_BL + side_BL * sd_L * hazard_BL)
    return slope_B


def _surface(grid: ErrorGrid, weight_BT: Array) -> tuple[Estimate, Estimate]:
    """Return ridge and separability of a quadratic surface that is fitted to the best trials."""
    seeds = grid.errors_LJT.shape[2]
    mean_LJ = grid.errors_LJT.mean(2)
    finite = np.isfinite(mean_LJ)
    count = max(round(BASIN_FRACTION * finite.sum()), MIN_BASIN_TRIALS)
    if finite.sum() < MIN_BASIN_TRIALS:
        return NO_ESTIMATE, NO_ESTIMATE
    chosen = finite & (mean_LJ <= np.sort(mean_LJ[finite])[min(count, finite.sum()) - 1])
    x, y = (axis[chosen] - axis[chosen].mean() for axis in np.meshgrid(grid.x, grid.y, indexing="ij"))
    terms = np.stack([np.ones_like(x), x, y, x * x / 2, x * y, y * y / 2], 1)
    if np.linalg.matrix_rank(terms) < terms.shape[1]:
        return NO_ESTIMATE, NO_ESTIMATE
    errors_CT = grid.errors_LJT[chosen]
    inverse = np.linalg.pinv(terms)
    a_B, b_B, c_B = (inverse @ (errors_CT @ weight_BT.T))[3:]
    rise = min(a_B[0] * np.ptp(x) ** 2, c_B[0] * np.ptp(y) ** 2)
    if rise <= 1e-9 * float(np.abs(errors_CT).max()):
        return NO_ESTIMATE, NO_ESTIMATE  # no valley, or one that rounding made
    mean_C = errors_CT.mean(1)
    rest_C = mean_C - terms @ (inverse @ mean_C)
    freedom = len(x) - terms.shape[1]
    covariance = inverse[3:] @ inverse[3:].T * ((rest_C**2).sum() / freedom if freedom > 0 else 0.0)
    a, b, c = a_B[0], b_B[0], c_B[0]
    towards = np.array([0.0, -1 / c, b / c**2])
    ridge = _estimate(-b_B / np.where(c_B > 0, c_B, np.nan), seeds, float(towards @ covariance @ towards))
    r_B = -b_B / np.sqrt(np.where((a_B > 0) & (c_B > 0), a_B * c_B, np.nan))
    limit = 0.999
    if abs(r_B[0]) >= limit:
        return ridge, Estimate(float(np.clip(r_B[0], -1, 1)))
    towards = r_B[0] * np.array([-1 / (2 * a), 1 / b if b else 0.0, -1 / (2 * c)]) / (1 - r_B[0] ** 2)
    z = _estimate(np.arctanh(np.clip(r_B, -limit, limit)), seeds, float(towards @ covariance @ towards))
    return ridge, Estimate(*(math.tanh(end) for end in z))


def to_frame(basins: list[Basin]) -> pd.DataFrame:
    """Return one row per optimizer, with three columns per estimate."""
    rows = []
    for basin in basins:
        row: dict[str, object] = {"arm": basin.arm}
        for name in ("rows", "columns", "ridge", "separability", "area"):
            estimate: Estimate = getattr(basin, name)
            row |= estimate.columns(name)
        rows.append(
            row | {"within": basin.within, "lrs": basin.lrs, "decays": basin.decays, "censored": basin.censored}
        )
    return pd.DataFrame(rows)
