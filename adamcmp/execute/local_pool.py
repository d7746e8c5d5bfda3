"""Training processes of this machine, and the work of each.

Processes come from a fork server that has imported torch once, so that each starts in milliseconds and none inherits
threads or locks of the driver. ``concurrent.futures`` ends a whole pool when one process dies; here the death of a
process is a response, and a new process replaces it. The fork server is started with signals blocked, and each process
has a group of its own: signals of a terminal reach the driver alone, and a killed process takes its
compilers with it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import zip_longest
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from adamcmp import signals
from adamcmp.data.dataset import Dataset
from adamcmp.engine.script_process import kill_tree
from adamcmp.execute.fork_server import START_METHOD, hide_main_module, start_fork_server
from adamcmp.execute.protocol import Request, Response, WorkerDied, WorkerReady
from adamcmp.execute.temp_dirs import driver_folder
from adamcmp.execute.worker import STOP, publish_datasets, serve_requests

CLOSE_SECONDS = 3.0
"""Seconds that a waiting process has to end."""
MAX_STILLBORN = 20
"""Processes that may die in a row before they take any request."""


@dataclass(eq=False)
class LocalWorker:
    """One process and its work: a ``protocol.Worker``."""

    process: BaseProcess
    pipe: Connection
    device: str
    gpus: str = ""
    busy: Any = None
    last: Any = None
    ready: bool = False
    """Whether it takes requests."""

    def kill(self) -> None:
        """Kill it, and the processes that it started."""
        if self.process.pid is not None:
            kill_tree(self.process.pid)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()


class LocalPool:
    """Processes that train: a ``protocol.Executor``."""

    def __init__(self, devices: Sequence[str], folder: Path, gpus: Sequence[str] = ()) -> None:
        self._context: Any = multiprocessing.get_context(START_METHOD)
        self._folder = folder
        self._stillborn = 0
        self.slots = [self._start(device, seen) for device, seen in zip_longest(devices, gpus, fillvalue="")]

    def _start(self, device: str, gpus: str = "") -> LocalWorker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve_requests, args=(theirs, device, self._folder, gpus), daemon=False)
        # where each process is started anew, it inherits what is blocked
        with signals.block_signals(), hide_main_module():
            process.start()
        theirs.close()
        return LocalWorker(process, ours, device, gpus)

    def submit(self, slot: LocalWorker, request: Request, job: object) -> None:
        """Send a request to a waiting process; a death is a response of ``answers``."""
        slot.busy = job
        with suppress(OSError):
            slot.pipe.send(request)

    def stop(self, slot: LocalWorker) -> None:
        """Ask it to write its checkpoint and end its training."""
        try:
            slot.pipe.send(STOP)
        except OSError:  # it has just died, and can write nothing
            slot.busy = None

    def cancel(self, slot: LocalWorker) -> None:
        """Kill a worker and its work without a response."""
        slot.kill()
        slot.busy = None

    def answers(self, timeout: float | None) -> Iterator[tuple[LocalWorker, Response]]:
        """Return the responses within ``timeout`` seconds; dead workers are replaced."""
        ready = set(wait([slot.pipe for slot in self.slots], timeout))
        for i, worker in enumerate(self.slots):
            if worker.pipe not in ready:
                continue
            try:
                answer = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join()
                self._stillborn = 0 if worker.ready else self._stillborn + 1
                if self._stillborn > MAX_STILLBORN:
                    raise RuntimeError(
                        f"training processes end before they take any work, exit code {worker.process.exitcode}"
                    ) from None
                self.slots[i] = self._start(worker.device, worker.gpus)
                answer = WorkerDied(worker.process.exitcode)
            if isinstance(answer, WorkerReady):
                worker.ready = True
            else:
                yield worker, answer

    def kill(self) -> None:
        """End all processes by force."""
        for worker in self.slots:
            worker.kill()

    def close(self) -> None:
        """End all processes: those that wait at once, the others by force."""
        for worker in self.slots:
            if worker.busy is not None:
                worker.kill()
            worker.pipe.close()
        for worker in self.slots:
            worker.process.join(CLOSE_SECONDS)
            if worker.process.is_alive():  # a training function has left a thread running
                worker.kill()
                worker.process.join()


@contextmanager
def start_pool(
    devices: Sequence[str], datasets: Mapping[str, Dataset], gpus: Sequence[str] = ()
) -> Iterator[LocalPool]:
    """Start a pool with its data sets, one process per device of ``devices``, for the duration of the block.

    ``gpus``: for each process those that its scripts see.
    """
    start_fork_server()
    with tempfile.TemporaryDirectory(dir=driver_folder(), ignore_cleanup_errors=True) as folder:
        publish_datasets(datasets, Path(folder))
        made = LocalPool(devices, Path(folder), gpus)
        try:
            with signals.run_before_exit(made.kill):
                yield made
        finally:
            made.close()
