"""Held-out errors of an optimizer: averages over candidates, lost runs, per-example errors."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from adamcmp.analysis import best_trials, leaderboard, trials_table, verdicts
from adamcmp.analysis.held_out import candidate_runs, held_out, held_out_rows
from adamcmp.analysis.selection import TaskRecords
from adamcmp.analysis.selection_uncertainty import candidate_indices, selections
from adamcmp.metrics.spec import CLASSIFICATION
from adamcmp.report.recommendation import recommend
from adamcmp.report.verdict_text import format_verdict

ERROR = CLASSIFICATION.error


def study(synthetic, seeds=8, gap=0.02, spread=0.003, trials=(1e-3, 2e-3), tuning=4, close=True):
    """Two optimizers with close trials, and held-out runs of all their candidates."""
    tuned = synthetic.make_records({"A": "l2", "B": "l2"}, lrs=list(trials), lambdas=[0.0], seeds=range(tuning))
    tuned["settings"] = tuned["settings"].str.replace("eval_examples", "unknown")  # of another adamcmp
    draw = np.random.default_rng(0)
    worse = 0.0 if close else 0.3
    tuned["final_validation_error"] = 0.1 + worse * (tuned["lr"] > 1.5e-3) + draw.normal(0, 0.01, len(tuned))
    tuned = tuned.assign(stage="tune", baseline_test_error=0.9, baseline_validation_error=0.8)
    rows = []
    for arm, choice in selections(tuned).items():
        for index in candidate_indices(choice):
            lr, _ = choice.places[index]
            own = tuned[(tuned["arm"] == arm) & (tuned["lr"] == lr)].head(1)
            fresh = own.loc[own.index.repeat(seeds)].assign(stage="confirm")
            fresh["seed"] = np.arange(seeds) + 1_000_000
            fresh["final_test_error"] = 0.1 + gap * (arm == "B") + draw.normal(0, spread, seeds)
            fresh["run_id"] = [f"held out {arm} {lr} {seed}" for seed in range(seeds)]
            rows.append(fresh)
    return pd.concat([tuned, *rows], ignore_index=True)


def parts(records):
    table, choices = trials_table(records), selections(records)
    return candidate_runs(records, table, choices), choices


def test_an_error_is_the_average_over_candidates_by_win_share(synthetic):
    records = study(synthetic)
    runs, choices = parts(records)
    rows = held_out_rows(runs)
    for arm, choice in choices.items():
        assert len(candidate_indices(choice)) == 2
        own = runs[runs["arm"] == arm].pivot(index="seed", columns="lr", values="final_test_error")
        weights = [choice.win_share_C[choice.places.index((lr, 0.0))] for lr in own.columns]
        expected = own.to_numpy() @ np.array(weights) / sum(weights)
        assert rows[rows["arm"] == arm]["final_test_error"].to_numpy() == pytest.approx(expected)
        assert held_out(runs, choices, {})[arm].error_S == pytest.approx(expected)
    board = leaderboard(records).set_index("arm")["final_test_error"]
    assert board.to_dict() == pytest.approx(rows.groupby("arm")["final_test_error"].mean().to_dict())


def test_a_candidate_without_all_seeds_does_not_count(synthetic):
    records = study(synthetic)
    _, choices = parts(records)
    second = choices["A"].places[candidate_indices(choices["A"])[1]][0]
    lacking = (records["stage"] == "confirm") & (records["arm"] == "A") & (records["lr"] == second)
    records = records.drop(records[lacking].index[:1])
    runs, choices = parts(records)
    assert set(runs[runs["arm"] == "A"]["weight"]) == {1.0}
    tested = held_out(runs, choices, {})
    assert tested["A"].trial_error_C is None
    assert tested["B"].trial_error_C is not None
    assert len(verdicts(records)) == 1


@pytest.mark.parametrize("lost", [1, 4, 8])
@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_lost_runs_count_with_the_baseline(synthetic, lost, status):
    """An optimizer that is better where it survives must not win by the seeds on which it does not."""
    records = study(synthetic, close=False)
    assert verdicts(records)[0].kind == "apart"
    chosen = (records["arm"] == "A") & (records["stage"] == "confirm") & (records["seed"] < 1_000_000 + lost)
    ended = synthetic.end(records, chosen, status)
    (found,) = verdicts(ended)
    errors = records[(records["arm"] == "A") & (records["stage"] == "confirm")]["final_test_error"].to_numpy(copy=True)
    errors[:lost] = 0.9
    side, n, count = ("a", found.lost_a, found.runs_a) if found.a == "A" else ("b", found.lost_b, found.runs_b)
    assert (n, count) == (lost, 8)
    other = records[(records["arm"] == "B") & (records["stage"] == "confirm")]["final_test_error"].mean()
    assert (found.mean if side == "a" else -found.mean) == pytest.approx(errors.mean() - other)
    text = format_verdict(found, ERROR)
    assert f"A diverged or failed on {lost} of 8 held-out seeds" in text
    assert "A is significantly better" not in text
    if lost < 4:
        assert "not decidable" in text
    board = leaderboard(ended).set_index("arm")
    assert board.loc["A", "final_test_error"] == pytest.approx(errors.mean())
    assert board.loc["A", "note"] == f"{status} on {lost} of 8 held-out seeds, which count as the baseline or worse"
    assert board.index[0] == "B"
    told = recommend(TaskRecords("t", "t", ended), [found], 1.0)
    assert told.arm == "B"
    assert told.paragraph.startswith("Use B")


def test_a_recommended_optimizer_that_diverged_is_not_sure(synthetic):
    records = study(synthetic, close=False)
    records = synthetic.end(records, (records["stage"] == "confirm") & (records["seed"] < 1_000_002), "diverged")
    told = recommend(TaskRecords("t", "t", records), verdicts(records), 1.0)
    assert not told.is_sure
    assert told.paragraph.startswith("No safe choice; the best is ")
    assert "It diverged or failed on 2 of 8 held-out seeds." in told.paragraph


@pytest.mark.parametrize("value", [math.inf, math.nan, -math.inf])
def test_an_error_that_is_not_finite_counts_as_diverged(synthetic, value):
    records = study(synthetic, close=False)
    chosen = records.index[(records["arm"] == "A") & (records["stage"] == "confirm")][0]
    records.loc[chosen, "final_test_error"] = value
    (found,) = verdicts(records)
    assert found.lost_a + found.lost_b == 1
    assert math.isfinite(found.mean)
    assert leaderboard(records)["final_test_error"].notna().all()
    of_b = records.index[(records["arm"] == "B") & (records["stage"] == "tune")]
    for tuned, pairs in ((of_b[-1], 1), (of_b[0], 0)):  # of the other trial, and of the one that was selected
        records.loc[tuned, ["final_test_error", "final_validation_error"]] = value
        assert len(verdicts(records)) == pairs
        assert len(leaderboard(records)) == 2


def test_without_a_baseline_all_predictions_of_a_share_are_wrong(synthetic):
    records = study(synthetic, close=False).assign(baseline_test_error=np.nan)
    chosen = (records["arm"] == "A") & (records["seed"] == 1_000_000)
    ended = synthetic.end(records, chosen, "diverged")
    rows = held_out_rows(parts(ended)[0]).set_index(["arm", "seed"])
    assert rows.loc[("A", 1_000_000), "final_test_error"] == 1.0
    rmse = ended.assign(loss="mse", error_metric="rmse", error_unit="", error_better="lower")
    rows = held_out_rows(parts(rmse)[0]).set_index(["arm", "seed"])["final_test_error"]
    assert rows["A", 1_000_000] == rows.drop(("A", 1_000_000)).max()


@pytest.mark.parametrize("lost", [6, 8])
def test_losing_runs_never_makes_an_optimizer_better(synthetic, lost):
    """The other optimizer completes with errors worse than the baseline."""
    records = study(synthetic, close=False)
    of_b = (records["arm"] == "B") & (records["stage"] == "confirm")
    records.loc[of_b, "final_test_error"] = 30.0 + records.loc[of_b, "final_test_error"]
    chosen = (records["arm"] == "A") & (records["stage"] == "confirm") & (records["seed"] < 1_000_000 + lost)
    ended = synthetic.end(records, chosen, "diverged").assign(
        loss="mse", error_metric="rmse", error_unit="", error_better="lower"
    )
    (found,) = verdicts(ended)
    assert found.kind != "apart" or format_verdict(found, ERROR).startswith("B is significantly better")
    rows = held_out_rows(parts(ended)[0]).groupby("arm")["final_test_error"].mean()
    assert rows["A"] >= rows["B"] if lost == 8 else rows["A"] > 0.1
    told = recommend(TaskRecords("t", "t", ended), [found], 1.0)
    assert not (told.is_sure and told.arm == "A")


def test_a_candidate_with_more_seeds_than_the_selected_trial_counts_on_shared_ones(synthetic):
    records = study(synthetic)
    _, choices = parts(records)
    first = choices["A"].places[candidate_indices(choices["A"])[0]][0]
    interrupted = (records["stage"] == "confirm") & (records["arm"] == "A") & (records["lr"] == first)
    records = records.drop(records[interrupted & (records["seed"] >= 1_000_005)].index)
    runs, choices = parts(records)
    assert set(runs[runs["arm"] == "A"]["seed"]) == set(range(1_000_000, 1_000_005))
    assert runs.groupby(["arm", "seed"])["weight"].sum().to_numpy() == pytest.approx(1.0)
    assert held_out(runs, choices, {})["A"].error_S == pytest.approx(0.1, abs=0.02)
    (found,) = verdicts(records)
    assert found.n == 5


def test_lost_runs_outside_the_compared_seeds_are_not_mentioned(synthetic):
    records = study(synthetic, close=False)
    more = records[(records["arm"] == "A") & (records["stage"] == "confirm")].copy()
    more["seed"] += 100
    more["run_id"] = "more " + more["run_id"]
    longer = pd.concat([records, synthetic.end(more, more["seed"] > 0, "diverged")], ignore_index=True)
    (found,) = verdicts(longer)
    assert (found.n, found.lost_a, found.lost_b) == (8, 0, 0)
    assert "diverged" not in format_verdict(found, ERROR)


def test_an_optimizer_that_lost_every_run_has_per_example_errors(synthetic):
    records = study(synthetic, close=False)
    ended = synthetic.end(records, (records["arm"] == "A") & (records["stage"] == "confirm"), "diverged")
    known = {run: np.arange(50) % 10 < 1.0 for run in ended.loc[ended["stage"] == "confirm", "run_id"]}
    (found,) = verdicts(ended, outcomes={run: values.astype(float) for run, values in known.items()})
    assert (found.examples, found.test_examples) == ("stored", 50)
    odd = dict.fromkeys(known, np.full(50, np.nan))
    assert verdicts(records, outcomes=odd)[0].examples == "ignored"


def test_where_nothing_is_selected_lost_runs_count_too(synthetic):
    records = synthetic.make_records({"A": "l2", "B": "l2"}, lrs=[1e-3], lambdas=[0.0], seeds=range(8))
    records = records.assign(baseline_test_error=0.9, baseline_validation_error=0.9, stage="tune")
    for lost in (2, 8):
        ended = synthetic.end(records, (records["arm"] == "A") & (records["seed"] < lost), "diverged")
        (found,) = verdicts(ended)
        assert {found.lost_a, found.lost_b} == {0, lost}
        assert "A diverged or failed on" in format_verdict(found, ERROR)
        note = leaderboard(ended).set_index("arm").loc["A", "note"]
        assert note.startswith(f"diverged on {lost} of 8" if lost < 8 else "no completed run: 8 diverged")


def test_a_seed_that_was_tuned_with_is_not_held_out(synthetic):
    records = study(synthetic, close=False)
    held = (records["stage"] == "confirm") & (records["seed"] >= 1_000_004)
    tuned = records["stage"] == "tune"
    records.loc[tuned & (records["seed"] == 3), "seed"] = 1_000_003  # as if that seed had been tuned with
    runs, _ = parts(records[tuned | held | (records["arm"] == "B")].drop_duplicates(["arm", "lr", "seed"]))
    assert 1_000_003 not in set(runs.loc[runs["stage"] == "confirm", "seed"])


def test_values_of_a_root_have_its_mean_and_the_influence_of_each_example(synthetic):
    records = study(synthetic, close=False)
    runs, choices = parts(records)
    draw = np.random.default_rng(0)
    squares = {run: draw.chisquare(1, 300) for run in runs["run_id"]}
    runs["final_test_error"] = [math.sqrt(squares[run].mean()) for run in runs["run_id"]]
    tested = held_out(runs, choices, squares, is_root=True)["A"]
    assert tested.examples_SN.mean(1) == pytest.approx(tested.error_S)
    one = squares[runs[runs["arm"] == "A"].sort_values("seed")["run_id"].iloc[0]]
    step = 1e-6
    weights = np.ones(300)
    weights[7] += step
    moved = (math.sqrt(one @ weights / weights.sum()) - math.sqrt(one.mean())) / step * 300
    assert tested.examples_SN[0, 7] - tested.error_S[0] == pytest.approx(moved, rel=1e-4)


def test_a_lost_run_has_the_same_value_for_every_example(synthetic):
    records = study(synthetic, close=False)
    ended = synthetic.end(records, (records["arm"] == "A") & (records["seed"] == 1_000_000), "diverged")
    runs, choices = parts(ended)
    known = {run: np.zeros(50) for run, lost in zip(runs["run_id"], runs["lost"], strict=True) if not lost}
    tested = held_out(runs, choices, known)["A"]
    assert (tested.examples_SN[0] == 0.9).all()
    assert best_trials(trials_table(ended))["arm"].tolist() == ["A", "B"]
