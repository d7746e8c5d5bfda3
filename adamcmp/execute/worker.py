"""One training process: it takes requests from a pipe and answers through it until the pipe closes.

A worker owns its pipe alone, so killing it can leave no lock held. Ctrl-C does not reach it: the driver decides, and
asks it to stop. Where the driver is gone, it ends at once, whatever it is doing.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import torch

from adamcmp.config.source_hash import add_cwd_to_path
from adamcmp.data.dataset import Dataset, Split
from adamcmp.data.multi_input import MultiInput
from adamcmp.data.normalization import Normalization
from adamcmp.data.on_disk import DiskRows, MappedArray
from adamcmp.engine.checkpoint import CheckpointError, TrainingControl, TrainingStopped
from adamcmp.engine.hardware import count_cores
from adamcmp.engine.run_result import Evaluation, RunResult
from adamcmp.engine.script_process import kill_descendants
from adamcmp.engine.strategy.benchmark import time_strategies
from adamcmp.engine.strategy.select import BenchmarkRequest
from adamcmp.engine.strategy.vectorizable import why_not_vectorizable
from adamcmp.engine.train import is_out_of_memory, train_shard
from adamcmp.errors import InputError, describe_exception
from adamcmp.execute.protocol import (
    Request,
    Response,
    RunsStored,
    ShardEnded,
    StepsDone,
    TrainRequest,
    VectorizeCheck,
    VectorizeResult,
    WorkerReady,
    task_of,
)
from adamcmp.execute.run_writer import RunWriter
from adamcmp.plan.programs import ProgramTask

PROGRESS_SECONDS = 0.1
"""Seconds between two reports of progress."""
STOP = "stop"
"""Message that stops a training."""


def serve_requests(pipe: Connection, device: str, folder: Path, gpus: str = "") -> None:
    """Answer requests until the driver closes the pipe or dies; ``publish_datasets`` has put data sets into
    ``folder``.

    ``gpus`` are those that scripts of this worker see, separated by commas; empty: that of the device.
    """
    os.setpgid(0, 0)
    if gpus:
        os.environ["ADAMCMP_GPUS"] = gpus
    use_compiler_threads(device)
    add_cwd_to_path()
    threading.Thread(target=_end_with_driver, daemon=True).start()
    datasets: dict[str, Dataset] = {}
    try:
        pipe.send(WorkerReady())
        while True:
            request = pipe.recv()
            if not isinstance(request, TrainRequest | BenchmarkRequest | VectorizeCheck):
                return
            pipe.send(answer_request(request, _dataset_of(request, datasets, folder), torch.device(device), pipe))
    except (EOFError, OSError):  # the driver is gone
        return


def _dataset_of(request: Request, datasets: dict[str, Dataset], folder: Path) -> Dataset | None:
    """Return the data set of a request; None of a program of the user, which has its own."""
    task = task_of(request)
    if isinstance(task, ProgramTask):
        return None
    fingerprint = task.facts.fingerprint
    if fingerprint not in datasets:
        datasets[fingerprint] = receive_datasets(folder, fingerprint)
    return datasets[fingerprint]


def use_compiler_threads(device: str) -> None:
    """Set the number of the compiler's threads: one on a CPU, since there are as many processes as cores; else all
    cores.
    """
    if torch.device(device).type != "cpu":
        from torch._inductor import config

        config.compile_threads = count_cores()


def _end_with_driver() -> None:
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        kill_descendants()
        os.killpg(0, signal.SIGKILL)  # compilers that were started too


class Channel(Protocol):
    """Between who trains and who waits for it: a pipe's end is one."""

    def send(self, obj: Any, /) -> object:
        """Send a message."""

    def poll(self) -> bool:
        """Return whether the training is to stop."""


def answer_request(request: Request, dataset: Dataset | None, device: torch.device, channel: Channel) -> Response:
    """Carry out a request of the driver, and return its response; trainings send messages before it."""
    if isinstance(request, TrainRequest):
        return run_train_request(request, dataset, device, channel)
    assert dataset is not None
    if isinstance(request, VectorizeCheck):
        return VectorizeResult(why_not_vectorizable(request.run_group, dataset, device))
    if isinstance(request, BenchmarkRequest):
        return time_strategies(request.run_group, request.strategies, dataset, device)
    raise AssertionError("there is no other request")


def run_train_request(
    request: TrainRequest, dataset: Dataset | None, device: torch.device, channel: Channel
) -> ShardEnded:
    """Train a shard, and send its results as they end, or the message that they are stored if the request has a store.

    Raises:
        OSError: the driver is gone.
    """
    telling = ProgressSender(channel)
    storing = None if request.store is None else ResultSender(request, channel)
    control = TrainingControl(
        telling.stepped,
        shard=request.shard,
        checkpoint=request.checkpoint,
        start=request.start,
        every=request.every,
        weights=request.weights,
        stopping=channel.poll,
        limits=request.limits,
    )
    try:
        try:
            for outcomes in train_shard(request.shard, dataset, device, control):
                if storing is None:
                    channel.send(outcomes)
                else:
                    storing.add(outcomes)
            telling.flush()
        finally:
            if storing is not None:
                storing.close()
    except TrainingStopped:
        return ShardEnded("stopped")
    except CheckpointError as error:
        return ShardEnded("unwritable", str(error))
    except (BrokenPipeError, ConnectionError):
        raise
    except Exception as error:  # the driver tries a smaller shard, and at last one run alone, which tells its error
        return ShardEnded("memory" if is_out_of_memory(error) else "error", describe_exception(error))
    return ShardEnded("done")


class ResultSender:
    """Stores the results of a shard where it is trained, and sends a message when they are stored."""

    def __init__(self, request: TrainRequest, channel: Channel) -> None:
        assert request.store is not None
        self._ask, self._channel, self._unsent = request, channel, list[RunResult]()
        self._left = len(request.shard.runs)
        provenance = request.store.provenance.on_this_machine()
        self._pending = RunWriter(request.store.study_dir, provenance, self._tell, merges=False)

    def add(self, outcomes: tuple[RunResult, ...]) -> None:
        """Take what ended together."""
        self._unsent.extend(outcomes)
        self._left -= len(outcomes)
        with _store_results():
            self._pending.add(outcomes, None if self._left else self._ask.checkpoint)

    def close(self) -> None:
        """Store the remaining results."""
        with _store_results():
            self._pending.store()

    def _tell(self, _: object) -> None:
        light = [replace(result, evaluations=result.evaluations[-1:], outcomes=None) for result in self._unsent]
        self._channel.send(RunsStored(tuple(light)))
        self._unsent.clear()


@contextmanager
def _store_results() -> Iterator[None]:
    """Store results; a store that cannot be written is not the fault of a run."""
    try:
        yield
    except InputError as error:
        raise CheckpointError(str(error)) from error


class ProgressSender:
    """Reports progress, not more often than people can see."""

    def __init__(self, channel: Channel) -> None:
        self._channel, self._steps, self._at = channel, 0, 0.0
        self._newest: Evaluation | None = None

    def stepped(self, steps: int, evaluation: Evaluation | None) -> None:
        """Add steps, and send them if the last message was sent long enough ago."""
        self._steps += steps
        self._newest = evaluation or self._newest
        if time.monotonic() >= self._at:
            self.flush()

    def flush(self) -> None:
        """Send all steps that were not sent yet."""
        self._channel.send(StepsDone(self._steps, self._newest))
        self._steps, self._at = 0, time.monotonic() + PROGRESS_SECONDS


def publish_datasets(datasets: Mapping[str, Dataset], folder: Path) -> None:
    """Leave data sets where workers map them into memory: one copy for all processes."""
    for fingerprint, dataset in datasets.items():
        stored = {field.name: getattr(dataset, field.name) for field in fields(dataset)}
        torch.save({name: _to_plain(value) for name, value in stored.items()}, folder / f"{fingerprint}.pt")


def _to_plain(value: Any) -> Any:
    """Return a value that torch reads back without running code; examples on disk as their location."""
    if isinstance(value, DiskRows):
        return {"stores": [tuple(stored) for stored in value.stores], "index": value.index}
    if isinstance(value, MultiInput):
        return {"parts": value.parts, "names": value.names}
    return tuple(map(_to_plain, value)) if isinstance(value, Split | Normalization) else value


def _from_shared(value: Any) -> Any:
    """Return a value from its plain form of ``_to_plain``."""
    if not isinstance(value, dict):
        return value
    if "parts" in value:
        return MultiInput(**value)
    return DiskRows(tuple(MappedArray(*stored) for stored in value["stores"]), value["index"], torch.device("cpu"))


def receive_datasets(folder: Path, fingerprint: str) -> Dataset:
    """Load the data sets that ``publish_datasets`` wrote."""
    stored: Any = torch.load(folder / f"{fingerprint}.pt", mmap=True, weights_only=True)
    kinds = {"train": Split, "validation": Split, "test": Split, "scale": Normalization, "target_scale": Normalization}
    tuples = {
        name: kinds[name](*map(_from_shared, value))
        for name, value in stored.items()
        if name in kinds and value is not None
    }
    return Dataset(**stored | tuples)
