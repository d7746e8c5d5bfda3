"""Speed-up of warm restarts over one long cosine, at the end of each period.

Restarts end a period at an epoch E with an error e. The other optimizer first has an error of e or better at epoch E',
or never within its budget T. The factor is E'/E, or T/E as a lower bound. It is computed seed by seed, so that its
logarithm has Student's interval.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from adamcmp.analysis.claim import mean_with_ci
from adamcmp.analysis.intervals import Estimate
from adamcmp.analysis.selection import reported_runs
from adamcmp.analysis.time_to_target import first_reaching
from adamcmp.metrics.spec import task_metrics
from adamcmp.optim.schedules import restart_periods


def period_ends(first: float, factor: float, epochs: float) -> list[float]:
    """Return the epochs that end a period, T_0, T_0 (1 + T_mult), …, up to the budget."""
    starts, lengths = restart_periods(epochs, first, factor)
    ends = [start + length for start, length in zip(starts, lengths, strict=True)]
    return [end for end in ends if end <= epochs * (1 + 1e-9)]


def restart_speed_ups(
    curves: pd.DataFrame, records: pd.DataFrame, best: pd.DataFrame, restarted: str, other: str, ends: Sequence[float]
) -> pd.DataFrame:
    """Return one row per period: ``end`` (epoch), ``error`` there (mean), ``factor`` with ``factor_low`` and
    ``factor_high``, and how many of ``seeds`` the other optimizer never gets there on (``never``).

    Args:
        curves: evaluations, columns ``schema.CURVE``.
        records: of one task.
        best: one row per optimizer, as ``best_trials`` returns it.
        restarted: an optimizer with warm restarts.
        other: the optimizer that it is compared with.
        ends: as ``period_ends`` gives them; the last one is the end of the budget for both, and left out.
    """
    reported = reported_runs(records, best)
    sign = task_metrics(records).error.sign
    by_seed = {
        arm: reported[reported["arm"] == arm].set_index("seed")["run_id"].to_dict() for arm in (restarted, other)
    }
    shared = by_seed[restarted].keys() & by_seed[other].keys()
    reported_curves = curves[curves["run_id"].isin(reported["run_id"])]
    runs = {run_id: part.sort_values("epoch") for run_id, part in reported_curves.groupby("run_id")}
    rows = []
    for end in ends[:-1]:
        logs, errors, never = [], [], 0
        for seed in shared:
            mine, theirs = (runs.get(by_seed[arm][seed]) for arm in (restarted, other))
            if mine is None or theirs is None:
                continue
            at = mine[mine["epoch"] <= end * (1 + 1e-9)]
            if at.empty or at["epoch"].iloc[-1] < 0.9 * end:  # no evaluation near the end of the period
                continue
            error = float(at["test_error"].iloc[-1])
            reached = first_reaching(theirs, error, metric="test_error", at="epoch", sign=sign)
            never += reached.empty
            epoch = theirs["epoch"].iloc[-1] if reached.empty else reached.iloc[0]
            logs.append(np.log(epoch / at["epoch"].iloc[-1]))
            errors.append(error)
        if logs:
            factor = Estimate(*np.exp(mean_with_ci(np.array(logs))))
            rows.append({
                "arm": restarted, "other": other, "end": end, "error": float(np.mean(errors)),
                **factor.columns("factor"), "never": never, "seeds": len(logs),
            })  # fmt: skip
    columns = ["arm", "other", "end", "error", "factor", "factor_low", "factor_high", "never", "seeds"]
    return pd.DataFrame(rows, columns=columns)
