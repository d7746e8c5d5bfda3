"""What the choice of cells adds: against all draws there are, and against one optimizer under two names."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from adamcmp.analysis import best_cells, cells, verdicts
from adamcmp.analysis.anytime import is_stuck, ruled, scale, sequence
from adamcmp.analysis.choice import choices, chosen, half_width_of_choice
from adamcmp.analysis.verdicts import alone, decided, with_choice
from adamcmp.criteria import CLASSIFICATION
from adamcmp.report.judging import told


def all_draws(validation_CT, test_CT):
    """The shift on each of the T^T equally likely draws."""
    best = validation_CT.mean(1).argmin()
    for draw in itertools.product(range(validation_CT.shape[1]), repeat=validation_CT.shape[1]):
        yield test_CT.mean(1)[validation_CT[:, draw].mean(1).argmin()] - test_CT.mean(1)[best]


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_it_is_the_mean_over_all_draws(seeds):
    rng = np.random.default_rng(seeds)
    a, b = (tuple(rng.normal(0, 1, (6, seeds)) for _ in "vt") for _ in "ab")
    shifts = np.array([list(all_draws(*side)) for side in (a, b)])
    expected = stats.t.ppf(0.975, seeds - 1) * math.sqrt(np.mean((shifts[0] - shifts[1]) ** 2))
    assert half_width_of_choice(chosen(*a), chosen(*b)) == pytest.approx(expected, rel=0.05)


def test_it_is_nothing_where_nothing_was_chosen_and_without_bound_where_one_seed_chose():
    clear = np.array([[0.1, 0.2, 0.3], [0.9, 0.8, 0.9]])
    one_cell, one_seed = chosen(clear[:1], clear[:1]), chosen(clear[:, :1], clear[:, :1])
    assert half_width_of_choice(one_cell, one_cell) == 0
    assert half_width_of_choice(chosen(clear, clear), one_cell) == 0  # the same on every draw
    assert half_width_of_choice(one_seed, one_cell) == math.inf


def test_selection_of_draws_sees_validation_alone(synthetic):
    records = synthetic.make_records({"A": "l2", "B": "l2"})
    records["final_validation_error"] += np.random.default_rng(0).normal(0, 0.3, len(records))
    found = choices(records)
    other = choices(records.assign(final_test_error=1 - records["final_test_error"]))
    for arm, choice in found.items():
        assert choice.seeds == 3
        assert np.allclose(choice.shift_B, -other[arm].shift_B)
        assert (choice.shift_B != 0).any()


def one_optimizer_twice(trials, seeds, settling):
    """How often it is told apart from itself, with and without what the choice adds: nine cells, most of them close."""
    rng, spread = np.random.default_rng(0), 0.0045
    levels = np.array([0.0, 0.1, 0.2, 0.3, 0.3, 0.5, 0.5, 0.8, 1.5]) * spread
    with_it = without = 0
    for _ in range(trials):
        sides = []
        for _ in "ab":
            common = rng.normal(0, spread / 2, (9, 5))
            validation = levels[:, None] + common + rng.normal(0, spread, (9, 5))
            test = levels[:, None] + common + rng.normal(0, spread, (9, 5))
            fresh = levels[validation.mean(1).argmin()] + rng.normal(0, spread, 8 + seeds)
            sides.append((chosen(validation, test), fresh))
        (a, x), (b, y) = sides
        d = x - y
        if settling:
            rho = scale(d[:8].std(ddof=1))
            single = [sequence("a", "b", d[8 : 8 + n], rho, 0.0) for n in range(8, seeds + 1, 8)]
            without += any(ruled(each).kind == "apart" for each in single)
            with_it += any(ruled(with_choice(each, a, b)).kind == "apart" for each in single)
        else:
            single = alone("a", "b", d, 0.0)
            without += decided([single])[0].kind == "apart"
            with_it += decided([with_choice(single, a, b)])[0].kind == "apart"
    return with_it / trials, without / trials


@pytest.mark.parametrize(("more", "settling"), [(8, False), (96, True)])
def test_one_optimizer_is_not_told_apart_from_itself(more, settling):
    trials = 300
    with_it, without = one_optimizer_twice(trials, more, settling)
    assert with_it <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / trials)
    assert without > max(0.08, 2 * with_it)


def near_tie(synthetic, tuned_seeds):
    """Two arms: of the first a second cell is as good by validation and much worse by test error."""
    records = synthetic.make_records({"A": "l2", "B": "l2"}, lrs=[1e-3, 2e-3], lambdas=[0.0], seeds=range(tuned_seeds))
    rng = np.random.default_rng(1)
    records["final_validation_error"] = 0.1 + rng.normal(0, 0.002, len(records))
    records["final_test_error"] = np.where(records["lr"] > 1.5e-3, 0.2, 0.1)
    fresh = records.groupby(["arm", "lr"]).head(1)
    fresh = fresh.loc[fresh.index.repeat(8)].assign(stage="confirm")
    fresh["seed"] = fresh.groupby(["arm", "lr"]).cumcount() + 1000
    fresh["run_id"] = [f"fresh {i}" for i in range(len(fresh))]
    fresh["final_test_error"] = 0.1 + 0.01 * (fresh["arm"] == "B") + rng.normal(0, 0.001, len(fresh))
    return records, fresh


def test_cells_that_are_apart_are_not_optimizers_that_are(synthetic):
    tuned, fresh = near_tie(synthetic, 4)
    records = pd.concat([tuned, fresh], ignore_index=True)
    (found,) = verdicts(records, best_cells(cells(records)))
    assert found.p_value < 0.05
    assert found.low > 0 or found.high < 0
    assert (found.kind, found.tuned) == ("open", 4)
    words = told(found, CLASSIFICATION.error, 1)
    assert "over 8 seeds and the choice of cells by 4 seeds" in words
    assert "other tuning seeds may have chosen others" in words

    tuned, fresh = near_tie(synthetic, 1)
    records = pd.concat([tuned, fresh], ignore_index=True)
    (found,) = verdicts(records, best_cells(cells(records)))
    assert (found.kind, found.choice) == ("open", math.inf)
    assert "one seed chose them" in told(found, CLASSIFICATION.error, 1)


def test_settling_ends_where_fresh_seeds_cannot_settle():
    d = np.random.default_rng(0).normal(0.0, 0.001, 40)
    found = sequence("a", "b", d, scale(0.001), 0.005)
    assert ruled(found).kind == "same"
    assert not is_stuck(ruled(found._replace(choice=0.004)))
    assert is_stuck(ruled(found._replace(choice=0.02)))
    assert not is_stuck(sequence("a", "b", d[:4], scale(0.001), 0.005)._replace(choice=0.02))
    assert is_stuck(sequence("a", "b", d[:0], scale(0.001), 0.005)._replace(choice=math.inf))
