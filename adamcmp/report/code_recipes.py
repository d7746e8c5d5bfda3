"""A run's training as code to paste: optimizer, schedule, groups and step, in PyTorch, optax and Keras.

Each framework has its own decay convention, so λ is converted; where a framework has no such rule, the text says so
instead of giving something close to it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import jinja2
import pandas as pd

from adamcmp.analysis import TRIAL_KEY, best_trials, split_by_task, task_metrics, trials_table
from adamcmp.errors import InputError, one_line, suggest_names
from adamcmp.figures.axis_labels import metric_label
from adamcmp.metrics.spec import LOSS_TEXTS
from adamcmp.optim.decay import CONVERTIBLE
from adamcmp.optim.rule import Counterpart, Rule, builtin_rule_names, rule_class
from adamcmp.optim.schedules import restart_periods
from adamcmp.report.formatting import format_mean_ci
from adamcmp.text_safety import to_one_line

FRAMEWORKS = {"torch": "PyTorch", "optax": "optax", "keras": "Keras"}
DECOUPLED = (*CONVERTIBLE, "lr_squared", "lr_free")
"""Decay of which the share that a step takes is a number."""


def training_code(record: pd.Series[Any], framework: str, title: str) -> str:
    """Return code of one framework that trains like a stored run.

    Args:
        record: of the run, columns ``schema.RECORD``.
        framework: one of ``FRAMEWORKS``.
        title: the first line, which states why the run was selected.
    """
    training = _training(record, title)
    special = {"torch": _torch, "optax": _optax, "keras": _keras}[framework](training)
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


def _training(record: pd.Series[Any], title: str) -> dict[str, Any]:
    """Return the values of a run that all frameworks need."""
    settings = _checked(record)
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


def _rule(r: Mapping[str, Any]) -> Rule | None:
    """Return the rule with its settings; None of a class, or a rule, of the user's own."""
    return rule_class(r["rule"]).model_validate(r["optimizer"]) if r["rule"] in builtin_rule_names() else None


def _no_rule(r: Mapping[str, Any], framework: str) -> str:
    """Return why a framework cannot do it, in what concerns all of them; nothing where it can."""
    if r["by_width"]:
        return f"Learning rates and λ follow the width here (model.mup_base), as docs/protocol.md says; {_settings(r)}."
    if r["rule"] == "own":
        return f"{framework} knows nothing of {r['optimizer']['target']}, a class for PyTorch; {_settings(r)}."
    if r["rule"] not in builtin_rule_names():
        return f"{framework} knows nothing of {r['rule']}, a rule for adamcmp; {_settings(r)}."
    if r["decay"] != "l2" and r["decay"] not in DECOUPLED:
        return f"{framework} has no such decay, {r['decay']}; {_settings(r)}."
    return ""


def _settings(r: Mapping[str, Any]) -> str:
    settings = {k: v for k, v in r["optimizer"].items() if k not in ("name", "label", "target", "source", "groups")}
    settings = {k: v for k, v in settings.items() if k not in ("width_lr", "width_decay")}
    return ", ".join(
        f"{key}={value}" for key, value in {**settings, "lr": r["lr"], "weight_decay": r["weight_decay"]}.items()
    )


def _in_buffer(rule: Rule) -> bool:
    """Return the learning rate scales gradients."""
    counterpart = rule.counterpart(decoupled=False)
    return counterpart is not None and counterpart.scales_gradients


def _constant_share(r: Mapping[str, Any]) -> bool:
    """Return whether λ of this convention is a constant multiple of λ as ``lr_scaled`` has it, alike for all
    parameters.
    """
    steady = r["decay"] in CONVERTIBLE and (r["decay"] != "normalized" or len(r["periods"]) == 1)
    return not r["groups"] and steady


def _lr_scaled(r: Mapping[str, Any]) -> float:
    """Return λ as torch.optim.AdamW takes it, where that is a constant."""
    per_step = {"schedule_only": 1.0, "normalized": 1 / math.sqrt(r["periods"][0][1]), "lr_scaled": r["lr"]}
    return float(f"{r['weight_decay'] * per_step[r['decay']] / r['lr']:.15g}")


def _own_class(r: Mapping[str, Any]) -> dict[str, Any]:
    """Return an optimizer of the user's own, which is PyTorch's as it is."""
    optimizer = r["optimizer"]
    module, _, name = optimizer["target"].rpartition(".")
    is_given = optimizer.get("decay_given", bool(r["weight_decay"]))  # else it is the class's own
    arguments = {"lr": r["lr"], **({"weight_decay": r["weight_decay"]} if is_given else {})}
    arguments |= optimizer["arguments"]
    arguments_text = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    return {
        "reason": "",
        "import": f"from {module} import {name}",
        "averages": False,
        "by_hand": False,
        "scales_gradients": False,
        "listed": bool(r["groups"]),
        "weight_decay": r["weight_decay"],
        "item": f'{{"params": [p], "lr": {r["lr"]} * scale, "weight_decay": decay}}',
        "optimizer": f"{name}({'groups' if r['groups'] else 'model.parameters()'}, {arguments_text})",
        "factor": "float(eta(step))",
        "taken": "",
    }


def _torch(r: Mapping[str, Any]) -> dict[str, Any]:
    if r["rule"] == "own":
        return _own_class(r)
    reason = _no_rule(r, "PyTorch")
    if reason:
        return {"reason": reason}
    rule, decay = _rule(r), r["decay"]
    assert rule is not None
    decoupled = decay in DECOUPLED
    own = rule.counterpart(decoupled=True) if decoupled else None
    by_hand = decoupled and (own is None or not (decay == "lr_scaled" or _constant_share(r)))
    counterpart = rule.counterpart(decoupled=False) if not decoupled or by_hand else own
    if counterpart is None or any(map(callable, counterpart.arguments.values())):
        return {"reason": f"adamcmp knows no class for PyTorch that does as this rule; {_settings(r)}."}
    return {"reason": "", "averages": rule.shown is not None, **_torch_class(r, counterpart, decoupled, by_hand)}


def _torch_class(r: Mapping[str, Any], counterpart: Counterpart, decoupled: bool, by_hand: bool) -> dict[str, Any]:
    """Return how a class for PyTorch is called, and the additional steps."""
    decay, scales = r["decay"], counterpart.scales_gradients
    weight_decay = _lr_scaled(r) if decoupled and not by_hand and decay != "lr_scaled" else r["weight_decay"]
    module, _, name = counterpart.target.rpartition(".")
    listed = bool(by_hand or scales or r["groups"] or r["spares"])
    arguments: dict[str, Any] = {"lr": 1.0 if scales else r["lr"], **counterpart.arguments}
    if not listed:
        arguments["weight_decay"] = weight_decay
    elif decoupled and not by_hand:
        arguments["weight_decay"] = 0.0
    arguments_text = ", ".join(f"{key}={value}" for key, value in arguments.items())
    parameters = "groups" if listed else "model.parameters()"
    rate = '"scale": scale' if scales else f'"lr": {r["lr"]} * scale'
    own = f'{rate}, "decay": decay' if by_hand or scales else f'{rate}, "weight_decay": decay'
    by_rate = decay in ("lr_scaled", "lr_squared")
    scaled = f'{r["lr"]} * group["scale"] * share(step)' if by_rate else "share(step)"
    if by_hand and not scales:
        own += ', "scale": scale'
    ours = module == "torch.optim"
    return {
        "import": "" if ours else f"from {module} import {name}",
        "by_hand": by_hand,
        "scales_gradients": scales,
        "listed": listed,
        "weight_decay": weight_decay,
        "item": f'{{"params": [p], {own}}}',
        "optimizer": f"{counterpart.target if ours else name}({parameters}, {arguments_text})",
        "factor": "1.0" if scales else "float(eta(step))",
        "taken": f'float({scaled}) * group["decay"]',
    }


def _optax(r: Mapping[str, Any]) -> dict[str, Any]:
    reason = _no_rule(r, "optax")
    if reason:
        return {"reason": reason}
    rule = _rule(r)
    assert rule is not None
    if rule.optax().reason:
        return {"reason": f"{rule.optax().reason}; {_settings(r)}."}
    by_share = r["decay"] in DECOUPLED and (_in_buffer(rule) or (r["decay"] != "lr_scaled" and not _constant_share(r)))
    kinds: dict[str, tuple[float, float]] = {}
    labels = []
    for name, group in [*((f"group {i}", group) for i, group in enumerate(r["groups"])), ("others", {})]:
        scale, own = group.get("lr_scale", 1.0), group.get("weight_decay")
        kinds[name] = (scale, r["weight_decay"] if own is None else own)
        labels.append(f'"{name}"')
        if r["spares"] and own is None:
            kinds[f"{name}, spared"] = (scale, 0.0)
            labels[-1] = f'"{name}" if p.ndim >= 2 else "{name}, spared"'
    chains = {name: _chain(r, rule, *kind, by_share=by_share) for name, kind in kinds.items()}
    return {"reason": "", "by_share": by_share, "chains": chains, "labels": labels}


def _chain(r: Mapping[str, Any], rule: Rule, scale: float, weight_decay: float, *, by_share: bool) -> list[str]:
    """Return the transformations of parameters of one kind, in order."""
    decay, lr = r["decay"], f"{r['lr'] * scale!r}"
    parts = []
    if decay == "l2" and weight_decay:
        parts.append(f"optax.add_decayed_weights({weight_decay})")
    in_buffer = _in_buffer(rule)
    rate = f"optax.scale_by_schedule(lambda step: {lr} * eta(step))"
    if in_buffer:
        parts.append(rate)
    code = rule.optax()
    if code.call != "optax.identity":
        parts.append(f"{code.call}({_given(code.arguments)})")
    decoupled = decay in DECOUPLED and weight_decay
    if decoupled and not by_share:
        same = r["weight_decay"] and weight_decay == r["weight_decay"]
        converted = _lr_scaled(r) if decay != "lr_scaled" and same else weight_decay
        parts.append(f"optax.add_decayed_weights({converted})")
    if not in_buffer:
        parts.append(rate)
    if decoupled and by_share:
        times = f"{lr} * " if decay in ("lr_scaled", "lr_squared") else ""
        parts.append(f"optax.add_decayed_weights(lambda step: {times}{weight_decay} * share(step))")
    return [*parts, "optax.scale(-1.0)"]


def _given(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in arguments.items())


def _keras(r: Mapping[str, Any]) -> dict[str, Any]:
    optimizer, decay = r["optimizer"], r["decay"]
    reason = _no_rule(r, "Keras")
    if not reason and r["groups"]:
        reason = f"Keras has no parameter groups; {_settings(r)}, groups: {optimizer['groups']}."
    if not reason and decay in DECOUPLED and not _constant_share(r):
        reason = f"λ of Keras is one number, this one changes along the schedule; {_settings(r)}."
    if reason:
        return {"reason": reason}
    rule = _rule(r)
    assert rule is not None
    code = rule.keras(decoupled=decay in DECOUPLED and r["weight_decay"] > 0)
    if code.reason:
        return {"reason": f"{code.reason}; {_settings(r)}."}
    notes = [note for note in code.notes if "while it changes" not in note or r["kind"] != "constant"]
    arguments: dict[str, Any] = {"learning_rate": "Schedule()", **code.arguments}
    if decay == "l2" and r["weight_decay"]:
        half = r["weight_decay"] / 2
        where = "each kernel" if r["spares"] else "each weight, biases and norms too"
        notes.append(
            f"L2 is a penalty here: keras.regularizers.L2({half}) on {where} (λ/2 · ‖θ‖² has the gradient λθ)."
        )
    elif decay in DECOUPLED and r["weight_decay"]:
        arguments["weight_decay"] = r["weight_decay"] if decay == "lr_scaled" else _lr_scaled(r)
    if r["clip_norm"]:
        arguments["global_clipnorm"] = r["clip_norm"]
    if r["accumulate"] > 1:
        arguments["gradient_accumulation_steps"] = r["accumulate"]
        notes.append(f"Keras calls each batch of {r['micro_batch']} a step, {r['accumulate']} of which make one here.")
    if r["ema"]:
        arguments |= {"use_ema": True, "ema_momentum": r["ema"]}
        notes.append("Its average leans to the first weights; the run's does not.")
    lines = _given(arguments)
    spares = r["spares"] and "weight_decay" in arguments
    return {"reason": "", "notes": notes, "optimizer": f"{code.call}({lines})", "spares": spares}


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
            texts += [training_code(first, framework, title) for framework in frameworks]
    if not texts:
        raise InputError(f"--optimizer {arm}: no such optimizer with a completed trial; {suggest_names(arm, names)}")
    return texts
