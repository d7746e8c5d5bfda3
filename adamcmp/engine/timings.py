"""Timings of the ways to train a cohort, kept in the user's cache, so that each is made once on a machine."""

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

from adamcmp.engine.machine import cores, processor
from adamcmp.engine.strategy import Layout, Strategy
from adamcmp.engine.timing import Timing
from adamcmp.errors import InputError
from adamcmp.plan.runs import RunGroup, canonical_json
from adamcmp.storage.backend import write_file
from adamcmp.untrusted import load_json

WAY = 2
"""Counts the changes of how timings are taken: what was timed in another way is timed anew."""
MOST_DAYS = 30
"""After which a timing is made anew."""
LEAST_SHARE = 0.9
"""Of a core that a timing must have had: what a busy machine took is good for this command, and not kept."""


@dataclass(frozen=True)
class Place:
    """A machine that trains: by default this one."""

    name: str = field(default_factory=platform.node)
    cores: int = field(default_factory=cores)


class Timings:
    """What is known of one cohort: read once, learnt from, written where something is new."""

    def __init__(self, cohort: RunGroup, device: torch.device, processes: int, place: Place) -> None:
        self._path = cache_folder() / f"{_key(cohort, device, processes, place)}.json"
        self._kept = _read(self._path)
        self._new: dict[str, Timing] = {}
        self.all = {name: timing for name, (_, timing) in self._kept.items()}
        """By name of the way, see ``named``."""

    def learn(self, name: str, timing: Timing) -> None:
        """Take what was timed just now."""
        self._new[name] = self.all[name] = timing

    def keep(self) -> None:
        """Write what is known; a failure tells of this moment (memory, a compiler), so it is not kept."""
        now = time.time()
        good = {
            name: (now, each) for name, each in self._new.items() if each.error is None and each.share >= LEAST_SHARE
        }
        if not good:
            return
        self._kept |= good
        text = json.dumps({name: {"at": at, **asdict(timing)} for name, (at, timing) in self._kept.items()}, indent=1)
        with suppress(InputError):  # a cache that cannot be written is no reason to train nothing
            write_file(self._path, text.encode())


def named(strategy: Strategy, layout: Layout) -> str:
    """Names a way to train by what its speed depends on, next to the cohort."""
    how = "compiled" if strategy.compiled else "eager"
    graphs = " graphs" if strategy.graphs else ""
    where = f"threads={strategy.threads} processes={strategy.processes}"
    return f"{strategy.engine} {layout.seeds}x{layout.rows} {how} {strategy.matmul}{graphs} {where}"


def cache_folder() -> Path:
    """Where they lie."""
    return Path(platformdirs.user_cache_dir("adamcmp")) / "timings"


def _key(cohort: RunGroup, device: torch.device, processes: int, place: Place) -> str:
    """What timings depend on: the task but for its length, the form of update, the machine and versions."""
    task, facts = cohort.task, cohort.task.facts
    identity = {k: v for k, v in task.identity.items() if k not in {"data", "steps", "eval_steps", "metrics"}}
    versions = [version("adamcmp"), torch.__version__]
    where = [WAY, str(device), processor(device), place.cores, processes, versions, place.name]
    sizes = [facts.train_examples, facts.validation_examples, facts.test_examples]
    shape = [facts.input_shape, facts.num_outputs, sizes]
    form = [cohort.kernel, cohort.patterns]
    text = canonical_json({"task": identity, "kernel": form, "shape": shape, "where": where})
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(path: Path) -> dict[str, tuple[float, Timing]]:
    try:
        stored = load_json(path.read_text(encoding="utf-8"))
        found = {name: (float(each.pop("at")), Timing(**each)) for name, each in stored.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    oldest = time.time() - 86400 * MOST_DAYS
    return {name: (at, timing) for name, (at, timing) in found.items() if at >= oldest}
