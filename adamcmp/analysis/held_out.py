r"""Held-out errors: one row per optimizer and held-out seed, for the optimizer as it was tuned.

Every candidate trial c of an optimizer (``selection_uncertainty.candidate_indices``) is trained on the same held-out
seeds. A row holds, for every metric, the average over the candidates, weighted by their win shares. With one trial per
optimizer nothing was selected; then the runs themselves are held-out runs, with weight 1.

A run that diverged or failed, or whose test error is not finite, counts with the error of the best constant prediction
(``baseline_test_error``; of shares without a stored one, all predictions wrong), or with the worst error of a completed
held-out run, whichever is worse: losing a run never makes an optimizer better. Its other metrics are missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from adamcmp.analysis.intervals import Array
from adamcmp.analysis.selection import METRICS, TRIAL_KEY, best_trials, trials_table, tuning_runs
from adamcmp.analysis.selection_uncertainty import Selection, candidate_indices, selections
from adamcmp.metrics.spec import task_metrics

LOST = ("diverged", "failed")
ERRORS = {
    "final_test_error": "baseline_test_error",
    "best_test_error": "baseline_test_error",
    "final_validation_error": "baseline_validation_error",
    "best_validation_error": "baseline_validation_error",
}
"""Metrics of a lost run that have a value, and the column with it."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out errors of one optimizer."""

    arm: str
    seeds: tuple[int, ...]
    """S held-out seeds."""
    error_S: Array
    """Test error per seed, averaged over the candidates."""
    trial_error_C: Array | None
    """Mean test error of every trial of the selection; None: a candidate has no held-out runs."""
    lost_S: tuple[str, ...]
    """``diverged`` or ``failed`` per seed, for the candidates' worst run; empty where all completed."""
    examples_SN: Array | None = None
    """Per-example errors whose mean is the error, averaged over the candidates; None: not stored."""
    stage: str = "confirm"
    """Stage of the runs. ``tune``: each optimizer has one trial, so that tuning seeds serve as held-out seeds."""

    def take(self, seeds: tuple[int, ...]) -> HeldOut:
        """Return the same on some of its seeds."""
        index = [self.seeds.index(seed) for seed in seeds]
        examples = None if self.examples_SN is None else self.examples_SN[index]
        lost_S = tuple(self.lost_S[i] for i in index)
        return replace(self, seeds=seeds, error_S=self.error_S[index], lost_S=lost_S, examples_SN=examples)

    def on_examples(self, count: int) -> HeldOut:
        """Return the same with per-example errors where every run is lost: all examples have the error of the run."""
        if self.examples_SN is not None or self.lost < len(self.seeds):
            return self
        return replace(self, examples_SN=np.tile(self.error_S[:, None], count))

    @property
    def lost(self) -> int:
        """Seeds without a completed run of every candidate."""
        return sum(bool(status) for status in self.lost_S)


def candidate_runs(
    records: pd.DataFrame, table: pd.DataFrame, choices: Mapping[str, Selection], stage: str = "confirm"
) -> pd.DataFrame:
    """Return the held-out runs of every candidate that has all held-out seeds of the selected trial.

    Columns of ``records``, with ``weight`` (win share of the trial among those returned), ``lost`` and, for lost runs,
    the errors they count with.

    Args:
        records: runs of one task, all stages.
        table: ``trials_table(records)``.
        choices: ``selections(records)``.
        stage: ``confirm`` for held-out runs, ``settle`` for those that ``adamcmp settle`` adds.
    """
    tuned = tuning_runs(records)
    nothing_selected = not tuned.drop_duplicates(TRIAL_KEY)["arm"].duplicated().any()
    if nothing_selected and stage == "confirm":
        runs = tuned
    else:
        runs = records[(records["stage"] == stage) & ~records["seed"].isin(tuned["seed"])]
        if stage == "confirm":
            sizes = tuned.drop_duplicates(TRIAL_KEY)["arm"].value_counts()
            single = set(sizes.index[sizes == 1]) - set(runs["arm"])
            runs = pd.concat([runs, tuned[tuned["arm"].isin(single)]], ignore_index=True)
    runs = runs[runs["status"].isin(["completed", *LOST])]
    weights = _weights(runs, table, choices)
    if not weights:
        return runs.head(0).assign(weight=pd.Series(dtype=float), lost=pd.Series(dtype=object))
    runs = runs.merge(pd.DataFrame(weights, columns=[*TRIAL_KEY, "weight"]), on=TRIAL_KEY)
    complete = runs.groupby(["arm", "seed"])["weight"].transform("sum") > 1 - 1e-9
    runs = runs[complete].reset_index(drop=True)  # a candidate may have more seeds than the selected trial
    return _with_lost(runs, records)


def _weights(runs: pd.DataFrame, table: pd.DataFrame, choices: Mapping[str, Selection]) -> list[tuple[Any, ...]]:
    """Return optimizer, lr, weight_decay and weight of the candidates with all seeds of the selected trial."""
    seeds = {key: set(part) for key, part in runs.groupby(TRIAL_KEY)["seed"]}
    selected = best_trials(table)
    rows: list[tuple[Any, ...]] = []
    for arm, lr, decay in selected[TRIAL_KEY].itertuples(index=False):
        needed = seeds.get((arm, lr, decay))
        if not needed:
            continue
        choice = choices[str(arm)]
        weights = [
            ((arm, *choice.places[i]), choice.win_share_C[i])
            for i in candidate_indices(choice)
            if needed <= seeds.get((arm, *choice.places[i]), set())
        ]
        total = sum(share for _, share in weights)
        rows += [(*place, share / total) for place, share in weights]
    arms_with_rows = {row[0] for row in rows} | set(selected["arm"])
    sizes = table["arm"].value_counts()
    for arm, lr, decay in table.loc[table["arm"].map(sizes) == 1, TRIAL_KEY].itertuples(index=False):
        if arm not in arms_with_rows and (arm, lr, decay) in seeds:  # its only trial never completed
            rows.append((arm, lr, decay, 1.0))
    return rows


def _with_lost(runs: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Mark lost runs, and give them the errors that they count with."""
    error = task_metrics(records).error
    finite = np.isfinite(runs["final_test_error"].to_numpy(float))
    lost = (runs["status"] != "completed") | ~finite
    runs = runs.assign(lost=np.where(runs["status"] == "failed", "failed", np.where(lost, "diverged", "")))
    if not lost.any():
        return runs
    runs.loc[lost, list(METRICS)] = math.nan
    for metric, column in ERRORS.items():
        errors = runs[metric].to_numpy(float)
        errors = errors[np.isfinite(errors)]
        options = [baseline(records, column), *errors]
        if math.isnan(options[0]) and error.unit == "%":
            options[0] = 0.0 if error.higher_is_better else 1.0
        values = error.sign * np.array(options)
        runs.loc[lost, metric] = math.nan if np.isnan(values).all() else error.sign * float(np.nanmax(values))
    return runs


def baseline(records: pd.DataFrame, column: str = "baseline_test_error") -> float:
    """Return the error of the best constant prediction; NaN where no run has stored it."""
    baselines = records[column].dropna() if column in records else pd.Series(dtype=float)
    return float(baselines.iloc[0]) if len(baselines) else math.nan


def held_out_rows(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per optimizer and held-out seed, metrics averaged over the candidates.

    Args:
        runs: ``candidate_runs``.

    Returns:
        Columns ``arm``, ``seed``, ``stage``, ``lost`` (``diverged``, ``failed`` or empty), ``seconds`` (mean per run)
        and all metrics; a metric that one candidate lacks is missing.
    """
    names = [*METRICS]
    values = runs[names].to_numpy(float)
    summed = pd.DataFrame(values * runs[["weight"]].to_numpy(float), columns=names)
    keys = [runs["arm"].to_numpy(), runs["seed"].to_numpy()]
    groups = summed.groupby(keys, sort=True)
    averages = groups.sum().mask(groups.count() < groups.size().to_numpy()[:, None])
    averages.index.names = ["arm", "seed"]
    rest = runs.groupby(["arm", "seed"]).agg(
        stage=("stage", "first"), lost=("lost", "max"), seconds=("seconds", "mean")
    )
    return rest.join(averages).reset_index()


def held_out_rows_of(records: pd.DataFrame, table: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return ``held_out_rows`` of the candidates that the tuning runs of one task select.

    Args:
        records: runs of one task, all stages.
        table: ``trials_table(records)``, if it is known.
    """
    table = trials_table(records) if table is None else table
    return held_out_rows(candidate_runs(records, table, selections(records, table)))


def held_out(
    runs: pd.DataFrame,
    choices: Mapping[str, Selection],
    outcomes: Mapping[str, Array],
    *,
    is_root: bool = False,
) -> dict[str, HeldOut]:
    """Return the held-out errors of every optimizer.

    Args:
        runs: ``candidate_runs``.
        choices: ``selections(records)``.
        outcomes: per-example errors of a run by its ID, (N,), as ``records.read_outcomes`` returns them.
        is_root: the error is the root of the mean over examples.
    """
    result = {}
    for arm, arm_runs in runs.groupby("arm"):
        seeds = tuple(sorted(set(map(int, arm_runs["seed"]))))
        by_trial = arm_runs.groupby(TRIAL_KEY[1:], sort=False)
        choice = choices.get(str(arm))
        error_S, examples_SN = np.zeros(len(seeds)), np.zeros((len(seeds), 1))
        is_stored, means = True, {}
        for place, part in by_trial:
            ordered = part.sort_values("seed")
            errors, weight = ordered["final_test_error"].to_numpy(float), float(ordered["weight"].iloc[0])
            error_S = error_S + weight * errors
            means[place] = float(errors.mean())
            stacked = _pseudo_values(ordered, errors, outcomes, is_root=is_root) if is_stored else None
            is_stored = stacked is not None and (examples_SN.shape[1] in (1, stacked.shape[1]) or stacked.shape[1] == 1)
            if is_stored and stacked is not None:
                examples_SN = examples_SN + weight * stacked
        lost_S = tuple(arm_runs.groupby("seed")["lost"].max())  # by seed
        result[str(arm)] = HeldOut(
            str(arm), seeds, error_S, _trial_errors(choice, means),
            lost_S,
            examples_SN if is_stored and examples_SN.shape[1] > 1 else None, str(arm_runs["stage"].iloc[0]),
        )  # fmt: skip
    return result


def held_out_of(
    records: pd.DataFrame,
    outcomes: Mapping[str, Array] | None = None,
    table: pd.DataFrame | None = None,
    stage: str = "confirm",
) -> tuple[dict[str, HeldOut], dict[str, Selection]]:
    """Return the held-out errors of every optimizer of one task, and the selections of their candidates.

    Args:
        records: runs of one task, all stages.
        outcomes: per-example errors of a run by its ID; None: none are stored.
        table: ``trials_table(records)``, if it is known.
        stage: as ``candidate_runs`` has it.
    """
    table = trials_table(records) if table is None else table
    choices = selections(records, table)
    runs = candidate_runs(records, table, choices, stage)
    return held_out(runs, choices, outcomes or {}, is_root=task_metrics(records).error.is_root), choices


def _trial_errors(choice: Selection | None, means: Mapping[Any, float]) -> Array | None:
    """Return the error of every trial of an optimizer."""
    if choice is None:
        return np.array(list(means.values()))
    indices = {place: index for index, place in enumerate(choice.places)}
    return choice.trial_errors({indices[place]: mean for place, mean in means.items() if place in indices})


def _pseudo_values(runs: pd.DataFrame, error_S: Array, outcomes: Mapping[str, Array], *, is_root: bool) -> Array | None:
    """Return per-example values whose mean is the error of each run (S, N); None where they are not stored.

    Of a root, √m, they are √m + (q − m)/(2 √m) for per-example squares q with mean m (the delta method). A lost run has
    the same value for every example.
    """
    examples = [None if lost else outcomes.get(run) for run, lost in zip(runs["run_id"], runs["lost"], strict=True)]
    sizes = {len(values) for values in examples if values is not None}
    if any(values is not None and not np.isfinite(values).all() for values in examples):
        return None
    if len(sizes) > 1 or any(values is None and not lost for values, lost in zip(examples, runs["lost"], strict=True)):
        return None
    rows = []
    for error, values in zip(error_S, examples, strict=True):
        if values is None:
            rows.append(np.full(next(iter(sizes), 1), error))
            continue
        mean = values.mean()
        values = math.sqrt(mean) + (values - mean) / (2 * math.sqrt(mean)) if is_root and mean > 0 else values
        rows.append(values + (error - values.mean()))
    return np.stack(rows)
