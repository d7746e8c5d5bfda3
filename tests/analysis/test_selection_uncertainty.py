"""The uncertainty of a selection: against all resamples, and against one optimizer under two names."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adamcmp.analysis import best_trials, leaderboard, trials_table
from adamcmp.analysis.bootstrap import MAX_EXACT_SEEDS, draw_resamples
from adamcmp.analysis.difference import compare
from adamcmp.analysis.held_out import HeldOut
from adamcmp.analysis.selection_uncertainty import (
    Selection,
    at_equal_budget,
    candidate_indices,
    rank_weights,
    runner_ups,
    selection_variance,
    selections,
)
from adamcmp.analysis.verdicts import decide


def from_arrays(validation_CT, test_CT):
    """Return the selection among C trials on T tuning seeds, by the lowest mean validation error."""
    return Selection(validation_CT, test_CT, len(test_CT), tuple(range(test_CT.shape[1])))


def all_resamples(seeds):
    """All T^T equally likely resamples, as indices."""
    return list(itertools.product(range(seeds), repeat=seeds))


def winners_of(choice, seeds, times=1.0):
    """The trial that wins on each of the T^T resamples; their means are spread as those of new seeds are."""
    mean, more = choice.validation_CT.mean(1), times * math.sqrt(seeds / (seeds - 1)) - 1
    drawn = np.array([choice.validation_CT[:, index].mean(1) for index in all_resamples(seeds)])
    better = mean.argsort()[: max(2, len(mean) // 2)]
    typical = np.abs(drawn - mean).max(0)[better].max()
    return (drawn + more * np.clip(drawn - mean, -typical, typical)).round(12).argmin(1)


def random_selection(draw, trials=6, seeds=4, **changed):
    made = from_arrays(draw.normal(0, 1, (trials, seeds)), draw.normal(0, 1, (trials, seeds)))
    return replace(made, places=[(float(i), 0.0) for i in range(trials)], **changed)


@pytest.mark.parametrize("seeds", range(1, MAX_EXACT_SEEDS + 1))
def test_enumerated_resamples_have_multinomial_probabilities(seeds):
    share_BT, probability_B = draw_resamples(seeds)
    assert len(share_BT) == math.comb(2 * seeds - 1, seeds)
    assert probability_B.sum() == pytest.approx(1)
    assert np.allclose(share_BT.sum(1), 1)
    assert probability_B @ share_BT == pytest.approx(np.full(seeds, 1 / seeds))
    assert len(np.unique(share_BT, axis=0)) == len(share_BT)


def test_many_seeds_are_drawn():
    share_BT, probability_B = draw_resamples(12)
    assert probability_B.sum() == pytest.approx(1)
    assert probability_B @ share_BT == pytest.approx(np.full(12, 1 / 12), abs=0.01)


@pytest.mark.parametrize("seeds", [2, 3, 4, 5])
def test_win_shares_and_influence_are_those_of_all_resamples(seeds):
    draw = np.random.default_rng(seeds)
    choice, error_C = random_selection(draw, 6, seeds), draw.normal(0, 1, 6)
    winners = winners_of(choice, seeds)
    assert choice.win_share_C == pytest.approx(np.bincount(winners, minlength=6) / len(winners))
    copies = np.array([np.bincount(index, minlength=seeds) for index in all_resamples(seeds)])
    wanted = candidate_indices(choice)
    averaged = np.where(np.isin(np.arange(6), wanted), error_C, error_C[wanted].mean())
    expected = [np.cov(copies[:, t], averaged[winners], bias=True)[0, 1] for t in range(seeds)]
    assert choice.influence(error_C) == pytest.approx(np.array(expected))


def test_the_variance_is_the_jackknife_of_the_averaged_error():
    draw = np.random.default_rng(1)
    a, b = random_selection(draw), random_selection(draw)
    error_a, error_b = draw.normal(0, 1, (2, 6))
    (shared,) = selection_variance(a, b, error_a, error_b)
    influence = a.influence(error_a) - b.influence(error_b)
    unaveraged = np.var(error_a[winners_of(a, 4, 2**0.5)] - error_b[winners_of(b, 4, 2**0.5)])
    assert shared == pytest.approx((max(4 / 3 * (influence**2).sum(), unaveraged / 4), 3))
    apart = selection_variance(a, replace(b, seed_ids=(7, 8, 9, 10)), error_a, error_b)
    expected = [
        max(4 / 3 * (each.influence(error) ** 2).sum(), np.var(error[winners_of(each, 4, 2**0.5)]) / 4)
        for each, error in ((a, error_a), (b, error_b))
    ]
    assert [each.variance for each in apart] == pytest.approx(expected)
    (same,) = selection_variance(a, a, error_a, error_a)
    assert same.variance == 0


def test_without_held_out_runs_of_the_candidates_it_is_the_mean_square_shift():
    draw = np.random.default_rng(2)
    a, b = random_selection(draw), random_selection(draw)
    shifts = [each.test_CT.mean(1)[winners_of(each, 4)] - each.test_CT.mean(1)[each.place] for each in (a, b)]
    (found,) = selection_variance(a, b, None, None)
    assert found == pytest.approx((np.mean((shifts[0] - shifts[1]) ** 2), 3))
    mixed = selection_variance(a, b, None, np.zeros(6))
    assert [each.variance for each in mixed] == pytest.approx([np.mean(shifts[0] ** 2), 0])


def test_trials_without_held_out_runs_count_with_the_shift_of_their_tuning_runs():
    draw = np.random.default_rng(4)
    choice = random_selection(draw, 6, 3)
    wanted = candidate_indices(choice)
    assert choice.trial_errors({wanted[0]: 1.0} if len(wanted) > 1 else {}) is None
    errors = choice.trial_errors({index: 1.0 + index for index in wanted})
    mean = choice.test_CT.mean(1)
    for index in range(6):
        expected = 1.0 + index if index in wanted else 1.0 + choice.place + mean[index] - mean[choice.place]
        assert errors[index] == pytest.approx(expected)


def test_one_trial_adds_nothing_and_one_seed_is_not_known():
    draw = np.random.default_rng(3)
    one_trial, one_seed = random_selection(draw, 1), random_selection(draw, 3, 1)
    assert selection_variance(one_trial, one_trial, np.zeros(1), np.zeros(1)) == []
    (found,) = selection_variance(one_seed, one_trial, None, np.zeros(1))
    assert math.isinf(found.variance)
    assert candidate_indices(one_seed) == [one_seed.place]
    clear = from_arrays(np.array([[0.1, 0.2], [0.9, 0.8]]), np.array([[0.1, 0.2], [0.9, 0.8]]))
    assert selection_variance(clear, one_trial, np.zeros(2), np.zeros(1))[0].variance == 0


def test_selection_sees_validation_alone(synthetic):
    records = synthetic.make_records({"A": "l2", "B": "l2"})
    records["final_validation_error"] += np.random.default_rng(0).normal(0, 0.3, len(records))
    other = selections(records.assign(final_test_error=1 - records["final_test_error"]))
    for arm, choice in selections(records).items():
        assert choice.seeds == 3
        assert (choice.winner_B == other[arm].winner_B).all()
        assert np.allclose(choice.shift_B, -other[arm].shift_B)


def test_candidates_are_the_trials_that_may_win(synthetic):
    records = synthetic.make_records({"A": "l2", "B": "l2"}, lrs=[1e-3, 1e-2], lambdas=[0.0], seeds=range(4))
    records["final_validation_error"] = 0.1 + np.random.default_rng(3).normal(0, 0.01, len(records))
    records.loc[(records["arm"] == "B") & (records["lr"] > 5e-3), "final_validation_error"] = 0.5
    found = selections(records)
    ((place, share),) = runner_ups(found["A"])
    best = best_trials(trials_table(records)).set_index("arm")["lr"]
    assert place[0] != best["A"]
    assert share == pytest.approx(1 - found["A"].win_share_C.max())
    assert (candidate_indices(found["A"]), candidate_indices(found["B"])) == ([0, 1], [0])
    board = leaderboard(records).set_index("arm")
    assert board.loc["A", "next_lr"] == place[0]
    assert board["near_ties"].to_dict() == {"A": 1, "B": 0}
    assert board.loc["B", "wins"] == 1


def searched(draw, count, seeds=5, tried=None, ids=None):
    validation = 0.1 + 0.02 * np.arange(count)[:, None] / count + draw.normal(0, 0.004, (count, seeds))
    test = validation + draw.normal(0, 0.002, (count, seeds))
    return Selection(
        validation, test, tried or count, ids or tuple(range(seeds)), [(i + 1.0, 0.0) for i in range(count)]
    )


def test_an_equal_budget_is_what_the_best_of_so_many_trials_brings():
    draw = np.random.default_rng(0)
    large, small = searched(draw, 30), searched(draw, 3)
    assert at_equal_budget(large, searched(draw, 30)) is None
    found = at_equal_budget(large, small)
    order = large.validation_CT.mean(1).argsort()
    mean = large.test_CT.mean(1)[order]
    assert found.runs == 15
    assert found.shift == pytest.approx(mean @ rank_weights(30, 3) - mean[0])
    assert found.luck_R @ found.weight_R == pytest.approx(0)
    searches = [mean[min(search)] for search in itertools.combinations(range(30), 3)]
    assert found.luck_R**2 @ found.weight_R == pytest.approx(np.var(searches))
    turned = at_equal_budget(small, large)
    assert turned.shift == pytest.approx(-found.shift)
    assert turned.luck_R == pytest.approx(-found.luck_R)
    more_seeds = searched(draw, 30, seeds=10)
    assert more_seeds.best_of(1).shift > more_seeds.best_of(3).shift > more_seeds.best_of(30).shift == pytest.approx(0)


def test_where_nothing_was_searched_there_is_no_budget():
    draw = np.random.default_rng(5)
    one, other = searched(draw, 1, seeds=3), searched(draw, 1, seeds=8)
    assert at_equal_budget(one, other) is None
    assert at_equal_budget(one, searched(draw, 4)).runs == 3


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 1000))
def test_win_shares_sum_to_one_and_the_first_candidate_is_the_selected_trial(trials, seeds, seed):
    choice = from_arrays(*np.random.default_rng(seed).integers(0, 3, (2, trials, seeds)) / 10)
    assert choice.win_share_C.sum() == pytest.approx(1)
    assert candidate_indices(choice)[0] == choice.place == choice.validation_CT.mean(1).round(12).argmin()


def test_trials_that_share_few_tuning_seeds_keep_the_one_that_all_of_their_seeds_select(synthetic):
    """An interrupted or extended tuning: seeds differ between trials, and the shown trial must be the tested one."""
    records = synthetic.make_records({"A": "l2"}, lrs=[1e-3, 1e-2], lambdas=[0.0], seeds=range(6))
    small = records["lr"] < 5e-3
    records["final_validation_error"] = np.where(small, 0.12, 0.10)
    records.loc[small & (records["seed"] < 2), "final_validation_error"] = 0.01  # the first two seeds mislead
    records = records[(~small & (records["seed"] != 4)) | (small & (records["seed"] != 5))]
    small = records["lr"] < 5e-3
    choice = selections(records)["A"]
    best = best_trials(trials_table(records)).iloc[0]
    assert choice.places[candidate_indices(choice)[0]] == (best["lr"], best["weight_decay"])
    apart = records[(small & (records["seed"] < 2)) | (~small & records["seed"].isin([3, 5]))]
    unknown = selections(apart)["A"]
    assert not unknown.is_known
    assert candidate_indices(unknown) == [0]


@pytest.mark.parametrize(("seeds", "trials"), [(2, 9), (3, 2), (3, 9), (5, 2), (5, 9)])
def test_trials_that_nearly_tie_are_no_difference_of_optimizers(seeds, trials):
    """Trials tie by validation error and differ by test error, which held-out runs show without any noise."""
    draw, wrong, count = np.random.default_rng(2), 0, 400
    for _ in range(count):
        error_C, sides = 0.1 + 0.02 * np.abs(draw.standard_normal(trials)), []
        for name in "ab":
            validation = 0.1 + 0.02 * draw.standard_normal((trials, seeds))
            order = validation.mean(1).argsort()
            choice = from_arrays(validation[order], np.tile(error_C[order][:, None], seeds))
            wanted = candidate_indices(choice)
            weight = choice.win_share_C[wanted] / choice.win_share_C[wanted].sum()
            held_C = choice.trial_errors(dict(zip(wanted, error_C[order][wanted], strict=True)))
            error_S = float(weight @ error_C[order][wanted]) + 0.001 * draw.standard_normal(8)
            sides.append((HeldOut(name, tuple(range(8)), error_S, held_C, ("",) * 8), choice))
        (a, of_a), (b, of_b) = sides
        wrong += decide([compare(a, b, of_a, replace(of_b, seed_ids=(9,) * seeds))], has_power=False)[0].kind == "apart"
    # of two trials 7 %, see docs/explanation/verdicts.md
    assert wrong / count <= 0.075 + 2 * math.sqrt(0.05 * 0.95 / count)


def test_a_trial_that_failed_on_one_seed_is_not_better_without_it_than_it_was():
    """Widened resamples must not extrapolate a failure into an error below all that was measured."""
    good = 0.020 + 0.001 * np.arange(3)[:, None] + np.array([0.0, 0.001, -0.001, 0.0, 0.0])
    validation = np.concatenate([good, [[0.024, 0.026, 0.025, 0.9, 0.025]]])
    choice = from_arrays(validation, validation)
    assert choice.win_share_C[0] > 0.9
    assert choice.win_share_C[3] == 0
    assert candidate_indices(choice) == [0]
    (found,) = selection_variance(choice, from_arrays(good[:1], good[:1]), choice.trial_errors({0: 0.02}), np.zeros(1))
    assert found.variance < 1e-6
