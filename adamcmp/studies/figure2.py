"""SGD, SGDW, Adam and AdamW over learning rate and weight decay (Figure 2 of the paper)."""

from __future__ import annotations

import math

import pandas as pd
from scipy import stats

from adamcmp.analysis import CELL, Paired, best_cells, by_task, cells, criteria_of, holm, paired_difference, top_cells
from adamcmp.criteria import ErrorMetric
from adamcmp.records import Results
from adamcmp.report.page import Finding

STUDY = "figure2"
LEVEL = 0.05
PAIRS = (("adamw_paper", "adam"), ("sgdw_paper", "sgd_paper"))
"""(decoupled, coupled): the paper claims that the first generalises better, over a basin that is less tilted."""


def findings(results: Results) -> list[Finding]:
    """What the figure is there to show, as measured on the runs of each task."""
    return [Finding(line, task.task) for task in by_task(results.records) for line in verdict(task.records)]


def verdict(records: pd.DataFrame) -> list[str]:
    """The same of one task.

    For each pair, the test error of the cells that validation chose, paired over seeds, with Holm's correction over
    the pairs; and the tilt of each basin, Spearman's rank correlation between lr and λ over the ten best cells:
    near −1 where a larger λ wants a smaller lr, near 0 where each can be chosen alone.
    """
    table = cells(records)
    error = criteria_of(records).error
    best = best_cells(table).assign(judged=lambda found: error.sign * found["final_validation_error"])
    best = best.sort_values(["judged", "final_validation_loss"], kind="stable")
    by_optimizer = {str(row["optimizer"]): row for _, row in best[::-1].iterrows()}  # the best of several variants
    compared = [pair for pair in PAIRS if set(pair) <= set(by_optimizer)]
    tests = [paired_difference(*(_test_errors(records, by_optimizer[name]) for name in pair)) for pair in compared]
    adjusted = holm([1.0 if math.isnan(test.p_value) else test.p_value for test in tests])
    arms = [(str(by_optimizer[a]["arm"]), str(by_optimizer[b]["arm"])) for a, b in compared]
    lines = [_difference(error, *each) for each in zip(arms, tests, adjusted, strict=True)]
    lines += [f"{a} and {b}: not compared, one has no eligible cell." for a, b in PAIRS if (a, b) not in compared]
    return lines + [_tilt(str(arm), ten) for arm, ten in top_cells(table, 10).groupby("arm", sort=False)]


def _difference(error: ErrorMetric, pair: tuple[str, str], paired: Paired, p_value: float) -> str:
    names = f"{pair[0]} against {pair[1]}, each at its best cell by validation"
    form, unit = ("+.2f", " points") if error.unit == "%" else ("+.3g", f" {error.unit}".rstrip())
    mean, low, high = (f"{error.factor * each:{form}}" for each in (paired.mean, paired.low, paired.high))
    difference = f"test {error.label} {mean}{unit}"
    if math.isnan(paired.p_value):
        why = "one seed" if paired.n < 2 else f"the same in all {paired.n} seeds"
        return f"{names}: {difference} ({why}: no spread, so no interval, no verdict)."
    carried = "better" if error.sign * paired.mean < 0 else "worse"
    return (
        f"{names}: {difference}, 95 % interval {low} to {high}, paired over {paired.n} seeds, p = {p_value:.2g} after "
        f"Holm: {carried if p_value < LEVEL else 'not told apart'}."
    )


def _test_errors(records: pd.DataFrame, cell: pd.Series) -> dict[int, float]:
    chosen = records[(records[CELL] == cell[CELL]).all(axis=1) & (records["status"] == "completed")]
    return dict(zip(chosen["seed"].astype(int), chosen["final_test_error"].astype(float), strict=True))


def _tilt(arm: str, ten: pd.DataFrame) -> str:
    if ten["lr"].nunique() < 2 or ten["weight_decay"].nunique() < 2:
        return f"{arm}: its {len(ten)} best cells share one lr or one λ, so that their basin has no tilt to measure."
    rho = stats.spearmanr(ten["lr"], ten["weight_decay"]).statistic
    return f"{arm}: rank correlation between lr and λ over its {len(ten)} best cells {rho:+.2f}."
