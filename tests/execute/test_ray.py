"""A real Ray cluster of several nodes on this machine: what is killed is trained again, and nothing twice."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pandas as pd
import psutil
import pytest
from pandas.testing import assert_frame_equal

from adamcmp.storage.records import read, read_records

from .conftest import error_lines, wait_until
from .test_kill_and_resume import CIRCUMSTANCES

pytestmark = pytest.mark.needs("ray")
SHORT = ("sweep", "digits", "optimizer=adam,adamw", "optimizer.lr=geomspace(1e-3,1e-1,6)", "study.seeds=2",
         "train.steps=200", "execute.engine=vectorised", "execute.rows=6", "execute.compile=false",
         "execute.matmul=default")  # fmt: skip
LONG = ("sweep", "digits", "optimizer=adam,adamw", "optimizer.lr=geomspace(1e-3,1e-1,3)", "train.steps=4000",
        "execute.engine=sequential", "execute.checkpoint_seconds=0.3")  # fmt: skip
FASTER = ("from adamcmp.engine.strategy import default, timings; "
          "timings.MAX_FLOPS_ONE_THREAD = default.MAX_FLOPS_ONE_THREAD = 1e12; "
          "from adamcmp.execute import ray_executor; ray_executor.NODE_CHECK_SECONDS = 0.5; ")  # fmt: skip


class Nodes:
    """A cluster's nodes, each with one core."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        size = {"num_cpus": 1, "object_store_memory": 150_000_000, "include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args=size)
        self.others = []
        self.add()

    @property
    def words(self):
        return ("execute=ray", f"execute.ray.address={self.cluster.address}")

    def add(self):
        self.others.append(self.cluster.add_node(num_cpus=1, object_store_memory=150_000_000))

    def kill(self):
        self.cluster.remove_node(self.others.pop(), allow_graceful=False)

    def workers(self):
        """Return the processes of this cluster that are at a task now; another test may have a cluster of its own."""
        alive = self.cluster.list_all_nodes()
        raylets = {each.process.pid for node in alive for each in node.all_processes.get("raylet", [])}
        return [
            each
            for each in psutil.process_iter(["cmdline", "ppid"])
            if each.info["ppid"] in raylets and "ray::run_request" in " ".join(each.info["cmdline"] or ())
        ]


@pytest.fixture(scope="module")
def nodes():
    made = Nodes()
    yield made
    made.cluster.shutdown()


@pytest.fixture
def two(nodes):
    """The cluster with its two nodes, whatever was killed before."""
    while not nodes.others:
        nodes.add()
    return nodes


def taken(study_dir: Path) -> int:
    """Steps that the drivers have told of."""
    told = [json.loads(path.read_text()) for path in (study_dir / "drivers").glob("*.json")]
    return max((each.get("progress", {}).get("taken", 0) for each in told), default=0)


def ends(study_dir: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(path) for path in (study_dir / "records").glob("*.parquet")])


def assert_same_as_local(cli, study_dir, words, dropped=()):
    local = cli(*words, "--results-dir", "local")
    assert local.code == 0, local.err
    columns = [*CIRCUMSTANCES, "engine_settings", "engine_reason", *dropped]
    found, expected = (
        read(each).records.drop(columns=columns).sort_values("run_id", ignore_index=True)
        for each in (study_dir, cli.folder / "local" / study_dir.name)
    )
    assert_frame_equal(found, expected, check_exact=True)


@pytest.mark.slow
def test_a_sweep_on_two_nodes_has_the_numbers_of_one_here(two, driver, cli, tmp_path):
    process = driver.start(*SHORT, *two.words)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    study_dir = tmp_path / "results" / "digits"
    stored = ends(study_dir)
    assert len(stored) == 24
    assert stored["run_id"].is_unique
    assert len(list((study_dir / "records").glob("*.parquet"))) >= 4, "each piece is stored by who has trained it"
    assert_same_as_local(cli, study_dir, (*SHORT, "execute.engine=vectorised", "execute.processes=1"))


def test_no_cluster_is_one_clear_line(cli):
    ended = cli(*SHORT, "execute=ray", "execute.ray.address=127.0.0.1:1")
    assert ended.code == 2
    assert "no Ray cluster answers" in error_lines(ended.err)[0]


def kill_a_worker(nodes):
    nodes.workers()[0].send_signal(signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("kill", [kill_a_worker, Nodes.kill], ids=["worker", "node"])
def test_what_was_on_a_killed_one_is_trained_elsewhere(two, driver, cli, tmp_path, kill):
    study_dir = tmp_path / "results" / "digits"
    process = driver.start(*LONG, *two.words, before=FASTER)
    wait_until(lambda: taken(study_dir) > 2000 and len(two.workers()) > 1, process, 60)
    kill(two)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    stored = ends(study_dir)
    assert len(stored) == 6
    assert stored["run_id"].is_unique
    assert set(stored["status"]) == {"completed"}
    assert_same_as_local(cli, study_dir, LONG)


@pytest.mark.slow
def test_a_killed_driver_takes_its_tasks_with_it_and_a_new_one_goes_on(two, driver, tmp_path):
    study_dir = tmp_path / "results" / "digits"
    first = driver.start(*LONG, *two.words, before=FASTER)
    wait_until(lambda: len(list((study_dir / "checkpoints").glob("*.pt"))) > 1, first, 60)
    first.kill()
    first.communicate()
    before = {path: path.stat().st_mtime_ns for path in (study_dir / "checkpoints").glob("*.pt")}
    second = driver.start(*LONG, *two.words, before=FASTER)
    _, err = second.communicate(timeout=240)
    assert second.returncode == 0, err
    assert before
    stored = ends(study_dir)
    assert len(stored) == 6
    assert stored["run_id"].is_unique
    assert not (study_dir / "checkpoints").exists()


@pytest.mark.slow
def test_a_node_that_is_added_gets_work(two, driver, tmp_path):
    two.cluster.remove_node(two.others.pop(), allow_graceful=True)
    study_dir = tmp_path / "results" / "digits"
    process = driver.start(*LONG, *two.words, before=FASTER)
    wait_until(lambda: taken(study_dir) > 1000 and len(two.workers()) == 1, process, 60)  # none between two tasks
    two.add()
    wait_until(lambda: len(two.workers()) == 2, process, 60)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert len(read_records(study_dir)) == 6
    assert ends(study_dir)["run_id"].is_unique


@pytest.mark.slow
def test_a_driver_that_is_asked_to_stop_has_its_tasks_write_checkpoints(two, driver, tmp_path):
    study_dir = tmp_path / "results" / "digits"
    process = driver.start(*LONG, "train.steps=40000", "execute.checkpoint_seconds=1000", *two.words, before=FASTER)
    wait_until(lambda: taken(study_dir) > 1000, process, 60)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert list((study_dir / "checkpoints").glob("*.pt"))
