"""A run's training as code to paste: optimizer, schedule, groups and step, in PyTorch, optax and Keras.

Each framework has its own decay convention, so λ is converted; where a framework has no such rule, the text says so
instead of giving something close to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import jinja2
import pandas as pd

from adamcmp.analysis import TRIAL_KEY, best_trials, split_by_task, task_metrics, trials_table
from adamcmp.analysis.selection import is_foreign
from adamcmp.errors import InputError, one_line, suggest_names
from adamcmp.figures.axis_labels import metric_label
from adamcmp.metrics.spec import LOSS_TEXTS
from adamcmp.optim.schedules import restart_periods
from adamcmp.report.formatting import format_mean_ci
from adamcmp.report.optimizer_code import keras_optimizer, optax_optimizer, torch_optimizer
from adamcmp.report.program_code import program_code
from adamcmp.text_safety import to_one_line

FRAMEWORKS = {"torch": "PyTorch", "optax": "optax", "keras": "Keras"}


def training_code(record: pd.Series[Any], framework: str, title: str) -> str:
    """Return code of one framework that trains like a stored run.

    Args:
        record: of the run, columns ``schema.RECORD``.
        framework: one of ``FRAMEWORKS``.
        title: the first line, which states why the run was selected.
    """
    settings = _checked(record)
    if "program" in settings or "imported" in settings:
        return program_code(settings, record.to_dict(), framework, title)
    training = _training(settings, record, title)
    special = {"torch": torch_optimizer, "optax": optax_optimizer, "keras": keras_optimizer}[framework](training)
    text = _template(framework).render(r=training, **{framework: special}).strip("\n")
    return re.sub(r"\n+(?=(def|class|chains|rule = optax.chain\(\n|# )\b)", _spaced, text) + "\n"


@cache
def _template(framework: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("adamcmp.report"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # it is no page
    )
    return environment.get_template(f"{framework}.jinja")


def _spaced(match: re.Match[str]) -> str:
    """Return lines with two empty lines before definitions, and none between comments."""
    return "\n\n\n" if len(match[0]) > 1 and match[1] != "# " else match[0]


def _training(settings: Mapping[str, Any], record: pd.Series[Any], title: str) -> dict[str, Any]:
    """Return the values of a run that all frameworks need."""
    optimizer, schedule = settings["optimizer"], settings["schedule"]
    steps, batch_size = int(settings["steps"]), int(settings["batch_size"])
    accumulate = int(settings.get("accumulate", 1))
    span = steps - schedule["warmup_steps"]
    first = float(span)
    if schedule.get("kind") == "warm_restarts":
        first = max(schedule["T_0"] * (int(record["train_examples"]) // batch_size), 1.0)
    starts, lengths = restart_periods(span, first, schedule.get("T_mult", 1.0))
    milestones, factor = schedule.get("milestones", ()), schedule.get("factor", 1.0)
    kind = "own" if "target" in schedule else schedule["kind"]
    fraction = 1.0 if kind == "linear" else schedule.get("decay_fraction", 1.0)
    loss = settings.get("loss", {})
    loss_name = loss.get("target") or LOSS_TEXTS.get(str(record["loss"]), (str(record["loss"]), ""))[0]
    options = {key: value for key, value in loss.items() if key not in ("name", "target", "source")}
    return {
        "title": _line(title),
        "version": record["adamcmp_version"],
        "study": _line(record["study"]),
        "loss": _line(f"{loss_name} {options}" if options else loss_name),
        "rule": optimizer.get("rule", "own"),
        "optimizer": optimizer,
        "by_width": "mup_base" in settings["model"]["arguments"],
        "decay": optimizer.get("decay", ""),
        "lr": float(record["lr"]),
        "weight_decay": float(record["weight_decay"]),
        "spares": optimizer.get("decayed") == "no_bias_norm",
        "groups": [{**group, "patterns": _patterns(group["params"])} for group in optimizer.get("groups", ())],
        "steps": steps,
        "batch_size": batch_size,
        "micro_batch": batch_size // accumulate,
        "accumulate": accumulate,
        "clip_norm": settings.get("clip_norm"),
        "ema": settings.get("ema"),
        "warmup": schedule["warmup_steps"],
        "span": span,
        "kind": kind,
        "eta_min": schedule.get("eta_min", 0.0),
        "drops": [(at, factor**k) for k, at in enumerate(milestones, 1)],
        "periods": list(zip(starts, lengths, strict=True)),
        "fall_from": span - fraction * span,
        "shape": schedule.get("shape", "linear"),
        "own": _own(schedule),
    }


NUMERIC_PARTS = ("warmup_steps", "T_0", "T_mult", "factor", "eta_min", "decay_fraction", "milestones", "lr_scale",
           "weight_decay", "lr", "steps", "batch_size", "accumulate", "clip_norm", "ema")  # fmt: skip
"""Settings that stand in the code as they are."""
TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


def _checked(record: pd.Series[Any]) -> dict[str, Any]:
    """Return the settings of a run, in which nothing can become code but names that may be imported.

    Raises:
        InputError: they hold something that no adamcmp has written.
    """
    try:
        settings: dict[str, Any] = _on_one_line(json.loads(record["settings"]))
        optimizer, schedule = settings["optimizer"], settings["schedule"]
        for part in (settings, optimizer, schedule, *optimizer.get("groups", ())):
            for key, value in part.items():
                numbers = value if isinstance(value, list) else [value]
                if key in NUMERIC_PARTS and any(isinstance(number, str | dict | list) for number in numbers):
                    raise ValueError(f"{key}={value}")
        for part in (optimizer, schedule):
            if "target" in part and not TARGET.fullmatch(str(part["target"])):
                raise ValueError(f"target={part['target']}")
            if wrong := [key for key in part.get("arguments", {}) if not key.isidentifier()]:
                raise ValueError(f"arguments.{wrong[0]}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"settings of run {record['run_id']} are none that adamcmp writes ({one_line(error)}); no code is made of "
            "them"
        ) from error
    return settings


def _on_one_line(value: Any) -> Any:
    """Return plain values whose texts have no line breaks: some stand in comments."""
    if isinstance(value, dict):
        return {to_one_line(key): _on_one_line(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_on_one_line(item) for item in value]
    return to_one_line(value) if isinstance(value, str) else value


def _line(text: object) -> str:
    """Return text on one line for a comment."""
    return " ".join(str(text).split())


def _patterns(params: str | list[str]) -> list[str]:
    return [params] if isinstance(params, str) else list(params)


def _own(schedule: Mapping[str, Any]) -> dict[str, str]:
    """Return how a custom schedule is imported and called."""
    module, _, name = str(schedule.get("target", "")).rpartition(".")
    arguments = "".join(f", {key}={value!r}" for key, value in schedule.get("arguments", {}).items())
    return {"module": module, "name": name, "arguments": arguments}


def best_training_code(records: pd.DataFrame, arm: str, frameworks: Iterable[str]) -> list[str]:
    """Return the training code of an optimizer's selected trial, in each framework, for every task that has the
    optimizer.

    Args:
        records: stored runs.
        arm: as reports name it, or its optimizer's configuration.
        frameworks: some of ``FRAMEWORKS``.

    Raises:
        InputError: no task has such an optimizer, or none of its trials is eligible.
    """
    texts: list[str] = []
    names: set[str] = set()
    for task in split_by_task(records):
        best = best_trials(trials_table(task.records))
        names |= {*best["arm"], *best["optimizer"]}
        for row in best[(best["arm"] == arm) | (best["optimizer"] == arm)].to_dict(
            "records"
        ):  # one optimizer, or variants
            runs = task.records[
                (task.records[TRIAL_KEY] == pd.Series({key: row[key] for key in TRIAL_KEY})).all(axis=1)
            ]
            criteria = task_metrics(task.records)
            recipes = [
                f"{metric_label(name, criteria)} "
                f"{format_mean_ci(row[metric], row[f'{metric}_half_width'], metric, criteria)}"
                for name, metric in (("validation_error", "final_validation_error"), ("test_error", "final_test_error"))
            ]
            where = f"lr {row['lr']:.6g}, λ {row['weight_decay']:.6g}, its best trial on {task.label}"
            title = f"{row['arm']}, {where}: {', '.join(recipes)}; mean ± 95 % CI, {row['n']} tuning seeds"
            first = runs.sort_values("seed").iloc[0]
            kinds = ["torch"] if is_foreign(runs) else frameworks  # a program has one form
            texts += [training_code(first, framework, title) for framework in kinds]
    if not texts:
        raise InputError(f"--optimizer {arm}: no such optimizer with a completed trial; {suggest_names(arm, names)}")
    return texts
