"""Ranks of optimizers at every evaluation compared with their final ranks, and times to a target.

Ranks are those of the test error of each optimizer's selected trial, seed by seed: the rank at an evaluation is the
mean over the seeds that all optimizers share. Rankings often flip while the learning rate decays.

A *performance profile* of an optimizer is, for each τ ≥ 1, the share of tasks on which it reaches the target within τ
times the time of the fastest optimizer. The target of a task is given, or the validation error that nine in ten runs of
half of its optimizers end with.

Source: E. D. Dolan and J. J. Moré, Benchmarking Optimization Software with Performance Profiles, Mathematical
Programming 91, 2002.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from adamcmp.analysis.selection import TaskRecords, best_trials, reported_runs, trials_table
from adamcmp.analysis.time_to_target import time_to_target_table
from adamcmp.metrics.spec import task_metrics

TARGET_QUANTILE = 0.9
"""Share of an optimizer's runs that end with the target, where none is given."""


def ranks_over_time(curves: pd.DataFrame, records: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """Return one row per optimizer and evaluation: ``arm``, ``epoch``, ``rank`` (1 is best), ``final_rank``, ``seeds``
    that are shared, and ``agreement``: the share of pairs, over seeds, that are ordered as at the end.

    Evaluations are those that all optimizers share, by epoch; empty where there are fewer than two, or one optimizer.
    """
    reported = reported_runs(records, best)[["run_id", "arm", "seed"]]
    joined = curves[["run_id", "epoch", "test_error"]].merge(reported, on="run_id")
    wide = joined.pivot_table(index=["epoch", "seed"], columns="arm", values="test_error", aggfunc="first")
    wide = wide.dropna() * task_metrics(records).error.sign
    counts = wide.groupby("epoch").size()
    at = list(counts.index[counts == counts.max()])
    if wide.shape[1] < 2 or len(at) < 2:
        return pd.DataFrame(columns=["arm", "epoch", "rank", "final_rank", "seeds", "agreement"])
    shared = wide.loc[at]
    seeds = shared.loc[at[-1]].index
    rank_ESA = np.stack([shared.loc[epoch].reindex(seeds).rank(axis=1).to_numpy() for epoch in at])
    first, second = np.triu_indices(wide.shape[1], 1)
    order_ESP = np.sign(rank_ESA[..., first] - rank_ESA[..., second])
    alike_E = (order_ESP == order_ESP[-1]).mean((1, 2))
    mean_EA = rank_ESA.mean(1)
    return pd.DataFrame(
        [
            (arm, epoch, mean_EA[e, a], mean_EA[-1, a], len(seeds), alike_E[e])
            for a, arm in enumerate(wide.columns)
            for e, epoch in enumerate(at)
        ],
        columns=["arm", "epoch", "rank", "final_rank", "seeds", "agreement"],
    )


def count_rank_flips(table: pd.DataFrame) -> str:
    """Return the last epoch at which other optimizers led than at the end, in words; empty if there is none.

    Arms of equal rank lead together: who leads is another one only if none of the leaders is the same.
    """
    if table.empty:
        return ""
    by_epoch = table.drop_duplicates("epoch").set_index("epoch")["agreement"]
    best = table.groupby("epoch")["rank"].transform("min")
    leaders = table[table["rank"] <= best + 1e-9].groupby("epoch")["arm"].agg(lambda arms: sorted(map(str, arms)))
    last = leaders.iloc[-1]
    flips = leaders[[not set(arms) & set(last) for arms in leaders]]
    if flips.empty:
        return ""
    halfway = by_epoch.iloc[(len(by_epoch) - 1) // 2]
    then, now = (f"{' and '.join(arms)} {'leads' if len(arms) == 1 else 'lead'}" for arms in (flips.iloc[-1], last))
    return (
        f"Ranks flip: {then} at epoch {flips.index[-1]:g}, {now} at the end. Halfway, {halfway:.0%} of the pairs have "
        "their final order, over seeds."
    )


def targets_table(tasks: Sequence[TaskRecords], curves: pd.DataFrame, target: float | None = None) -> pd.DataFrame:
    """Return one row per task and optimizer: ``target``, median ``steps`` and ``seconds`` to it (infinite if fewer than
    half of the runs reach it), and ``steps_ratio``, ``seconds_ratio`` to the fastest optimizer of the task.
    """
    parts = []
    for task in tasks:
        best, error = best_trials(trials_table(task.records)), task_metrics(task.records).error
        if len(best) < 2 or curves.empty or not curves["run_id"].isin(task.records["run_id"]).any():
            continue
        reported = reported_runs(task.records, best)
        ends = (error.sign * reported["final_validation_error"]).groupby(reported["arm"]).quantile(TARGET_QUANTILE)
        aim = error.sign * float(np.quantile(ends, 0.5, method="higher")) if target is None else target
        times = time_to_target_table(curves, task.records, best, aim).assign(task=task.label, target=aim)
        for name in ("steps", "seconds"):
            least = times[name].min()
            times[f"{name}_ratio"] = times[name] / least if math.isfinite(least) else math.inf
        parts.append(times)
    columns = ["task", "arm", "target", "steps", "seconds", "steps_ratio", "seconds_ratio"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
