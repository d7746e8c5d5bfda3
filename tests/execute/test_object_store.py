"""Results in an object store: a real server of S3's protocol on this machine, and several drivers beside it."""

from __future__ import annotations

import socket
import threading
import time

import pandas as pd
import pytest
from filelock import Timeout
from pandas.testing import assert_frame_equal

from adamcmp.storage import backend
from adamcmp.storage.records import read, read_records

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
    expected, found = read(cli.folder / "results" / "digits"), read(backend.open_path(bucket) / "digits")
    same = [each.records.drop(columns=CIRCUMSTANCES).sort_values("run_id", ignore_index=True)
            for each in (expected, found)]  # fmt: skip
    assert_frame_equal(*same, check_exact=True)
    weights = sorted(path.name for path in (backend.open_path(bucket) / "digits" / "weights").glob("*.safetensors"))
    assert weights == sorted(path.name for path in (cli.folder / "results/digits/weights").glob("*.safetensors"))
    assert "nothing to train" in cli(*SWEEP, "--results-dir", bucket).err
    assert f"Report   {bucket}/digits/report/report.html" in cli("report", f"{bucket}/digits", "--format", "html").out
    assert "all 1 files are as they were written" in cli("report", f"{bucket}/digits", "--verify").out
    removed = cli("remove", f"{bucket}/digits", "--arm", "adam", "--yes")
    assert removed.code == 0
    assert set(read_records(backend.open_path(bucket) / "digits")["optimizer"]) == {"adamw"}


@pytest.mark.slow
def test_two_drivers_share_a_study(bucket, driver):
    long = (*SWEEP, "study.seeds=8", "train.steps=400", "execute.processes=1", "--results-dir", bucket)
    study_dir = backend.open_path(bucket) / "digits"
    first = driver.start(*long)
    wait_until(lambda: any((study_dir / "records").glob("*.parquet")), first)
    second = driver.start(*long)
    for process in (first, second):
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    ends = pd.concat(
        [pd.read_parquet(backend.open_for_reading(path)) for path in (study_dir / "records").glob("*.parquet")]
    )
    assert len(ends) == 64
    assert ends["run_id"].is_unique


@pytest.fixture
def memory():
    """A store in memory, whose creation of objects is made atomic, as that of real ones is."""
    import fsspec
    from upath import UPath

    files = fsspec.filesystem("memory")
    creating, pipe = threading.Lock(), files.pipe_file

    def atomic(path, value, mode="overwrite", **kwargs):
        with creating:
            if mode == "create" and files.exists(path):
                raise FileExistsError(path)
            return pipe(path, value, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "pipe_file", atomic)
        yield UPath("memory://locks") / ".lock"
    files.rm("/locks", recursive=True)


@pytest.mark.parametrize("where", ["memory", "bucket"])
def test_a_lock_has_one_holder_and_goes_with_a_dead_one(request, where, monkeypatch):
    """Of 24 that wait for the lock of a dead holder, one at a time has it."""
    found = request.getfixturevalue(where)
    path = found if where == "memory" else backend.open_path(found) / ".lock"
    monkeypatch.setattr(backend, "STALE_LOCK_SECONDS", 0.4)
    monkeypatch.setattr(backend, "RETRY_INTERVAL_SECONDS", 0.02)
    dead = backend._ObjectStoreLock(path)
    dead._create(7)
    inside, most, entered = [], [], []

    def enter():
        with backend.lock(path, 60) as is_held:
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.01)
            assert is_held()
            inside.pop()
            entered.append(1)

    threads = [threading.Thread(target=enter) for _ in range(24 if where == "memory" else 4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert max(most) == 1
    assert len(entered) == len(threads)
    assert backend._ObjectStoreLock(path)._known() == [7 + len(threads)]


def test_a_holder_that_takes_long_keeps_its_lock_and_one_that_was_stopped_loses_it(memory, monkeypatch):
    monkeypatch.setattr(backend, "STALE_LOCK_SECONDS", 0.3)
    monkeypatch.setattr(backend, "RETRY_INTERVAL_SECONDS", 0.02)
    with backend.lock(memory):
        time.sleep(0.8)
        with pytest.raises(Timeout), backend.lock(memory, 0.6):
            raise AssertionError
    monkeypatch.setattr(backend._ObjectStoreLock, "_stay", lambda _: None)  # as of a process that SIGSTOP has stopped
    with backend.lock(memory) as is_held:
        assert is_held()
        with backend.lock(memory, 5) as is_held_later:
            assert is_held_later()
            assert not is_held()


def test_claims_are_made_again_where_the_lock_was_lost(tmp_path, monkeypatch):
    from contextlib import contextmanager

    from adamcmp.execute import leases

    answers = iter([True, False, True, True, True])

    @contextmanager
    def locked(_):
        yield lambda: next(answers, True)

    with leases.Leases(tmp_path) as mine:
        monkeypatch.setattr(leases, "locked", locked)
        next(answers)
        assert mine.claim([["a", "b"]]) == [{"a", "b"}]
        assert next(answers) is True


@pytest.mark.parametrize("text", ["s3:/bucket/x", "s3:bucket", "gs:/x", "memory:/x", "s3:"])
def test_half_a_url_is_no_folder(cli, text):
    for words in (("run", "digits", "train.steps=2", "--results-dir", text), ("report", text),
                  ("export", "x", "--to", "csv", "--out", text), ("conformance", "optax", "--out", text)):  # fmt: skip
        ended = cli(*words)
        assert ended.code == 2
        assert "is neither a path nor a URL; for an object store write" in ended.err
    assert not list(cli.folder.iterdir())


def test_a_path_with_a_colon_is_a_path():
    for text in ("runs:/new", "C:/x", "a:b", "/s3:/x", "./s3:/x"):
        assert backend.is_local(backend.open_path(text))


def test_an_export_into_a_store_says_that_it_needs_a_folder(cli, monkeypatch):
    assert cli.stored("run", "digits", "train.steps=2").code == 0
    ended = cli("export", "results", "--to", "csv", "--out", "memory://out")
    assert ended.code == 2
    assert "is no folder of this machine" in ended.err
    assert not (cli.folder / "memory:").exists()


def test_runs_that_a_store_cannot_take_are_kept_and_stored_by_the_next_command(cli, monkeypatch, tmp_path):
    """The store goes away in the middle of a sweep, and is back for the next command."""
    import fsspec

    from adamcmp.execute import run_writer

    class EndpointError(Exception):
        """As of a store that is away."""

    EndpointError.__module__ = "botocore.exceptions"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(backend, "RETRY_SECONDS", 0.2)
    monkeypatch.setattr(run_writer, "STORE_SECONDS", 0.0)
    files = fsspec.filesystem("memory")
    for path in files.ls("/", detail=False):
        files.rm(path, recursive=True)
    is_away = []

    def failing(function):
        def called(self, *args, **kwargs):
            if function.__name__ == "write_bytes" and "/records/" in str(self):
                is_away.extend([1] * (len(list(self.parent.glob("*.parquet"))) >= 2))
            if is_away:
                raise EndpointError("Could not connect to the endpoint")
            return function(self, *args, **kwargs)

        return called

    words = ("sweep", "digits", "optimizer.lr=geomspace(1e-3,1e-1,6)", "train.steps=4", "execute.engine=sequential",
             "--results-dir", "memory://away")  # fmt: skip
    with monkeypatch.context() as patch:
        for kind, name in ((type(backend.open_path("memory://away")), "write_bytes"), (type(files), "pipe_file"),
                           (type(files), "cat_file"), (type(files), "ls")):  # fmt: skip
            patch.setattr(kind, name, failing(getattr(kind, name)))
        ended = cli(*words)
    assert ended.code == 2, ended.err
    (line,) = error_lines(ended.err)
    assert "the store did not answer for 0 s (Could not connect to the endpoint)" in line
    assert "kept in" in line
    stored = len(read_records(backend.open_path("memory://away/digits")))
    assert stored == 2
    for path in (backend.open_path("memory://away/digits") / "drivers").glob("*.json"):
        path.unlink()  # its process has ended, this one goes on
    again = cli(*words)
    assert again.code == 0, again.err
    found = read_records(backend.open_path("memory://away/digits"))
    assert len(found) == 6
    assert found["run_id"].is_unique
    assert not list((tmp_path / "data").rglob("*.parquet"))
