r"""Expected best of k trials: the error that a search with k trials reaches, and its band over searches.

Of an optimizer's N trials, k are drawn without replacement and the best of them by validation is kept. It is the trial
of rank r (from 0) among all with probability w_r = C(N−1−r, k−1)/C(N, k) (``selection_uncertainty.rank_weights``), so
that the expected validation error is Σ_r w_r v_(r), and the expected test error Σ_r w_r t_(r). The band holds the
middle 80 % of searches. A trial with a diverged, failed or missing run ranks last and counts as the best constant
prediction.

Source: J. Dodge et al., Show Your Work: Improved Reporting of Experimental Results, EMNLP 2019; there with replacement.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from adamcmp.analysis.intervals import Array
from adamcmp.analysis.selection import BASELINE, ranked_trials
from adamcmp.analysis.selection_uncertainty import rank_weights
from adamcmp.metrics.spec import task_metrics

QUANTILES = (0.1, 0.9)
MAX_BUDGETS = 60
"""Values of k, at most: all up to there, and evenly spread on a logarithmic axis beyond."""


def expected_best_of_k(records: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per optimizer and k: ``validation`` and ``test``, each with ``_low`` and ``_high`` of the band.

    Args:
        records: of one task.
        table: ``cells`` of them.
    """
    sign = task_metrics(records).error.sign
    rows = []
    for arm, ranked in ranked_trials(table).groupby("arm", sort=True):
        trials = int((table["arm"] == arm).sum())
        parts = [
            _with_lost(ranked[f"final_{part}_error"].to_numpy(float), trials, sign, records[baseline].max())
            for part, baseline in zip(("validation", "test"), BASELINE, strict=True)
        ]
        counts = (
            range(1, trials + 1)
            if trials <= MAX_BUDGETS
            else {round(size) for size in np.geomspace(1, trials, MAX_BUDGETS)}
        )
        for k in sorted(counts):
            weights = rank_weights(trials, k)
            row: dict[str, object] = {"arm": arm, "k": k, "cells": trials}
            for name, errors in zip(("validation", "test"), parts, strict=True):
                low, high = _quantiles(errors, weights)
                row |= {name: float(errors @ weights), f"{name}_low": low, f"{name}_high": high}
            rows.append(row)
    return pd.DataFrame(rows)


def _with_lost(errors: Array, trials: int, sign: float, baseline: float) -> Array:
    """Return errors in which lost trials have that of the baseline, or the worst error if the baseline is unknown or
    better.
    """
    worst = float(sign * np.max(sign * errors))
    lost = worst if np.isnan(baseline) or sign * baseline < sign * worst else baseline
    return np.concatenate([errors, np.full(trials - len(errors), lost)])


def _quantiles(errors: Array, weights: Array) -> tuple[float, float]:
    order = errors.argsort(kind="stable")
    reached = weights[order].cumsum()
    low, high = (
        errors[order][min(int(np.searchsorted(reached, quantile - 1e-12)), len(errors) - 1)] for quantile in QUANTILES
    )
    return float(low), float(high)
