"""Timings of training strategies, stored per machine and model."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import platformdirs
import torch

from adamcmp.engine.hardware import count_cores, processor_name
from adamcmp.engine.strategy.types import RowLayout, Strategy
from adamcmp.errors import InputError
from adamcmp.plan.run_ids import canonical_json
from adamcmp.plan.runs import RunGroup
from adamcmp.storage.backend import write_file
from adamcmp.untrusted import load_json


@dataclass(frozen=True)
class Timing:
    """Seconds of one process; or the error that came instead."""

    step: float = 0.0
    """Seconds per step of one run."""
    evaluation: float = 0.0
    """Seconds per evaluation of one run, with the examples of the last one."""
    first: float = 0.0
    """Additional seconds of the first two steps and the first evaluation: compiling."""
    share: float = 1.0
    """Share of the time in which the thread was running; lower if other processes used the core."""
    error: str | None = None


MIN_CPU_SHARE = 0.9
"""Minimum share of a core during a timing that is cached: timings of a busy machine serve only the current command."""
CACHE_VERSION = 2
"""Version of the way timings are taken; timings of another version are not used."""
MAX_AGE_DAYS = 30
"""Age after which a timing is repeated."""


@dataclass(frozen=True)
class Machine:
    """A machine that trains: by default this one."""

    name: str = field(default_factory=platform.node)
    cores: int = field(default_factory=count_cores)


class TimingCache:
    """Timings of one run group: read once, extended, written if there are new ones."""

    def __init__(self, run_group: RunGroup, device: torch.device, processes: int, place: Machine) -> None:
        self._path = timings_folder() / f"{_cache_key(run_group, device, processes, place)}.json"
        self._kept = _read_timings(self._path)
        self._new: dict[str, Timing] = {}
        self.all = {name: timing for name, (_, timing) in self._kept.items()}
        """Timings by ``strategy_key``."""

    def learn(self, name: str, timing: Timing) -> None:
        """Add a new timing."""
        self._new[name] = self.all[name] = timing

    def keep(self) -> None:
        """Write all timings but failures, which may be temporary (memory, a compiler)."""
        now = time.time()
        good = {
            name: (now, timing)
            for name, timing in self._new.items()
            if timing.error is None and timing.share >= MIN_CPU_SHARE
        }
        if not good:
            return
        self._kept |= good
        text = json.dumps({name: {"at": at, **asdict(timing)} for name, (at, timing) in self._kept.items()}, indent=1)
        with suppress(InputError):  # a cache that cannot be written is no reason to train nothing
            write_file(self._path, text.encode())


def strategy_key(strategy: Strategy, layout: RowLayout) -> str:
    """Return the key of a strategy: everything that its speed depends on besides the run group."""
    how = "compiled" if strategy.compiled else "eager"
    graphs = " graphs" if strategy.graphs else ""
    where = f"threads={strategy.threads} processes={strategy.processes}"
    return f"{strategy.engine} {layout.seeds}x{layout.rows} {how} {strategy.matmul}{graphs} {where}"


def timings_folder() -> Path:
    """Return where they lie."""
    return Path(platformdirs.user_cache_dir("adamcmp")) / "timings"


def _cache_key(run_group: RunGroup, device: torch.device, processes: int, place: Machine) -> str:
    """Return the key of a run group's timings: the task without its length, the form of update, the machine and
    versions.
    """
    task, facts = run_group.task, run_group.task.facts
    identity = {k: v for k, v in task.identity.items() if k not in {"data", "steps", "eval_steps", "metrics"}}
    versions = [version("adamcmp"), torch.__version__]
    where = [CACHE_VERSION, str(device), processor_name(device), place.cores, processes, versions, place.name]
    sizes = [facts.train_examples, facts.validation_examples, facts.test_examples]
    shape = [facts.input_shape, facts.num_outputs, sizes]
    form = [run_group.kernel, run_group.patterns]
    text = canonical_json({"task": identity, "kernel": form, "shape": shape, "where": where})
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read_timings(path: Path) -> dict[str, tuple[float, Timing]]:
    try:
        stored = load_json(path.read_text(encoding="utf-8"))
        timings = {name: (float(entry.pop("at")), Timing(**entry)) for name, entry in stored.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    oldest = time.time() - 86400 * MAX_AGE_DAYS
    return {name: (at, timing) for name, (at, timing) in timings.items() if at >= oldest}
