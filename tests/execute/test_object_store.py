"""Results in an object store: a real server of S3's protocol on this machine, and several drivers beside it."""

from __future__ import annotations

import socket
import threading
import time

import pandas as pd
import pytest
from filelock import Timeout
from pandas.testing import assert_frame_equal

from adamcmp import store
from adamcmp.errors import InputError
from adamcmp.records import read, read_records

from .conftest import error_lines, wait_until
from .test_kill_and_resume import CIRCUMSTANCES

SWEEP = ("sweep", "digits", "optimizer=adam,adamw", "optimizer.lr=geomspace(1e-3,1e-1,4)", "train.steps=40",
         "train.save=best", "study.seeds=2", "execute.engine=sequential")  # fmt: skip


@pytest.fixture(scope="module")
def server():
    from moto.server import ThreadedMotoServer

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    served.start()
    yield f"http://127.0.0.1:{port}"
    served.stop()


@pytest.fixture
def bucket(server, monkeypatch):
    import s3fs

    keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**keys, "AWS_ENDPOINT_URL": server}.items():
        monkeypatch.setenv(name, value)
    files = s3fs.S3FileSystem(skip_instance_cache=True)
    if files.exists("results"):
        files.rm("results", recursive=True)
    files.mkdir("results")
    return "s3://results"


@pytest.mark.slow
def test_a_sweep_its_report_and_its_weights(bucket, cli):
    local = cli(*SWEEP)
    remote = cli(*SWEEP, "--results-dir", bucket)
    assert (local.code, remote.code) == (0, 0), remote.err
    expected, found = read(cli.folder / "results" / "digits"), read(store.at(bucket) / "digits")
    same = [each.records.drop(columns=CIRCUMSTANCES).sort_values("run_id", ignore_index=True)
            for each in (expected, found)]  # fmt: skip
    assert_frame_equal(*same, check_exact=True)
    weights = sorted(path.name for path in (store.at(bucket) / "digits" / "weights").glob("*.safetensors"))
    assert weights == sorted(path.name for path in (cli.folder / "results/digits/weights").glob("*.safetensors"))
    assert "nothing to train" in cli(*SWEEP, "--results-dir", bucket).err
    assert f"written: {bucket}/digits/report/report.html" in cli("report", f"{bucket}/digits", "--format", "html").out
    assert "all 1 files are as they were written" in cli("report", f"{bucket}/digits", "--verify").out
    removed = cli("remove", f"{bucket}/digits", "--arm", "adam", "--yes")
    assert removed.code == 0
    assert set(read_records(store.at(bucket) / "digits")["optimizer"]) == {"adamw"}


@pytest.mark.slow
def test_two_drivers_share_a_study(bucket, driver):
    long = (*SWEEP, "study.seeds=8", "train.steps=400", "execute.processes=1", "--results-dir", bucket)
    study_dir = store.at(bucket) / "digits"
    first = driver.start(*long)
    wait_until(lambda: any((study_dir / "records").glob("*.parquet")), first)
    second = driver.start(*long)
    for process in (first, second):
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    ends = pd.concat([pd.read_parquet(store.readable(path)) for path in (study_dir / "records").glob("*.parquet")])
    assert len(ends) == 64
    assert ends["run_id"].is_unique


def test_a_lock_has_one_holder_and_goes_with_a_dead_one(bucket, monkeypatch):
    path = store.at(bucket) / ".lock"
    held = []

    def count():
        with store.lock(path):
            held.append(1)
            time.sleep(0.01)
            assert sum(held) == 1
            held.pop()

    threads = [threading.Thread(target=count) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not path.exists()
    path.write_bytes(b"of one that was killed")
    with pytest.raises(Timeout), store.lock(path, 0.3):
        raise AssertionError
    monkeypatch.setattr(store, "STALE", 0.5)
    with store.lock(path, 10):
        assert path.read_bytes() != b"of one that was killed"


def test_what_is_not_there_is_one_clear_line(bucket, cli, monkeypatch):
    ended = cli("sweep", "digits", "--results-dir", "nonsense://there")
    assert ended.code == 2
    assert "a results folder is a path, or a URL that fsspec knows" in error_lines(ended.err)[0]
    with pytest.raises(InputError, match="cannot be written"):
        store.write_file(store.at("s3://no-such-bucket/file"), b"")
