"""What checkpoints hold of the runs that are still to be trained."""

from __future__ import annotations

import torch

from adamcmp.engine.checkpoint import VERSIONS, _save_checkpoint
from adamcmp.engine.strategy.types import Strategy
from adamcmp.execute.run_writer import Provenance, RunWriter, checkpoint_path, find_resumable
from adamcmp.plan.runs import Run
from adamcmp.storage.records import finished_ids


def runs(cli, count: int) -> list[Run]:
    from adamcmp.execute.session import open_session

    lrs = ",".join(f"1e-{i + 1}" for i in range(count))
    opened = open_session(
        "digits", [f"optimizer.lr={lrs}"], results_dir=cli.folder / "results", config_dir=None, device="cpu"
    )
    return list(opened.plan.runs)


def write(folder, name, ids, versions=VERSIONS):
    path = folder / "checkpoints" / f"{name}.pt"
    path.parent.mkdir(exist_ok=True)
    strategy = {"engine": "vectorised", "rows": len(ids)}
    _save_checkpoint(path, {"versions": versions, "runs": ids, "strategy": strategy, "step": 5})
    return path


def test_what_is_left_of_a_piece_goes_on_from_its_checkpoint(cli, tmp_path):
    """Two of its runs are stored already, by a kill between two stores or by another command."""
    every = runs(cli, 4)
    path = write(tmp_path, "whole", [run.id for run in every])
    (found,) = find_resumable(tmp_path, every[2:], print)
    assert [run.id for run in found.shard.runs] == [run.id for run in every[2:]]
    assert found.start == path
    assert found.checkpoint == checkpoint_path(tmp_path, found.shard)
    (found,) = find_resumable(tmp_path, every, print)
    assert (found.checkpoint, found.start) == (path, None)
    assert found.shard.strategy == Strategy(engine="vectorised", rows=4)


def test_of_each_run_the_smallest_piece_counts_since_it_is_the_latest(cli, tmp_path):
    every = runs(cli, 4)
    whole = write(tmp_path, "a", [run.id for run in every])
    half = write(tmp_path, "b", [run.id for run in every[:2]])
    first, second = find_resumable(tmp_path, every, print)
    assert (first.checkpoint, first.shard.runs) == (half, tuple(every[:2]))
    assert (second.start, second.shard.runs) == (whole, tuple(every[2:]))


def test_other_versions_and_damage_are_set_aside_with_one_line_each(cli, tmp_path):
    every = runs(cli, 2)
    write(tmp_path, "old", [run.id for run in every], {**VERSIONS, "torch": "2.0.0"})
    (tmp_path / "checkpoints" / "torn.pt").write_bytes(b"PK")
    told: list[str] = []
    assert find_resumable(tmp_path, every, told.append) == []
    assert len(told) == 2
    assert f"set aside (written by torch 2.0.0, not {torch.__version__}); its runs start again" in told[0]
    assert "set aside (damaged, or written by another version of adamcmp)" in told[1]
    assert {path.suffix for path in (tmp_path / "checkpoints").iterdir()} == {".unusable"}


def test_a_checkpoint_goes_when_its_runs_are_stored_and_not_before(cli, tmp_path, monkeypatch):
    from adamcmp.engine.checkpoint import TrainingControl
    from adamcmp.engine.loading import CPU
    from adamcmp.engine.strategy.types import Shard
    from adamcmp.engine.train import train_shard
    from adamcmp.execute.session import open_session

    opened = open_session("digits", ["train.steps=5"], results_dir=tmp_path / "results", config_dir=None, device="cpu")
    (run,) = opened.plan.runs
    shard = Shard(run.task, "adam", (run,), Strategy())
    (outcomes,) = train_shard(shard, opened.datasets[run.task.facts.fingerprint], CPU, TrainingControl())
    path = write(tmp_path, "own", [run.id])
    pending = RunWriter(tmp_path, Provenance.here("digits"))
    pending.add(outcomes, path)
    assert path.exists()
    pending.store()
    assert not path.exists()
    assert finished_ids(tmp_path) == {run.id}
