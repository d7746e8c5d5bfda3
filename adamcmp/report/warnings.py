"""Warnings of a report: each names a problem of the evidence, and the setting that helps, most severe first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from adamcmp.analysis import TRIAL_KEY, Verdict, task_metrics, tuning_runs
from adamcmp.analysis.selection import is_foreign, is_imported
from adamcmp.analysis.selection_uncertainty import MIN_WIN_SHARE
from adamcmp.figures.axis_labels import format_tick

MIN_TUNING_SEEDS = 5
"""Tuning seeds that are proposed if no interval can be computed."""
MIN_STABILITY = 0.5
"""Share of bootstrap resamples below which a selection counts as unstable."""
EXTEND = "study.extend=5"
"""The setting that widens a grid while its best trial is at the boundary."""


EXAMPLES_FIX = {
    "imported": "Only results with an error per test example show this noise",
    "script": "Write one error per test example to {folder}/test_errors.npy",
    "function": "Call trial.report_examples with one error per test example",
}
"""How runs get errors per test example, by their engine."""


class ReportWarning(NamedTuple):
    """One warning."""

    about: str
    """Optimizers that the text starts with; empty: all."""
    problem: str
    fix: str

    @property
    def text(self) -> str:
        """One or two sentences."""
        start = f"{self.about}: {self.problem}" if self.about else self.problem[:1].upper() + self.problem[1:]
        return f"{start}. {self.fix}." if self.fix else f"{start}."


def collect_warnings(
    board: pd.DataFrame, table: pd.DataFrame, records: pd.DataFrame, verdicts: Sequence[Verdict]
) -> list[ReportWarning]:
    """Return the warnings on one task.

    Args:
        board: ``analysis.leaderboard``.
        table: ``analysis.trials_table``.
        records: runs of the task, all stages.
        verdicts: on its pairs.
    """
    warnings = [
        *_no_test_metric(records),
        *(_impossible_shares(records) if is_foreign(records) else []),
        *_lost_runs(board, table, is_own=not is_foreign(records)),
        *_missing_evaluation(board, verdicts),
        *_boundaries(board),
        *_unstable(board),
        *_unequal(board, records),
        *_examples(verdicts, records),
    ]
    return [warning._replace(fix="") for warning in warnings] if is_imported(records) else warnings


def _impossible_shares(records: pd.DataFrame) -> list[ReportWarning]:
    """Return a warning if values that are taken for shares are above 100 %."""
    errors = records.filter(regex=r"^final_(validation|test)_error$")
    if set(records["error_unit"].dropna()) != {"1"} or not (errors > 1.0).any(axis=None):
        return []
    problem = "some values of the metric are above 100 %, so that some runs report another unit, or it is no share"
    return [ReportWarning("", problem, "Let all runs report one unit, or give metrics.unit=percent or none")]


def _no_test_metric(records: pd.DataFrame) -> list[ReportWarning]:
    """Return a warning if optimizers are compared on the data that select their trials."""
    shared = set(records["compared_on"]) if "compared_on" in records else set()
    if "test" in shared:
        tuned = tuning_runs(records).drop_duplicates(TRIAL_KEY)["arm"].duplicated().any()
        problem = "no validation metric: trials are selected by the test metric, so that results are optimistic"
        return [ReportWarning("", problem, "Report a validation metric")] if tuned else []
    if "validation" not in shared:
        return []
    problem = "no test metric is reported, so that verdicts and test columns are on the validation metric"
    if "{split_seed}" in str(records["settings"].iloc[-1]):
        return [ReportWarning("", f"{problem}; every seed has a data split of its own", "")]
    problem += ". Selection and comparison share these data, so that results are optimistic"
    fix = "Report a test metric, or give each seed a data split of its own ({split_seed})"
    return [ReportWarning("", problem, fix)]


def _lost_runs(board: pd.DataFrame, table: pd.DataFrame, *, is_own: bool) -> list[ReportWarning]:
    """Return warnings on runs that diverged or failed; ``is_own``: adamcmp trained them."""
    warnings = []
    if failed := int(table["failed"].sum()):
        warnings.append(
            ReportWarning(
                "",
                f"{failed:,} tuning run{'s' if failed > 1 else ''} failed",
                "Run the same sweep again: it trains missing runs",
            )
        )
    notes = board[board["note"] != ""].groupby("note", sort=False)["arm"].agg(", ".join)
    warnings += [ReportWarning(arms, *_note_warning(str(note), is_own=is_own)) for note, arms in notes.items()]
    is_whole = (table["diverged"] == 0) & (table["failed"] == 0) & (table["n"] == table["runs"])  # not pruned
    missing = int((~table["eligible"] & is_whole).sum())
    if missing:
        trials = "1 trial has" if missing == 1 else f"{missing:,} trials have"
        were = "was" if missing == 1 else "were"
        problem = f"{trials} fewer seeds than the others of the optimizer and {were} not considered"
        warnings.append(ReportWarning("", problem, "Run the same sweep again: it trains missing runs"))
    return warnings


def _note_warning(note: str, *, is_own: bool) -> tuple[str, str]:
    """Return the problem and the fix of a leaderboard's note."""
    if "held-out seeds" in note and note.startswith("failed"):
        return note, "Correct the cause, and run the same sweep again: it trains failed runs"
    if "held-out seeds" in note:
        how = " (train.clip_norm=1)" if is_own else ""
        return note, f"Lower the learning rate or clip gradients{how}"
    if note.startswith("no ") and ": 0 diverged" in note:
        return note, "Correct the cause, and run the same sweep again: it trains failed runs"
    if note.startswith("no "):
        return note, "Search smaller learning rates"
    if note.startswith("one seed"):
        return "one seed, so that no interval can be computed", f"Use study.seeds={MIN_TUNING_SEEDS}"
    return note, ""


def _missing_evaluation(board: pd.DataFrame, verdicts: Sequence[Verdict]) -> list[ReportWarning]:
    warnings = []
    if (board["trials"] == 1).all():
        problem = "every optimizer has one trial: learning rate and weight decay are not tuned"
        warnings.append(ReportWarning("", problem, "Sweep values: 'optimizer.lr=geomspace(1e-4,1e-1,7)'"))
    if (board["stage"] == "tune").all() and (board["trials"] > 1).any():
        error = task_metrics(board).error
        too = f"their {error.label} is too high" if error.higher_is_better else "their errors are too low"
        problem = f"no held-out runs: these are the tuning runs that selected the trials, and {too}"
        warnings.append(ReportWarning("", problem, "Use study.confirm.seeds=8"))
    if any(verdict.limit == "one tuning seed" for verdict in verdicts):
        problem = "the selection error cannot be estimated from 1 tuning seed, so that no pair can be decided"
        warnings.append(ReportWarning("", problem, f"Use study.seeds={MIN_TUNING_SEEDS}"))
    return warnings


def _boundaries(board: pd.DataFrame) -> list[ReportWarning]:
    rows = board[board["edge"] != ""].groupby("edge", sort=False)["arm"].agg(", ".join)
    return [
        ReportWarning(arms, f"the best trial is at the boundary of the grid ({side})", f"Extend the grid: {EXTEND}")
        for side, arms in rows.items()
    ]


def selection_stability(row: Mapping[Any, Any]) -> str:
    """Return how stable the selection of an optimizer's trial is: ``stable``, ``69 %`` or ``44 % !``."""
    if row["wins"] != row["wins"]:
        return "–"
    if not row["near_ties"] > 0:
        return "stable"
    return f"{row['wins']:.0%}".replace("%", " %") + (" !" if row["wins"] < MIN_STABILITY else "")


def _unstable(board: pd.DataFrame) -> list[ReportWarning]:
    warnings = []
    for row in board[(board["near_ties"] > 0) & (board["wins"] < MIN_STABILITY)].to_dict("records"):
        more = int(row["near_ties"]) - 1
        others_text = f", {more} more above {MIN_WIN_SHARE:.0%}".replace("%", " %") if more else ""
        problem = (
            f"the selected trial won in only {100 * row['wins']:.0f} % of bootstrap resamples of the tuning seeds "
            f"(runner-up: lr {format_tick(row['next_lr'], 3)}, λ {format_tick(row['next_weight_decay'], 3)}, "
            f"{100 * row['next_wins']:.0f} %{others_text})"
        )
        warnings.append(ReportWarning(row["arm"], problem, "Add tuning seeds: study.seeds=10"))
    return warnings


def _unequal(board: pd.DataFrame, records: pd.DataFrame) -> list[ReportWarning]:
    warnings = []
    if board["trials"].nunique() > 1:
        counts = ", ".join(f"{arm} {trials:,}" for arm, trials in zip(board["arm"], board["trials"], strict=True))
        problem = f"different numbers of trials ({counts})"
        warnings.append(ReportWarning("", problem, "Verdicts compare optimizers at the smaller tuning budget"))
    variants = records.groupby("optimizer")["arm"].nunique()
    if variants.nunique() > 1:
        counts = ", ".join(f"{name} {count}" for name, count in variants.items())
        problem = f"different numbers of variants per optimizer ({counts}), which favors those with more"
        warnings.append(ReportWarning("", problem, "Compare equal numbers of variants"))
    return warnings


def _examples(verdicts: Sequence[Verdict], records: pd.DataFrame) -> list[ReportWarning]:
    example_counts = {verdict.examples for verdict in verdicts if verdict.kind != "none"}
    engine = str(records["engine"].iloc[-1]) if len(records) else ""
    fix = EXAMPLES_FIX.get(engine, "Train these runs again to store per-example errors")
    if "ignored" in example_counts:
        return [ReportWarning("", "test examples are not counted: these runs store no per-example errors", fix)]
    if "bounded" in example_counts:
        problem = "these runs store no per-example errors, so that intervals are wider than necessary"
        return [ReportWarning("", problem, fix)]
    return []
