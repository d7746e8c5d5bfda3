"""A Ray cluster as an executor: shards are tasks, which store the runs that they train.

A task requests the cores or the GPU that its strategy takes, and for the memory that calibration counted, so that Ray
fills each node and no more. There are as many workers as the cluster has cores (or GPUs), updated every few seconds:
nodes that come are used, those that go take their tasks with them, which are then tried again from their checkpoints.
Data are put into Ray's object store once. Tasks report their progress through one actor on the machine of the driver,
and hear from it that they are to stop; where the driver dies, Ray ends its tasks.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from adamcmp.config.schema import ExecutionSettings
from adamcmp.config.source_hash import add_cwd_to_path
from adamcmp.data.dataset import Dataset
from adamcmp.engine.hardware import available_memory, device_memory
from adamcmp.engine.strategy.timing_cache import Machine
from adamcmp.errors import InputError, one_line
from adamcmp.execute.protocol import Request, Response, ShardEnded, StoreTarget, TrainRequest, WorkerDied, task_of
from adamcmp.execute.ray_messages import MessageActor, RayChannel
from adamcmp.execute.worker import answer_request, use_compiler_threads
from adamcmp.extras import require_extra

NODE_CHECK_SECONDS = 2.0
"""Seconds between two looks at which nodes there are."""
START_TIMEOUT_SECONDS = 120.0
"""Seconds that a cluster has to answer the first task."""
RESPONSE_TIMEOUT_SECONDS = 10.0
"""Seconds that a cluster's address has to take a connection."""
_datasets: dict[str, Dataset] = {}
"""Data sets of a worker process by fingerprint: Ray gives a process many tasks."""


@dataclass(eq=False)
class RayWorker:
    """The task of one worker: a ``protocol.Worker``."""

    busy: Any = None
    last: Any = None
    reference: Any = None
    """Ray's reference to the task's response."""
    key: int = 0


def run_request(request: Request, data: list[Any], device: str, board: Any, key: int, folder: str) -> Response:
    """Return one task: as ``worker.serve_requests`` answers a request, on the node of this process."""
    import ray

    import adamcmp.execute.preload_training  # noqa: F401  # how programs are compiled, as in processes of one machine

    if folder not in sys.path and Path(folder).is_dir():
        sys.path.append(folder)
    add_cwd_to_path()
    use_compiler_threads(device)
    fingerprint = task_of(request).facts.fingerprint
    if data and fingerprint not in _datasets:
        _datasets[fingerprint] = ray.get(data[0])
    channel = RayChannel(board, key)
    response = answer_request(request, _datasets.get(fingerprint), torch.device(device), channel)
    if isinstance(request, TrainRequest):
        channel.close()
    return response


def node_facts(device: str) -> dict[str, float]:
    """Return the memory of a node in bytes, and that of its accelerator if it has one."""
    return {"memory": available_memory(), "device": device_memory(torch.device(device))}


@dataclass
class RayExecutor:
    """The nodes of a Ray cluster: a ``protocol.Executor``."""

    address: str
    device: torch.device
    store: StoreTarget
    board: Any
    data: Mapping[str, list[Any]]
    """References by fingerprint, each in a list, so that Ray passes it on as it is."""
    row_bytes: Mapping[str, int] = field(default_factory=dict)
    """Bytes per run during training, by the key of its task."""
    slots: list[RayWorker] = field(default_factory=list)
    run_gpus: float = 0.0
    """GPUs of a run of a script or function."""
    _keys: int = 0
    _looked: float = 0.0

    def __post_init__(self) -> None:
        import ray

        self._work = ray.remote(max_retries=0)(run_request)
        self.look()

    @property
    def node_cores(self) -> int:
        """Cores of the smallest node that has some."""
        return max(1, int(min((node["CPU"] for node in self._nodes() if node.get("CPU", 0) >= 1), default=1)))

    @property
    def place(self) -> Machine:
        """Machine for which strategies are selected."""
        return Machine(f"ray {self.address}", self.node_cores)

    @property
    def processes(self) -> int:
        """How many train at the same time on one node."""
        return 1 if self._is_accelerated else self.node_cores

    @property
    def _is_accelerated(self) -> bool:
        return self.device.type != "cpu"

    def _nodes(self) -> list[Mapping[str, float]]:
        import ray

        return [node["Resources"] for node in ray.nodes() if node["Alive"]]

    def look(self) -> None:
        """Have as many workers as the cluster has cores, or GPUs: a free one goes where there are too many."""
        name = "GPU" if self._is_accelerated else "CPU"
        wanted = max(1, sum(int(node.get(name, 0)) for node in self._nodes()))
        while len(self.slots) < wanted:
            self.slots.append(RayWorker())
        for slot in [slot for slot in self.slots if slot.busy is None][: max(0, len(self.slots) - wanted)]:
            self.slots.remove(slot)
        self._looked = time.monotonic()

    def memory(self) -> float:
        """Return the bytes that training may use on a node, measured on one of them."""
        import ray

        request = ray.remote(max_retries=3, **self._request(1))(node_facts).remote(str(self.device))
        try:
            facts: dict[str, float] = ray.get(request, timeout=START_TIMEOUT_SECONDS)
        except (ray.exceptions.GetTimeoutError, ray.exceptions.RayError) as error:
            raise InputError(
                f"execute=ray: the cluster runs no task ({one_line(error)}); look at `ray status`, and install the "
                "same adamcmp on its nodes"
            ) from error
        return facts["device" if self._is_accelerated else "memory"]

    def _request(self, cores: float, memory: float = 0.0) -> dict[str, Any]:
        if self._is_accelerated:
            return {"num_gpus": 1, "num_cpus": 0}
        return {"num_cpus": cores, **({"memory": int(memory)} if memory else {})}

    def _needs(self, request: Request) -> dict[str, Any]:
        """Return the resources of a shard's strategy on a node; benchmarks and checks need one core."""
        if not isinstance(request, TrainRequest):
            return self._request(1)
        strategy, task = request.shard.strategy, request.shard.task
        if request.limits is not None:
            return {**self._request(request.limits.threads), **({"num_gpus": self.run_gpus} if self.run_gpus else {})}
        smallest = min((node.get("memory", 0.0) for node in self._nodes()), default=0.0)
        memory = min(len(request.shard.runs) * self.row_bytes.get(task.key, 0), smallest / 2)
        return self._request(max(1, self.node_cores // strategy.processes), memory)

    def submit(self, slot: RayWorker, request: Request, job: object) -> None:
        """Give a free worker something to do."""
        self._keys += 1
        slot.busy, slot.key = job, self._keys
        task = task_of(request)
        if isinstance(request, TrainRequest):
            paths = {name: _whole(getattr(request, name)) for name in ("checkpoint", "start", "weights")}
            store = replace(self.store, study_dir=_whole(self.store.study_dir))
            is_check = request.limits is not None and request.limits.is_check  # whose results are the answer
            request = replace(request, store=None if is_check else store, **paths)
        slot.reference = self._work.options(**self._needs(request), scheduling_strategy="SPREAD").remote(
            request, self.data.get(task.facts.fingerprint, []), str(self.device), self.board, slot.key, str(Path.cwd())
        )

    def answers(self, timeout: float | None) -> Iterator[tuple[RayWorker, Response]]:
        """Return the responses; messages of a task come before its end."""
        import ray

        if time.monotonic() - self._looked > NODE_CHECK_SECONDS:
            self.look()
        busy = {slot.reference: slot for slot in self.slots if slot.reference is not None}
        ready: list[Any] = []
        if busy:
            ready, _ = ray.wait(list(busy), num_returns=len(busy), timeout=0)
            if not ready:
                ready, _ = ray.wait(list(busy), num_returns=1, timeout=timeout)
        else:
            time.sleep(timeout or 0.0)
        by_key = {slot.key: slot for slot in busy.values()}
        with suppress(ray.exceptions.RayError):
            for key, answer in ray.get(self.board.taken.remote()):
                if key in by_key:
                    yield by_key[key], answer
        for reference in ready:
            slot = busy[reference]
            slot.reference = None
            yield slot, _response_of(reference)

    def stop(self, slot: RayWorker) -> None:
        """Ask a task to write its checkpoint and end its training."""
        self.board.stop.remote(slot.key)

    def cancel(self, slot: RayWorker) -> None:
        """End the current task."""
        import ray

        if slot.reference is not None:
            ray.cancel(slot.reference, force=True)
        slot.busy = slot.reference = None

    def close(self) -> None:
        """End all tasks."""
        for slot in self.slots:
            self.cancel(slot)


def _connect(address: str | None) -> None:
    """Check that a cluster listens at the address; Ray itself would wait for many minutes.

    Raises:
        OSError: none does.
    """
    host, colon, port = str(address or os.environ.get("RAY_ADDRESS", "")).rpartition("://")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=RESPONSE_TIMEOUT_SECONDS).close()


def _whole(path: Any) -> Any:
    """Return a path that leads to the same place from another folder."""
    return path.absolute() if isinstance(path, Path) else path


def _response_of(reference: Any) -> Response:
    """Return the response of a task, or how it died."""
    import ray

    try:
        answer: Response = ray.get(reference)
    except ray.exceptions.OutOfMemoryError as error:
        return WorkerDied(None, f"Ray ended it, since its node ran out of memory ({one_line(error)[:200]})")
    except ray.exceptions.RayTaskError as error:
        return ShardEnded("error", one_line(error.cause))
    except ray.exceptions.RayError as error:  # its worker or its node is gone
        return WorkerDied(None, one_line(error)[:300])
    return answer


@contextmanager
def ray_cluster(
    settings: ExecutionSettings, datasets: Mapping[str, Dataset], store: StoreTarget
) -> Iterator[RayExecutor]:
    """Connect to a cluster, with its data sets, for the duration of the block.

    Raises:
        InputError: there is no Ray here, or no such cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with require_extra("execute=ray", "ray"):
        import ray
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        _connect(settings.ray.address)
        ray.init(
            address=settings.ray.address,
            runtime_env=dict(settings.ray.runtime_env) or None,
            log_to_driver=False,
            logging_level="ERROR",
            include_dashboard=None if settings.ray.address else False,
            configure_logging=False,
        )
    except Exception as error:  # Ray says in many ways that there is no cluster
        raise InputError(
            f"execute.ray.address={settings.ray.address}: no Ray cluster answers ({one_line(error)}); start one by "
            "`ray start --head`, or give null for one of this machine"
        ) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    try:
        gpus = ray.cluster_resources().get("GPU", 0) > 0
        device = torch.device(settings.device if settings.device != "auto" else "cuda" if gpus else "cpu")
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        this_node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        board = ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=this_node)(MessageActor).remote()
        data = {fingerprint: [ray.put(dataset)] for fingerprint, dataset in datasets.items()}
        made = RayExecutor(str(settings.ray.address), device, store, board, data)
        try:
            yield made
        finally:
            made.close()
    finally:
        ray.shutdown()
