"""Leases: which driver trains which runs of a study, and which drivers are alive.

A study's folder holds one table of leases, ``leases.json``: the IDs of the runs that each driver trains. It is read and
replaced under the study's lock, so that no run has two owners. A driver leases a few shards at a time, shortly before
it trains them. Each driver also writes its progress to a file in ``drivers/`` every few seconds; this file is its
heartbeat, and a lease is valid while its owner is alive. A driver on the same machine is alive while its process is;
one on another machine is alive until its file has not changed for ``DEAD_AFTER_SECONDS`` by the observer's clock, so
that no two clocks are compared. If a driver is taken for dead and continues, some runs are trained twice and count
once.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import psutil
from filelock import Timeout

from adamcmp.errors import InputError
from adamcmp.storage.backend import GoneError, HeldLock, is_local, lock, retry_while_away, write_file
from adamcmp.storage.part_files import stored_since
from adamcmp.untrusted import load_json

T = TypeVar("T")
HEARTBEAT_SECONDS = 5.0
"""Seconds between two signs of life."""
DEAD_AFTER_SECONDS = 60.0
"""Seconds without one after which a driver on another machine is taken for dead."""
LEASES, DRIVERS, LOCK_FILE = "leases.json", "drivers", ".lock"
FORMER_LEASES = "claims.json"
"""Name of the table in earlier versions: it is read until the first change writes ``leases.json``."""


@cache
def host_id() -> str:
    """Return an ID that processes share if they can see each other: the host's boot, and the namespace of its process
    numbers.
    """
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


@dataclass
class Heartbeat:
    """Content of a driver's file when it was first seen so."""

    beat: object
    at: float
    """Time by the observer's monotonic clock."""


@dataclass
class DriverRegistry:
    """Tells drivers that are there from those that are not."""

    folder: Path
    _signs: dict[str, Heartbeat] = field(default_factory=dict)

    def alive(self, names: Collection[str] | None = None) -> dict[str, Mapping[str, Any]]:
        """Return the files of the drivers that are alive, by name; only those of ``names`` if given."""
        if names is None:
            names = [path.stem for path in (self.folder / DRIVERS).glob("*.json")]
        states = {name: _read_object(self.folder / DRIVERS / f"{name}.json") for name in names}
        return {name: state for name, state in states.items() if self._is_alive(name, state)}

    def _is_alive(self, name: str, state: Mapping[str, Any]) -> bool:
        if state.get("gone") or not state:
            return False
        if state.get("machine") == host_id():
            return is_same_process(state.get("pid"), state.get("born"))
        beat, now = state.get("beat"), time.monotonic()
        sign = self._signs.setdefault(name, Heartbeat(beat, now))
        if sign.beat != beat:
            self._signs[name] = sign = Heartbeat(beat, now)
        return now - sign.at < DEAD_AFTER_SECONDS


def is_same_process(pid: object, born: object) -> bool:
    """Return whether the process of that number is still the one that was born then."""
    if not isinstance(pid, int):
        return False
    try:
        process = psutil.Process(pid)
        return process.create_time() == born and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _read_object(path: Path) -> Mapping[str, Any]:
    try:
        content = load_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


class Leases:
    """One driver of a study: its leases and its heartbeat."""

    def __init__(self, study_dir: Path) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._folder = study_dir
        self._has_former = (study_dir / FORMER_LEASES).exists()  # looked up once: a request in an object store
        self._drivers = DriverRegistry(study_dir)
        self._known: Collection[tuple[str, int]] = ()
        self._stored: set[str] = set()
        process = psutil.Process()
        self._identity = {"machine": host_id(), "pid": process.pid, "born": process.create_time()}
        self._extra: dict[str, Any] = {}
        self._beats = 0
        self._over = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self.every = 1.0 if is_local(study_dir) else HEARTBEAT_SECONDS
        """Least seconds between two heartbeats: each is a request if the folder is an object store."""
        self.is_alone = True
        """Whether no other driver was there when this one began."""

    def __enter__(self) -> Leases:
        """Show up among the drivers; what dead ones have left goes."""
        with locked(self._folder):
            drivers = self._drivers.alive()
            self.is_alone = not drivers
            for path in (self._folder / DRIVERS).glob("*.json"):
                if path.stem not in drivers:
                    path.unlink(missing_ok=True)
            self.tell({})
        self._thread.start()
        return self

    def __exit__(self, _: object, error: object, __: object) -> None:
        """Release all leases, and write that this driver is gone."""
        self._over.set()
        if isinstance(error, GoneError):  # what is asked now would wait as long again
            return
        with suppress(InputError):
            self._change(lambda table: table.pop(self.name, None))
        self.tell({"gone": True})

    def tell(self, more: Mapping[str, Any]) -> None:
        """Write a heartbeat, with additional values."""
        silent = InputError if is_local(self._folder) else Exception
        with self._writing, suppress(silent):  # a full disk ends the sweep where it loses runs, not here
            self._extra |= more
            self._beats += 1
            text = json.dumps({**self._identity, "beat": self._beats, "told": time.time(), **self._extra}, indent=1)
            write_file(self._folder / DRIVERS / f"{self.name}.json", text.encode())

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_SECONDS):
            with suppress(Exception):  # a store that is away is met where runs are stored
                self.tell({})

    def begin(self, stored_parts: Collection[tuple[str, int]]) -> None:
        """Note the part files that the study had when its missing runs were listed; later ones hold new runs."""
        self._known, self._stored = stored_parts, set()

    def claim(self, shards: Sequence[Collection[str]]) -> list[set[str]]:
        """Lease the runs of some shards; return the runs of each that were free.

        Other runs are leased by another driver, or were stored since this driver looked up missing runs.
        """

        def claimed(table: dict[str, list[str]]) -> list[set[str]]:
            wanted = {run_id for shard in shards for run_id in shard}
            owners = {name: wanted.intersection(ids) for name, ids in table.items() if name != self.name}
            owners = {name: ids for name, ids in owners.items() if ids}
            alive = self._drivers.alive(owners)
            for name in owners.keys() - alive.keys():
                del table[name]
            taken = {owner for name in alive for owner in owners[name]}
            stored = self.stored()  # after the claims: a run is stored before its claim is given up
            free = [set(shard) - taken - stored for shard in shards]
            table[self.name] = sorted({*table.get(self.name, ()), *(run_id for shard in free for run_id in shard)})
            return free

        return self._change(claimed)

    def stored(self) -> set[str]:
        """Return the runs that were stored since ``begin``, by whomever."""
        ids, self._known = stored_since(self._folder, self._known)
        self._stored |= ids
        return self._stored

    def release(self, ids: Iterable[str]) -> None:
        """Give up claims: these runs are stored."""
        gone = set(ids)

        def released(table: dict[str, list[str]]) -> None:
            table[self.name] = [run_id for run_id in table.get(self.name, ()) if run_id not in gone]

        self._change(released)

    def elsewhere(self) -> dict[str, set[str]]:
        """Return the runs that other drivers train now, by their names."""
        table = {name: ids for name, ids in self._read_table().items() if name != self.name}
        alive = self._drivers.alive(table)
        return {name: set(ids) for name, ids in table.items() if name in alive}

    def _read_table(self) -> Mapping[str, Any]:
        """Return the table of leases: run IDs by driver."""
        return _read_object(self._folder / (FORMER_LEASES if self._has_former else LEASES))

    def _change(self, change: Callable[[dict[str, list[str]]], T]) -> T:
        """Change the table of leases under the study's lock; again, if the lock was lost meanwhile."""

        def once() -> tuple[bool, T]:
            with locked(self._folder) as is_held:
                table = dict(self._read_table())
                result = change(table)
                held = is_held()
                if held:
                    remaining = {name: ids for name, ids in table.items() if ids}
                    write_file(self._folder / LEASES, json.dumps(remaining).encode())
                    if self._has_former:
                        (self._folder / FORMER_LEASES).unlink(missing_ok=True)
                        self._has_former = False
                return held, result

        while True:
            is_done, result = retry_while_away(once, self._folder)
            if is_done:
                return result


@contextmanager
def locked(study_dir: Path) -> Iterator[HeldLock]:
    """Hold the study's lock, for moments; or for long, where no driver is to be there.

    Raises:
        InputError: others hold it for ever, or nothing can be written.
    """
    try:
        with lock(study_dir / LOCK_FILE) as is_held:
            yield is_held
    except Timeout as error:
        raise InputError(f"{study_dir}: is locked by another adamcmp; wait for it, or end it") from error


@contextmanager
def exclusive_lock(study_dir: Path) -> Iterator[None]:
    """Hold the study's lock where no driver is at work.

    Raises:
        InputError: one is, or nothing can be written.
    """
    with locked(study_dir):
        if alive := DriverRegistry(study_dir).alive():
            raise InputError(
                f"{study_dir}: another adamcmp is training this study ({', '.join(sorted(alive))}); wait for it, or "
                "choose another --results-dir"
            )
        yield
