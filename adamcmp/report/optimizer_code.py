"""Code of optimizers in PyTorch, optax and Keras, with λ in the convention of each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from adamcmp.optim.decay import CONVERTIBLE
from adamcmp.optim.rule import Counterpart, Rule, builtin_rule_names, rule_class

DECOUPLED = (*CONVERTIBLE, "lr_squared", "lr_free")
"""Decay of which the share that a step takes is a number."""


def _rule_of(r: Mapping[str, Any]) -> Rule | None:
    """Return the rule with its settings; None of a class, or a rule, of the user's own."""
    return rule_class(r["rule"]).model_validate(r["optimizer"]) if r["rule"] in builtin_rule_names() else None


def _no_rule(r: Mapping[str, Any], framework: str) -> str:
    """Return why a framework cannot do it, in what concerns all of them; nothing where it can."""
    if r["by_width"]:
        return f"Learning rates and λ follow the width here (model.mup_base), see `adamcmp docs μP`; {_settings(r)}."
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
    """Return whether the learning rate scales gradients, and so is part of the momentum buffer."""
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


def _custom_class(r: Mapping[str, Any]) -> dict[str, Any]:
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


def torch_optimizer(r: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a recipe that build the optimizer in PyTorch, or ``reason``: why it cannot be built."""
    if r["rule"] == "own":
        return _custom_class(r)
    reason = _no_rule(r, "PyTorch")
    if reason:
        return {"reason": reason}
    rule, decay = _rule_of(r), r["decay"]
    assert rule is not None
    decoupled = decay in DECOUPLED
    decoupled_counterpart = rule.counterpart(decoupled=True) if decoupled else None
    by_hand = decoupled and (decoupled_counterpart is None or not (decay == "lr_scaled" or _constant_share(r)))
    counterpart = rule.counterpart(decoupled=False) if not decoupled or by_hand else decoupled_counterpart
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
    entries = f'{rate}, "decay": decay' if by_hand or scales else f'{rate}, "weight_decay": decay'
    by_rate = decay in ("lr_scaled", "lr_squared")
    scaled = f'{r["lr"]} * group["scale"] * share(step)' if by_rate else "share(step)"
    if by_hand and not scales:
        entries += ', "scale": scale'
    ours = module == "torch.optim"
    return {
        "import": "" if ours else f"from {module} import {name}",
        "by_hand": by_hand,
        "scales_gradients": scales,
        "listed": listed,
        "weight_decay": weight_decay,
        "item": f'{{"params": [p], {entries}}}',
        "optimizer": f"{counterpart.target if ours else name}({parameters}, {arguments_text})",
        "factor": "1.0" if scales else "float(eta(step))",
        "taken": f'float({scaled}) * group["decay"]',
    }


def optax_optimizer(r: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a recipe that build the optimizer in optax, or ``reason``: why it cannot be built."""
    reason = _no_rule(r, "optax")
    if reason:
        return {"reason": reason}
    rule = _rule_of(r)
    assert rule is not None
    if rule.optax().reason:
        return {"reason": f"{rule.optax().reason}; {_settings(r)}."}
    by_share = r["decay"] in DECOUPLED and (_in_buffer(rule) or (r["decay"] != "lr_scaled" and not _constant_share(r)))
    kinds: dict[str, tuple[float, float]] = {}
    labels = []
    for name, group in [*((f"group {i}", group) for i, group in enumerate(r["groups"])), ("others", {})]:
        scale, weight_decay = group.get("lr_scale", 1.0), group.get("weight_decay")
        kinds[name] = (scale, r["weight_decay"] if weight_decay is None else weight_decay)
        labels.append(f'"{name}"')
        if r["spares"] and weight_decay is None:
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
        parts.append(f"{code.call}({_argument_lines(code.arguments)})")
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


def _argument_lines(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in arguments.items())


def keras_optimizer(r: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a recipe that build the optimizer in Keras, or ``reason``: why it cannot be built."""
    optimizer, decay = r["optimizer"], r["decay"]
    reason = _no_rule(r, "Keras")
    if not reason and r["groups"]:
        reason = f"Keras has no parameter groups; {_settings(r)}, groups: {optimizer['groups']}."
    if not reason and decay in DECOUPLED and not _constant_share(r):
        reason = f"λ of Keras is one number, this one changes along the schedule; {_settings(r)}."
    if reason:
        return {"reason": reason}
    rule = _rule_of(r)
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
    lines = _argument_lines(arguments)
    spares = r["spares"] and "weight_decay" in arguments
    return {"reason": "", "notes": notes, "optimizer": f"{code.call}({lines})", "spares": spares}
