"""Does a search find better settings than chance, with the same number of trials? Paired over seeds of the search.

Each repetition runs ``adamcmp sweep`` once for each method, with one seed and the same budget of trials for both
optimizers; each winner is evaluated on held-out seeds. Printed: the test error of the winners, and the difference from
random search with a 95 % interval (Student, over repetitions).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import adamcmp
from adamcmp.analysis.intervals import half_width

STUDY = ("mnist1d", "optimizer=adam,adamw", "optimizer.lr=geomspace(1e-5,1,11)",
         "optimizer.weight_decay=geomspace(1e-5,1,11,zero=true)", "train.epochs=10",
         "study.confirm.seeds=8")  # fmt: skip


def winners(method: str, seed: int, trials: int, batch: int, folder: Path) -> pd.Series:
    """Mean test error, in per cent, of each arm's best trial on held-out seeds."""
    words = [f"search={method}", f"search.seed={seed}", f"search.trials={trials}", f"search.batch={batch}"]
    where = folder / f"{method}_{seed}"
    command = [sys.executable, "-m", "adamcmp", "sweep", *STUDY, *words, "--results-dir", str(where)]
    subprocess.run(command, check=True, capture_output=True)
    records, _ = adamcmp.load(where)
    judged = records[(records["stage"] == "confirm") & (records["status"] == "completed")]
    return 100 * judged.groupby("arm")["final_test_error"].mean()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--trials", type=int, default=96)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--methods", nargs="+", default=["random", "sobol", "tpe", "gp", "asha"])
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(given.repeats):
            for method in given.methods:
                found = winners(method, seed, given.trials, given.batch, Path(folder))
                rows += [{"method": method, "seed": seed, "arm": arm, "error": error} for arm, error in found.items()]
            print(f"{seed + 1} of {given.repeats}", file=sys.stderr, flush=True)
    table = pd.DataFrame(rows).pivot_table(index=["arm", "seed"], columns="method", values="error")
    print(f"adamcmp sweep {' '.join(STUDY)}")
    print(f"{given.trials} trials an arm, batches of {given.batch}, {given.repeats} repetitions\n")
    print("| optimizer | method | test error (%) | minus random (points) | verdict |\n| :-- | :-- | --: | --: | :-- |")
    for arm, own in table.groupby(level="arm"):
        for method in given.methods:
            difference = (own[method] - own["random"]).dropna()
            half = float(half_width(np.array([difference.std(ddof=1)]), np.array([len(difference)]))[0])
            low, high = difference.mean() - half, difference.mean() + half
            verdict = (
                "better than random" if high < 0 else "worse than random" if low > 0 else "no significant difference"
            )
            told = "–" if method == "random" else f"{difference.mean():+.2f} ({low:+.2f} to {high:+.2f})"
            print(
                f"| {arm} | {method} | {own[method].mean():.2f} | {told} | {'–' if method == 'random' else verdict} |"
            )


if __name__ == "__main__":
    main()
