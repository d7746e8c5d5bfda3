"""SGD, SGDW, Adam and AdamW over learning rate and weight decay (Figure 2 of the paper)."""

from __future__ import annotations

import math

import pandas as pd
from scipy import stats

from adamcmp.analysis import CELL, Paired, best_cells, cells, holm, paired_difference, top_cells

STUDY = "figure2"
LEVEL = 0.05
PAIRS = (("AdamW (paper)", "Adam + L2"), ("SGDW (paper)", "SGD + L2 (paper)"))
"""(decoupled, coupled): the paper claims that the first generalises better, over a basin that is less tilted."""


def verdict(records: pd.DataFrame) -> list[str]:
    """What the figure is there to show, as measured on the runs of one task.

    For each pair, the test error of the cells that validation chose, paired over seeds, with Holm's correction over
    the pairs; and the tilt of each basin, Spearman's rank correlation between lr and λ over the ten best cells:
    near −1 where a larger λ wants a smaller lr, near 0 where each can be chosen alone.
    """
    table = cells(records)
    best = {str(row["arm"]): row for _, row in best_cells(table).iterrows()}  # a few arms
    pairs = [pair for pair in PAIRS if set(pair) <= set(best)]
    tests = [
        paired_difference(_test_errors(records, best[decoupled]), _test_errors(records, best[coupled]))
        for decoupled, coupled in pairs
    ]
    adjusted = holm([1.0 if math.isnan(test.p_value) else test.p_value for test in tests])
    lines = [_difference(*each) for each in zip(pairs, tests, adjusted, strict=True)]
    return lines + [_tilt(str(arm), ten) for arm, ten in top_cells(table, 10).groupby("arm", sort=False)]


def _difference(pair: tuple[str, str], paired: Paired, p_value: float) -> str:
    names = f"{pair[0]} against {pair[1]}, each at its best cell by validation"
    if paired.n < 2:
        return f"{names}: test error {100 * paired.mean:+.2f} points (one seed: no interval, no verdict)."
    carried = "lower" if paired.mean < 0 else "higher"
    return (
        f"{names}: test error {100 * paired.mean:+.2f} points, 95 % interval {100 * paired.low:+.2f} to "
        f"{100 * paired.high:+.2f}, paired over {paired.n} seeds, p = {p_value:.2g} after Holm: "
        f"{carried if p_value < LEVEL else 'not told apart'}."
    )


def _test_errors(records: pd.DataFrame, cell: pd.Series) -> dict[int, float]:
    chosen = records[(records[CELL] == cell[CELL]).all(axis=1) & (records["status"] == "completed")]
    return dict(zip(chosen["seed"].astype(int), chosen["final_test_error"].astype(float), strict=True))


def _tilt(arm: str, ten: pd.DataFrame) -> str:
    if ten["lr"].nunique() < 2 or ten["weight_decay"].nunique() < 2:
        return f"{arm}: its {len(ten)} best cells share one lr or one λ, so that their basin has no tilt to measure."
    rho = stats.spearmanr(ten["lr"], ten["weight_decay"]).statistic
    return f"{arm}: rank correlation between lr and λ over its {len(ten)} best cells {rho:+.2f}."
