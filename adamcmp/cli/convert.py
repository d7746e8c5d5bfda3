"""The command ``convert``: carry settings from one framework to another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adamcmp.cli.app import Debug, Json, add_json, print_line, print_table
from adamcmp.errors import InputError, suggest_names

if TYPE_CHECKING:
    from adamcmp.optim.framework_conventions import DecayConversion, FrameworkConvention


def convert(
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="lr, weight_decay, beta1, beta2, eps, or the framework's own names. Also batch, epochs, n (training "
            "examples), steps. For another batch size: to_batch, to_lr.",
        ),
    ] = None,
    from_: Annotated[str, typer.Option("--from", help="Source framework: torch, keras, optax, paper, …")] = "torch",
    to: Annotated[str | None, typer.Option("--to", help="Target framework; also prints the constructor call.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Convert AdamW hyperparameters between frameworks and papers."""
    from adamcmp.cli import plan_view
    from adamcmp.optim.framework_conventions import FRAMEWORKS, convert_decay

    source, target = _framework(from_, "--from"), _framework(to, "--to") if to is not None else None
    typed = parse_settings(settings or [], source)
    values = {**source.defaults, **typed}
    for name in ("lr", "weight_decay"):
        if name not in values:
            raise InputError(f"convert: {source.title} has no default of {name}; give {source.arguments[name]}=…")
    steps = training_steps(values)
    needs = [framework for framework in (source, target) if framework is not None and framework.decay == "normalized"]
    if needs and steps is None:
        raise InputError(f"convert: {needs[0].title} needs steps=…, or batch=…, epochs=… and n=… (training examples)")
    batch, examples = values.get("batch"), values.get("n")
    decay = convert_decay(
        source.decay, values["lr"], values["weight_decay"], steps=steps, batch=batch, examples=examples
    )
    filled = [name for name in source.defaults if name not in typed]
    notes = [*conversion_notes(source, filled, values, decay), *rounding_note(values)]
    if {"to_batch", "to_lr"} & values.keys():
        if batch is None:
            raise InputError("convert: to_batch=… and to_lr=… need batch=…, the batch size of the given settings")
        values, decay, line = rescaled_settings(values, decay, steps)
        notes += [line, *conversion_notes(source, [], values, decay), *rounding_note(values)]
    add_json(
        settings=dict(values),
        weight_decay={k: decay.lambdas.get(framework.decay) for k, framework in FRAMEWORKS.items()},
    )
    print_table(plan_view.conversion_table(FRAMEWORKS, to, decay))
    for line in notes:
        print_line(line)
    if target is not None:
        print_line(f"\n{constructor_call(target, values, decay)}")
        print_line(f"adamcmp: {target.config} {setting_words(target, values, decay)}")
        if target.eps_placement != source.eps_placement:
            print_line(eps_note(source, target, values))


def _framework(name: str | None, option: str) -> FrameworkConvention:
    from adamcmp.optim.framework_conventions import FRAMEWORKS

    conventions_by_name = {**FRAMEWORKS, "tensorflow": FRAMEWORKS["keras"], "jax": FRAMEWORKS["optax"]}
    if name not in conventions_by_name:
        raise InputError(f"{option} {name}: no such framework; {suggest_names(str(name), FRAMEWORKS)}")
    return conventions_by_name[name]


BUDGET_SETTINGS = ("batch", "epochs", "n", "steps", "to_batch", "to_lr")


def parse_settings(words: list[str], source: FrameworkConvention) -> dict[str, float]:
    """Return numbers by our names.

    Raises:
        InputError: a word is no ``key=number``, or the number makes no sense.
    """
    names = {theirs: ours for ours, theirs in source.arguments.items()} | {name: name for name in source.arguments}
    names |= {name: name for name in BUDGET_SETTINGS} | {"wd": "weight_decay", "lambda": "weight_decay"}
    settings = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or key not in names:
            raise InputError(f"convert {word}: not a setting; {suggest_names(key, names)} Write key=number.")
        try:
            value = float(text)
        except ValueError:
            raise InputError(f"convert {word}: must be a number") from None
        name = names[key]
        least = value >= 0 if name in ("weight_decay", "eps", "beta1", "beta2") else value > 0
        if not (math.isfinite(value) and least) or (name.startswith("beta") and value >= 1):
            raise InputError(f"convert {word}: out of range")
        if name in ("batch", "to_batch", "n", "steps") and value < 1:
            raise InputError(f"convert {word}: must be 1 or larger")
        settings[name] = value
    for name in ("batch", "to_batch"):
        if settings.get(name, 0) > settings.get("n", math.inf):
            raise InputError(
                f"convert {name}={settings[name]:g}: at most n={settings['n']:g}, the number of training examples"
            )
    return settings


def training_steps(values: Mapping[str, float]) -> float | None:
    """Return the number of steps of a training; None if the settings do not determine it."""
    if "steps" in values:
        return values["steps"]
    if {"batch", "epochs", "n"} <= values.keys():
        return values["epochs"] * max(values["n"] // values["batch"], 1)
    return None


def rounding_note(values: Mapping[str, float]) -> list[str]:
    """Return one line if an epoch is no whole number of batches, and the number of steps was made of both."""
    if "steps" in values or not {"batch", "epochs", "n"} <= values.keys() or values["n"] % values["batch"] == 0:
        return []
    batch, examples = values["batch"], values["n"]
    batches = max(examples // batch, 1)
    line = (
        f"n/batch is {examples / batch:,.4g}: an epoch is {batches:,.0f} steps here, without its last, smaller batch; "
    )
    return [line + f"if you train on that too, give steps={values['epochs'] * math.ceil(examples / batch):.6g}"]


def rescaled_settings(
    values: Mapping[str, float], decay: DecayConversion, steps: float | None
) -> tuple[dict[str, float], DecayConversion, str]:
    """Return settings for ``to_batch`` and ``to_lr``: d′ = d B′/B, so that weights average over as many epochs, B/(N
    d).

    Source: X. Wang and L. Aitchison, How to set AdamW's weight decay, arXiv 2405.13698.
    """
    from adamcmp.optim.framework_conventions import convert_decay

    batch, target = values["batch"], values.get("to_batch", values["batch"])
    lr, ratio = values.get("to_lr", values["lr"]), target / batch
    moved = {key: value for key, value in values.items() if not key.startswith("to_")} | {"batch": target, "lr": lr}
    if "steps" in values:
        moved["steps"] = values["steps"] / ratio
    converted = convert_decay(
        "schedule_only",
        lr,
        decay.per_step * ratio,
        steps=None if steps is None else training_steps(moved),
        batch=target,
        examples=values.get("n"),
    )
    if converted.per_step >= 1:
        raise InputError(
            f"convert to_batch={target:g}: weights would average over {1 / converted.per_step:.3g} steps, less than "
            "one; give a smaller batch or λ"
        )
    line = f"batch {batch:g} → {target:g}, lr {values['lr']:g} → {lr:g}: weights average over as many epochs as before"
    if "to_lr" not in values and ratio != 1:
        line += f"; lr is kept: to_lr={values['lr'] * math.sqrt(ratio):.3g} would follow the square root of the batch"
    return moved, converted, line


def conversion_notes(
    source: FrameworkConvention, filled: list[str], values: Mapping[str, float], decay: DecayConversion
) -> list[str]:
    """Return notes on a conversion: filled defaults, and consequences of the settings."""
    lines = []
    if filled:
        filled_in = ", ".join(f"{source.arguments[name]}={values[name]:g}" for name in filled)
        lines.append(f"{source.title}'s own defaults: {filled_in}")
    lines.append(
        f"one step at the peak removes {decay.per_step:.3g} of each weight, and η_t times that along a schedule"
    )
    if 0 < decay.per_step < 1:
        lines.append(f"half-life of a weight without gradient: {decay.half_life:,.0f} steps at the peak")
    if decay.per_step >= 1:
        lines.append("that is the whole weight or more: λ is too large for this convention, or from another one")
    elif decay.per_step > 0:
        form = ",.0f" if decay.epochs >= 100 else ".3g"
        epochs = "" if math.isnan(decay.epochs) else f", {decay.epochs:{form}} epochs"
        lines.append(f"weights are a moving average of updates over {decay.timescale:,.0f} steps{epochs}")
    if math.isnan(decay.epochs) and decay.per_step > 0:
        lines.append("give batch=… and n=… (training examples) for the time scale in epochs")
    return lines


def framework_settings(
    framework: FrameworkConvention, values: Mapping[str, float], decay: DecayConversion
) -> dict[str, float]:
    """Return settings under a framework's names, with λ in its convention."""
    arguments = {name: values[name] for name in ("lr", "beta1", "beta2", "eps") if name in values}
    arguments["weight_decay"] = decay.lambdas[framework.decay]
    return {framework.arguments[name]: value for name, value in arguments.items()}


def constructor_call(framework: FrameworkConvention, values: Mapping[str, float], decay: DecayConversion) -> str:
    """Return the call of a framework's constructor with converted settings."""
    values_by_name: dict[str, Any] = {
        name: f"{value:.6g}" for name, value in framework_settings(framework, values, decay).items()
    }
    if "beta1" in values_by_name:
        values_by_name = {
            "lr": values_by_name.pop("lr"),
            "betas": f"({values_by_name.pop('beta1')}, {values_by_name.pop('beta2')})",
            **values_by_name,
        }
    arguments = ", ".join(f"{name}={value}" for name, value in values_by_name.items())
    return f"{framework.call}({arguments})" if framework.call else f"{framework.title}: {arguments}"


def setting_words(framework: FrameworkConvention, values: Mapping[str, float], decay: DecayConversion) -> str:
    """Return the overrides of adamcmp for converted settings."""
    betas = f"'optimizer.betas=[{values['beta1']:g},{values['beta2']:g}]'"
    return (
        f"optimizer.lr={values['lr']:.6g} optimizer.weight_decay={decay.lambdas[framework.decay]:.6g} {betas} "
        f"optimizer.eps={values['eps']:.6g}"
    )


def eps_note(source: FrameworkConvention, target: FrameworkConvention, values: Mapping[str, float]) -> str:
    """Return a note if both frameworks add ε at different places."""
    first = math.sqrt(1 - values["beta2"])
    factor = 1 / first if source.eps_placement == "before" else first
    return (
        f"ε: {source.title} adds it {source.eps_placement} the bias correction, {target.title} {target.eps_placement} "
        f"it, so no single value matches at every step: {values['eps'] * factor:.3g} matches the first step, "
        f"{values['eps']:.3g} the steps after the first {3 / (1 - values['beta2']):,.0f}"
    )
