"""What a search of k cells brings, how much lr and λ matter, and who leads when."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from adamcmp.analysis import best_trials, split_by_task, trials_table
from adamcmp.analysis.best_of_k import expected_best_of_k
from adamcmp.analysis.rank_over_time import count_rank_flips, ranks_over_time, targets_table
from adamcmp.analysis.selection_uncertainty import rank_weights
from adamcmp.analysis.sensitivity import estimate_sensitivities, of_drawn, to_frame, to_lr
from adamcmp.figures.best_of_k import performance_profile


@pytest.fixture
def records(synthetic):
    return synthetic.make_records({"A": "l2", "B": "lr_scaled"}, lrs=[1e-3, 1e-2, 1e-1], lambdas=[0.0, 1e-3])


def test_weights_of_ranks_are_those_of_drawing_without_replacement():
    for trials, k in itertools.product((1, 2, 5, 64), (1, 2, 3, 17)):
        if k <= trials:
            rank = np.arange(trials)
            expected = special.comb(trials - 1 - rank, k - 1) / special.comb(trials, k)
            assert rank_weights(trials, k) == pytest.approx(expected, abs=1e-12)


def test_the_expected_best_of_k_is_the_mean_over_all_searches(records):
    table = trials_table(records)
    found = expected_best_of_k(records, table).set_index(["arm", "k"])
    for arm, part in table.groupby("arm"):
        validation, test = (part[f"final_{name}_error"].to_numpy() for name in ("validation", "test"))
        for k in range(1, len(part) + 1):
            kept = [min(search, key=lambda i: validation[i]) for search in itertools.combinations(range(len(part)), k)]
            row = found.loc[(arm, k)]
            assert row["validation"] == pytest.approx(validation[kept].mean(), abs=1e-12)
            assert row["test"] == pytest.approx(test[kept].mean(), abs=1e-12)
            assert row["test_low"] == pytest.approx(np.quantile(test[kept], 0.1, method="inverted_cdf"))
            assert row["test_high"] == pytest.approx(np.quantile(test[kept], 0.9, method="inverted_cdf"))


def test_a_lost_cell_counts_as_the_best_constant_prediction(records, synthetic):
    lost = synthetic.end(
        records, (records["arm"] == "A") & (records["lr"] == 1e-1) & (records["seed"] == 0), "diverged"
    )
    lost = lost.assign(baseline_validation_error=0.9, baseline_test_error=0.8)
    row = expected_best_of_k(lost, trials_table(lost)).set_index(["arm", "k"]).loc[("A", 1)]
    left = trials_table(lost).query("arm == 'A' and eligible")
    assert row["cells"] == 6
    assert row["validation"] == pytest.approx((left["final_validation_error"].sum() + 2 * 0.9) / 6)
    assert row["test"] == pytest.approx((left["final_test_error"].sum() + 2 * 0.8) / 6)


def test_importance_is_the_anova_of_statsmodels(records):
    for found in estimate_sensitivities(records, trials_table(records)):
        own = records.loc[records["arm"] == found.arm, ["lr", "weight_decay", "final_validation_error"]]
        own = own.rename(columns={"final_validation_error": "error"})
        model = ols("error ~ C(lr) * C(weight_decay)", own).fit()
        squares = anova_lm(model)["sum_sq"] / anova_lm(model)["sum_sq"].sum()
        expected = dict(zip(("lr", "λ", "together", "seeds"), squares, strict=True))
        assert {name: found.importance[name] for name in expected} == pytest.approx(expected, abs=1e-10)
        assert found.importance["variant"] == pytest.approx(0, abs=1e-12)


def test_variants_of_an_optimizer_are_an_axis_too(records):
    twice = pd.concat(
        [records[records["arm"] == "A"], records[records["arm"] == "A"].assign(arm="A2", optimizer="A")],
        ignore_index=True,
    )
    twice["final_validation_error"] += 0.2 * (twice["arm"] == "A2")
    for found in estimate_sensitivities(twice, trials_table(twice)):
        assert found.importance["variant"] > 0.5
        assert sum(found.importance.values()) == pytest.approx(1)


def test_sensitivity_to_lr_is_the_mean_loss_of_an_untuned_one(records, synthetic):
    lost = synthetic.end(records, (records["arm"] == "A") & (records["lr"] == 1e-1), "diverged")
    lost = lost.assign(baseline_validation_error=0.9)
    found, _ = estimate_sensitivities(lost, trials_table(lost))
    by_lr = trials_table(lost).query("arm == 'A' and eligible").groupby("lr")["final_validation_error"].min()
    best = by_lr.min()
    assert found.to_lr.value == pytest.approx(np.mean([*(by_lr - best), 0.9 - best]))
    assert found.to_lr.low < found.to_lr.value < found.to_lr.high
    assert (found.lrs, found.decades) == (3, pytest.approx(2))
    assert to_frame([found])["importance_lr"].iloc[0] > 0.5
    one = records[records["seed"] == 0]
    assert math.isnan(estimate_sensitivities(one, trials_table(one))[0].to_lr.low)


def test_the_interval_of_sensitivity_is_of_all_draws_of_seeds():
    errors = np.random.default_rng(0).normal(0.1, 0.02, (4, 2, 4))
    found = to_lr(errors)
    all_draws = []
    for draw in itertools.product(range(4), repeat=4):
        best = errors[..., list(draw)].mean(2).min(1)
        all_draws.append(best.mean() - best.min())
    half = stats.t.ppf(0.975, 3) * math.sqrt(4 / 3) * np.std(all_draws)
    assert found.high - found.value == pytest.approx(half, rel=0.05)


def crossing(synthetic, records):
    """Curves on which B leads at first and A at the end, on every seed."""
    curves = synthetic.make_curves(records, 5).merge(records[["run_id", "arm"]], on="run_id")
    place = curves["epoch"] / curves["epoch"].max()
    curves["test_error"] = np.where(curves["arm"] == "A", 0.9 - 0.8 * place, 0.6 - 0.3 * place)
    return curves.drop(columns="arm")


def test_ranks_flip_where_curves_cross(synthetic, records):
    best = best_trials(trials_table(records))
    found = ranks_over_time(crossing(synthetic, records), records, best)
    of_a = found[found["arm"] == "A"]
    assert of_a["rank"].tolist() == [2, 2, 2, 1, 1]
    assert of_a["final_rank"].tolist() == [1] * 5
    assert of_a["agreement"].tolist() == [0, 0, 0, 1, 1]
    assert of_a["seeds"].tolist() == [3] * 5
    assert count_rank_flips(found).startswith(
        "Ranks flip: B leads at epoch 50, A leads at the end. Halfway, 0% of the pairs"
    )
    steady = ranks_over_time(crossing(synthetic, records), records[records["arm"] == "A"], best[best["arm"] == "A"])
    assert steady.empty
    assert count_rank_flips(steady) == ""


def test_profiles_count_the_tasks_that_are_reached_in_time(synthetic, records):
    parts = [
        records.assign(task=task, variant=records["arm"], task_label=task, settings="{}", comparison=None,
                       run_id=task + records["run_id"])
        for task in ("one", "two")
    ]  # fmt: skip
    curves = []
    for part, steps in zip(parts, ({"A": 100, "B": 300}, {"A": 400, "B": math.inf}), strict=True):
        rows = part[["run_id", "arm", "final_validation_error"]]
        for step in (100, 300, 400, 1000):
            known = rows["arm"].map(steps) <= step
            curves.append(
                pd.DataFrame({"run_id": rows["run_id"], "step": step, "validation_error": np.where(known, 0.01, 0.9)})
            )
    both = pd.concat(parts, ignore_index=True)
    ratios = targets_table(split_by_task(both), pd.concat(curves), 0.05).set_index(["task", "arm"])
    assert ratios["steps_ratio"].to_dict() == {
        ("one", "A"): 1, ("one", "B"): 3, ("two", "A"): 1, ("two", "B"): math.inf
    }  # fmt: skip
    shares = performance_profile(ratios.reset_index(), "steps").set_index(["arm", "tau"])["share"].to_dict()
    assert shares == {("A", 1): 1, ("A", 3): 1, ("B", 1): 0, ("B", 3): 0.5}


def test_of_points_that_a_search_has_drawn_lr_and_decay_have_their_shares():
    draw = np.random.default_rng(0)
    lr, decay = 10 ** draw.uniform(-4, 0, 60), 10 ** draw.uniform(-4, 0, 60)
    error = 0.1 + 0.05 * (np.log10(lr) + 2) ** 2 + 0.001 * np.log10(decay)
    tried = pd.DataFrame({"lr": lr, "weight_decay": decay, "final_validation_error": error})
    found = of_drawn(tried, 1.0, 0.9)
    assert found["lr"] > 0.7
    assert found["λ"] < 0.15
    assert of_drawn(tried.head(5), 1.0, 0.9) == {}
    assert of_drawn(tried.assign(final_validation_error=0.3), 1.0, 0.9) == {}


def tied(synthetic, records):
    """Curves on which A and B have the same errors on every seed, and change them together."""
    curves = crossing(synthetic, records)
    return curves.assign(test_error=1 - curves["epoch"] / curves["epoch"].max() / 2)


def test_ranks_of_arms_that_tie_do_not_flip(synthetic, records):
    """The alphabet used to decide who leads."""
    best = best_trials(trials_table(records))
    assert count_rank_flips(ranks_over_time(tied(synthetic, records), records, best)) == ""
    mixed = tied(synthetic, records).merge(records[["run_id", "arm"]], on="run_id")
    last = mixed["epoch"] == mixed["epoch"].max()
    mixed.loc[last & (mixed["arm"] == "B"), "test_error"] = 0.1  # until the end they lead together
    assert count_rank_flips(ranks_over_time(mixed.drop(columns="arm"), records, best)) == ""


def test_trials_that_lack_seeds_never_win_and_raise_no_warning():
    """A grid that was extended in pieces: not every learning rate has every weight decay."""
    errors_LJT = np.array([[[0.3, 0.3], [np.nan, np.nan]], [[0.2, 0.2], [0.1, np.nan]], [[0.5, 0.5], [0.4, 0.4]]])
    found = to_lr(errors_LJT)
    assert found.value == pytest.approx(((0.3 + 0.2 + 0.4) / 3) - 0.2)
    assert np.isfinite(found.low)
