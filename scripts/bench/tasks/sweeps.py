"""adamcmp as its user runs it: `adamcmp sweep` in a process of its own, timed from outside.

A sweep is run with T and with 2·T steps and the same number of evaluations; its rate is runs · T / (wall(2T) −
wall(T)), in which start-up, planning, compiling, evaluating and storing cancel.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tasks.works import CONFIGS, Work

HERE = Path(__file__).resolve().parent.parent
BAD_INPUT = 2
"""adamcmp's exit code for a setting that it does not take."""
ATTEMPTS, MOST_GROWTH = 6, 4.0
"""Pairs of sweeps to find T with, and the most that T grows from one to the next."""


class RefusedError(Exception):
    """This adamcmp does not take a setting; the text is its own line on that."""


@dataclass(frozen=True)
class Sweep:
    """A grid over learning rate and weight decay, for each of some optimizers and seeds."""

    config: str
    optimizers: tuple[str, ...]
    side: int
    seeds: int
    precision: str

    @classmethod
    def of(cls, work: Work, precision: str, optimizers: tuple[str, ...] = ("adam", "adamw"), side: int = 0) -> Sweep:
        """A work's sweep; ``side`` takes the place of the work's own."""
        return cls(work.config, optimizers, side or work.side, work.seeds, precision)

    @property
    def runs(self) -> int:
        """All of them."""
        return len(self.optimizers) * self.side**2 * self.seeds

    def is_taken(self) -> bool:
        """Whether this adamcmp has the precision."""
        try:
            timed("show", self.config, f"train.precision={self.precision}", "--config-dir", str(CONFIGS))
        except RefusedError:
            return False
        return True

    def train(self, steps: int) -> tuple[float, str]:
        """Wall seconds of the whole command, and what its records say of the engine.

        Raises:
            RefusedError: see there.
        """
        with tempfile.TemporaryDirectory() as folder:
            seconds = timed(
                "sweep", self.config, f"optimizer={','.join(self.optimizers)}", f"study.seeds={self.seeds}",
                f"optimizer.lr=geomspace(1e-4,1e-2,{self.side})",
                f"optimizer.weight_decay=geomspace(1e-5,1e-2,{self.side})",
                f"train.steps={steps}", "train.evaluations=1", "train.eval_examples=1000",
                f"train.precision={self.precision}", "--config-dir", str(CONFIGS), "--results-dir", folder,
            )  # fmt: skip
            return seconds, trained_by(Path(folder) / self.config)

    def rate(self, steps: int) -> float:
        """Run-steps per second by the difference of two sweeps; NaN where noise hides the difference."""
        (short, _), (long, _) = self.train(steps), self.train(2 * steps)
        return self.runs * steps / (long - short) if long > short else math.nan

    def sized(self, steps: int, seconds: float) -> tuple[int, str]:
        """T, from ``steps`` upwards, for a difference of at least so many seconds and one engine in both sweeps.

        What adamcmp keeps of compiling and calibration is warm afterwards. Gives the engine too.
        """
        for left in reversed(range(ATTEMPTS)):
            (short, engine), (long, engine_of_long) = self.train(steps), self.train(2 * steps)
            alike, enough = engine == engine_of_long, long - short >= seconds
            if (alike and enough) or not left:
                break
            growth = 1.25 * seconds / (long - short) if alike and long > short else 2.0
            steps = math.ceil(steps * min(max(growth, 1.25), MOST_GROWTH))
        return steps, engine if engine == engine_of_long else f"{engine} at T, {engine_of_long} at 2·T steps"


def environment(**changes: str) -> dict[str, str]:
    """That of a child process which can import this package."""
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, **changes}


def command(*arguments: str) -> list[str]:
    """The command line of adamcmp in the environment that runs the benchmark."""
    return [str(Path(sys.executable).with_name("adamcmp")), *arguments]


def timed(*arguments: str) -> float:
    """Wall seconds of a call of adamcmp.

    Raises:
        RefusedError: see there.
    """
    started = time.perf_counter()
    done = subprocess.run(command(*arguments), env=environment(), capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode == BAD_INPUT:
        raise RefusedError(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        raise SystemExit(f"adamcmp {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return seconds


def trained_by(study_dir: Path) -> str:
    """The engine, and its settings where they are stored, that most records of a study name."""
    import adamcmp

    records, _ = adamcmp.load(study_dir)
    columns = [name for name in ("engine", "engine_settings") if name in records]
    names: str = records[columns].astype(str).agg(" ".join, axis=1).mode()[0]
    return names
