"""The leaderboard: one row per optimizer, with the errors of its selected trial."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from adamcmp.analysis.held_out import LOST, candidate_runs, held_out_rows
from adamcmp.analysis.selection import (
    BASELINE,
    METRICS,
    TRIAL_KEY,
    best_trials,
    seed_means,
    trials_table,
    tuning_runs,
)
from adamcmp.analysis.selection_uncertainty import Selection, runner_ups, selections
from adamcmp.metrics.spec import task_metrics


def leaderboard(records: pd.DataFrame, table: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one row per optimizer, the one with the best mean validation error first.

    Columns: optimizer, lr, weight_decay and decay (its convention) of the selected trial, ``METRICS`` with their half
    widths over the ``n`` held-out seeds (``held_out_runs``, or without them over the tuning seeds), ``trials`` (of
    the optimizer), ``runs``, ``diverged`` and ``failed`` in tuning, ``edge`` (``grid_boundaries``), ``note``, the
    reason why no trial is eligible (numbers are NaN then), or a warning. ``stage`` says which runs ``n`` counts:
    ``confirm`` or ``tune``; next to held-out numbers are ``tuned_n``, ``tuned_validation_error`` and
    ``tuned_test_error`` of the runs that chose, and ``optimism``, the tuned minus the confirmed validation error.
    ``wins`` is on which share of redrawn tuning seeds the trial is selected (NaN with one seed or one trial);
    ``near_ties`` other trials win on a twentieth or more, the first of them with ``next_lr``, ``next_weight_decay``
    on ``next_wins``.

    Args:
        records: of one task.
        table: ``trials_table(records)``, if it is known.

    Raises:
        ValueError: records of more than one task.
    """
    table = trials_table(records) if table is None else table
    best = best_trials(table)
    arms = table.groupby("arm").agg(
        trials=("arm", "size"),
        runs=("runs", "sum"),
        completed=("n", "sum"),
        diverged=("diverged", "sum"),
        failed=("failed", "sum"),
    )
    measures = [name for m in METRICS for name in (m, f"{m}_half_width")]
    choices = selections(records, table)
    confirmed = held_out_rows(candidate_runs(records, table, choices))
    shown_of = _reported(records, best, confirmed)
    board = arms.join(best.set_index("arm")[["lr", "weight_decay", "edge"]]).join(
        seed_means(shown_of, ["arm"])[measures]
    )
    board["n"] = shown_of.groupby("arm").size()
    board = board.join(_tuned(table, best, confirmed, shown_of))
    board["decay"] = table.groupby("arm")["decay"].first()
    for column in BASELINE:
        board[column] = records[column].max()  # one number a task; older runs lack it
    board["edge"] = board["edge"].fillna("")
    board["n"] = board["n"].fillna(0).astype("int64")
    board["note"] = _notes(board, _lost(confirmed))
    board = board.join(_ties(choices))
    criteria = ("loss", "error_metric", "error_unit", "error_better")
    for column in criteria:
        board[column] = table[column].iloc[0]
    sign = task_metrics(table).error.sign
    board = board.reset_index().assign(order=lambda table: table["final_validation_error"] * sign)
    board = board.sort_values(["order", "arm"], ignore_index=True)
    test_columns = [
        "arm",
        "lr",
        "weight_decay",
        "decay",
        *measures,
        "n",
        "trials",
        "runs",
        "diverged",
        "failed",
        "edge",
        "note",
        *TUNED_COLUMNS,
        *TIE_COLUMNS,
        *BASELINE,
        *criteria,
    ]
    return board[test_columns]


TUNED_COLUMNS = (
    "stage",
    "tuned_n",
    "tuned_validation_error",
    "tuned_validation_error_half_width",
    "tuned_test_error",
    "tuned_test_error_half_width",
    "optimism",
)
"""Columns of a leaderboard on tuning."""


TIE_COLUMNS = ("wins", "near_ties", "next_lr", "next_weight_decay", "next_wins")
"""Columns of a leaderboard on the stability of the selection."""


def _reported(records: pd.DataFrame, best: pd.DataFrame, confirmed: pd.DataFrame) -> pd.DataFrame:
    """Return the held-out rows, and of optimizers without held-out runs the tuning runs of their selected trial.

    An optimizer without any completed run has no numbers.
    """
    completed = confirmed.loc[confirmed["lost"] == "", "arm"]
    confirmed = confirmed[confirmed["arm"].isin([*best["arm"], *completed])]
    rest = best[~best["arm"].isin(confirmed["arm"])]
    tuned = tuning_runs(records)
    tuned_only = tuned[tuned["status"] == "completed"].merge(rest[TRIAL_KEY], on=TRIAL_KEY)
    return (
        pd.concat([confirmed, tuned_only.assign(lost="")[confirmed.columns]], ignore_index=True)
        if len(tuned_only)
        else confirmed
    )


def _ties(choices: Mapping[str, Selection]) -> pd.DataFrame:
    """Return ``TIE_COLUMNS`` of each optimizer whose trial was selected by two seeds or more."""
    rows = {}
    for arm, choice in choices.items():
        if 2 <= choice.seeds < float("inf"):
            near = runner_ups(choice)
            (lr, weight_decay), share = near[0] if near else ((None, None), None)
            rows[arm] = (float(choice.win_share_C[choice.place]), len(near), lr, weight_decay, share)
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(TIE_COLUMNS), dtype=float)


def _tuned(table: pd.DataFrame, best: pd.DataFrame, rows: pd.DataFrame, shown: pd.DataFrame) -> pd.DataFrame:
    """Return ``TUNED_COLUMNS`` of each optimizer with a selected trial."""
    chosen = best.set_index("arm")
    tuned = pd.DataFrame(index=chosen.index)
    chosen_among = table["arm"].duplicated().any()
    fresh = set(rows.loc[rows["stage"] == "confirm", "arm"]) if "stage" in rows else set()
    tuned["stage"] = ["confirm" if chosen_among and arm in fresh else "tune" for arm in chosen.index]
    confirmed = tuned["stage"] == "confirm"
    tuned["tuned_n"] = chosen["n"].where(confirmed)
    for name in ("validation_error", "test_error"):
        for column in (name, f"{name}_half_width"):
            tuned[f"tuned_{column}"] = chosen[f"final_{column}"].where(confirmed)
    means = shown.groupby("arm")["final_validation_error"].mean()
    tuned["optimism"] = tuned["tuned_validation_error"] - means
    return tuned


def _lost(confirmed: pd.DataFrame) -> dict[str, str]:
    """Return, by optimizer, on how many held-out seeds runs diverged or failed."""
    notes = {}
    for arm, rows in confirmed.groupby("arm"):
        counts = {status: int((rows["lost"] == status).sum()) for status in LOST}
        lost = " and ".join(f"{status} on {count}" for status, count in counts.items() if count)
        if lost:
            notes[str(arm)] = f"{lost} of {len(rows)} held-out seeds, which count as the baseline or worse"
    return notes


def _notes(board: pd.DataFrame, lost: Mapping[str, str]) -> pd.Series[str]:
    counts = board["diverged"].astype(str) + " diverged, " + board["failed"].astype(str) + " failed"
    none, partial = "no completed run: " + counts, "no trial completed on every seed: " + counts
    partial = partial.mask(board["diverged"] + board["failed"] == 0, "no trial has all its runs and validation numbers")
    note = pd.Series([lost.get(str(arm), "") for arm in board.index], board.index)
    mixed = bool((board["stage"] == "confirm").any())
    note = note.mask(
        (board["stage"] == "tune") & (board["trials"] > 1) & mixed, "not confirmed: the runs that chose the cell"
    )
    note = note.mask(board["n"] == 1, "one seed: no interval")
    return note.mask(board["n"] == 0, partial).mask(board["completed"] == 0, none)
