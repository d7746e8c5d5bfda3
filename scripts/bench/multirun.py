"""Train 2,420 runs by adamcmp, all of them, and by Hydra's multirun, extrapolated from a part.

    .venv/bin/python scripts/bench/multirun.py [--quick]

Hydra launches a plain PyTorch script (`multirun/train.py`), one run a job, by its basic launcher and by the joblib
launcher with a process per core. Two sweeps of different length are timed; their difference gives the seconds a job,
the rest is start-up, and both together the time of 2,420 runs. adamcmp's time is measured whole in the same call, from
an empty folder through its report. Needs `pip install "adamcmp[bench]"`, and an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tabulate import tabulate
from tasks import end_to_end, machine

APP = Path(__file__).resolve().parent / "multirun" / "train.py"
CELLS = ("optimizer=sgd,sgdw,adam,adamw", "weight_decay=0,0.001")
"""Eight jobs for each learning rate."""
LAUNCHERS = {
    "basic": (),
    "joblib": ("hydra/launcher=joblib", f"hydra.launcher.n_jobs={machine.count_cores()}"),
}


@dataclass(frozen=True)
class Multirun:
    """Durations of two sweeps by one launcher."""

    jobs: tuple[int, int]
    seconds: tuple[float, float]

    @property
    def per_job(self) -> float:
        """Seconds that one more job takes."""
        return (self.seconds[1] - self.seconds[0]) / (self.jobs[1] - self.jobs[0])

    @property
    def whole(self) -> float:
        """Seconds of 2,420 jobs, extrapolated."""
        return self.seconds[1] + (end_to_end.RUNS - self.jobs[1]) * self.per_job


def _has_launcher() -> bool:
    """Whether Hydra's joblib launcher is installed; without any plugin its parent package is missing too."""
    try:
        return find_spec("hydra_plugins.hydra_joblib_launcher") is not None
    except ModuleNotFoundError:
        return False


def launch(launcher: tuple[str, ...], rates: int, steps: int) -> float:
    """Wall seconds of a sweep over so many learning rates, eight jobs each.

    Raises:
        SystemExit: a job failed, or left no measurements.
    """
    grid = "lr=" + ",".join(f"{0.001 * (i + 1):g}" for i in range(rates))
    with tempfile.TemporaryDirectory() as folder:
        call = [sys.executable, str(APP), "--multirun", *launcher, *CELLS, grid, f"steps={steps}"]
        started = time.perf_counter()
        done = subprocess.run([*call, f"hydra.sweep.dir={folder}"], capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
        stored = len(list(Path(folder).rglob("metrics.json")))
    if done.returncode or stored != 8 * rates:
        raise SystemExit(f"{stored} of {8 * rates} jobs of {' '.join(call)} ended well:\n{done.stderr}")
    return seconds


def measure(launcher: tuple[str, ...], quick: bool) -> Multirun:
    """Time a launcher on 8 and on 40 jobs; with ``quick`` on 8 and 16 short ones."""
    sizes, steps = ((1, 2), 20) if quick else ((1, 5), 500)
    short, long = (launch(launcher, rates, steps) for rates in sizes)
    return Multirun((8 * sizes[0], 8 * sizes[1]), (short, long))


def main() -> None:
    """Measure both launchers and adamcmp; print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke test whose figures mean nothing")
    quick = parser.parse_args().quick
    smoke = ["A smoke test: these figures mean nothing."] if quick else []
    print(*smoke, *machine.describe(), "n = 1", sep="\n")
    lines = []
    for name, launcher in LAUNCHERS.items():
        if name == "joblib" and not _has_launcher():
            print('Hydra\'s joblib launcher is left out: it is not installed (pip install "adamcmp[bench]")')
            continue
        found = measure(launcher, quick)
        lines.append(
            [
                f"Hydra multirun, {name} launcher",
                f"{found.jobs[1]} jobs in {found.seconds[1]:.1f} s, {found.jobs[0]} in {found.seconds[0]:.1f} s",
                f"{found.whole:,.0f} s, extrapolated at {found.per_job:.3f} s a job",
            ]
        )
    for stage in list(end_to_end.stages(quick))[:2]:
        runs = "16 short runs" if quick else f"all {end_to_end.RUNS:,} runs"
        lines.append([f"adamcmp, {stage.name} caches, with its report", runs, f"{stage.seconds:,.0f} s"])
    print(tabulate(lines, ["way", "measured", f"{end_to_end.RUNS:,} runs"], tablefmt="pipe"))


if __name__ == "__main__":
    main()
