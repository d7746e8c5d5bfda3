"""How much work planning and storing take as studies grow: counted, not timed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adamcmp.engine.strategy.types import Shard, Strategy
from adamcmp.execute import tracker_sync
from adamcmp.execute.job_queue import JobQueue, ShardJob
from adamcmp.execute.session import open_session
from adamcmp.execute.study_dir import copy_from_siblings, missing_runs
from adamcmp.storage import part_files

QUICK = ("train.steps=5", "train.evaluations=1")


def planned(cli, *words):
    opened = open_session("digits", [*QUICK, *words], results_dir=cli.folder / "results", config_dir=None, device="cpu")
    return list(opened.plan.runs)


class AllFree:
    """Leases of a driver that is alone."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def claim(self, groups):
        self.sizes.append(len(groups))
        return [set(ids) for ids in groups]


@pytest.mark.parametrize(("seconds", "most"), [(0.0, 20), (0.01, 200)])
def test_a_driver_claims_a_bounded_share_of_jobs_timed_or_not(cli, seconds, most):
    (run,) = planned(cli)
    runs = [replace(run, id=f"{i:016x}") for i in range(1000)]
    strategy = Strategy(step_seconds=seconds / run.task.steps)
    jobs = [ShardJob(Shard(run.task, None, (each,), strategy), Path("no.pt"), i % 2) for i, each in enumerate(runs)]
    leases = AllFree()
    desk, looks = JobQueue(list(jobs), leases), 0  # type: ignore[arg-type]

    def key(job):
        nonlocal looks
        looks += 1
        return job.family

    given = [job.shard.runs[0].id for job in iter(lambda: desk.next(key), None)]
    assert sorted(given) == [each.id for each in runs]
    assert max(leases.sizes) == most
    assert looks < 1000 * (most + 1000 / most)  # not once for each pair of jobs
    assert leases.sizes == [most] * (1000 // most)


def test_runs_are_taken_from_other_studies_after_a_look_at_their_ids_alone(cli, monkeypatch):
    cli("sweep", "digits", *QUICK, "study.name=other", "seed=0,1", "study.confirm.seeds=0")
    new, same = planned(cli, "seed=2"), planned(cli, "seed=1")
    read, whole = part_files._read_parquet, []

    def reading(path, columns=None):
        if columns is None:
            whole.append(path)
        return read(path, columns)

    monkeypatch.setattr(part_files, "_read_parquet", reading)
    assert copy_from_siblings(new, cli.folder / "results" / "new") == 0
    assert whole == []
    assert copy_from_siblings(same, cli.folder / "results" / "new") == 1
    assert whole != []


def test_weights_of_many_runs_are_looked_for_once(cli, monkeypatch):
    words = ("seed=0,1,2,3", "train.save=last", "study.confirm.seeds=0")
    cli("sweep", "digits", *QUICK, "study.name=saved", *words)
    runs, folder = planned(cli, *words[:2]), cli.folder / "results" / "saved"
    assert missing_runs(runs, folder) == []
    asked, exists = [], Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: asked.append(path) or exists(path))
    assert missing_runs(runs, folder) == []
    assert not [path for path in asked if path.suffix == ".safetensors"]
    (folder / "weights" / f"{runs[2].id}-last.safetensors").unlink()
    assert [run.id for run in missing_runs(runs, folder)] == [runs[2].id]


def test_trackers_wait_for_many_times_as_long_as_an_update_took(cli, monkeypatch):
    cli("sweep", "digits", *QUICK, "study.name=logged", "seed=0,1", "study.confirm.seeds=0")
    logged, now = tracker_sync.TrackerListener(None, cli.folder / "results" / "logged", ()), 1000.0
    logged._known = frozenset()

    def clock():
        return now

    def slow(folder):
        nonlocal now
        now += 10.0
        return read(folder)

    read = tracker_sync.read
    monkeypatch.setattr(tracker_sync.time, "monotonic", clock)
    monkeypatch.setattr(tracker_sync, "read", slow)
    logged._tell()
    assert logged._next == now + 200.0
    logged._tell()
    assert logged._next == now + tracker_sync.EXPORT_SECONDS
