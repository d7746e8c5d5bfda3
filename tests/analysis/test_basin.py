"""Basins of known slope, with noise, edges and diverged cells: what is measured of them is what they were made with."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from adamcmp.analysis import trials_table
from adamcmp.analysis.basin import (
    ErrorGrid,
    _estimate,
    censored_slope,
    estimate_basin,
    estimate_basins,
    row_optima,
    to_frame,
)

ALONG, ACROSS = 0.12, 0.35
"""Curvature along lr, and of λ around its best value at each lr."""


def surface(slope, draw, noise, centre=(0.0, 0.0), seeds=5, size=8):
    """Errors that saturate far from the minimum, and a corner where lr and λ are too large together."""
    x = np.arange(size) - (size - 1) / 2
    lr, decay = np.meshgrid(x, x, indexing="ij")
    distance = ACROSS * (decay - centre[1] - slope * (lr - centre[0])) ** 2 + ALONG * (lr - centre[0]) ** 2
    mean = 0.03 + 0.3 * (1 - np.exp(-distance / 14))
    errors = mean[..., None] + noise * (
        0.85 * draw.standard_normal((size, size, seeds)) + 0.5 * draw.normal(size=seeds)
    )
    errors[lr + decay / 2 > 3.2] = math.nan
    return ErrorGrid(x, x, errors, np.full((size, seeds), math.nan))


@pytest.mark.parametrize(
    "slope", [-1.0, -0.5, *(pytest.param(each, marks=pytest.mark.slow) for each in (-0.75, -0.25, 0.0))]
)
def test_known_slopes_are_recovered(slope):
    draw = np.random.default_rng(round(-100 * slope))
    bend = -ACROSS * slope, ACROSS, ALONG + ACROSS * slope**2
    separable = -bend[0] / math.sqrt(bend[1] * bend[2])
    truths = {"rows": slope, "columns": -bend[0] / bend[2], "ridge": slope, "separability": separable}
    held = {name: [] for name in truths}
    for trial in range(60):
        noise = (0.003, 0.01)[trial % 2]
        centre = ((0.0, 0.0), (1.5, 1.3), (-1.0, 2.0))[trial % 3]
        found = estimate_basin("A", surface(slope, draw, noise, centre), 64, 0.01)
        for name, truth in truths.items():
            estimate = getattr(found, name)
            if not math.isnan(estimate.value):  # the optima of most rows may lie outside
                held[name].append(estimate.low <= truth <= estimate.high)
    for name, each in held.items():
        assert len(each) >= (30 if name == "columns" else 45), name
        assert np.mean(each) >= 0.93, name


def test_intervals_say_something():
    found = estimate_basin("A", surface(-0.75, np.random.default_rng(0), 0.003), 64, 0.01)
    for estimate in (found.rows, found.ridge, found.separability):
        assert estimate.high - estimate.low < 0.4
        assert estimate.high < 0


def test_a_censored_line_is_the_one_of_greatest_likelihood():
    draw = np.random.default_rng(0)
    x = np.arange(9.0)
    y, sd = 1 - 0.6 * x + draw.normal(0, 0.3, 9), draw.uniform(0.2, 0.5, 9)
    side = np.where(y > 0.5, 1, np.where(y < -3, -1, 0))
    y = np.where(side > 0, 0.5, np.where(side < 0, -3, y))

    def minus_log_likelihood(line):
        z = (y - line[0] - line[1] * x) / sd
        return -np.where(side == 0, stats.norm.logpdf(z), stats.norm.logsf(side * z)).sum()

    oracle = optimize.minimize(
        minus_log_likelihood, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-12}
    )
    found = censored_slope(x, y[None], side[None], sd**2)
    assert found[0] == pytest.approx(oracle.x[1], abs=1e-5)


def test_the_optimum_of_a_row_is_the_vertex_or_known_to_lie_beyond():
    y = np.log([1.0, 2.0, 4.0, 8.0, 16.0])
    rows = [(y - 1.7) ** 2, (y + 1) ** 2, (y - 9) ** 2, np.where(y > 2, math.inf, (y - 2.5) ** 2)]
    best, side = row_optima(y, np.array([rows]))
    assert side.tolist() == [[0, -1, 1, 1]]
    assert best[0, 0] == pytest.approx(1.7)
    assert best[0, 1:].tolist() == pytest.approx([(y[0] + y[1]) / 2, (y[3] + y[4]) / 2, (y[1] + y[2]) / 2])


def test_no_decay_at_all_is_a_smaller_one_than_all():
    grid = surface(0.0, np.random.default_rng(0), 0.003)
    assert estimate_basin("A", grid, 64, 0.01).censored < 8
    beaten = grid._replace(at_zero_LT=np.full((8, 5), 0.001))
    found = estimate_basin("A", beaten, 72, 0.01)
    assert found.censored >= 8
    assert math.isnan(found.rows.value)


def test_the_area_counts_cells_near_the_best_of_all_that_were_tried(synthetic):
    records = synthetic.make_records({"A": "lr_scaled"}, noise=0.0)
    (found,) = estimate_basins(records)
    table = trials_table(records)
    near = (table["final_validation_error"] <= table["final_validation_error"].min() + 0.01).sum()
    assert found.area.value == pytest.approx(near / len(table))
    half = stats.t.ppf(0.975, 2) / len(table)  # no spread, and one cell that may stand on the threshold
    assert (found.area.low, found.area.high) == pytest.approx(
        (max(found.area.value - half, 0), found.area.value + half)
    )


def test_cells_that_diverged_are_no_part_of_the_basin(synthetic):
    records = synthetic.make_records({"A": "lr_scaled"}, noise=0.0)
    (whole,) = estimate_basins(records)
    lost = synthetic.end(records, records["lr"] == records["lr"].min(), "diverged")
    (found,) = estimate_basins(lost)
    table, near = (
        trials_table(records),
        trials_table(lost)["final_validation_error"] <= trials_table(lost)["final_validation_error"].min() + 0.01,
    )
    assert found.area.value == pytest.approx(near.sum() / len(table))
    assert found.area.value <= whole.area.value


def test_the_valleys_of_l2_and_of_decoupled_decay_look_as_they_were_made(synthetic):
    records = synthetic.make_records({"Adam + L2": "l2", "AdamW": "lr_scaled"})
    coupled, decoupled = estimate_basins(records)
    assert coupled.separability.high < -0.5
    assert coupled.ridge.high < -0.4
    assert decoupled.separability.low < 0 < decoupled.separability.high
    table = to_frame([coupled, decoupled])
    assert table["ridge"].tolist() == [coupled.ridge.value, decoupled.ridge.value]
    assert table.equals(to_frame(estimate_basins(records)))


def test_intervals_are_students_over_redrawn_seeds_and_the_scatter():
    draws = np.concatenate([[0.3], np.random.default_rng(0).normal(0.3, 0.1, 1000)])
    low, high = np.quantile(draws[1:], [0.16, 0.84])
    half = stats.t.ppf(0.975, 4) * math.sqrt(5 / 4 * ((high - low) / 2) ** 2 + 0.05**2)
    assert _estimate(draws, 5, 0.05**2) == pytest.approx((0.3, 0.3 - half, 0.3 + half), rel=1e-10)
    assert math.isnan(_estimate(draws, 1).low)


def test_small_grids_and_single_seeds_say_no_more_than_they_know(synthetic):
    assert estimate_basins(synthetic.make_records({"A": "l2"}, lrs=[0.1, 0.2])) == []
    (found,) = estimate_basins(synthetic.make_records({"A": "lr_scaled"}, seeds=[0]))
    assert not math.isnan(found.ridge.value)
    assert math.isnan(found.ridge.low)
    flat = ErrorGrid(np.arange(4.0), np.arange(4.0), np.full((4, 4, 3), 0.5), np.full((4, 3), math.nan))
    assert math.isnan(estimate_basin("A", flat, 16, 0.01).ridge.value)
