"""Turn a table of runs of another program into records, with a line for everything that is missing."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from adamcmp.errors import InputError
from adamcmp.importing.roles import Roles, last_words, option_text
from adamcmp.metrics.names import is_higher_better, metric_of
from adamcmp.plan.metric_units import unit_and_factors
from adamcmp.plan.run_ids import canonical_json, short_hash
from adamcmp.text_safety import to_one_line

MIN_SEEDS_TO_SPLIT = 4
"""Seeds of every trial from which one half selects and the other one is held out."""
STAGES = {"tune": "tune", "tuning": "tune", "confirm": "confirm", "held-out": "confirm", "held_out": "confirm"}


@dataclass(frozen=True)
class ImportOptions:
    """How results are understood."""

    study: str
    better: str = "auto"
    """``lower``, ``higher`` or ``auto``, by the metric's name."""
    unit: str = "auto"
    tuning_seeds: int | None = None
    """Seeds that select trials; the others are held out. None: half of them, where there are enough."""
    command: str = "adamcmp import"

    def __post_init__(self) -> None:
        """Refuse options without a meaning."""
        if self.better not in ("auto", "lower", "higher"):
            raise InputError(f"better={self.better}: must be lower, higher or auto")
        if not isinstance(self.unit, str):
            raise InputError(f"unit={self.unit!r}: must be share, percent, auto, or the text of a unit")
        if self.tuning_seeds is not None and self.tuning_seeds < 1:
            raise InputError(f"tuning_seeds={self.tuning_seeds}: must be at least 1")


@dataclass(frozen=True)
class ImportResult:
    """Records of imported runs."""

    records: list[dict[str, Any]]
    curves: list[dict[str, Any]]
    notes: tuple[str, ...]
    """Missing values and conclusions, each with its consequence."""
    scales: Mapping[str, str]
    """``shares of 1`` or ``percentages`` by split; empty for a metric that is neither."""


def to_records(frame: pd.DataFrame, roles: Roles, options: ImportOptions) -> ImportResult:
    """Return the records of a table.

    Args:
        frame: one row per run, or per evaluation if ``roles.step`` is set.
        roles: of its columns.
        options: how they are understood.

    Raises:
        InputError: a column has other values than its role, or rows repeat a run.
    """
    notes: list[str] = []
    table = _typed(frame, roles, notes)
    metric, higher, unit, factors = _metric(table, roles, options)
    for split, factor in factors.items():
        table[split] *= factor
    table, evaluations = _last_steps(table, roles, notes)
    _number_seeds(table, notes)
    _check_unique(table, frame, roles)
    table["stage"] = _stages(table, roles, options, notes)
    table = _single_trials(table, notes)
    table = _without_untested(table, roles, notes)
    _metric_notes(table, roles, notes)
    now = datetime.now(UTC)
    records, ids = [], {}
    for row in table.to_dict("records"):
        record = _record(row, metric, unit, options, now, higher=higher)
        records.append(record)
        ids[row["run_index"]] = record["run_id"]
    if lost := sum(record["status"] == "diverged" for record in records):
        notes.append(
            f"{lost:,} of {len(records):,} runs have no finite metric: they count as diverged, with the error of a "
            "constant prediction or worse; leave out rows whose metric is only missing"
        )
    curves = _curves(evaluations, ids, roles)
    notes.append("no errors per test example: verdicts do not count the noise of the test set")
    scales = {split: "percentages" if factor != 1.0 else "shares of 1" for split, factor in factors.items()}
    return ImportResult(records, curves, tuple(notes), scales if unit == "%" else {})


def _typed(frame: pd.DataFrame, roles: Roles, notes: list[str]) -> pd.DataFrame:
    """Return the columns by role, with numbers as numbers."""
    table = pd.DataFrame(index=frame.index)
    table["optimizer"] = frame[roles.optimizer].map(lambda value: to_one_line(str(value)).strip())
    table["task"] = "" if roles.task is None else frame[roles.task].map(lambda value: to_one_line(str(value)).strip())
    if (table["optimizer"] != frame[roles.optimizer].map(str)).any():
        notes.append(f"{roles.optimizer}: spaces around names, and line breaks in them, are removed")
    names = table.loc[frame[roles.optimizer].notna(), "optimizer"]
    spellings = names.groupby(names.str.casefold()).unique()
    notes += [
        f"{' and '.join(same)} differ in case only, and count as different optimizers"
        for same in spellings
        if len(same) > 1
    ]
    for role in ("lr", "weight_decay", "validation", "test", "train", "step", "seconds"):
        column = getattr(roles, role)
        if column is None:
            table[role] = math.nan
            continue
        table[role] = _numbers(frame[column])
        wrong = frame[column][table[role].isna() & frame[column].notna()]
        wrong = wrong[~wrong.astype(str).str.lower().isin(["nan", "inf", "-inf"])]
        if len(wrong):
            text = str(wrong.iloc[0])
            hint = "; write decimal points, such as 0.5" if re.fullmatch(r"\s*[-+]?\d+,\d+\s*%?\s*", text) else ""
            raise InputError(f"{option_text(role, column)}: {text!r} is not a number{hint}")
        if role in SPLITS and table[role].isna().all():
            raise InputError(f"--{role} {column}: holds no number")
    missing = frame[roles.optimizer].isna() | (table["optimizer"] == "")
    if missing.any():
        notes.append(f"{int(missing.sum()):,} rows without an optimizer are left out")
    missing |= _unfinished(frame, roles, notes)
    if roles.seed is not None and (unseeded := int((frame[roles.seed].isna() & ~missing).sum())):
        notes.append(f"{unseeded:,} row{'s' if unseeded > 1 else ''} without {roles.seed}: left out")
        missing |= frame[roles.seed].isna()
    if roles.lr is None:
        table["lr"] = 1.0
        notes.append("no learning rates: shown as 1; the learning rate cannot distinguish trials")
    elif not ((table["lr"] > 0) & np.isfinite(table["lr"])).all():
        bad = ~((table["lr"] > 0) & np.isfinite(table["lr"]))
        notes.append(f"{int(bad.sum()):,} rows without a positive learning rate are left out")
        missing |= bad
    if roles.weight_decay is None:
        table["weight_decay"] = 0.0
    elif undefined := int(table.loc[~missing, "weight_decay"].isna().sum()):
        notes.append(f"{undefined:,} rows without {roles.weight_decay} count with λ = 0")
    table["weight_decay"] = table["weight_decay"].fillna(0.0)
    if not np.isfinite(table["weight_decay"]).all():
        raise InputError(f"--weight-decay {roles.weight_decay}: holds a number that is not finite")
    table["step"] = table["step"].where(table["step"].abs() < MAX_STEP)
    settings: list[Any] = [
        {name: _plain(value) for name, value in zip(roles.settings, values, strict=True)}
        for values in zip(*(frame[name] for name in roles.settings), strict=True)
    ] if roles.settings else [{} for _ in range(len(frame))]  # fmt: skip
    table["settings"] = settings
    table["variant"] = [canonical_json(value) for value in table["settings"]]
    if roles.seed is not None:
        seeds = _numbers(frame[roles.seed])
        is_whole = np.isfinite(seeds) & (seeds == seeds.round()) & (seeds >= 0) & (seeds < MAX_SEED)
        if (is_whole | missing).all():
            table["seed"] = seeds.where(is_whole, 0).astype("int64")
        else:  # names of folds or repetitions
            table["seed"] = pd.factorize(frame[roles.seed].astype(str))[0]
            notes.append(f"{roles.seed}: is numbered, since it holds other values than whole numbers")
    if roles.stage is not None:
        table["stage"] = frame[roles.stage].astype(str).str.lower()
    if missing.all():
        raise InputError("no rows are left: " + ("; ".join(notes) or "the table is empty"))
    stages = None if roles.stage is None else table.loc[~missing, "stage"].map(STAGES)
    if stages is not None and stages.notna().all() and not stages.eq("tune").any():
        raise InputError(f"--stage {roles.stage}: no row is tune, so that no runs select trials")
    return table[~missing].copy()


ENDED = frozenset({"finished", "completed", "complete", "success", "succeeded", "successful", "done", "ok"})
NOT_ENDED = frozenset({
    "crashed", "failed", "fail", "error", "killed", "aborted", "canceled", "cancelled", "preempted", "preempting",
    "timeout", "oom", "running", "pending", "scheduled", "waiting", "queued", "pruned",
})  # fmt: skip
"""States of runs in trackers whose last metrics are not their final ones."""


def _unfinished(frame: pd.DataFrame, roles: Roles, notes: list[str]) -> pd.Series[bool]:
    """Return which rows are of runs that did not end, by a column with their states."""
    none = pd.Series(data=False, index=frame.index)
    used = {*roles.columns.values(), *roles.settings}
    for column in (name for name in frame.columns if last_words(name) in ("state", "status") and name not in used):
        states = frame[column].astype(str).str.strip().str.lower().str.rpartition(".")[2]
        if not set(states[frame[column].notna()]) <= ENDED | NOT_ENDED or not (has_not := states.isin(NOT_ENDED)).any():
            continue
        names = ", ".join(sorted(set(states[has_not])))
        if has_not.all():
            notes.append(f"{column}: no run has finished ({names}); they count as they are")
            continue
        count = int(has_not.sum())
        notes.append(f"{count:,} row{'s' if count > 1 else ''} of runs that did not finish ({names}): left out")
        return has_not
    return none


MAX_STEP, MAX_SEED = 2.0**53, 2.0**53
"""Whole numbers that a float64 holds."""


def _numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column as float64, with NaN for texts and missing values.

    Raises:
        InputError: it holds dates, truth values or complex numbers.
    """
    types = pd.api.types
    kinds = {
        "complex numbers": types.is_complex_dtype,
        "true and false": types.is_bool_dtype,
        "dates": types.is_datetime64_any_dtype,
        "durations": types.is_timedelta64_dtype,
    }
    if kind := next((name for name, holds in kinds.items() if holds(column)), None):
        raise InputError(f"{column.name}: holds {kind}, not numbers")
    numbers = pd.to_numeric(column, errors="coerce")
    return pd.Series(numbers.to_numpy(dtype=np.float64, na_value=math.nan), index=column.index)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return (
        value
        if isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
        else str(value)
    )


def _metric(table: pd.DataFrame, roles: Roles, options: ImportOptions) -> tuple[str, bool, str, dict[str, float]]:
    """Return name, direction and unit of the metric, and the factor from values to stored values of each split.

    Raises:
        InputError: the direction is not known, or a column has shares as well as percentages.
    """
    columns = {split: column for split in SPLITS if (column := getattr(roles, split)) is not None}
    column = str(roles.validation or roles.test)
    metric = metric_of(column) or "metric"
    higher = options.better == "higher" if options.better != "auto" else is_higher_better(metric)
    if higher is None:
        raise InputError(f"--better: is a higher or a lower {column} better? Give --better higher or --better lower")
    values = {split: table.loc[np.isfinite(table[split]), split].tolist() for split in columns}
    unit, factors = unit_and_factors(columns, values, values, options.unit, "--unit", higher=higher)
    return re.sub(r"[^\w.:-]", "_", metric), higher, unit, factors


SPLITS = ("validation", "test", "train")
OF_OPTIMIZER = ["task", "optimizer", "variant"]
KEYS = [*OF_OPTIMIZER, "lr", "weight_decay"]


def _last_steps(table: pd.DataFrame, roles: Roles, notes: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the last evaluation of each run, and all evaluations, where rows are evaluations.

    A metric counts as of the last step of its run at which any run has it, since loggers write metrics of training,
    validation and test data to separate rows. A run without it at that step has lost it.
    """
    keys = [*KEYS, *(["seed"] if "seed" in table else [])]
    if roles.step is None or not table.duplicated(keys).any():
        table = table.reset_index(drop=True).assign(run_index=lambda frame: frame.index)
        return table, table.iloc[:0]
    ordered = table.sort_values([*keys, "step"], kind="stable")
    ordered["run_index"] = ordered.groupby(keys, dropna=False, sort=False).ngroup()
    ordered["place"] = ordered["step"].fillna(math.inf)  # a summary without a step
    of_step = ordered.groupby(["run_index", "place"], sort=False)
    if repeated := int((of_step[list(SPLITS)].count() > 1).any(axis=1).sum()):
        notes.append(f"{repeated:,} evaluations repeat the step of their run: the last row of a step counts")
    evaluations = of_step.agg({**dict.fromkeys(["task", "step", *SPLITS], "last")}).reset_index()  # last value, not NaN
    runs = ordered.groupby("run_index", sort=False).tail(1).set_index("run_index")
    for split in SPLITS:
        measured = evaluations.loc[evaluations[split].notna(), ["task", "place"]].drop_duplicates()
        expected = evaluations.merge(measured).sort_values(["run_index", "place"], kind="stable")
        runs[split] = expected.groupby("run_index").tail(1).set_index("run_index")[split].reindex(runs.index)
    ends = evaluations[evaluations[["validation", "test"]].notna().any(axis=1) & np.isfinite(evaluations["place"])]
    last = ends.groupby(["task", "run_index"])["place"].max()
    longest = last.groupby("task").transform("max")
    if early := int((last < longest).sum()):
        notes.append(
            f"{early:,} of {len(last):,} runs end before others, such as at step {last[last < longest].min():g} of "
            f"{longest[last < longest].max():g}: their last evaluation counts"
        )
    runs["seconds"] = ordered.groupby("run_index")["seconds"].last()
    return runs.reset_index(), evaluations


def _number_seeds(table: pd.DataFrame, notes: list[str]) -> None:
    """Number the runs of each trial if there are no seeds; optimizers share no numbers, so their runs are unpaired."""
    if "seed" in table:
        return
    number = table.groupby(KEYS, dropna=False).cumcount()
    offset = table.groupby(OF_OPTIMIZER, dropna=False).ngroup() * 10_000
    table["seed"] = number + offset
    count = int(number.max()) + 1
    text = "one run per trial" if count == 1 else f"runs of a trial are numbered (up to {count})"
    notes.append(f"no seeds: {text}, and optimizers are compared without pairs")


def _check_unique(table: pd.DataFrame, frame: pd.DataFrame, roles: Roles) -> None:
    """Refuse rows that are the same run.

    Raises:
        InputError: rows share everything that identifies a run.
    """
    repeated = table.duplicated([*KEYS, "seed"], keep=False)
    if not repeated.any():
        return
    taken = {*roles.columns.values(), *roles.settings, "file"}
    index = table.index[repeated]
    same = frame.loc[[i for i in index if i in frame.index]] if len(frame) == len(table) else frame
    varying = [str(name) for name in frame.columns if name not in taken and 1 < same[name].astype(str).nunique() <= 50]
    columns = [name for name in varying if not pd.api.types.is_float_dtype(frame[name]) or frame[name].nunique() < 20]
    hint = f"such as --setting {columns[0]}" if columns else "or remove the repeated rows"
    first = table[repeated].iloc[0]
    raise InputError(
        f"{int(repeated.sum()):,} rows repeat a run, such as {first['optimizer']}, lr {first['lr']:g}, seed "
        f"{first['seed']}: name the columns in which they differ, {hint}; --task for several tasks, --step for "
        "evaluations"
    )


def _stages(table: pd.DataFrame, roles: Roles, options: ImportOptions, notes: list[str]) -> pd.Series[Any]:
    """Return whether each run selects trials (``tune``) or is held out (``confirm``)."""
    if roles.stage is not None:
        stages = table["stage"].map(STAGES)
        if stages.isna().any():
            wrong = table.loc[stages.isna(), "stage"].iloc[0]
            raise InputError(f"--stage {roles.stage}: {wrong!r} is neither tune nor held-out")
        return stages
    tuned = pd.Series("tune", table.index)
    if _trial_counts(table).max() == 1:
        if options.tuning_seeds:
            raise InputError("--tuning-seeds: every optimizer has one trial, so that no seeds select one")
        return tuned
    split = _tuning_seeds(table, options.tuning_seeds, has_seeds=roles.seed is not None)
    if split is None:
        counts = table.groupby(KEYS, dropna=False)["seed"].nunique().reset_index()
        least = counts.iloc[int(counts["seed"].argmin())]
        few = f"{least['optimizer']} at lr {least['lr']:g} has {least['seed']}"
        few = few if least["seed"] < MIN_SEEDS_TO_SPLIT else "the trials of an optimizer have fewer in common"
        notes.append(
            "tuned on the seeds it is judged on: these runs select the trials, so that no pair is tested; give "
            f"every trial {MIN_SEEDS_TO_SPLIT} seeds or more ({few}), or --stage with held-out runs"
        )
        return tuned
    for seeds, part in split:
        later = sorted(set(table.loc[part, "seed"]) - set(seeds))
        names = sorted({" ".join(filter(None, group)) for group in _groups(table[part], ("task", "optimizer"))})
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        whose = f"{', '.join(names[:4])}{more}: " if len(split) > 1 else ""
        notes.append(
            f"{whose}{_seeds_text(seeds)} {'select' if len(seeds) > 1 else 'selects'} trials, {_seeds_text(later)} "
            f"{'are' if len(later) > 1 else 'is'} held out; --tuning-seeds N sets how many"
        )
        tuned = tuned.mask(part & ~table["seed"].isin(seeds), "confirm")
    return tuned


def _trial_counts(table: pd.DataFrame) -> pd.Series[int]:
    """Return the number of trials by task, optimizer and variant."""
    return table.drop_duplicates(KEYS).groupby(OF_OPTIMIZER).size()


def _seeds_text(seeds: Sequence[int]) -> str:
    return f"{len(seeds)} seeds ({seeds[0]} to {seeds[-1]})" if len(seeds) > 1 else f"1 seed ({seeds[0]})"


def _single_trials(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Return the table with the held-out runs alone of tasks in which no optimizer has trials to select from.

    They count as the runs of their trial then, as in studies without a selection.
    """
    most = _trial_counts(table).groupby("task").max()
    held_out = table.loc[table["stage"] == "confirm", "task"].unique()
    single = table["task"].isin([task for task in held_out if most[task] == 1])
    unused = single & (table["stage"] == "tune")
    if unused.any():
        lost = set(_groups(table[single], OF_OPTIMIZER)) - set(_groups(table[single & ~unused], OF_OPTIMIZER))
        names = sorted({name for _, name, _ in lost})
        notes.append(
            f"{int(unused.sum()):,} tuning runs select nothing, since every optimizer has one trial: left out"
            + (f", and with them {', '.join(names)}, which has no held-out run" if names else "")
        )
    table = table.assign(stage=table["stage"].mask(single, "tune"))
    remaining: pd.DataFrame = table[~unused].reset_index(drop=True)
    return remaining


def _tuning_seeds(
    table: pd.DataFrame, count: int | None, *, has_seeds: bool
) -> list[tuple[list[int], pd.Series[bool]]] | None:
    """Return the seeds that select trials, with the rows for which they do; None if too few would be held out.

    The seeds that all trials have in common are split. If these are too few, those in common within each task, then
    those within each optimizer of a task.

    Raises:
        InputError: ``count`` seeds leave none that are held out.
    """
    if count is None and not has_seeds:
        return None
    trials = table.groupby(KEYS, dropna=False)["seed"].agg(frozenset).reset_index()
    needed = MIN_SEEDS_TO_SPLIT if count is None else count + 1
    common: dict[tuple[str, ...], frozenset[int]] = {}
    for level in ((), ("task",), ("task", "optimizer")):
        common = {}
        for group, seeds in zip(_groups(trials, level), trials["seed"], strict=True):
            common[group] = common.get(group, seeds) & seeds
        if min(map(len, common.values())) >= needed:
            tuning = {group: tuple(sorted(seeds)[: count or len(seeds) // 2]) for group, seeds in common.items()}
            of_row = [tuning[group] for group in _groups(table, level)]
            return [
                (list(seeds), pd.Series([row == seeds for row in of_row], table.index))
                for seeds in sorted(set(tuning.values()))
            ]
    if count is not None:
        group, seeds = min(common.items(), key=lambda item: len(item[1]))
        raise InputError(
            f"--tuning-seeds {count}: the trials of {' '.join(filter(None, group))} have {len(seeds)} seeds in common; "
            "leave some that are held out"
        )
    return None


def _groups(table: pd.DataFrame, level: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the values of columns as one tuple per row."""
    return list(zip(*(table[name] for name in level), strict=True)) if level else [()] * len(table)


def _without_untested(table: pd.DataFrame, roles: Roles, notes: list[str]) -> pd.DataFrame:
    """Leave out runs that are compared and have a validation metric, but no test metric."""
    if roles.test is None or roles.validation is None:
        return table
    held_out = (table["stage"] == "confirm").to_numpy(bool)
    is_compared = held_out if held_out.any() else ~held_out
    untested = is_compared & table["test"].isna().to_numpy(bool) & np.isfinite(table["validation"].to_numpy(float))
    if count := int(untested.sum()):
        notes.append(f"{count:,} run{'s' if count != 1 else ''} without {roles.test}: left out")
    remaining: pd.DataFrame = table[~untested].reset_index(drop=True)
    return remaining


def _metric_notes(table: pd.DataFrame, roles: Roles, notes: list[str]) -> None:
    several = _trial_counts(table).max() > 1
    tuned = set(_groups(table[table["stage"] == "tune"], OF_OPTIMIZER))
    for task, name in sorted({group[:2] for group in _groups(table, OF_OPTIMIZER) if group not in tuned}):
        notes.append(f"{f'{task}, ' if task else ''}{name}: no run selects its trial, so that it is not compared")
    if roles.validation is None:
        cost = (
            "trials are selected by the test metric, so that results are optimistic"
            if several
            else "nothing is selected"
        )
        notes.append(f"no validation metric: {cost}")
    if roles.test is None:
        notes.append("no test metric: verdicts are on the validation metric")
    if table.groupby(OF_OPTIMIZER)["seed"].nunique().min() == 1:
        notes.append("one seed: no interval can be computed and no pair is tested")


def _record(
    row: Mapping[Any, Any],
    metric: str,
    unit: str,
    options: ImportOptions,
    now: datetime,
    *,
    higher: bool,
) -> dict[str, Any]:
    """Return the record of one run."""
    values = {split: float(row[split]) for split in SPLITS}
    known = [values[split] for split in ("validation", "test") if not math.isnan(values[split])]
    completed = bool(known) and all(map(math.isfinite, known))
    task = row["task"] or options.study
    numbers = {name: float(row[name]) for name in ("lr", "weight_decay")}
    optimizer = {"name": row["optimizer"], **numbers, "arguments": row["settings"]}
    settings = {
        "imported": options.study, "task": task, "optimizer": optimizer, "schedule": {"name": "unknown"},
        "model": {"name": "unknown", "arguments": {}}, "data_settings": {}, "seed": int(row["seed"]),
    }  # fmt: skip
    task_key = short_hash(canonical_json({"imported": options.study, "task": task, "metric": metric}))
    sign = -1.0 if higher else 1.0
    errors = {
        f"{split}_error": None if not completed or math.isnan(value) else value for split, value in values.items()
    }
    gap = sign * (values["test"] - values["train"])
    metrics = {**errors, "gap": None if not completed or math.isnan(gap) else gap}
    return {
        "run_id": short_hash(canonical_json(settings)),
        "study": options.study,
        "task": task_key,
        "task_label": f"{task} · imported" if row["task"] else "imported",
        "arm": row["optimizer"],
        "variant": short_hash(canonical_json([row["optimizer"], row["settings"]])),
        "stage": row["stage"],
        "status": "completed" if completed else "diverged",
        "error": None if completed else "its metric is missing or not finite",
        "seed": int(row["seed"]),
        "data": task,
        "data_fingerprint": task_key,
        "model": "unknown",
        "optimizer": row["optimizer"],
        "rule": re.sub(r"[^\w.:-]", "_", row["optimizer"])[:200],
        "schedule": "unknown",
        **numbers,
        "steps": None if math.isnan(row["step"]) else int(row["step"]),
        "settings": canonical_json(settings),
        **{f"{when}_{name}": value for when in ("final", "best") for name, value in metrics.items()},
        "loss": "reported",
        "error_metric": metric,
        "error_unit": "1" if unit == "%" else unit,
        "error_better": "higher" if higher else "lower",
        "comparison": task_key,
        "engine": "imported",
        "engine_settings": "{}",
        "device": "unknown",
        "seconds": None if math.isnan(row["seconds"]) else float(row["seconds"]),
        "finished_at": now,
        "adamcmp_version": _version(),
        "command": options.command,
    }


@cache
def _version() -> str:
    return version("adamcmp")


def _curves(evaluations: pd.DataFrame, ids: dict[int, str], roles: Roles) -> list[dict[str, Any]]:
    """Return the evaluations of all runs, where rows are evaluations."""
    if evaluations.empty or roles.step is None:
        return []
    rows = []
    columns = ("run_index", "step", "train", "validation", "test")
    for index, step, *values in zip(*(evaluations[name] for name in columns), strict=True):
        if math.isnan(step) or index not in ids:
            continue
        named = zip(("train", "validation", "test"), values, strict=True)
        errors = {f"{split}_error": None if math.isnan(value) else value for split, value in named}
        rows.append({"run_id": ids[index], "step": int(step), **errors})
    return rows


def describe_roles(roles: Roles, guessed: Sequence[str] | set[str]) -> list[tuple[str, str, str]]:
    """Return rows of role, column and how it was found, for readers."""
    return [(role.replace("_", " "), column, "guessed" if role in guessed else "given")
            for role, column in roles.columns.items()]  # fmt: skip
