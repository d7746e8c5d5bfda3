"""Write finished runs: results become rows of the stored tables, and checkpoints of earlier commands are found."""

from __future__ import annotations

import json
import math
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from adamcmp.config.schema import AnyRule, CustomOptimizer, ScriptOptimizer
from adamcmp.engine.checkpoint import load_checkpoint, unsaved_attributes, version_mismatch
from adamcmp.engine.coefficients import first_period
from adamcmp.engine.hardware import describe_hardware
from adamcmp.engine.run_result import Evaluation, RunResult, best_evaluation
from adamcmp.engine.strategy.types import Shard, Strategy
from adamcmp.errors import one_line
from adamcmp.execute.temp_dirs import unsent_folder
from adamcmp.metrics.functions import bits_per_byte
from adamcmp.optim.decay import CONVERTIBLE, convert_weight_decay
from adamcmp.plan.programs import ProgramTask
from adamcmp.plan.run_ids import canonical_json, variant_hash
from adamcmp.plan.runs import Run, TaskSpec, group_runs
from adamcmp.storage.backend import GoneError, retry_while_away
from adamcmp.storage.merging import merge_parts
from adamcmp.storage.part_files import append_runs
from adamcmp.storage.schema import METRICS

STORE_SECONDS = 2.0
"""Seconds between two parts on disk."""


@dataclass
class RunWriter:
    """Finished runs on their way to disk."""

    study_dir: Path
    provenance: Provenance
    release: Callable[[Collection[str]], object] = lambda _: None
    """Callback for the IDs of stored runs."""
    outcomes: list[RunResult] = field(default_factory=list)
    stored_at: float = field(default_factory=time.monotonic)
    done: list[Path] = field(default_factory=list)
    """Checkpoints whose runs are among ``outcomes``."""
    merges: bool = True
    """Whether it puts many parts together: where a cluster stores them, its driver alone does."""
    _merged_at: float = field(default_factory=time.monotonic)

    def add(self, outcomes: Sequence[RunResult], checkpoint: Path | None = None) -> None:
        """Take what ended together; store all when it is time to, and then remove the ``checkpoint`` of those runs."""
        self.outcomes.extend(outcomes)
        if checkpoint is not None:
            self.done.append(checkpoint)
        if time.monotonic() - self.stored_at >= STORE_SECONDS:
            self.store()

    def store(self) -> None:
        """Write the pending runs as one part file."""
        if self.outcomes:
            rows = [record_row(outcome, self.provenance) for outcome in self.outcomes]
            finished = [outcome for outcome in self.outcomes if outcome.status != "failed"]  # it will be trained again
            curves = [row for outcome in finished for row in curve_rows(outcome)]
            rows_to_store = [
                {"run_id": outcome.run.id, **outcome.outcomes._asdict()}
                for outcome in self.outcomes
                if outcome.outcomes is not None
            ]
            self._append(rows, curves, rows_to_store)
            stored = [outcome.run.id for outcome in self.outcomes]
            self.outcomes.clear()
            self.release(stored)
            self.merge()
        while self.done:
            self.done.pop().unlink(missing_ok=True)
        self.stored_at = time.monotonic()

    def _append(self, *tables: Sequence[Mapping[str, Any]]) -> None:
        """Store rows; where the store is away for long, keep them on this machine for the next command.

        Raises:
            GoneError: the store is away; its text says where the runs are.
        """
        try:
            retry_while_away(lambda: append_runs(self.study_dir, *tables), self.study_dir)
        except GoneError as error:
            unsent = unsent_folder(self.study_dir)
            append_runs(unsent, *tables)
            raise GoneError(
                f"{error}; {len(tables[0]):,} finished run{'' if len(tables[0]) == 1 else 's'} that it lacks "
                f"{'is' if len(tables[0]) == 1 else 'are'} kept in {unsent}, "
                "and the same command stores them there and resumes"
            ) from error

    def merge(self) -> None:
        """Merge part files if there are many."""
        if self.merges and time.monotonic() - self._merged_at >= STORE_SECONDS:
            merge_parts(self.study_dir)
            self._merged_at = time.monotonic()


@dataclass(frozen=True)
class ResumableShard:
    """A shard that an earlier command began, with its checkpoint; or the rest of a larger one, and the checkpoint to
    start from.
    """

    shard: Shard
    checkpoint: Path
    start: Path | None = None
    """The larger one's checkpoint."""


def checkpoint_path(study_dir: Path, shard: Shard) -> Path:
    """Return where a shard's checkpoint goes."""
    return study_dir / "checkpoints" / f"{shard.key}.pt"


def find_resumable(study_dir: Path, todo: Sequence[Run], say: Callable[[str], None]) -> list[ResumableShard]:
    """Return resumable shards of the given runs: for each run the smallest shard, which is the latest.

    Checkpoints stay until all of their runs are stored; those that cannot be read, or that other versions wrote, are
    set aside, with a line.
    """
    runs = {run.id: run for run in todo}
    kernels = {run.id: group.kernel for group in group_runs(todo) for run in group.runs}
    states: list[tuple[list[str], Strategy, Path]] = []
    for path in sorted((study_dir / "checkpoints").glob("*.pt")):
        try:
            state = load_checkpoint(path)
            if state is None:
                raise ValueError("damaged, or written by another version of adamcmp")
            other = version_mismatch(state)
            if other is not None:
                raise ValueError(f"written by {other}")
            if names := unsaved_attributes(state):
                changed = ", ".join(name.lstrip(".") for name in names)
                raise ValueError(f"training changes {changed}, whose type a checkpoint cannot hold")
            states.append((state["runs"], Strategy(**state["strategy"]), path))
        except (ValueError, TypeError, KeyError) as error:
            aside = path.replace(path.with_suffix(".unusable"))
            say(f"{aside}: this checkpoint is set aside ({one_line(error)}); its runs start again")
    shards: list[ResumableShard] = []
    for ids, strategy, path in sorted(states, key=lambda state: len(state[0])):
        members = tuple(runs.pop(id_) for id_ in ids if id_ in runs)
        if not members:
            continue
        shard = Shard(members[0].task, kernels[members[0].id], members, strategy)
        is_complete = len(members) == len(ids)
        shards.append(
            ResumableShard(shard, path)
            if is_complete
            else ResumableShard(shard, checkpoint_path(study_dir, shard), path)
        )
    return shards


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
        """Return the provenance of this process, with the words of its command or equivalent ones for this study."""
        command = shlex.join(["adamcmp", *(sys.argv[1:] if words is None else words)])
        return cls(study, command, _git_commit(), "", "", "").on_this_machine()

    def on_this_machine(self) -> Provenance:
        """Return the provenance with the versions that are installed here."""
        return replace(
            self,
            adamcmp_version=version("adamcmp"),
            torch_version=version("torch"),
            python_version=platform.python_version(),
        )


def _git_commit() -> str | None:
    """Return the commit of the working folder, with ``-dirty`` where it has changes; None outside git."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def record_row(outcome: RunResult, provenance: Provenance) -> dict[str, Any]:
    """Return the record of a run: columns ``schema.RECORD``; columns that do not apply to the run are null."""
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
        "train_examples": task.facts.train_examples or None,
        "model": task.model.name,
        "parameters": outcome.parameters,
        "optimizer": run.optimizer.name,
        "schedule": run.schedule.name,
        "lr": run.optimizer.lr,
        "weight_decay": run.optimizer.weight_decay,
        **_rule_columns(run.optimizer),
        **_decay_columns(run),
        **_budget_columns(outcome),
        "settings": canonical_json(run.settings()),
        **{f"baseline_{part}_error": task.baselines.get(part) for part in ("validation", "test")},
        "loss": task.criteria.loss,
        "error_metric": task.criteria.error.name,
        "error_unit": task.criteria.error.stored_unit,
        "error_better": task.criteria.error.better,
        "comparison": run.comparison,
        **_metrics_json(outcome),
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


def curve_rows(outcome: RunResult) -> list[dict[str, Any]]:
    """Return the curve of a run: columns ``schema.CURVE``."""
    task = outcome.run.task
    return [
        {
            **_without_nan(evaluation._asdict()),
            "run_id": outcome.run.id,
            "epoch": evaluation.step / task.steps_per_epoch if task.steps_per_epoch else None,
            "metrics": json.dumps(dict(evaluation.metrics)) if evaluation.metrics else None,
        }
        for evaluation in outcome.evaluations
    ]


def _metrics_json(outcome: RunResult) -> dict[str, Any]:
    """Return final and best metrics; a run that has not completed has none, so that none can enter a mean."""
    if outcome.status != "completed":
        return {}
    task = outcome.run.task
    final, chosen = outcome.evaluations[-1], best_evaluation(outcome.evaluations, task.criteria.error.sign)
    return {
        **_metric_columns("final", final, task),
        **_metric_columns("best", chosen, task),
        "best_step": chosen.step,
        "best_epoch": chosen.step / task.steps_per_epoch if task.steps_per_epoch else None,
        "final_weight_norm": _number_or_none(final.weight_norm),
        "metrics": json.dumps(dict(outcome.metrics)) if outcome.metrics else None,
    }


def _metric_columns(prefix: str, evaluation: Evaluation, task: TaskSpec) -> dict[str, float]:
    values = evaluation._asdict()
    bits = {
        f"{prefix}_{part}_bits_per_byte": bits_per_byte(values[f"{part}_loss"], length)
        for part, length in task.facts.bytes_per_label.items()
    }
    gap = task.criteria.error.sign * (evaluation.test_error - evaluation.train_error)  # positive: test is worse
    measured = {**{f"{prefix}_{name}": values[name] for name, _, _ in METRICS}, f"{prefix}_gap": gap}
    return {**_without_nan(measured), **bits}


def _without_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with null for numbers that were not measured."""
    return {name: _number_or_none(value) if isinstance(value, float) else value for name, value in values.items()}


def _number_or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _budget_columns(outcome: RunResult) -> dict[str, Any]:
    """Return batch size, steps, epochs and precision; those that a program keeps to itself are null."""
    task = outcome.run.task
    if not isinstance(task, ProgramTask):
        return {
            "batch_size": task.batch_size, "steps": task.steps, "epochs": task.epochs,
            "precision": task.train.precision,
        }  # fmt: skip
    last = outcome.evaluations[-1].step if outcome.evaluations else None
    return {"batch_size": None, "steps": task.steps if task.has_steps else last, "epochs": None, "precision": None}


def _rule_columns(optimizer: AnyRule) -> Mapping[str, Any]:
    if isinstance(optimizer, ScriptOptimizer):
        return {"rule": re.sub(r"[^\w.:-]", "_", optimizer.choice)[:200]}
    if isinstance(optimizer, CustomOptimizer):
        built = optimizer.built
        betas: Any = built.get("betas")
        beta1, beta2 = (*(betas if isinstance(betas, list) else ()), None, None)[:2]
        numbers = {key: built[key] for key in ("eps", "momentum") if isinstance(built.get(key), float)}
        return {"rule": optimizer.target, "beta1": beta1, "beta2": beta2, **numbers}
    settings = dict(optimizer)
    beta1, beta2 = (*settings.get("betas", ()), None, None)[:2]
    rule_settings = {key: settings.get(key) for key in ("eps", "eps_placement", "bias_correction", "momentum")}
    return {"rule": optimizer.rule, "decayed": optimizer.decayed, "beta1": beta1, "beta2": beta2, **rule_settings}


def _decay_columns(run: Run) -> Mapping[str, Any]:
    """Return λ in every decoupled convention; L2 has none."""
    optimizer = run.optimizer
    if isinstance(optimizer, CustomOptimizer | ScriptOptimizer):
        return {}
    is_unknown = isinstance(run.task, ProgramTask) and not run.task.has_steps
    source = optimizer.decay
    if source not in CONVERTIBLE:
        return {"decay": source}
    converted = {
        f"weight_decay_{target}": convert_weight_decay(
            optimizer.weight_decay, source, target, lr=optimizer.lr, steps=first_period(run)
        )
        for target in CONVERTIBLE
        if not is_unknown or "normalized" not in (source, target)
    }
    return {"decay": source, **converted, "decay_per_step": converted.get("weight_decay_schedule_only")}
