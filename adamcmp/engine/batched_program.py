"""R copies of one model as a single function: a step of all of them, and an evaluation of all of them.

Parameters, buffers and optimizer state are stacked on a leading axis. Rows are laid out seed by seed, S seeds of K
rows each, R = S·K: the rows of a seed see the same batch, which is gathered once. Gradients come from
``vmap(grad_and_value(loss))`` over ``functional_call``, so any ``nn.Module`` that torch.func accepts will do; the
update is the kernel that the sequential engine has, with coefficients of shape (R, 1, …). The whole step may go
through ``torch.compile``: one program for gradient and update is what makes small models quick.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map

from adamcmp.data.multi_input import Plain
from adamcmp.engine.coefficients import ParamKind, build_coefficient_table, param_kind, schedule_of
from adamcmp.engine.cuda_graphs import GraphedStep
from adamcmp.engine.extra_metrics import needs_outputs
from adamcmp.engine.loading import autocast, build_model
from adamcmp.engine.objective import Objective, arguments, outputs, predict
from adamcmp.engine.side_effects import find_side_effects, restore_buffers
from adamcmp.engine.strategy.types import RowLayout, Shard
from adamcmp.optim.rule import Kernel, Rule
from adamcmp.plan.runs import Run, TaskSpec

Tensors = dict[str, Tensor]


class ModelStack(NamedTuple):
    """R copies of a model: trained parameters, other tensors, the optimizer's state, and the weights' average."""

    params: Tensors
    rest: Tensors
    state: dict[str, Tensors]
    """State of each trained parameter, by name."""
    average: Tensors
    """Average of ``train.ema``; empty without it."""

    def shown(self, kernel: Kernel) -> Tensors:
        """Return the weights to evaluate, by name of the trained parameter."""
        return self.average or self.learned(kernel)

    def learned(self, kernel: Kernel) -> Tensors:
        """Return the weights that a rule gives: those that are trained, or its average of them."""
        evaluation_weights = kernel.rule.shown
        return (
            {name: tensors[evaluation_weights] for name, tensors in self.state.items()}
            if evaluation_weights
            else self.params
        )


class ParamNames(NamedTuple):
    """Which parameters a loss reaches, and which buffers a forward pass writes (batch norm's running averages)."""

    trained: tuple[str, ...]
    written: tuple[str, ...]
    kinds: tuple[ParamKind, ...]
    """Kinds of the trained parameters, in the order of their coefficient tables."""
    kind_of: tuple[int, ...]
    """Index of the kind of each trained parameter."""
    coefficients: tuple[tuple[str, ...], ...]
    """Names of the coefficients of each kind, in the order of their tables."""


class BatchedProgram(NamedTuple):
    """The two functions of a program."""

    step: Callable[..., Tensor]
    """(stack, x_SB…, y_SB…, tables, share) → losses_R; changes the stack in place.

    ``tables`` hold the coefficients of each kind of parameters, (kinds, C, R), C those of the kind that has
    most; ``share`` is the weight of the new weights in the average, a number as a tensor.
    """
    evaluate: Callable[..., tuple[Tensor, ...]]
    """(params, rest, x_E…, y_E…) → losses (R, E), statistics (R, E, K), and outputs (R, E, …) if metrics need them."""


MAX_KEPT_PROGRAMS = 4
"""Programs that are kept: shards of a run group share theirs."""
_programs: dict[object, BatchedProgram] = {}


def build_program(
    task: TaskSpec,
    kernel: Kernel,
    layout: RowLayout,
    names: ParamNames,
    device: torch.device,
    *,
    compiled: bool,
    matmul: str,
    graphs: bool = False,
) -> BatchedProgram:
    """Return the program of a task, new or kept."""
    key = (task.key, kernel, layout, names, device, compiled, matmul, graphs)
    if key not in _programs:
        while len(_programs) >= MAX_KEPT_PROGRAMS:
            del _programs[next(iter(_programs))]
        model = build_model(task, 0, device)
        step = _step_function(model.train(), task, kernel, layout, names, device)
        evaluate = _evaluation_function(copy.deepcopy(model).eval(), task, layout, device)
        if compiled:
            from adamcmp.engine.compiler_pass import FoldSharedProducts  # loads the compiler: a second

            # each program is its own, though they share a line of code
            torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 256)
            options: dict[str, Any] = {
                "post_grad_custom_pre_pass": FoldSharedProducts(),
                "fallback_random": True,  # masks of the eager generators, so that compiling changes no run
            }
            step = torch.compile(step, dynamic=False, fullgraph=True, options=options)
            evaluate = torch.compile(evaluate, dynamic=False, fullgraph=True, options=options)
        _programs[key] = BatchedProgram(GraphedStep(step, device) if graphs else step, evaluate)
    return _programs[key]


def param_names(model: nn.Module, shard: Shard, x: Plain) -> ParamNames:
    """Return the parameters that take part in training, by one forward and backward pass.

    A parameter that takes no part has no gradient: the sequential engine leaves it alone, decay included.
    """
    params = {name: p for name, p in model.named_parameters() if p.requires_grad}
    grads: list[Tensor | None] = []

    def forward() -> None:
        total = predict(model.train(), x).float().sum()
        grads.extend(torch.autograd.grad(total, list(params.values()), allow_unused=True))

    device = next(iter(params.values())).device
    with restore_buffers(model), torch.random.fork_rng(devices=[]), autocast(shard.task, device), torch.enable_grad():
        written = find_side_effects(model, forward).buffers
    trained = tuple(name for name, grad in zip(params, grads, strict=True) if grad is not None)
    rule = rule_of_run(shard.runs[0])  # patterns are the same in all runs
    of_each = [param_kind(rule, name, params[name], model) for name in trained]
    kinds = tuple(dict.fromkeys(of_each))
    schedule = schedule_of(shard.runs[0])
    coefficients = tuple(build_coefficient_table(rule, kind, schedule, 0, 1).names for kind in kinds)
    return ParamNames(trained, written, kinds, tuple(map(kinds.index, of_each)), coefficients)


def rule_of_run(run: Run) -> Rule:
    """Return the optimizer of a run that a program trains."""
    rule = run.optimizer
    assert isinstance(rule, Rule), "a custom optimizer has no program"
    return rule


def _plain_attention(layout: RowLayout, device: torch.device) -> AbstractContextManager[object]:
    """Use torch's plain formulation of attention on the CPU, where its fused kernel has no rule for vmap."""
    if layout.total > 1 and device.type == "cpu":
        return sdpa_kernel(SDPBackend.MATH)
    return nullcontext()


def _loss_function(
    model: nn.Module, written: tuple[str, ...], criterion: Objective
) -> Callable[..., tuple[Tensor, Tensors]]:
    """Return (params, rest, x_B…, y_B…) of one row → loss, and the buffers that the pass wrote."""

    def loss(params: Tensors, rest: Tensors, x: Plain, y: Tensor) -> tuple[Tensor, Tensors]:
        state = {**params, **{name: t.clone() if name in written else t for name, t in rest.items()}}
        output = outputs(functional_call(model, state, *arguments(x)))  # leaves in it what the pass binds anew
        return criterion.loss(output, y), {name: state[name].detach() for name in written}

    return loss


def _map_over_rows(function: Callable[..., Any], layout: RowLayout, *, shared_data: bool) -> Callable[..., Any]:
    """Map a function of one row's (params, rest, x, y) over all rows.

    One seed is one vmap, whose batch is not batched: the first layer of all rows is then one large product. Several
    seeds are a vmap over seeds around it. A single row needs neither, and is as quick as it would be alone.
    """
    if layout.total == 1:

        def single_row(params: Tensors, rest: Tensors, x: Any, y: Tensor) -> Any:
            row = tree_map(_first_row, params), tree_map(_first_row, rest)
            batch = (x, y) if shared_data else (tree_map(_first_row, x), y[0])
            return tree_map(lambda t: t.unsqueeze(0), function(*row, *batch))

        return single_row
    if layout.seeds == 1 or shared_data:
        # rows of one seed draw the same masks
        mapped = vmap(function, in_dims=(0, 0, None, None), randomness="same")
        if shared_data:
            return mapped
        return lambda params, rest, x, y: mapped(params, rest, tree_map(_first_row, x), y[0])
    nested = vmap(vmap(function, in_dims=(0, 0, None, None)), in_dims=(0, 0, 0, 0))
    shape = (layout.seeds, layout.rows)

    def by_seed(tree: Any) -> Any:
        return tree_map(lambda t: t.view(*shape, *t.shape[1:]), tree)

    return lambda params, rest, x, y: tree_map(lambda t: t.flatten(0, 1), nested(by_seed(params), by_seed(rest), x, y))


def _first_row(t: Tensor) -> Tensor:
    return t[0]


def _microbatch(t: Tensor, count: int, which: int) -> Tensor:
    """Return one of the batches that a step accumulates, of all seeds."""
    return t.chunk(count, 1)[which]


def gradient_function(
    model: nn.Module, task: TaskSpec, layout: RowLayout, names: ParamNames, device: torch.device
) -> Callable[..., Any]:
    """Return (params, rest, x_SB…, y_SB…) → gradients, (losses_R, buffers that the pass wrote)."""
    loss = _loss_function(model, names.written, Objective(task, device))
    return _map_over_rows(grad_and_value(loss, has_aux=True), layout, shared_data=False)


def _step_function(
    model: nn.Module,
    task: TaskSpec,
    kernel: Kernel,
    layout: RowLayout,
    names: ParamNames,
    device: torch.device,
) -> Callable[..., Tensor]:
    over_rows = gradient_function(model, task, layout, names, device)
    parts, most = task.train.accumulate, task.train.clip_norm

    def gradient(params: Tensors, rest: Tensors, x: Plain, y: Tensor) -> tuple[Tensor, Tensors]:
        """Return losses and gradients of a step, summed over the batches that it accumulates."""
        losses = torch.empty(0)
        grads: Tensors = {}
        for i in range(parts):
            few = (x, y) if parts == 1 else tree_map(partial(_microbatch, count=parts, which=i), (x, y))
            with autocast(task, device), _plain_attention(layout, device):
                part_grads, (loss, changed) = over_rows(params, rest, *few)
            losses = losses + loss.detach() if i else loss.detach()
            grads = {name: grads[name] + part_grads[name] for name in part_grads} if i else part_grads
            for name in names.written:
                rest[name].copy_(changed[name])
        return losses, grads

    def step(stack: ModelStack, x: Plain, y: Tensor, tables: Tensor, share: Tensor) -> Tensor:
        params, rest, state, average = stack
        losses, grads = gradient(params, rest, x, y)
        if parts > 1:
            losses, grads = losses / parts, {name: grad / parts for name, grad in grads.items()}
        if most is not None:
            grads = _clip_gradients(grads, names, most)
        by_kind = tables.unbind(0)
        for name, kind in zip(names.trained, names.kind_of, strict=True):
            p = params[name]
            rows = (row.view(-1, *(1,) * (p.ndim - 1)) for row in by_kind[kind].unbind(0))
            c = dict(zip(names.coefficients[kind], rows, strict=False))
            kernel.update(p, grads[name], state[name], c, names.kinds[kind].part)
        if average:
            for name, learned in stack.learned(kernel).items():
                average[name].lerp_(learned, share)
        return losses

    return step


def _clip_gradients(grads: Tensors, names: ParamNames, most: float) -> Tensors:
    """Return each row's gradients scaled to a norm of at most ``most`` over all parameters, as ``clip_grad_norm_``
    does.
    """
    squares = [grads[name].reshape(len(grads[name]), -1).square().sum(1) for name in names.trained]
    norm_R = torch.stack(squares).sum(0).sqrt()
    scale_R = (most / (norm_R + 1e-6)).clamp(max=1.0)
    return {name: grad * scale_R.view(-1, *(1,) * (grad.ndim - 1)) for name, grad in grads.items()}


def _evaluation_function(
    model: nn.Module, task: TaskSpec, layout: RowLayout, device: torch.device
) -> Callable[..., tuple[Tensor, ...]]:
    objective, keeps_outputs = Objective(task, device), needs_outputs(task)

    def measure(params: Tensors, rest: Tensors, x: Plain, y: Tensor) -> tuple[Tensor, ...]:
        output = outputs(functional_call(model, {**params, **rest}, *arguments(x)))
        measured = objective.losses(output, y), objective.statistics(output, y)
        return (*measured, output) if keeps_outputs else measured

    rows = _map_over_rows(measure, layout, shared_data=True)

    def evaluate(params: Tensors, rest: Tensors, x: Plain, y: Tensor) -> tuple[Tensor, ...]:
        with autocast(task, device), _plain_attention(layout, device):
            measured: tuple[Tensor, ...] = rows(params, rest, x, y)
        return measured

    return evaluate


def initial_stack(rows: Sequence[Run], names: ParamNames, device: torch.device) -> ModelStack:
    """Return each row with the weights of its run's seed, and its optimizer's state before the first step."""
    models = {seed: build_model(rows[0].task, seed, device) for seed in dict.fromkeys(run.seed for run in rows)}
    index = torch.tensor([list(models).index(run.seed) for run in rows], device=device)
    states = [dict(model.named_parameters()) | dict(model.named_buffers()) for model in models.values()]
    stacked = {name: torch.stack([state[name].detach() for state in states])[index] for name in states[0]}
    params = {name: stacked[name] for name in names.trained}
    rest = {name: tensor for name, tensor in stacked.items() if name not in params}
    state: dict[str, Tensors] = {}
    for name, kind in zip(names.trained, map(names.kinds.__getitem__, names.kind_of), strict=True):
        starts = [(rule_of_run(run), params[name][row : row + 1]) for row, run in enumerate(rows)]
        starting_states = [rule.kernel.start(rule, param, kind.part) for rule, param in starts]
        state[name] = {
            key: torch.cat([state_of_run[key] for state_of_run in starting_states]) for key in starting_states[0]
        }
    average = {name: p.clone() for name, p in params.items()} if rows[0].task.train.ema is not None else {}
    return ModelStack(params, rest, state, average)


def map_stack(stack: ModelStack, function: Callable[[Tensor], Tensor]) -> ModelStack:
    """Apply a function to every tensor of a stack."""
    mapped: ModelStack = tree_map(function, stack)
    return mapped
