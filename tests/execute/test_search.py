"""A search from the command line to a verdict: batches, resuming, arms, confirming."""

import json

import pytest

from adamcmp.analysis import best_trials, split_by_task, trials_table
from adamcmp.analysis.selection_uncertainty import candidate_indices, selections
from adamcmp.storage.records import read_records

WORDS = ("sweep", "digits", "optimizer=adam,adamw", "optimizer.lr=geomspace(1e-3,1e-1,5)", "train.steps=20",
         "train.evaluations=4", "search.trials=8", "search.batch=4", "study.seeds=2")  # fmt: skip


def test_a_search_over_beta_is_one_arm_confirmed_in_its_own_cell(cli):
    betas = "optimizer.betas=[0.9,0.9],[0.9,0.99],[0.9,0.999]"
    ended = cli.as_given(*WORDS, betas, "search=tpe", "study.confirm.seeds=3")
    assert ended.code == 0, ended.err
    assert "tpe, trial 8 of 8" in ended.err
    records = read_records(cli.folder / "results" / "digits")
    assert set(records["search"]) == {"tpe over lr, betas"}
    (task,) = split_by_task(records)
    assert set(task.records["arm"]) == {"Adam + L2", "AdamW"}
    best = best_trials(trials_table(task.records))
    assert len(best) == 2
    for cell in best.to_dict("records"):
        own = records[(records["arm"] == cell["arm"]) & (records["lr"] == cell["lr"])]
        assert set(own["stage"]) == {"tune", "confirm"}
        assert own["beta2"].nunique() == 1, "it is confirmed with the betas that won"
    found = [len(candidate_indices(choice)) for choice in selections(task.records).values()]
    assert (records["stage"] == "confirm").sum() == 3 * sum(found)
    assert (records["stage"] == "tune").sum() == 2 * 8 * 2


def test_an_interrupted_search_asks_the_same_again(cli):
    first = cli(*WORDS, "search=tpe", "--limit", "5")
    assert first.code == 0
    whole = cli(*WORDS, "search=tpe")
    assert whole.code == 0, whole.err
    assert "5 stored, 11 trained" in whole.err
    assert len(read_records(cli.folder / "results" / "digits")) == 32
    again = cli(*WORDS, "search=tpe")
    assert "nothing to train" in again.err
    assert len(read_records(cli.folder / "results" / "digits")) == 32
    more = cli(*WORDS, "search=tpe", "search.trials=12")
    assert more.code == 0
    assert len(read_records(cli.folder / "results" / "digits")) == 48


def test_pruned_runs_count_for_the_search_and_not_for_a_grid(cli):
    asked = (*WORDS, "train.steps=60", "search=asha", "search.trials=9", "search.batch=9")
    assert cli(*asked).code == 0
    records = read_records(cli.folder / "results" / "digits")
    assert (records["status"] == "pruned").sum() == 2 * 2 * 8
    assert records.loc[records["status"] == "pruned", "final_test_error"].isna().all()
    assert "nothing to train" in cli(*asked).err
    one = records[records["status"] == "pruned"].iloc[0]
    lr = f"optimizer.lr={float(one['lr'])!r}"
    ended = cli("run", "digits", f"optimizer={one['optimizer']}", lr, "train.steps=60", "train.evaluations=4",
                f"seed={one['seed']}")  # fmt: skip
    assert ended.code == 0
    again = read_records(cli.folder / "results" / "digits").set_index("run_id")
    assert again.loc[one["run_id"], "status"] == "completed"


def test_grid_and_search_of_one_optimizer_are_two_arms(cli):
    assert cli(*WORDS).code == 0
    assert cli(*WORDS, "search=random").code == 0
    (task,) = split_by_task(read_records(cli.folder / "results" / "digits"))
    assert set(task.records["arm"]) == {"Adam + L2", "Adam + L2 · random", "AdamW", "AdamW · random"}


@pytest.mark.parametrize("method", ["tpe", "gp"])
def test_what_asks_after_each_batch_is_refused_on_slurm(cli, method):
    ended = cli(*WORDS, f"search={method}", "execute=slurm")
    assert ended.code == 2
    assert "asks after each batch" in ended.err


def test_a_sweep_that_answered_as_json_is_settled_as_any_other(cli):
    swept = cli.as_given("sweep", "digits", "optimizer=adam,adamw", "optimizer.lr=1e-3,1e-2", "study.seeds=2",
                         "train.steps=20", "study.confirm.seeds=6", "--json")  # fmt: skip
    assert swept.code == 0, swept.err
    settled = cli.as_given("settle", "adamw", "adam", "--max-seeds", "1", "--json")
    assert settled.code == 0, settled.err
    assert json.loads(settled.out)["verdict"]["kind"] in ("apart", "same", "open")
