"""The vectorized engine, in one class whose whole state a checkpoint stores: the runs of a shard as one program.

Row r gives the results of run r in the sequential engine. A row whose loss is not finite keeps computing without
affecting others, and its results are dropped. If at least half of the rows have ended and enough steps are left, the
others continue in a smaller program.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from adamcmp.data.dataset import Dataset
from adamcmp.data.multi_input import Plain
from adamcmp.engine import weights
from adamcmp.engine.batched_evaluation import EvaluationData, chunk_examples, evaluation_data, even_chunk_size
from adamcmp.engine.batched_program import (
    BatchedProgram,
    ModelStack,
    Tensors,
    build_program,
    initial_stack,
    map_stack,
    param_names,
    rule_of_run,
)
from adamcmp.engine.batches import batches
from adamcmp.engine.checkpoint import TrainingControl
from adamcmp.engine.coefficients import build_coefficient_table, ema_weight, schedule_of
from adamcmp.engine.evaluation import SplitMeasures, chunk_size, example_errors
from adamcmp.engine.extra_metrics import compute_extra_metrics
from adamcmp.engine.loading import autocast, build_model, to_device
from adamcmp.engine.objective import Objective
from adamcmp.engine.optimizer_step import row_state
from adamcmp.engine.random_streams import seed_device, stream_seed
from adamcmp.engine.run_result import Evaluation, ExampleErrors, RunResult, best_evaluation, from_plain, to_plain
from adamcmp.engine.strategy.types import RowLayout, Shard, apply_strategy
from adamcmp.metrics.functions import to_float64
from adamcmp.optim.decay import Array
from adamcmp.plan.evaluation_schedule import SplitSizes
from adamcmp.plan.run_ids import rule_identity

TABLE_STEPS = 256
"""Steps whose coefficients are computed at once."""
MIN_SECONDS_TO_SHRINK = 20.0
"""Seconds that a smaller compiled program must save, since it has to be compiled."""


def train_shard(shard: Shard, dataset: Dataset, device: torch.device, control: TrainingControl) -> Iterator[RunResult]:
    """Train the runs of a shard together; results come when all have ended.

    Args:
        shard: runs of one task and kernel, of one seed if the model draws random numbers.
        dataset: the task's data, anywhere.
        device: where to train.
        control: receives progress at every evaluation; saves and stops between two steps.

    Raises:
        TrainingStopped: a stop was requested.
        CheckpointError: a checkpoint cannot be written.
        Exception: any exception of the model, and torch's when memory ends.
    """
    with apply_strategy(shard.strategy, device), torch.random.fork_rng(devices=[]), torch.no_grad():
        training = BatchedTraining(shard, to_device(dataset, shard.task.train.precision, device), device, control)
        training.train()
        training.save_weights()
    yield from training.outcomes()


class BatchedTraining:
    """A shard in the middle of its training."""

    def __init__(self, shard: Shard, dataset: Dataset, device: torch.device, control: TrainingControl) -> None:
        self.shard, self.dataset, self.device, self.control = shard, dataset, device, control
        self.task = shard.task
        self.started = time.perf_counter()
        self.evaluations: list[list[Evaluation]] = [[] for _ in shard.runs]
        self.diverged: list[int | None] = [None] * len(shard.runs)
        self.pruned: set[int] = set()
        self._previous: Tensors = {}
        self.kernel = rule_of_run(shard.runs[0]).kernel
        self._probe = probe = build_model(self.task, shard.runs[0].seed, device)
        self.names = param_names(probe, shard, dataset.inputs(dataset.train.x[:2]))
        self._parameters = [name for name, _ in probe.named_parameters()]
        self.parameters = sum(p.numel() for p in probe.parameters() if p.requires_grad)
        plan = self.task.evaluations
        self._size = even_chunk_size(sum(plan.before), chunk_size(dataset, chunk_examples(shard, device)))
        self._schedules = {run.schedule: schedule_of(run) for run in shard.runs}
        self._window: slice | None = None
        self._tables = torch.empty(0)
        self._test_statistics = torch.empty(0)
        self._kept: Tensors = {}
        self._keeps_best = self.task.train.save == "best" and control.weights is not None
        resumed = control.resumed()
        if self._keeps_best and resumed and not resumed.get("kept"):
            resumed = None  # the best so far was not kept
        if resumed is None:
            self.step, self.reported = 0, 0
            self.rows, self.seeds, self.layout = self._laid_out(range(len(shard.runs)), shard.layout)
            self.stack = initial_stack([shard.runs[i] for i in self.rows], self.names, device)
            self.ended = torch.zeros(len(self.rows), dtype=torch.int64, device=device)
        else:
            self._restore_checkpoint(resumed)

    def _laid_out(
        self, alive: Sequence[int], layout: RowLayout | None = None
    ) -> tuple[list[int], tuple[int, ...], RowLayout]:
        """Place runs seed by seed, in the given layout or the smallest that holds them.

        Missing rows of a seed are filled with its first run, and missing seeds with the first seed.
        """
        by_seed: dict[int, list[int]] = {}
        for i in alive:
            by_seed.setdefault(self.shard.runs[i].seed, []).append(i)
        layout = layout or RowLayout.of(self.shard.runs[i] for i in alive)
        seeds = [*by_seed, *(next(iter(by_seed)),) * (layout.seeds - len(by_seed))]
        rows = [
            i
            for members in map(by_seed.__getitem__, seeds)
            for i in (*members, *(members[0],) * (layout.rows - len(members)))
        ]
        return rows, tuple(seeds), layout

    def _restore_checkpoint(self, resumed: dict[str, Any]) -> None:
        """Resume from a checkpoint of this shard or of a larger one, with the checkpoint's layout."""
        ids = [run.id for run in self.shard.runs]
        stored: list[str] = resumed.get("runs", ids)
        ours = [stored.index(id_) for id_ in ids]
        self.step = self.reported = resumed["step"]
        self.evaluations = [from_plain(resumed["evaluations"][i]) for i in ours]
        self.diverged = [resumed["diverged"][i] for i in ours]
        self.pruned = {k for k, i in enumerate(ours) if i in resumed.get("pruned", ())}
        self.started -= resumed["seconds"] * len(ours) / len(stored)
        self.stack = map_stack(ModelStack(*resumed["stack"]), lambda leaf: leaf.to(self.device))
        self.ended = resumed["ended"].to(self.device)
        self._kept = {name: tensor.to(self.device) for name, tensor in resumed.get("kept", {}).items()}
        self.rows, self.seeds, self.layout = resumed["rows"], tuple(resumed["seeds"]), RowLayout(*resumed["layout"])
        if stored != ids:
            at = self._places()
            positions = {k: at[i] for k, i in enumerate(ours) if i in at} or {0: 0}  # all others have diverged
            self._keep_rows(positions)
        self.control.on_steps(self.step * len(self.shard.runs), None)

    def _places(self) -> dict[int, int]:
        """Return the first row of each run."""
        return {i: row for row, i in reversed(list(enumerate(self.rows)))}

    def _keep_rows(self, where: Mapping[int, int]) -> None:
        """Keep only the rows of some runs: ``where`` maps the index of a run in the shard to its current row."""
        self.rows, self.seeds, self.layout = self._laid_out(list(where))
        keep = torch.tensor([where[i] for i in self.rows], device=self.device)
        self.stack = map_stack(self.stack, lambda leaf: leaf[keep])
        self.ended = self.ended[keep]
        self._kept = {name: tensor[keep] for name, tensor in self._kept.items()}

    def checkpoint_state(self) -> dict[str, Any]:
        """Return the state from which ``_restore_checkpoint`` resumes."""
        return {
            "step": self.step,
            "evaluations": [to_plain(evaluation) for evaluation in self.evaluations],
            "diverged": self.diverged,
            "pruned": sorted(self.pruned),
            "seconds": time.perf_counter() - self.started,
            "rows": self.rows,
            "seeds": list(self.seeds),
            "layout": [self.layout.seeds, self.layout.rows],
            "stack": tuple(self.stack),
            "ended": self.ended,
            "kept": self._kept,
        }

    def train(self) -> None:
        """Train until the last step, or until no run is left."""
        eval_steps = set(self.task.evaluations.steps)
        while self.step < self.task.steps and self._alive():
            runs = self._program()
            for batch in self._batches():
                self.control.between_steps(self.checkpoint_state)
                if self.step + 1 in eval_steps and self.task.train.metrics:
                    everything = {**self._evaluated_weights, **self.stack.rest}
                    self._previous = {name: everything[name].clone() for name in self._parameters}
                losses = runs.step(self.stack, *batch)
                self.step += 1
                lost = ~losses.isfinite() & (self.ended == 0)
                self.ended = torch.where(lost, self.step, self.ended)
                if self.step in eval_steps:
                    self._evaluate(runs)
                    if self._shrink():
                        break
        self._report(None)

    def rehearse(self, steps: int, *, evaluate: bool) -> None:
        """Take the first steps, and evaluate, without recording results: for benchmarks."""
        runs = self._program()
        for batch in islice(self._batches(), steps):
            runs.step(self.stack, *batch)
        if evaluate:
            data = self._examples(self.task.evaluations.last)
            data.reduce(data.measure(runs, self._evaluated_weights, self.stack.rest), self._criterion)

    @property
    def _evaluated_weights(self) -> Tensors:
        """The weights that evaluations are of."""
        return self.stack.shown(self.kernel)

    def _alive(self) -> list[int]:
        return [i for i, step in enumerate(self.diverged) if step is None and i not in self.pruned]

    def _program(self) -> BatchedProgram:
        strategy = self.shard.strategy
        return build_program(
            self.task,
            self.kernel,
            self.layout,
            self.names,
            self.device,
            compiled=strategy.compiled,
            matmul=strategy.matmul,
            graphs=strategy.graphs,
        )

    def _batches(self) -> Iterator[tuple[Plain, Tensor, Tensor, Tensor]]:
        """Yield batches of all seeds, the coefficients of all rows, and the average's share, from the current step
        on.
        """
        task = self.task
        shared_batches = batches(self.dataset, task, self.seeds, self.step)
        dtype = np.float64 if task.train.precision == "fp64" else np.float32
        by_seed = (len(self.seeds), task.batch_size)
        for start in range(self.step, task.steps, TABLE_STEPS):
            window = slice(start, min(start + TABLE_STEPS, task.steps))
            if self._window != window:  # rehearsals begin with the same steps again; what shrinks has gone on since
                self._window, self._tables = window, self._table(window, dtype)
                self._shares = self._average_shares(window, dtype)
            steps = range(window.start, window.stop)
            for t, tables, share in zip(steps, self._tables.unbind(0), self._shares.unbind(0), strict=True):
                x, y = next(shared_batches)
                x = _by_seed(x, by_seed) if isinstance(x, Tensor) else tree_map(lambda leaf: _by_seed(leaf, by_seed), x)
                seed_device(self.device, stream_seed(self.seeds[0], "dropout", t))
                yield x, _by_seed(y, by_seed), tables, share

    def _table(self, window: slice, dtype: type[np.floating[Any]]) -> Tensor:
        """Return the coefficients of a window of steps for each kind of parameters: (T, kinds, C, R)."""
        runs = [self.shard.runs[i] for i in self.rows]
        most = max(map(len, self.names.coefficients))
        tables = np.zeros((window.stop - window.start, len(self.names.kinds), most, len(runs)), dtype)
        schedules: dict[tuple[Any, Any, int], Array] = {}  # seeds share theirs
        for row, run in enumerate(runs):
            for k, kind in enumerate(self.names.kinds):
                key = (run.optimizer, run.schedule, k)
                if key not in schedules:
                    schedule = self._schedules[run.schedule]
                    schedules[key] = build_coefficient_table(
                        rule_of_run(run), kind, schedule, window.start, window.stop
                    ).values
                tables[:, k, : schedules[key].shape[1], row] = schedules[key]
        return torch.from_numpy(tables).to(self.device)

    def _average_shares(self, window: slice, dtype: type[np.floating[Any]]) -> Tensor:
        beta = self.task.train.ema or 0.0
        shares = np.array([ema_weight(beta, t) for t in range(window.start, window.stop)], dtype)
        return torch.from_numpy(shares).to(self.device)

    def _examples(self, sizes: SplitSizes) -> EvaluationData:
        return evaluation_data(self.dataset, sizes, self._size)

    @cached_property
    def _criterion(self) -> Objective:
        return Objective(self.task, self.device)

    def _evaluate(self, runs: BatchedProgram) -> None:
        """Measure all rows; those that are not finite have diverged at this step."""
        for row, step in enumerate(self.ended.tolist()):
            if step and self.diverged[self.rows[row]] is None and self.rows[row] not in self.pruned:
                self.diverged[self.rows[row]] = step
        sizes = self.task.evaluations.shown(self.step)
        data = self._examples(sizes)
        measures = data.measure(runs, self._evaluated_weights, self.stack.rest)
        measured = data.reduce(measures, self._criterion)
        if self.step == self.task.steps:
            self._test_statistics = measures["test"].statistics
        everything = {**self._evaluated_weights, **self.stack.rest}
        squares = [to_float64(everything[name]).square().view(len(self.rows), -1).sum(1) for name in self._parameters]
        norms = torch.stack(squares).sum(0).sqrt().tolist()
        seen: set[int] = set()
        newest = None
        improved = torch.zeros(len(self.rows), dtype=torch.bool)
        for row, i in enumerate(self.rows):
            if i in seen or self.diverged[i] is not None or i in self.pruned:
                continue
            seen.add(i)
            (evaluation,) = from_plain([[self.step, *measured[row], norms[row]]])
            if evaluation.is_finite():
                evaluation = evaluation._replace(metrics=self._extra_metrics_of_row(row, data.dataset, measures))
                self.evaluations[i].append(evaluation)
                newest = evaluation
                improved[row] = best_evaluation(self.evaluations[i], self.task.criteria.error.sign) is evaluation
            else:
                self.diverged[i] = self.step
        if self._keeps_best:
            self._keep_best(improved.to(self.device))
        if self.step in self.shard.strategy.rungs:
            self._prune()
        self._report(newest)

    def _prune(self) -> None:
        """Keep only the best trials, by the mean validation error of their runs (Jamieson & Talwalkar 2016).

        The trials are those of this program, so that none waits for another one.
        """
        sign = self.task.criteria.error.sign
        cells: dict[str, list[int]] = {}
        for i in self._alive():
            run = self.shard.runs[i]
            cells.setdefault(rule_identity(run.optimizer) + rule_identity(run.schedule), []).append(i)

        def worth(members: list[int]) -> tuple[float, float]:
            last = [self.evaluations[i][-1] for i in members]
            errors, losses = (
                [getattr(evaluation, f"validation_{name}") for evaluation in last] for name in ("error", "loss")
            )
            return sign * sum(errors) / len(last), sum(losses) / len(last)

        order = sorted(cells.values(), key=worth)
        for members in order[-(-len(order) // self.shard.strategy.reduction) :]:
            self.pruned.update(members)

    def _keep_best(self, improved: Tensor) -> None:
        """Keep the weights of those rows that are better than before."""
        now = {**self._evaluated_weights, **self.stack.rest}
        for name, tensor in now.items():
            which = improved.view(-1, *(1,) * (tensor.ndim - 1))
            self._kept[name] = torch.where(which, tensor, self._kept[name]) if name in self._kept else tensor.clone()

    def _report(self, newest: Evaluation | None) -> None:
        """Count the steps of all runs, those of ended rows too."""
        now = self.task.steps if not self._alive() else self.step
        self.control.on_steps((now - self.reported) * len(self.shard.runs), newest)
        self.reported = now

    def _shrink(self) -> bool:
        """Take the ended rows out where that pays; whether it was done."""
        alive = [i for i in self._alive() if i in set(self.rows)]
        if not alive or self.step == self.task.steps:
            return False
        rows = len(self._laid_out(alive)[0])
        saved = len(self.rows) - rows
        left = (self.task.steps - self.step) * saved * self.shard.strategy.step_seconds
        if 2 * rows > len(self.rows) or (self.shard.strategy.compiled and left < MIN_SECONDS_TO_SHRINK):
            return False
        at = self._places()
        self._keep_rows({i: at[i] for i in alive})
        return True

    def outcomes(self) -> Iterator[RunResult]:
        """Yield how each run ended."""
        examples = self._example_errors()
        seconds = (time.perf_counter() - self.started) / len(self.shard.runs)
        for i, (run, evaluations, step) in enumerate(
            zip(self.shard.runs, self.evaluations, self.diverged, strict=True)
        ):
            yield RunResult(
                run=run,
                status="diverged" if step is not None else "pruned" if i in self.pruned else "completed",
                evaluations=tuple(evaluations),
                diverged_step=step,
                parameters=self.parameters,
                strategy=self.shard.strategy,
                device=str(self.device),
                seconds=seconds,
                finished_at=datetime.now(UTC),
                outcomes=examples.get(i),
            )

    def save_weights(self) -> None:
        """Keep the weights that ``train.save`` asks for, of every run that has completed."""
        if self.task.train.save is None or self.control.weights is None:
            return
        sign = self.task.criteria.error.sign
        now = self._kept if self._keeps_best else {**self._evaluated_weights, **self.stack.rest}
        for i, row in self._places().items():
            if self.diverged[i] is None and i not in self.pruned:
                model = self._model_of_row(now, row)
                evaluations = self.evaluations[i]
                chosen = best_evaluation(evaluations, sign) if self._keeps_best else evaluations[-1]
                weights.save_weights(self.control.weights, self.shard.runs[i], model, chosen)

    def _example_errors(self) -> dict[int, ExampleErrors]:
        """Return the per-example test errors of the completed runs that store them, by place in the shard."""
        y = self._examples(self.task.evaluations.last).dataset.test.y
        return {
            i: example_errors(self._test_statistics[row], y, self._criterion)
            for i, row in self._places().items()
            if self.shard.runs[i].stores_examples and self.diverged[i] is None and i not in self.pruned
        }

    def _model_of_row(self, tensors: Tensors, row: int) -> nn.Module:
        """Return a model with the weights of one row."""
        self._probe.load_state_dict({name: tensor[row] for name, tensor in tensors.items()}, strict=False)
        return self._probe

    def _extra_metrics_of_row(
        self, row: int, dataset: Dataset, measures: Mapping[str, SplitMeasures]
    ) -> dict[str, float]:
        """Return the extra metrics of one row."""
        if not self.task.train.metrics:
            return {}
        outputs = {name: split.outputs[row] for name, split in measures.items() if split.outputs is not None}
        self._model_of_row({**self._evaluated_weights, **self.stack.rest}, row)
        previous = {name: tensor[row] for name, tensor in self._previous.items()}
        with autocast(self.task, self.device):
            state = row_state(self.stack.state, row)
            return compute_extra_metrics(self._probe, previous, state, dataset, self.task, outputs)


def _by_seed(leaf: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return a batch of all seeds, seed by seed."""
    return leaf.view(*shape, *leaf.shape[1:])
