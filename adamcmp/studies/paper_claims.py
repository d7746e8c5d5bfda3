"""Claims that several studies make: which optimizer is meant, what its verdicts, gains and basins say of a
statement.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

import pandas as pd

from adamcmp.analysis import TaskRecords, task_metrics
from adamcmp.analysis.basin import estimate_basins
from adamcmp.analysis.claim import BELOW_RANGE, Claim, absolute, mean_with_ci, scale_by, subtract
from adamcmp.analysis.decay_gain import decay_gain
from adamcmp.analysis.held_out import held_out_rows_of
from adamcmp.analysis.intervals import Estimate
from adamcmp.analysis.verdicts import DEFAULT_MARGIN
from adamcmp.report.report_input import ReportInput

PAPER = "Loshchilov & Hutter 2019"
ADAM, SGD = ("adam",), ("sgd", "sgd_paper")
ADAMW = ("adamw", "adamw_paper", "adamw_normalized", "adamw_keras")
SGDW = ("sgdw", "sgdw_paper", "sgdw_normalized")
"""Configurations of one optimizer, whatever its decay's convention."""


def find_arm(task: TaskRecords, optimizers: Collection[str], schedule: str | None = None) -> str | None:
    """Return the one optimizer of a task that has one of these optimizers, and the schedule; None where there is not
    one.
    """
    rows = task.records[task.records["optimizer"].isin(optimizers)]
    rows = rows if schedule is None else rows[rows["schedule"] == schedule]
    arms = rows["arm"].unique()
    return str(arms[0]) if len(arms) == 1 else None


def test_error_difference(report: ReportInput, task: TaskRecords, a: str, b: str) -> Estimate:
    """Return the difference of final test errors a − b in their stored unit, with all sources of noise; NaN if
    unknown.
    """
    for verdict in report.verdicts(task):
        if {verdict.a, verdict.b} == {a, b}:
            estimate = (
                Estimate(verdict.mean, verdict.low, verdict.high) if verdict.has_interval else Estimate(verdict.mean)
            )
            return estimate if verdict.a == a else Estimate(-estimate.value, -estimate.high, -estimate.low)
    return Estimate(math.nan)


def held_out_errors(task: TaskRecords) -> pd.Series[float]:
    """Return the mean test error on held-out seeds by optimizer."""
    return held_out_rows_of(task.records).groupby("arm")["final_test_error"].mean()


def over_completed(differences: Iterable[float], held_out: pd.DataFrame, arms: tuple[str, str]) -> tuple[Estimate, str]:
    """Return the mean of a quantity that lost runs do not have, and in words which held-out runs were lost.

    Without the lost runs an interval would be one over survivors, so that the estimate has none then.

    Args:
        differences: one per held-out seed on which both optimizers have all runs.
        held_out: ``held_out_rows``.
        arms: the two optimizers.
    """
    estimate = mean_with_ci(differences)
    lost = []
    for arm in arms:
        status = held_out.loc[held_out["arm"] == arm, "lost"]
        if (status != "").any():
            lost.append(f"{arm} {status.max()} on {(status != '').sum()} of {len(status)} held-out seeds")
    return (Estimate(estimate.value), f" ({'; '.join(lost)})") if lost else (estimate, "")


def claim_better(
    report: ReportInput, task: TaskRecords, arms: tuple[str | None, str | None], statement: str, source: str
) -> list[Claim]:
    """Return the claim that the first of two optimizers has the better test error."""
    return _claim_on_pair(report, task, arms, statement, source, BELOW_RANGE)


def claim_no_worse(
    report: ReportInput, task: TaskRecords, arms: tuple[str | None, str | None], statement: str, source: str
) -> list[Claim]:
    """Return the claim that the first of two optimizers is better than the other, or worse by less than the margin."""
    return _claim_on_pair(report, task, arms, statement, source, (-math.inf, margin_of(report, task)))


def claim_equivalent(
    report: ReportInput, task: TaskRecords, arms: tuple[str | None, str | None], statement: str, source: str
) -> list[Claim]:
    """Return the claim that two optimizers differ by less than the margin."""
    margin = margin_of(report, task)
    return _claim_on_pair(report, task, arms, statement, source, (-margin, margin))


def _claim_on_pair(
    report: ReportInput,
    task: TaskRecords,
    arms: tuple[str | None, str | None],
    statement: str,
    source: str,
    predicted: tuple[float, float],
) -> list[Claim]:
    """Return a claim on the difference of two optimizers, ``predicted`` in the stored unit of errors, signed so that
    lower is better.

    It is shown in percent of the other's error, or in the metric's own unit if higher is better.
    """
    a, b = arms
    if a is None or b is None:
        return []
    error, estimate = task_metrics(task.records).error, test_error_difference(report, task, a, b)
    base = float(held_out_errors(task).get(b, math.nan))
    if math.isnan(estimate.value) or (not base > 0 and not error.higher_is_better):
        return []
    factor, unit, form = (error.factor, error.gap_unit, "+.3g") if error.higher_is_better else (100 / base, "%", "+.1f")
    low, high = sorted(error.sign * factor * end for end in predicted)
    measured = f"test {error.label} of {a} against {b}"
    return [
        Claim(statement, source, measured, scale_by(estimate, factor), (low, high), task.task, task.label, unit, form)
    ]


def margin_of(report: ReportInput, task: TaskRecords) -> float:
    """Return the equivalence margin in the stored unit of errors: the study's, or half a percentage point of shares;
    else none.
    """
    error = task_metrics(task.records).error
    margin = report.comparison.margin
    return margin / error.factor if margin is not None else DEFAULT_MARGIN if error.unit == "%" else 0.0


def claim_adamw_against_adam(
    report: ReportInput, task: TaskRecords, source: str, schedule: str | None = None
) -> list[Claim]:
    """Return the claim that AdamW generalizes better than Adam with L2."""
    arms = find_arm(task, ADAMW, schedule), find_arm(task, ADAM, schedule)
    with_schedule = "" if schedule is None else f" under {_SCHEDULES.get(schedule, schedule)}"
    statement = f"AdamW generalizes better than Adam with L2{with_schedule}; the paper found 15 % on images"
    return claim_better(report, task, arms, statement, source)


_SCHEDULES = {"constant": "a fixed rate", "drop_step": "drop steps", "cosine": "a cosine"}


def claim_decay_gain(
    task: TaskRecords, arm_: str | None, statement: str, source: str, within: float | None = None
) -> list[Claim]:
    """Return the claim that decay helps an optimizer; or, with a margin, that it hardly does."""
    if arm_ is None:
        return []
    error = task_metrics(task.records).error
    estimate = scale_by(decay_gain(task.records, arm_), error.factor)
    if math.isnan(estimate.value):
        return []
    predicted = BELOW_RANGE if within is None else (-within * error.factor, math.inf)
    measured = f"test {error.label} of {arm_} at its best λ minus that at λ = 0"
    return [Claim(statement, source, measured, estimate, predicted, task.task, task.label, error.gap_unit)]


def claim_separable(
    task: TaskRecords, decoupled: str | None, coupled: str | None, source: str, rule: str = "AdamW"
) -> list[Claim]:
    """Return the claim that decoupled decay makes lr and λ more separable than L2 does."""
    of = {basin.arm: basin.separability for basin in estimate_basins(task.records)}
    if decoupled is None or coupled is None or not {decoupled, coupled} <= of.keys():
        return []
    estimate = subtract(absolute(of[decoupled]), absolute(of[coupled]))
    if math.isnan(estimate.value):
        return []
    statement = f"lr and λ can be tuned more independently under {rule} than under L2"
    measured = f"absolute correlation of lr and λ in the basin, {decoupled} minus {coupled}"
    return [Claim(statement, source, measured, estimate, BELOW_RANGE, task.task, task.label)]
