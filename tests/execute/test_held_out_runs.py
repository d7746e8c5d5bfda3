"""The second stage of a sweep, as a user sees it."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pandas as pd
import pytest

from adamcmp.analysis import split_by_task
from adamcmp.analysis.selection_uncertainty import candidate_indices, selections
from adamcmp.storage.records import read, read_outcomes

GRID = ("optimizer=adam,adamw", "optimizer.lr=1e-3,1e-2,3e-2", "optimizer.weight_decay=0,0.1")
SHORT = ("train.steps=60", "train.evaluations=1", "study.seeds=2")


def stored(tmp_path, study="digits"):
    return read(tmp_path / "results" / study).records


def test_a_sweep_ends_with_confirmed_numbers_and_a_verdict_for_each_pair(cli, tmp_path):
    ended = cli.stored("sweep", "digits", *GRID, *SHORT, "study.confirm.seeds=8")
    assert ended.code == 0
    records = stored(tmp_path)
    fresh = records[records["stage"] == "confirm"]
    (task,) = split_by_task(records)
    chosen = {arm: candidate_indices(choice) for arm, choice in selections(task.records).items()}
    assert len(fresh) == 8 * sum(map(len, chosen.values()))
    assert len(records) - len(fresh) == 24
    assert not set(fresh["seed"]) & set(records.loc[records["stage"] == "tune", "seed"])
    assert fresh.drop_duplicates(["arm", "lr", "weight_decay"]).groupby("arm").size().to_dict() == {
        arm: len(indices) for arm, indices in chosen.items()
    }
    seeds = [frozenset(part) for _, part in fresh.groupby(["arm", "lr", "weight_decay"])["seed"]]
    assert set(seeds) == {frozenset(range(1_000_000, 1_000_008))}  # paired
    assert "mean ± 95 % CI, 8 held-out seeds" in ended.out
    assert re.search(r"^Verdict   .*(AdamW.*Adam \+ L2|Adam \+ L2.*AdamW)", ended.out, re.MULTILINE)
    again = cli.as_given("sweep", "digits", *GRID, *SHORT)
    assert "nothing to train" in again.err
    assert again.err.count("all stored, nothing to train") == 2
    assert len(stored(tmp_path)) == len(records)


def test_a_wider_grid_confirms_the_new_winner_and_keeps_what_still_counts(cli, tmp_path):
    assert cli.stored("sweep", "digits", *GRID, *SHORT, "study.confirm.seeds=8").code == 0
    before = stored(tmp_path)
    wider = ("optimizer=adamw", "optimizer.lr=1e-1,3e-1", "optimizer.weight_decay=0")
    assert cli.as_given("sweep", "digits", *wider, *SHORT).code == 0
    after = stored(tmp_path)
    assert set(before["run_id"]) <= set(after["run_id"])
    added = after[~after["run_id"].isin(before["run_id"])]
    won = added[added["stage"] == "confirm"]
    assert len(added[added["stage"] == "tune"]) == 4
    assert len(won) % 8 == 0  # new candidates, or none
    assert set(won["arm"]) <= {"AdamW"}
    if len(won):
        assert set(won["seed"]) == set(before.loc[before["stage"] == "confirm", "seed"])


def test_what_is_not_tuned_yet_is_not_confirmed(cli, tmp_path):
    ended = cli.as_given("sweep", "digits", *GRID, *SHORT, "--limit", "5")
    assert ended.code == 0
    assert "tuning runs are missing; held-out runs follow" in ended.err
    assert set(stored(tmp_path)["stage"]) == {"tune"}
    none = cli.as_given("sweep", "digits", *GRID, *SHORT, "study.confirm.seeds=0")
    assert set(stored(tmp_path)["stage"]) == {"tune"}
    assert "No held-out runs: these are the tuning runs that selected the trials" in " ".join(none.out.split())
    assert "against" not in none.out


def test_single_cells_are_judged_as_they_are(cli, tmp_path):
    ended = cli.as_given("sweep", "digits", "optimizer=adam,sgd", "optimizer.lr=3e-2", *SHORT, "study.seeds=6")
    assert set(stored(tmp_path)["stage"]) == {"tune"}
    assert "is significantly better than SGD + L2, by" in ended.out
    assert set(read_outcomes([tmp_path / "results/digits"])) == set(stored(tmp_path)["run_id"])


def test_a_dry_run_prices_both_stages_and_says_when_tuning_seeds_are_too_few(cli):
    ended = cli.as_given(
        "sweep", "digits", *GRID, "optimizer=adam,adamw,sgd,sgdw", "study.confirm.seeds=7", "--dry-run"
    )
    assert re.search(r"Held-out +\d+ runs   4 optimizers × \d trials? × 7 held-out seeds", ended.out)
    one = cli.as_given("sweep", "digits", *GRID, "study.seeds=1", "optimizer=adam,adamw", "--dry-run")
    assert "1 tuning seed: the selection error cannot be estimated, so no pair will be decided" in one.out
    assert "held-out seeds" not in cli.as_given("sweep", "digits", *GRID, "study.confirm.seeds=0", "--dry-run").out


def test_a_dry_run_of_what_is_tuned_prices_what_is_still_to_be_judged(cli):
    words = ("sweep", "digits", *GRID, *SHORT, "optimizer=adam,adamw")
    assert cli.as_given(*words, "study.confirm.seeds=0").code == 0
    ended = cli.as_given(*words, "study.confirm.seeds=2", "--dry-run")
    assert "Tuning" not in ended.out
    assert re.search(r"Held-out +\d+ runs   2 optimizers.* × 2 held-out seeds +\d+ to train, about ", ended.out)
    assert cli.as_given(*words, "study.confirm.seeds=2").code == 0
    assert "held-out seeds" not in cli.as_given(*words, "study.confirm.seeds=2", "--dry-run").out


def test_a_dry_run_where_one_task_is_tuned_prices_both(cli):
    words = ("sweep", "digits", *GRID, *SHORT, "study.confirm.seeds=2")
    assert cli.as_given(*words).code == 0
    ended = cli.as_given(*words, "data=digits,mnist1d", "--dry-run")
    assert ended.code == 0, ended.err
    assert re.search(r"Held-out +\d+ runs   4 optimizers", ended.out)
    assert "2 tuning seeds: the selection error is estimated poorly" in ended.out


def test_the_report_has_the_verdicts_and_heeds_margin_and_reference(cli, tmp_path):
    words = ("optimizer=adam,adamw,sgdw", "optimizer.lr=1e-2,3e-2", "study.margin=30", "study.reference=AdamW")
    assert cli.as_given("sweep", "digits", *words, *SHORT, "--report").code == 0
    folder = tmp_path / "results" / "digits" / "report"
    page = (folder / "report.md").read_text()
    assert page.index("## Verdict") < page.index("## Leaderboard")
    pairs = pd.read_csv(folder / "verdicts.csv")
    assert pairs["margin"].tolist() == [0.3, 0.3]
    assert "are equivalent within ±30.00 pp" in page or "is significantly better than" in page
    assert "Adam + L2 vs. SGDW" not in page
    assert "SGDW vs. Adam + L2" not in page
    assert len((folder / "verdicts.csv").read_text().splitlines()) == 3
    assert {"verdicts.md", "verdicts.tex"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("word", "says"),
    [("study.confirm.seeds=-1", r"study.confirm.seeds=-1"), ("study.margin=0", "study.margin=0"),
     ("study.confirm.seed=3", "study.confirm.seed: no such setting; did you mean study.confirm.seeds")],
)  # fmt: skip
def test_bad_settings_are_one_line(cli, word, says):
    ended = cli.as_given("sweep", "digits", *GRID, word)
    assert ended.code == 2
    assert says in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def test_weights_are_kept_of_confirming_runs_too(cli, tmp_path):
    assert cli.as_given("sweep", "digits", *GRID, *SHORT, "study.confirm.seeds=3", "train.save=last").code == 0
    kept = {path.name.partition("-")[0] for path in (tmp_path / "results/digits/weights").glob("*.safetensors")}
    assert kept == set(stored(tmp_path)["run_id"])
    settings = stored(tmp_path).set_index("run_id")["settings"].map(json.loads)
    assert settings.map(lambda each: each["seed"]).max() >= 1_000_000


def test_a_grid_whose_best_cell_lies_on_the_edge_grows_until_it_does_not(cli, tmp_path):
    words = ("optimizer=adamw", "optimizer.lr=1e-3,2e-3", "optimizer.weight_decay=0,0.01", *SHORT)
    ended = cli.as_given("sweep", "digits", *words, "--extend", "study.confirm.seeds=2")
    assert ended.code == 0, ended.err
    assert "Extended" in ended.err
    records = stored(tmp_path)
    tuned = records[records["stage"] == "tune"]
    lrs = sorted(tuned["lr"].unique())
    assert len(lrs) > 2
    assert [later / earlier for earlier, later in pairwise(lrs)] == pytest.approx([2.0] * (len(lrs) - 1))
    best = records.loc[records["stage"] == "confirm", "lr"].unique()
    assert lrs[0] < best[0]
    assert best[0] < lrs[-1] or len(lrs) == 2 + 5  # inside, or as often as is allowed
    assert tuned.groupby(["lr", "weight_decay"])["seed"].nunique().eq(2).all()
    again = cli.as_given("sweep", "digits", *words, "study.extend=5", "study.confirm.seeds=2")
    assert len(stored(tmp_path)) == len(records), again.err


def test_what_is_inside_or_has_no_ratio_does_not_grow(cli, tmp_path):
    words = ("optimizer=adamw", "optimizer.lr=1e-3,3e-2,9", "optimizer.weight_decay=0", *SHORT)
    assert cli.as_given("sweep", "digits", *words, "--extend", "study.confirm.seeds=0").code == 0
    assert len(stored(tmp_path)) == 6


SETTLE = ("digits", "optimizer=adamw,sgd", "optimizer.lr=1e-3,3e-2", *SHORT)


def test_settling_adds_seeds_until_there_is_a_verdict(cli, tmp_path):
    refused = cli.as_given("settle", "AdamW", "sgd", *SETTLE)
    assert (refused.code, "no optimizer 'AdamW' is tuned" in refused.err) == (2, True)
    assert cli.as_given("sweep", *SETTLE).code == 0
    before = stored(tmp_path)
    ended = cli.as_given("settle", "AdamW", "sgd", *SETTLE)
    assert ended.code == 0, ended.err
    assert "AdamW is significantly better than SGD + L2: −" in ended.out.splitlines()[-1]
    after = stored(tmp_path)
    added = after[~after["run_id"].isin(before["run_id"])]
    assert set(added["stage"]) == {"settle"}
    assert added.groupby("arm")["seed"].agg(sorted).map(tuple).nunique() == 1
    assert not set(added["seed"]) & set(before["seed"])
    for words in (SETTLE, ()):  # without a study it is the one that has both arms, as it was swept
        again = cli.as_given("settle", "AdamW", "sgd", *words)
        assert again.code == 0, again.err
        assert again.out.splitlines()[-1] == ended.out.splitlines()[-1]
    nothing = cli.as_given("settle", "AdamW", "adam")
    assert (nothing.code, "no sweep in results has both" in nothing.err) == (2, True)
    assert len(stored(tmp_path)) == len(after)
    told = cli.as_given("sweep", *SETTLE).out
    assert " 8 seeds" in told  # verdicts of reports are of the confirming seeds, however many were added since


def test_a_stored_study_is_settled_by_its_name_however_it_was_swept(cli, tmp_path):
    few = ("--max-seeds", "8")
    for name in ("one", "two"):
        assert cli.as_given("sweep", *SETTLE, f"study.name={name}", "-q").code == 0
    several = cli.as_given("settle", "adamw", "sgd", *few)
    assert (several.code, "2 studies have both: one, two; name one, such as `adamcmp settle" in several.err) == (
        2,
        True,
    )
    for named in ("two", "results/two", "results/two/study.yaml"):
        ended = cli.as_given("settle", "adamw", "sgd", named, *few)
        assert ended.code == 0, ended.err
    assert set(stored(tmp_path, "two")["stage"]) == {"tune", "confirm", "settle"}
    assert set(stored(tmp_path, "one")["stage"]) == {"tune", "confirm"}
    swapped = cli.as_given("settle", "two", "adamw", "sgd")
    assert (swapped.code, "`adamcmp settle adamw sgd two`" in swapped.err) == (2, True)
    assert "no sweep in results has both" in cli.as_given("settle", "adam", "sgd").err


def test_seeds_that_would_help_are_held_out_seeds_where_these_are_compared(cli):
    once = ("digits", "optimizer=adamw,sgd", "optimizer.lr=1e-2,1e6", "train.steps=60", "study.seeds=1")
    ended = cli.as_given("sweep", *once, "--json")
    (verdict,) = json.loads(ended.out.splitlines()[-1])["tasks"][0]["verdicts"]
    assert "(study.seeds=" not in verdict["text"]


@pytest.mark.slow
def test_settling_ends_when_its_runs_are_used_up_or_both_are_the_same(cli, tmp_path):
    same = ("digits", "optimizer=adamw,adamw_keras", "optimizer.lr=1e-3,3e-2", *SHORT)
    assert cli.as_given("sweep", *same).code == 0
    few = cli.as_given("settle", "adamw", "adamw_keras", *same, "--max-seeds", "10", "--margin", "0.01")
    last = [line for line in few.out.splitlines() if line.startswith("seeds ")][-1]
    assert last.startswith("seeds 10: ")
    assert "undecided" in last
    wide = cli.as_given("settle", "adamw", "adamw_keras", *same, "--margin", "20")
    assert "are equivalent within ±20.00 pp" in wide.out.splitlines()[-1]
