r"""Pool the verdicts of several tasks: one statement per pair of optimizers.

Errors of tasks have different units and sizes, so a pair is pooled by its relative difference on task k,

.. math:: r_k = \frac{a_k − b_k}{(a_k + b_k)/2}, \quad \mathrm{se}_k = \frac{\mathrm{se}(a_k − b_k)}{(a_k + b_k)/2},

with all sources of variance of the verdict in se_k. Of errors where higher is better, a_k is 1 minus the error. The
pooled effect is the random-effects mean Σ w_k r_k / Σ w_k with w_k = 1/(se_k² + τ²). The variance τ² between tasks is
that of Paule and Mandel: Σ w_k (r_k − r̄)² = K − 1, or 0. The variance of the mean is that of Hartung and Knapp,
max(1, Σ w_k (r_k − r̄)²/(K − 1)) / Σ w_k, with K − 1 degrees of freedom. Intervals and p are corrected over pairs as in
``verdicts``. Several data splits of one data set are one task. Tasks that share test examples, such as two models on
one data set, are treated as independent.

Sources: R. C. Paule and J. Mandel, Journal of Research of the National Bureau of Standards 87, 1982; G. Knapp and
J. Hartung, Statistics in Medicine 22, 2003 (variance); C. Röver, G. Knapp and T. Friede, BMC Medical Research
Methodology 15, 2015 (max with 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize

from adamcmp.analysis.difference import Difference
from adamcmp.analysis.intervals import Array
from adamcmp.analysis.selection_uncertainty import VarianceComponent
from adamcmp.analysis.verdicts import Verdict, decide

MIN_TASKS = 3
"""Fewer tasks say nothing useful about the spread between tasks: their interval would span all possible values."""


class TaskResult(NamedTuple):
    """The errors and verdicts of one task."""

    label: str
    errors: Mapping[str, float]
    """Held-out test error by optimizer, lower is better; 1 minus the error where higher is better."""
    verdicts: Sequence[Verdict]
    sign: float = 1.0
    """−1 where higher is better."""


class PooledVerdict(NamedTuple):
    """The statement on a pair over several tasks."""

    verdict: Verdict
    """The verdict on the relative difference a − b; ``n`` counts tasks."""
    spread: float
    """τ, the standard deviation of the relative difference between tasks."""
    wins: int
    """Tasks where a is significantly better."""
    ties: int
    losses: int


def pool_tasks(results: Sequence[TaskResult]) -> list[PooledVerdict]:
    """Return the pooled statement on every pair that two tasks or more have compared."""
    order: dict[str, list[float]] = {}
    for result in results:
        for arm, error in result.errors.items():
            order.setdefault(arm, []).append(float(error / np.mean(list(result.errors.values()))))
    arms = sorted(order, key=lambda arm: (float(np.mean(order[arm])), arm))
    compared, rest = [], []
    for a, b in combinations(arms, 2):
        effects = [effect for result in results if (effect := _effect(result, a, b)) is not None]
        if len(effects) < 2:
            continue
        effect_K, se_K = (np.array([effect[i] for effect in effects]) for i in (0, 1))
        mean, variance, spread = random_effects(effect_K, se_K)
        variance = variance if len(effects) >= MIN_TASKS else math.nan
        compared.append(Difference(
            a, b, len(effects), mean, VarianceComponent(variance, len(effects) - 1),
            VarianceComponent(0.0, math.inf), [],
        ))  # fmt: skip
        kinds = [effect[2] for effect in effects]
        rest.append((spread, kinds.count("win"), kinds.count("tie"), kinds.count("loss")))
    return [PooledVerdict(verdict, *numbers) for verdict, numbers in zip(decide(compared), rest, strict=True)]


def _effect(result: TaskResult, a: str, b: str) -> tuple[float, float, str] | None:
    """Return the relative difference a − b, its standard error, and win, tie or loss of a."""
    for verdict in result.verdicts:
        if {verdict.a, verdict.b} != {a, b} or not verdict.has_interval:
            continue
        mean = result.sign * (verdict.mean if verdict.a == a else -verdict.mean)
        middle = (result.errors[a] + result.errors[b]) / 2
        if not middle > 0:
            return None
        se = math.sqrt(verdict.se_seeds**2 + verdict.se_examples**2 + verdict.se_selection**2)
        kind = "tie" if verdict.kind != "apart" else "win" if mean < 0 else "loss"
        return mean / middle, se / middle, kind
    return None


def random_effects(effect_K: Array, se_K: Array) -> tuple[float, float, float]:
    """Return the pooled mean, its variance and τ."""

    def weighted(tau2: float) -> tuple[float, float, Array]:
        weight_K = 1 / (se_K**2 + tau2)
        mean = float(weight_K @ effect_K / weight_K.sum())
        return mean, float(weight_K @ (effect_K - mean) ** 2), weight_K

    count = len(effect_K)
    largest = float(np.var(effect_K)) * count + float((se_K**2).max())
    tau2 = 0.0
    if weighted(0.0)[1] > count - 1:
        tau2 = float(optimize.brentq(lambda x: weighted(x)[1] - (count - 1), 0.0, largest + 1e-12))
    mean, residual, weight_K = weighted(tau2)
    return mean, max(1.0, residual / (count - 1)) / float(weight_K.sum()), math.sqrt(tau2)


def to_frame(pooled: Sequence[PooledVerdict]) -> pd.DataFrame:
    """Return one row per pair; differences are relative."""
    return pd.DataFrame(
        [
            {
                "a": entry.verdict.a, "b": entry.verdict.b, "kind": entry.verdict.kind, "tasks": entry.verdict.n,
                "relative_difference": entry.verdict.mean, "low": entry.verdict.low, "high": entry.verdict.high,
                "p_value": entry.verdict.p_value, "spread_between_tasks": entry.spread, "wins": entry.wins,
                "ties": entry.ties, "losses": entry.losses,
            }
            for entry in pooled
        ],
        columns=["a", "b", "kind", "tasks", "relative_difference", "low", "high", "p_value", "spread_between_tasks",
                 "wins", "ties", "losses"],
    )  # fmt: skip
