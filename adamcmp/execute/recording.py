"""Outcomes and settings become rows of the stored tables."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

import torch

from adamcmp.config.schema import AnyRule, CustomOptimizer
from adamcmp.engine.hardware import describe_hardware
from adamcmp.engine.optimizer_step import first_period
from adamcmp.engine.run_result import Evaluation, RunResult, best_evaluation
from adamcmp.metrics.functions import bits_per_byte, generalization_gap
from adamcmp.optim.decay import CONVERTIBLE, convert_weight_decay
from adamcmp.plan.runs import Run, TaskSpec, canonical_json, variant_hash
from adamcmp.storage.schema import METRICS


@dataclass(frozen=True)
class Provenance:
    """Where records come from: the same for all that one command trains."""

    study: str
    command: str
    git_commit: str | None
    adamcmp_version: str
    torch_version: str
    python_version: str
    summaries: Mapping[str, str] = field(default_factory=dict)
    """Data and model summaries, by task."""

    @classmethod
    def here(cls, study: str, words: Sequence[str] | None = None) -> Provenance:
        """Of this process, which was called with these words, or with those that mean the same for this study."""
        command = shlex.join(["adamcmp", *(sys.argv[1:] if words is None else words)])
        return cls(study, command, _git_commit(), "", "", "").on_this_machine()

    def on_this_machine(self) -> Provenance:
        """The same with the versions that are installed here."""
        return replace(
            self,
            adamcmp_version=version("adamcmp"),
            torch_version=version("torch"),
            python_version=platform.python_version(),
        )


def _git_commit() -> str | None:
    """The commit of the working folder, with ``-dirty`` where it has changes; None outside git."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def record(outcome: RunResult, provenance: Provenance) -> dict[str, Any]:
    """The record of a run: columns ``records.RECORD``; what does not apply is missing, and stored as null."""
    run, task = outcome.run, outcome.run.task
    return {
        "run_id": run.id,
        "study": provenance.study,
        "task": task.key,
        "task_label": task.label,
        "arm": run.optimizer.label,
        "variant": variant_hash(run.optimizer, run.schedule),
        "stage": run.stage,
        "search": run.search,
        "status": outcome.status,
        "error": outcome.error,
        "diverged_step": outcome.diverged_step,
        "seed": run.seed,
        "data": task.data.name,
        "data_fingerprint": task.facts.fingerprint,
        "train_examples": task.facts.train_examples,
        "model": task.model.name,
        "parameters": outcome.parameters,
        "optimizer": run.optimizer.name,
        "schedule": run.schedule.name,
        "lr": run.optimizer.lr,
        "weight_decay": run.optimizer.weight_decay,
        **_rule(run.optimizer),
        **_decay(run),
        "batch_size": task.batch_size,
        "steps": task.steps,
        "epochs": task.epochs,
        "precision": task.train.precision,
        "settings": canonical_json(run.settings()),
        **{f"baseline_{part}_error": task.baselines.get(part) for part in ("validation", "test")},
        "loss": task.criteria.loss,
        "error_metric": task.criteria.error.name,
        "error_unit": task.criteria.error.stored_unit,
        "error_better": task.criteria.error.better,
        "comparison": run.comparison,
        **_measured(outcome),
        "engine": outcome.strategy.engine,
        "engine_settings": canonical_json(outcome.strategy.settings()),
        "engine_reason": outcome.strategy.reason,
        "device": outcome.device,
        "hardware": describe_hardware(torch.device(outcome.device)),
        "seconds": outcome.seconds,
        "finished_at": outcome.finished_at,
        "adamcmp_version": provenance.adamcmp_version,
        "torch_version": provenance.torch_version,
        "python_version": provenance.python_version,
        "git_commit": provenance.git_commit,
        "command": provenance.command,
        "data_summary": provenance.summaries.get(task.key) or None,
    }


def curve(outcome: RunResult) -> list[dict[str, Any]]:
    """The curve of a run: columns ``records.CURVE``."""
    task = outcome.run.task
    return [
        {
            **evaluation._asdict(),
            "run_id": outcome.run.id,
            "epoch": evaluation.step / task.steps_per_epoch,
            "metrics": json.dumps(dict(evaluation.metrics)) if evaluation.metrics else None,
        }
        for evaluation in outcome.evaluations
    ]


def _measured(outcome: RunResult) -> dict[str, Any]:
    """Final and best metrics; a run that has not completed has none, so that none can enter a mean."""
    if outcome.status != "completed":
        return {}
    task = outcome.run.task
    final, chosen = outcome.evaluations[-1], best_evaluation(outcome.evaluations, task.criteria.error.sign)
    return {
        **_at("final", final, task),
        **_at("best", chosen, task),
        "best_step": chosen.step,
        "best_epoch": chosen.step / task.steps_per_epoch,
        "final_weight_norm": final.weight_norm,
        "metrics": json.dumps(dict(outcome.metrics)) if outcome.metrics else None,
    }


def _at(prefix: str, evaluation: Evaluation, task: TaskSpec) -> dict[str, float]:
    values = evaluation._asdict()
    bits = {
        f"{prefix}_{part}_bits_per_byte": bits_per_byte(values[f"{part}_loss"], length)
        for part, length in task.facts.bytes_per_label.items()
    }
    gap = generalization_gap(evaluation.train_error, evaluation.test_error, task.criteria.error.sign)
    return {**{f"{prefix}_{name}": values[name] for name, _, _ in METRICS}, f"{prefix}_gap": gap, **bits}


def _rule(optimizer: AnyRule) -> Mapping[str, Any]:
    if isinstance(optimizer, CustomOptimizer):
        built = optimizer.built
        betas: Any = built.get("betas")
        beta1, beta2 = (*(betas if isinstance(betas, list) else ()), None, None)[:2]
        numbers = {key: built[key] for key in ("eps", "momentum") if isinstance(built.get(key), float)}
        return {"rule": optimizer.target, "beta1": beta1, "beta2": beta2, **numbers}
    settings = dict(optimizer)
    beta1, beta2 = (*settings.get("betas", ()), None, None)[:2]
    known = {key: settings.get(key) for key in ("eps", "eps_placement", "bias_correction", "momentum")}
    return {"rule": optimizer.rule, "decayed": optimizer.decayed, "beta1": beta1, "beta2": beta2, **known}


def _decay(run: Run) -> Mapping[str, Any]:
    """λ in every decoupled convention; L2 has none."""
    optimizer = run.optimizer
    if isinstance(optimizer, CustomOptimizer):
        return {}
    source = optimizer.decay
    if source not in CONVERTIBLE:
        return {"decay": source}
    converted = {
        f"weight_decay_{target}": convert_weight_decay(
            optimizer.weight_decay, source, target, lr=optimizer.lr, steps=first_period(run)
        )
        for target in CONVERTIBLE
    }
    return {"decay": source, **converted, "decay_per_step": converted["weight_decay_schedule_only"]}
