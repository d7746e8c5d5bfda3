"""Do recommendations hold? On data that adamcmp does not ship: recommend, then train that on seeds it never saw.

The settings that were recommended, and those of the other optimizer, are trained on further seeds. Printed, for each
data set: the recommendation, its stated test error and the one on other seeds, the difference between the
optimizers as stated and on other seeds, and the spent time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, make_friedman1

import adamcmp
from adamcmp.analysis import best_trials, held_out_runs, split_by_task, trials_table
from adamcmp.analysis.intervals import half_width

SEEDS = "range(5000000,5000032)"
"""Beyond those of tuning, confirming and settling."""
FASHION = "/usr/share/datasets/fashion-mnist"


def made(folder: Path) -> dict[str, tuple[str, ...]]:
    """The data sets, and the words for each."""
    cancer = load_breast_cancer(as_frame=True).frame
    cancer.to_csv(folder / "cancer.csv", index=False)
    x, y = make_friedman1(2000, 10, noise=1.0, random_state=0)
    pd.DataFrame(np.column_stack([x, y])).to_csv(folder / "friedman.csv", index=False)
    found = {
        "breast cancer": ("table", f"data.path={folder}/cancer.csv", "train.epochs=30"),
        "Friedman 1": ("table", f"data.path={folder}/friedman.csv", "data.targets=quantities", "train.epochs=20"),
    }
    if Path(FASHION).is_dir():
        size = ("data.train_examples=4000", "train.epochs=5")
        found["Fashion-MNIST, 4,000"] = ("fashion_mnist", f"data.folder={FASHION}", *size)
    return found


def call(*words: str) -> str:
    """Return the output of a command."""
    ended = subprocess.run([sys.executable, "-m", "adamcmp", *words], check=True, capture_output=True, text=True)
    return ended.stdout


def told(values: pd.Series) -> str:
    """Mean and half width of the 95 % interval."""
    half = float(half_width(np.array([values.std(ddof=1)]), np.array([len(values)]))[0])
    return f"{values.mean():.4g} ± {half:.2g}"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", default="3m")
    given = parser.parse_args()
    print(
        "| data | recommended | stated test error | on 32 other seeds | stated AdamW − Adam | on 32 other seeds | "
        "spent |"
    )
    print("| :-- | :-- | --: | --: | --: | --: | --: |")
    with tempfile.TemporaryDirectory() as name:
        for data, words in made(Path(name)).items():
            where, began = Path(name) / data.replace(" ", "_"), time.monotonic()
            call("recommend", *words, "--budget", given.budget, "--results-dir", str(where), "study.name=it")
            spent = time.monotonic() - began
            records, _ = adamcmp.load(where)
            (task,) = split_by_task(records)
            best = best_trials(trials_table(task.records))
            fresh = held_out_runs(task.records, best)
            if fresh.empty:
                print(f"| {data} | no arm was confirmed within the budget | | | | | {spent:.0f} s |", flush=True)
                continue
            arm = fresh.groupby("arm")["final_validation_error"].mean().idxmin()
            for cell in best.to_dict("records"):
                setting = (f"optimizer={cell['optimizer']}", f"optimizer.lr={cell['lr']}",
                           f"optimizer.weight_decay={cell['weight_decay']}", f"seed={SEEDS}")  # fmt: skip
                call(
                    "sweep",
                    *words,
                    *setting,
                    "study.confirm.seeds=0",
                    "--results-dir",
                    f"{where}_again",
                    "study.name=it",
                )
            again, _ = adamcmp.load(f"{where}_again")
            columns = [told(found.loc[found["arm"] == arm, "final_test_error"]) for found in (fresh, again)]
            pairs = [found.pivot(index="seed", columns="arm", values="final_test_error") for found in (fresh, again)]
            columns += [told(each["AdamW"] - each["Adam + L2"]) for each in pairs]
            setting = best[best["arm"] == arm].iloc[0]
            which = f"{arm}, lr {setting['lr']:.3g}, λ {setting['weight_decay']:.3g}"
            print(f"| {data} | {which} | {' | '.join(columns)} | {spent:.0f} s |", flush=True)


if __name__ == "__main__":
    main()
