"""Adam with L2 against AdamW at one lr, many λ and a long budget (Figure 3 of the paper)."""

from __future__ import annotations

import math

import pandas as pd

from adamcmp.analysis import TRIAL_KEY, TaskRecords, split_by_task, task_metrics, trials_table
from adamcmp.analysis.claim import BELOW_RANGE, Claim, scale_by
from adamcmp.analysis.curves import mean_curves
from adamcmp.analysis.decay_gain import difference_at_equal_loss
from adamcmp.analysis.held_out import held_out_rows_of
from adamcmp.analysis.selection import best_trials, tuning_runs
from adamcmp.report.findings import StudyFindings, StudyTable
from adamcmp.report.report_input import ReportInput
from adamcmp.studies.paper_claims import (
    ADAM,
    ADAMW,
    PAPER,
    claim_adamw_against_adam,
    claim_decay_gain,
    find_arm,
    margin_of,
    over_completed,
)

STUDY = "figure3"
SOURCE = f"{PAPER}, Figure 3"
CAPTION = (
    "Training loss and test {error} of every λ at one learning rate, means over tuning seeds. Bold: the best λ by "
    "validation. Darker: larger λ; dotted: no decay."
)


def findings(report: ReportInput) -> StudyFindings:
    """Return for each task whether AdamW generalizes better, fits better, and generalizes better at equal training
    loss.
    """
    claims, exhibits = [], []
    for task in split_by_task(report.records):
        adamw, adam = find_arm(task, ADAMW), find_arm(task, ADAM)
        claims += claim_adamw_against_adam(report, task, SOURCE)
        if adamw is not None and adam is not None:
            claims += _fits_better(task, adamw, adam) + _at_equal_loss(task, adamw, adam)
        nothing = "Adam's best L2 penalty is hardly better than none"
        claims += claim_decay_gain(task, adam, nothing, SOURCE, margin_of(report, task))
        exhibits.append(StudyTable("decay_curves", curves_of_all(task, report.curves), CAPTION, task.task))
    return StudyFindings(claims, exhibits=exhibits)


def _fits_better(task: TaskRecords, adamw: str, adam: str) -> list[Claim]:
    criteria = task_metrics(task.records)
    rows = held_out_rows_of(task.records)
    losses = [rows[rows["arm"] == arm].set_index("seed")["final_train_loss"] for arm in (adamw, adam)]
    estimate, lost = over_completed((losses[0] - losses[1]).dropna(), rows, (adamw, adam))
    if math.isnan(estimate.value):
        return []
    statement = "AdamW's best λ ends with a lower training loss than Adam's"
    measured = f"final training loss of {adamw} minus that of {adam}{lost}"
    return [
        Claim(statement, SOURCE, measured, estimate, BELOW_RANGE, task.task, task.label, criteria.loss_unit, "+.4f")
    ]


def _at_equal_loss(task: TaskRecords, adamw: str, adam: str) -> list[Claim]:
    error = task_metrics(task.records).error
    estimate = scale_by(difference_at_equal_loss(task.records, adamw, adam), error.factor)
    if math.isnan(estimate.value):
        return []
    statement = "AdamW generalizes better than Adam with L2 at the same training loss"
    measured = f"test {error.label} of {adamw} minus that of {adam}, mean over the training losses that both reach"
    return [Claim(statement, SOURCE, measured, estimate, BELOW_RANGE, task.task, task.label, error.gap_unit)]


def curves_of_all(task: TaskRecords, curves: pd.DataFrame) -> pd.DataFrame:
    """Return mean curves of every trial: ``find_arm``, ``lr``, ``weight_decay``, ``best`` (it is the optimizer's), then
    the curve.
    """
    table = trials_table(task.records)
    best = best_trials(table)
    tuned = task.records[task.records["run_id"].isin(tuning_runs(task.records)["run_id"])]
    parts = []
    for _, cell in table[table["n"] > 0].iterrows():  # some twenty trials
        trial_runs = tuned.merge(cell[TRIAL_KEY].to_frame().T.infer_objects(), on=TRIAL_KEY)
        mean = mean_curves(curves, trial_runs, cell.to_frame().T.infer_objects())
        is_best = bool((best.set_index(TRIAL_KEY).index == tuple(cell[TRIAL_KEY])).any())
        parts.append(mean.assign(best=is_best))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
