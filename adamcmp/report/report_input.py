"""Input of a report, and all results of a task, computed once: every format shows the same numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from adamcmp.analysis import (
    TaskRecords,
    across_tasks,
    basin,
    best_trials,
    effect_sizes,
    extra_metric_curves,
    extra_metrics_table,
    has_tuning,
    leaderboard,
    mean_curves,
    rank_over_time,
    sensitivity,
    split_by_task,
    task_metrics,
    time_to_target_table,
    trials_table,
)
from adamcmp.analysis import claim as claimed
from adamcmp.analysis.best_of_k import expected_best_of_k
from adamcmp.analysis.intervals import Array
from adamcmp.analysis.split_blocks import SplitBlocks, compare_over_splits
from adamcmp.analysis.verdicts import Verdict, to_frame
from adamcmp.metrics.spec import TaskMetrics
from adamcmp.report import tables
from adamcmp.report.check_table import CheckFindings, is_of_program, noise_display, time_unit
from adamcmp.report.findings import StudyFindings, claims_display
from adamcmp.report.formatting import join_unique
from adamcmp.report.verdict_text import ComparisonSettings, format_verdicts
from adamcmp.text_safety import to_one_line

NAME_COLUMNS = ("study", "task_label", "arm", "optimizer", "schedule", "data", "model")
"""Columns of names that users gave."""


class ReportTable(NamedTuple):
    """A table of a report."""

    name: str
    raw: pd.DataFrame
    """Its numbers, as csv has them."""
    shown: pd.DataFrame | None = None
    """Text for readers; None for a table that only a figure needs."""


@dataclass(frozen=True)
class ReportInput:
    """Input of a report."""

    records: pd.DataFrame
    """Stored runs, columns ``schema.RECORD``; of a comparison also those of ``report.comparison.compare_sources``."""
    curves: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Their evaluations, columns ``schema.CURVE``; only ``write_report`` needs them."""
    outcomes: Mapping[str, Array] = field(default_factory=dict)
    """Per-example test errors of held-out runs, ``records.read_outcomes``."""
    comparison: ComparisonSettings = ComparisonSettings()  # noqa: RUF009  # frozen
    """Settings of comparisons."""
    study_findings: StudyFindings = StudyFindings()  # noqa: RUF009  # frozen
    """Findings of the study."""
    target_error: float | None = None
    """Validation error for the table of times to a target."""
    name: str = ""
    """Name of the study; empty: that of its runs, which other studies may have trained first."""
    width: str = "double"
    """That figures are drawn at: one column of a journal (``single``) or two."""
    check: CheckFindings | None = None
    """Findings of the check of a script or function."""
    has_plot_script: bool = False
    """Write ``plot.py``, which redraws the figures without adamcmp."""
    _verdicts: dict[str, list[Verdict]] = field(default_factory=dict, repr=False, compare=False)
    _cells: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False, compare=False)
    _boards: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Escape names, so that they are shown with all their characters; steps stand for epochs that are not known."""
        if "epoch" in self.curves and self.curves["epoch"].isna().any():
            known = self.curves["epoch"].astype(float).fillna(self.curves["step"])
            object.__setattr__(self, "curves", self.curves.assign(epoch=known))
        name_columns = {name: self.records[name] for name in NAME_COLUMNS if name in self.records}
        texts = {
            name: {value: to_one_line(value) for value in column.dropna().unique()}
            for name, column in name_columns.items()
        }
        if any(text != safe for of in texts.values() for text, safe in of.items()):
            labelled = self.records.assign(**{name: column.map(texts[name]) for name, column in name_columns.items()})
            object.__setattr__(self, "records", labelled)

    @property
    def title(self) -> str:
        """Name of the study."""
        return to_one_line(self.name) or join_unique(self.records["study"])

    def verdicts(self, task: TaskRecords) -> list[Verdict]:
        """Return the verdicts on one of its tasks; computed once."""
        if task.task not in self._verdicts:
            self._verdicts[task.task] = self.comparison.verdicts(task, self.outcomes, self.trials(task))
        return self._verdicts[task.task]

    @cached_property
    def tasks(self) -> list[TaskRecords]:
        """Its tasks, the task with the latest run first."""
        return [task for task in split_by_task(self.records) if has_tuning(task.records)]

    def trials(self, task: TaskRecords) -> pd.DataFrame:
        """Return ``analysis.trials_table`` of one of its tasks, computed once."""
        if task.task not in self._cells:
            self._cells[task.task] = trials_table(task.records)
        return self._cells[task.task]

    def board(self, task: TaskRecords) -> pd.DataFrame:
        """Return the leaderboard of one of its tasks, computed once."""
        if task.task not in self._boards:
            self._boards[task.task] = leaderboard(task.records, table=self.trials(task))
        return self._boards[task.task]

    @cached_property
    def reports(self) -> list[TaskReport]:
        """Return the reports of its tasks, the task with the latest run first; computed once."""
        if len(self.tasks) == 1:
            return [build_task_report(self.tasks[0], self, {self.tasks[0].task, None})]
        return [build_task_report(task, self, {task.task}) for task in self.tasks]

    def over_splits(self, tasks: Sequence[TaskRecords]) -> list[SplitBlocks]:
        """Return the verdicts over several splits of one data set."""
        margin = self.comparison.margin
        factor = task_metrics(self.records).error.factor
        return compare_over_splits(tasks, margin if margin is None else margin / factor, self.outcomes)

    @cached_property
    def boards(self) -> dict[str, pd.DataFrame]:
        """The leaderboard of every task, by its label."""
        return {task.label: self.board(task) for task in self.tasks}

    @cached_property
    def results(self) -> list[across_tasks.TaskResult]:
        """The errors and verdicts of every data set and model; several splits of one data set are one task."""
        blocks = self.over_splits(self.tasks)
        split = {task.task for block in blocks for task in block.tasks}
        units = [(block.label, block.tasks, block.verdicts) for block in blocks]
        units += [(task.label, [task], self.verdicts(task)) for task in self.tasks if task.task not in split]
        results = []
        for label, tasks, verdicts in units:
            error = task_metrics(tasks[0].records).error
            boards = pd.concat([self.boards[task.label] for task in tasks])
            means = boards.groupby("arm")["final_test_error"].mean().dropna()
            errors = {str(arm): 1 - mean if error.higher_is_better else mean for arm, mean in means.items()}
            results.append(across_tasks.TaskResult(label, errors, verdicts, error.sign))
        return results

    @cached_property
    def pooled(self) -> list[across_tasks.PooledVerdict]:
        """The statements on pairs over several data sets or models; none over several budgets of one."""
        kinds = [tuple(result.label.split(" · ")[:2]) for result in self.results]
        return across_tasks.pool_tasks(self.results) if len(kinds) > 1 and len(set(kinds)) == len(kinds) else []


@dataclass(frozen=True)
class TaskReport:
    """Everything that a report contains on one task."""

    study: str
    """Name of the study."""
    task: TaskRecords
    study_findings: StudyFindings
    """Findings of the study."""
    board: pd.DataFrame
    """``analysis.leaderboard``."""
    table: pd.DataFrame
    """``analysis.trials_table``."""
    verdicts: Sequence[Verdict]
    tables: Sequence[ReportTable]
    """Its tables, in the order of a report."""
    findings: Sequence[str]
    """Findings in words."""
    check: CheckFindings | None = None
    """Findings of the check of a script or function."""

    @cached_property
    def criteria(self) -> TaskMetrics:
        """Loss and primary metric of its runs."""
        return task_metrics(self.task.records)

    @property
    def shown(self) -> dict[str, pd.DataFrame]:
        """Tables for readers that have rows, by name."""
        return {table.name: table.shown for table in self.tables if table.shown is not None and len(table.raw)}

    @property
    def raw(self) -> dict[str, pd.DataFrame]:
        """The numbers of all tables, by name."""
        return {table.name: table.raw for table in self.tables}


def build_task_report(task: TaskRecords, reported: ReportInput, about: Collection[str | None]) -> TaskReport:
    """Compute the report of one task, with the findings ``about`` it."""
    records, curves, criteria = task.records, reported.curves, task_metrics(task.records)
    pronounced, study_findings = reported.verdicts(task), reported.study_findings.about(about)
    table = reported.trials(task)
    board = reported.board(task)
    best = best_trials(table)
    extra, sizes = extra_metrics_table(records, best), effect_sizes.estimate_effects(records, pronounced, table)
    basins, spans = basin.estimate_basins(records, table), sensitivity.estimate_sensitivities(records, table)
    best_of, order = expected_best_of_k(records, table), rank_over_time.ranks_over_time(curves, records, best)
    report_tables = [
        ReportTable("leaderboard", board, tables.leaderboard_display(board)),
        ReportTable("grid", table, tables.grid_display(table)),
        claims_report_table(study_findings.claims),
        ReportTable("verdicts", to_frame(pronounced), tables.verdicts_display(pronounced, criteria)),
        ReportTable("effects", effect_sizes.to_frame(sizes), tables.effects_display(sizes, criteria)),
        ReportTable("basin", basin.to_frame(basins), tables.basin_display(basins, criteria)),
        ReportTable("sensitivity", sensitivity.to_frame(spans), tables.sensitivity_display(spans, criteria)),
    ]
    if len(best_of) and best_of["k"].max() > 1:
        report_tables.append(ReportTable("best_of_k", best_of, tables.best_of_k_display(best_of, criteria)))
    if len(extra):
        report_tables.append(ReportTable("metrics", extra, tables.extra_metrics_display(extra)))
        report_tables.append(ReportTable("metrics_along", extra_metric_curves(curves, records, best)))
    check = reported.check if is_of_program(records) else None
    if check is not None and len(check.noise):
        report_tables.append(ReportTable("noise_floor", check.noise, noise_display(check.noise, criteria.error)))
    if reported.target_error is not None:
        soon = time_to_target_table(curves, records, best, reported.target_error).assign(target=reported.target_error)
        report_tables.append(ReportTable("time_to_error", soon, tables.time_display(soon)))
    report_tables += [ReportTable("learning_curves", mean_curves(curves, records, best)), ReportTable("ranks", order)]
    report_tables += study_tables(study_findings, criteria)
    report_tables = [
        table._replace(
            raw=with_metric_columns(table.raw, criteria),
            shown=None if table.shown is None else tables.with_boundaries(table.shown, board),
        )
        for table in report_tables
    ]
    if records["epochs"].isna().all():
        timed = ("learning_curves", "ranks", "metrics_along")
        report_tables = [
            table._replace(raw=table.raw.assign(time_axis=time_unit(check))) if table.name in timed else table
            for table in report_tables
        ]
    flips = rank_over_time.count_rank_flips(order)
    said = [
        *format_verdicts(task, pronounced),
        *(finding.text for finding in study_findings.findings),
        *([flips] if flips else []),
    ]
    return TaskReport(reported.title, task, study_findings, board, table, pronounced, report_tables, said, check)


def claims_report_table(claims: Sequence[claimed.Claim]) -> ReportTable:
    """Return the results of claims as a table."""
    return ReportTable("claims", claimed.to_frame(claims), claims_display(claims))


def across_tables(report: ReportInput) -> list[ReportTable]:
    """Return the tables over several tasks: pooled pairs, and the test error of every optimizer on every task."""
    if not report.pooled:
        return []
    raw = across_tasks.to_frame(report.pooled)
    by_task = (
        pd.DataFrame({label: board.set_index("arm")["final_test_error"] for label, board in report.boards.items()})
        .rename_axis("optimizer")
        .reset_index()
    )
    return [
        ReportTable("across_tasks", raw, tables.across_display(report.pooled)),
        ReportTable("optimizers_by_task", by_task, tables.by_task_display(report.boards)),
    ]


def study_tables(study_findings: StudyFindings, criteria: TaskMetrics) -> list[ReportTable]:
    """Return the tables of a study's own."""
    return [
        ReportTable(exhibit.name, with_metric_columns(exhibit.table, criteria)) for exhibit in study_findings.exhibits
    ]


def with_metric_columns(raw: pd.DataFrame, criteria: TaskMetrics) -> pd.DataFrame:
    """Return a table with columns for loss and metric, so that a figure needs nothing else."""
    error = criteria.error
    columns = {"loss": criteria.loss, "error_metric": error.name, "error_unit": error.stored_unit}
    return raw.assign(**{name: value for name, value in columns.items() if name not in raw})
