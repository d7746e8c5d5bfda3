"""Trials and their selection: records of runs in, one row per hyperparameter configuration out.

A trial is one optimizer at one lr and weight decay: the mean over its seeds. Runs that diverged or failed are counted
in their trial and never enter a mean. Selection reads the validation columns alone (``ranked_trials``); test numbers
are carried along and reported, never chosen on.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from adamcmp.analysis.boundaries import grid_boundaries
from adamcmp.analysis.intervals import half_width
from adamcmp.metrics.spec import LOSS_NAMES, task_metrics
from adamcmp.storage.schema import METRICS as MEASURED

FOREIGN_ENGINES = ("script", "function", "imported")
"""Engines of runs that programs of the user have trained."""
TRIAL_KEY = ["arm", "lr", "weight_decay"]
"""Columns that identify a trial."""
METRICS: tuple[str, ...] = tuple(
    f"{when}_{name}" for when in ("final", "best") for name in (*(m[0] for m in MEASURED), "gap")
)
"""Metric columns of a trial; ``<metric>_half_width`` has the 95 % half width of each."""
BASELINE = ("baseline_validation_error", "baseline_test_error")
"""Errors of the best constant prediction of training."""
_TASK_COLUMNS = (
    "decay",
    "decayed",
    "optimizer",
    "rule",
    "schedule",
    "steps",
    "epochs",
    "decay_per_step",
    "weight_decay_lr_scaled",
    "weight_decay_schedule_only",
    "weight_decay_normalized",
    "loss",
    "error_metric",
    "error_unit",
    "error_better",
)
"""Columns that all runs of a trial share."""


class TaskRecords(NamedTuple):
    """Records of compared runs, which share data, model, budget and precision."""

    task: str
    label: str
    records: pd.DataFrame


def split_by_task(records: pd.DataFrame) -> list[TaskRecords]:
    """Split records by task, the task with the latest run first. Runs of two tasks are never mixed.

    Tasks that share the column ``comparison`` (they differ only in batch size, loss, clipping and other settings of
    training) are one. Within a task each variant (all settings of optimizer, schedule and training but lr and λ) is an
    optimizer of its own. If several share a label, the settings in which they differ are added to it.
    """
    if records.empty:
        return []
    ordered = records.sort_values(["finished_at", "run_id"], kind="stable")
    shared = ordered.groupby("task")["comparison"].last()  # null in old records
    group = shared.where(shared.notna(), shared.index.to_series())
    first = group.index.to_series().groupby(group).min()  # what the group is called: one of its tasks
    records = with_validation_as_test(records)
    named = records.assign(program=records["task"], task=records["task"].map(group.map(first)))
    latest = named.groupby("task")["finished_at"].max()
    order = latest.reset_index().sort_values(["finished_at", "task"], ascending=[False, True])
    parts = {str(task): name_arms(part.reset_index(drop=True)) for task, part in named.groupby("task")}
    tasks = [
        TaskRecords(task, _task_label(parts[task]), parts[task].drop(columns="program"))
        for task in order["task"].astype(str)
    ]
    labels = [task.label for task in tasks]
    alike = {label: [task for task in tasks if task.label == label] for label in labels}
    return [task._replace(label=_distinguishing_parts(task, alike[task.label])) for task in tasks]


def with_validation_as_test(records: pd.DataFrame) -> pd.DataFrame:
    """Return records in which a split without any metric has that of the other one: test or validation.

    The column ``compared_on`` is ``validation`` for runs without a test metric, and ``test`` for runs without a
    validation metric. Reports warn that selection and comparison share data. A run of a user's program that has no test
    metric, though others of its task have one, counts as failed.
    """
    if "final_test_error" not in records or "final_validation_error" not in records:
        return records
    done = records[records["status"] == "completed"]
    known = {
        split: done[f"final_{split}_error"].notna().groupby(done["task"]).any() for split in ("validation", "test")
    }
    if "engine" in records:
        has_test = records["task"].isin(known["test"].index[known["test"]])
        untested = has_test & records["engine"].isin(FOREIGN_ENGINES) & (records["status"] == "completed")
        untested &= records["final_test_error"].isna() & records["final_validation_error"].notna()
        if untested.any():
            errors = records["error"] if "error" in records else pd.Series(None, records.index, dtype=object)
            records = records.assign(
                status=records["status"].mask(untested, "failed"),
                error=errors.mask(untested, "reports no test metric, though other runs do"),
            )
    for lacking, other in (("test", "validation"), ("validation", "test")):
        tasks = known[lacking].index[~known[lacking] & known[other]]
        rows = records["task"].isin(tasks)
        if not rows.any():
            continue
        values = {
            f"{when}_{lacking}_{what}": records[f"{when}_{lacking}_{what}"].mask(
                rows, records[f"{when}_{other}_{what}"]
            )
            for when in ("final", "best")
            for what in ("error", "loss")
        }
        before = records["compared_on"] if "compared_on" in records else pd.Series("", records.index)
        records = records.assign(**values, compared_on=before.mask(rows, other))
    return records


def is_foreign(records: pd.DataFrame) -> bool:
    """Return whether another program has trained the runs: a script, a function, or one whose results are imported."""
    return "engine" in records and bool(records["engine"].isin(FOREIGN_ENGINES).all())


def is_imported(records: pd.DataFrame) -> bool:
    """Return whether all runs are results of other programs."""
    return "engine" in records and bool((records["engine"] == "imported").all())


def has_tuning(records: pd.DataFrame) -> bool:
    """Return whether some runs can choose hyperparameters; held-out runs alone cannot."""
    return bool((records["stage"].fillna("tune") == "tune").any())


def _distinguishing_parts(task: TaskRecords, alike: Sequence[TaskRecords]) -> str:
    """Return the label of a task, and the settings that distinguish it from tasks with this label: examples, epochs,
    split seed.
    """
    label = task.label
    for name, unit in (("train_examples", " examples"), ("epochs", " epochs")):
        values = {task.records[name].iloc[-1] for task in alike} if name in task.records else set()
        if len(values) > 1 and not pd.isna(list(values)).any():
            label += f" · {task.records[name].iloc[-1]:,g}{unit}"
    seeds = {task.task: _split_seed(task) for task in alike}
    if len(set(seeds.values())) > 1:
        return f"{label} · split_seed {seeds[task.task]}"
    # programs: another command, or another version of the script
    is_program = len(alike) > 1 and '"program":' in str(task.records["settings"].iloc[-1])
    return f"{label} · version {task.task[:6]}" if is_program else label


def _split_seed(task: TaskRecords) -> int | None:
    settings = task.records["settings"].iloc[-1]
    return json.loads(settings).get("data_settings", {}).get("split_seed") if isinstance(settings, str) else None


def _task_label(records: pd.DataFrame) -> str:
    """Return the label of a task: with its budget in epochs if its runs share epochs, but not steps."""
    last = records.iloc[-1]
    if records["program"].nunique() == 1:
        return str(last["task_label"])
    epochs = records["epochs"].nunique() == 1
    budget = f"{last['epochs']:,g} epochs" if epochs else f"{last['steps']:,} steps"
    return f"{last['data']} · {last['model']} · {budget}"


def name_arms(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with one ``arm`` for each variant: ``AdamW · constant``, ``AdamW · batch_size=32``."""
    program = records["program"].astype(str) if "program" in records else ""
    search = records["search"] if "search" in records else pd.Series(None, records.index, dtype=object)
    drawn = search.notna()  # the runs of a search are one optimizer, whatever it searches
    variant = (records["variant"].astype(str) + "|" + program).where(~drawn, "search|" + search.astype(str))
    key = records["arm"].astype(str) + "|" + variant
    variants = records.assign(key=key, search=search).drop_duplicates("key").set_index("key")
    names: dict[str, str] = {}
    for label, members in variants.groupby("arm"):
        searched = {str(key): text for key, text in members["search"].dropna().items()}
        several = len(members) - len(searched) > 1
        parts_by_variant = {
            str(variant): _distinguished(text) if several and variant not in searched else {}
            for variant, text in members["settings"].items()
        }
        plain = [settings for variant, settings in parts_by_variant.items() if variant not in searched]
        keys = {key for settings in plain for key in settings}
        differ = sorted(k for k in keys if len({str(settings.get(k)) for settings in plain}) > 1)
        if "schedule" in differ:  # its name says it all
            differ = [key for key in differ if not key.startswith("schedule.")]
        ways = {key: _search_name(text, searched.values()) for key, text in searched.items()}
        for variant in members.index:
            parts = [
                _setting_text(key, parts_by_variant[variant][key]) for key in differ if key in parts_by_variant[variant]
            ]
            parts += [ways[variant]] if variant in ways and len(members) > 1 else []
            names[variant] = " · ".join([str(label), *parts])
    return records.assign(arm=key.map(names))


def _search_name(search: str, other_names: Collection[str]) -> str:
    """Return the name of a search in an optimizer's label: its method, and the searched settings if another search has
    the same method.
    """
    method = search.partition(" ")[0]
    return method if sum(other.partition(" ")[0] == method for other in other_names) == 1 else search


def _setting_text(key: str, value: object) -> str:
    """Return a setting in an optimizer's name: a schedule's name alone, as in ``cosine``; else ``eps=1e-08``."""
    return (
        str(value).replace("_", " ")
        if key == "schedule"
        else f"{key.removeprefix('optimizer.').removeprefix('params.')}={value}"
    )


RECIPE_KEYS = ("batch_size", "loss", "clip_norm", "accumulate", "ema", "augment", "params")
"""Settings besides optimizer and schedule in which optimizers of one task may differ."""


def _distinguished(settings: str) -> dict[str, object]:
    """Return the settings that make a variant, flat."""
    loaded = json.loads(settings)
    flat = {f"{part}.{key}": value for part in ("optimizer", "schedule") for key, value in loaded[part].items()}
    arguments = {**flat.pop("optimizer.built", {}), **flat.pop("optimizer.arguments", {})}
    flat |= {f"optimizer.{key}": value for key, value in arguments.items()}
    if groups := flat.pop("optimizer.groups", None):
        flat["optimizer.groups"] = "; ".join(map(_group_key, groups))
    spared = {"optimizer.lr", "optimizer.weight_decay", "optimizer.name", "optimizer.label", "schedule.name"}
    spared |= {"optimizer.decay_given", "optimizer.has_decay"}
    distinguishing = {key: value for key, value in flat.items() if key not in spared}
    recipe = {key: loaded[key] for key in RECIPE_KEYS if key in loaded}
    loss = dict(recipe.pop("loss", {}))
    called = loss.get("name", loss.get("target"))
    if loss and called != LOSS_NAMES[loaded["targets"]][0]:
        recipe["loss"] = called
    recipe |= {f"params.{key}": value for key, value in recipe.pop("params", {}).items()}
    recipe |= loss.get("arguments", {key: value for key, value in loss.items() if key != "name"})
    distinguishing.pop("optimizer.choice", None)
    return {**distinguishing, **recipe, "schedule": loaded["schedule"]["name"]}


def _group_key(group: Mapping[str, Any]) -> str:
    """Return a human-readable parameter group: ``*.bias λ 0``."""
    params, scale, weight_decay = group["params"], group["lr_scale"], group["weight_decay"]
    patterns = params if isinstance(params, str) else "|".join(params)
    return (
        patterns + (f" lr×{scale:g}" if scale != 1 else "") + ("" if weight_decay is None else f" λ {weight_decay:g}")
    )


def tuning_runs(records: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that may select a trial: no held-out runs, and of a trial with pruned seeds no others."""
    tuned = records[~records["stage"].isin(["confirm", "settle"])] if "stage" in records else records
    pruned = tuned["status"] == "pruned" if "status" in tuned else pd.Series(data=False, index=tuned.index)
    if not pruned.any():
        return tuned
    lost = pd.MultiIndex.from_frame(tuned.loc[pruned, TRIAL_KEY])
    return tuned[pruned | ~pd.MultiIndex.from_frame(tuned[TRIAL_KEY]).isin(lost)]


def held_out_runs(records: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """Return the completed held-out runs of each optimizer's selected trial.

    If no optimizer has several trials, nothing was selected, and the runs themselves count; so do those of an optimizer
    with one trial and no held-out runs. An optimizer whose selected trial has no held-out runs has no rows. Seeds that
    were used for tuning are left out.

    Args:
        records: of one task, of both stages.
        best: one row per optimizer, as ``best_trials`` returns it.
    """
    tuned = tuning_runs(records)
    completed = records[records["status"] == "completed"]
    if not tuned.drop_duplicates(TRIAL_KEY)["arm"].duplicated().any():
        rows = completed[completed["run_id"].isin(tuned["run_id"])]
    else:
        rows = completed[(completed["stage"] == "confirm") & ~completed["seed"].isin(tuned["seed"])]
        cells_of = tuned.drop_duplicates(TRIAL_KEY)["arm"].value_counts()
        alone = set(cells_of.index[cells_of == 1]) - set(rows["arm"])
        single_trials = completed[completed["arm"].isin(alone) & completed["run_id"].isin(tuned["run_id"])]
        rows = pd.concat([rows, single_trials], ignore_index=True) if len(single_trials) else rows
    return rows.merge(best[TRIAL_KEY], on=TRIAL_KEY)


def reported_runs(records: pd.DataFrame, best: pd.DataFrame, confirmed: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return ``held_out_runs`` runs (``confirmed``, if known), and of optimizers without such runs those that chose
    their trial.
    """
    confirmed = held_out_runs(records, best) if confirmed is None else confirmed
    rest = best[~best["arm"].isin(confirmed["arm"])]
    tuned = tuning_runs(records)
    return pd.concat(
        [confirmed, tuned[tuned["status"] == "completed"].merge(rest[TRIAL_KEY], on=TRIAL_KEY)], ignore_index=True
    )


def trials_table(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row per trial (optimizer, lr, weight_decay) of one task, sorted by them, from its ``tuning_runs``.

    Columns: those three, ``runs`` = ``n`` completed + ``diverged`` + ``failed``, ``seconds`` (mean wall time of a
    completed run), settings that the trial's runs share (``decay``, ``steps``, …), ``eligible``, per metric the mean
    over completed runs with ``<metric>_half_width`` (95 % Student t over seeds, NaN where fewer than two), ``rank``,
    the place of an eligible trial of its optimizer by ``ranked_trials`` (1 is best); and ``edge``, the
    boundaries of the grid at which a selected trial is.

    A trial is eligible for selection when none of its runs diverged or failed and it has at least as many runs as is
    most common among the trials of its optimizer: a trial whose lucky seeds survived, or came first, must not win.

    Raises:
        ValueError: records of more than one task, or of variants that share an optimizer.
    """
    if records["task"].nunique() > 1:
        raise ValueError("records of more than one task: use split_by_task first")
    if records.duplicated([*TRIAL_KEY, "seed"]).any():
        raise ValueError("a trial has a seed twice; name_arms distinguishes variants of one label")
    needed = [*TRIAL_KEY, "seed", "run_id", "status", "seconds", *_TASK_COLUMNS, *METRICS]
    ordered = tuning_runs(records)[needed].sort_values(
        [*TRIAL_KEY, "seed", "run_id"]
    )  # sums do not depend on the row order
    ordered["status"] = ordered["status"].where(~_is_infinite(ordered), "diverged")
    status = pd.DataFrame(
        {name: (ordered["status"] == name).astype("int64") for name in ("completed", "diverged", "failed")}
    )
    groups = pd.concat([ordered[[*TRIAL_KEY, *_TASK_COLUMNS]], status], axis=1).groupby(TRIAL_KEY, dropna=False)
    table = groups[["completed", "diverged", "failed"]].sum().rename(columns={"completed": "n"})
    table.insert(0, "runs", groups.size())
    table = table.join(groups[list(_TASK_COLUMNS)].first())
    table["eligible"] = _selectable(table)

    measured = seed_means(ordered[ordered["status"] == "completed"], TRIAL_KEY)
    return _with_places(table.join(measured).reset_index())


def _is_infinite(runs: pd.DataFrame) -> pd.Series[bool]:
    """Return which completed runs ended with a validation error that is no number, or with an infinite test error.

    They count as diverged.
    """
    validation, test = (runs[f"final_{split}_error"].to_numpy(float) for split in ("validation", "test"))
    infinite = (runs["status"] == "completed").to_numpy() & (~np.isfinite(validation) | np.isinf(test))
    return pd.Series(infinite, index=runs.index)


def _with_places(table: pd.DataFrame) -> pd.DataFrame:
    """Return trials with the column ``rank``, the rank of an eligible trial of its optimizer, and
    ``edge``, the ``grid_boundaries`` of the selected trials.
    """
    order = ranked_trials(table)
    table["rank"] = (order.groupby("arm").cumcount() + 1).reindex(table.index).astype(float)
    table["edge"] = ""
    groups = dict(iter(table.groupby("arm")))
    for i, best in table[table["rank"] == 1].iterrows():  # a few optimizers
        table.loc[i, "edge"] = ", ".join(grid_boundaries(groups[best["arm"]], best))
    return table


def seed_means(completed: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return mean wall time, and of every metric mean and half width, of the runs of each group."""
    groups = completed.groupby(keys, dropna=False)
    columns = list(METRICS)
    mean, count = groups[columns].mean(), groups[columns].count()
    half = pd.DataFrame(half_width(groups[columns].std(ddof=1), count), mean.index, columns)
    measured = pd.concat([mean, half.add_suffix("_half_width"), groups[["seconds"]].mean()], axis=1)
    paired = [name for metric in columns for name in (metric, f"{metric}_half_width")]
    return measured[["seconds", *paired]]


def _selectable(table: pd.DataFrame) -> pd.Series[bool]:
    sizes = table.groupby(["arm", "runs"]).size().reset_index(name="cells")
    usual = sizes.sort_values(["cells", "runs"]).groupby("arm")["runs"].last()  # of two equally common, the larger
    needed = table.index.get_level_values("arm").map(usual.to_dict()).to_numpy(float)  # of no rows pandas makes texts
    enough = table["runs"] >= needed
    return (table["n"] == table["runs"]) & enough


def ranked_trials(table: pd.DataFrame) -> pd.DataFrame:
    """Return the eligible trials of each optimizer, by mean validation error (whichever way that is better), best
    first.

    Ties go to the lower mean validation loss, then the smaller lr, then the smaller weight decay. No column of test
    data is read.
    """
    error, loss = "final_validation_error", "final_validation_loss"
    seen = table.loc[table["eligible"] & table[error].notna(), [*TRIAL_KEY, error, loss]]
    seen = seen.assign(**{error: seen[error] * task_metrics(table).error.sign})
    rounded = seen.round({error: 12, loss: 12})  # means over seeds that differ in the last bit are a tie
    return table.loc[rounded.sort_values(["arm", error, loss, "lr", "weight_decay"]).index]


def best_trials(table: pd.DataFrame) -> pd.DataFrame:
    """Return the best eligible trial of each optimizer that has one, by ``ranked_trials``; rows keep their index."""
    return ranked_trials(table).groupby("arm").head(1)
