"""R copies of one model as a single function: a step of all of them, and an evaluation of all of them.

Parameters, buffers and optimizer state are stacked on a leading axis. Rows are laid out seed by seed, S seeds of K
rows each, R = S·K: the rows of a seed see the same batch, which is gathered once. Gradients come from
``vmap(grad_and_value(loss))`` over ``functional_call``, so any ``nn.Module`` that torch.func accepts will do; the
update is the kernel that the sequential engine has, with coefficients of shape (R, 1, …). The whole step may go
through ``torch.compile``: one program for gradient and update is what makes small models quick.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from adamcmp import metrics
from adamcmp.engine.effects import effects, undone
from adamcmp.engine.graphs import Graphed
from adamcmp.engine.inputs import autocast, build_model
from adamcmp.engine.strategy import Layout
from adamcmp.optim.adaptive import AdaptiveCoefficients, adaptive_update
from adamcmp.optim.momentum import MomentumCoefficients, momentum_update
from adamcmp.plan.runs import Task

Tensors = dict[str, Tensor]

KERNELS: dict[str, tuple[Callable[..., None], type[AdaptiveCoefficients | MomentumCoefficients], int]] = {
    "adaptive": (adaptive_update, AdaptiveCoefficients, 2),
    "momentum": (momentum_update, MomentumCoefficients, 1),
}
"""Kernel, its coefficients, and how many tensors of state a parameter has."""


class Stack(NamedTuple):
    """R copies of a model: what is trained, what is not, and the optimizer's state of what is."""

    params: Tensors
    rest: Tensors
    state: tuple[Tensors, ...]


class Names(NamedTuple):
    """Which parameters a loss reaches, and which buffers a forward pass writes (batch norm's running averages)."""

    trained: tuple[str, ...]
    written: tuple[str, ...]


class Program(NamedTuple):
    """The two functions of a program."""

    step: Callable[..., Tensor]
    """(stack, x_SB…, y_SB…, table of matrices, table of the others) → losses_R; changes the stack in place."""
    evaluate: Callable[..., tuple[Tensor, Tensor]]
    """(params, rest, x_E…, y_E…) → loss and number of wrong predictions of each example, (R, E)."""


KEPT = 4
"""Programs that are kept: pieces of a cohort share theirs."""
_kept: dict[object, Program] = {}


def program(
    task: Task,
    kernel: str,
    layout: Layout,
    names: Names,
    device: torch.device,
    *,
    compiled: bool,
    matmul: str,
    graphs: bool = False,
) -> Program:
    """The program of a task, new or kept."""
    key = (task.key, kernel, layout, names, device, compiled, matmul, graphs)
    if key not in _kept:
        while len(_kept) >= KEPT:
            del _kept[next(iter(_kept))]
        model = build_model(task, 0, device)
        step = _step(model.train(), task, kernel, layout, names, device)
        evaluate = _evaluation(copy.deepcopy(model).eval(), task, layout, device)
        if compiled:
            from adamcmp.engine.folding import FoldSharedProducts  # loads the compiler: a second

            # each program is its own, though they share a line of code
            torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 256)
            options: dict[str, Any] = {
                "post_grad_custom_pre_pass": FoldSharedProducts(),
                "fallback_random": True,  # masks of the eager generators, so that compiling changes no run
            }
            step = torch.compile(step, dynamic=False, fullgraph=True, options=options)
            evaluate = torch.compile(evaluate, dynamic=False, fullgraph=True, options=options)
        _kept[key] = Program(Graphed(step, device) if graphs else step, evaluate)
    return _kept[key]


def names_of(model: nn.Module, task: Task, x: Tensor) -> Names:
    """Shown by one pass forward and backward.

    A parameter that takes no part has no gradient: the sequential engine leaves it alone, decay included.
    """
    params = {name: p for name, p in model.named_parameters() if p.requires_grad}
    grads: list[Tensor | None] = []

    def forward() -> None:
        total = model.train()(x).float().sum()
        grads.extend(torch.autograd.grad(total, list(params.values()), allow_unused=True))

    with undone(model), torch.random.fork_rng(devices=[]), autocast(task, x.device), torch.enable_grad():
        written = effects(model, forward).buffers
    return Names(tuple(name for name, grad in zip(params, grads, strict=True) if grad is not None), written)


def _attention(layout: Layout, device: torch.device) -> AbstractContextManager[object]:
    """On the CPU, attention in torch's plain formulation: its fused kernel there has no rule for vmap."""
    if layout.total > 1 and device.type == "cpu":
        return sdpa_kernel(SDPBackend.MATH)
    return nullcontext()


def _loss(model: nn.Module, written: tuple[str, ...]) -> Callable[..., tuple[Tensor, Tensors]]:
    """(params, rest, x_B…, y_B…) of one row → loss, and the buffers that the pass wrote."""

    def loss(params: Tensors, rest: Tensors, x: Tensor, y: Tensor) -> tuple[Tensor, Tensors]:
        state = {**params, **{name: t.clone() if name in written else t for name, t in rest.items()}}
        logits = functional_call(model, state, (x,))  # leaves in it what the pass binds anew
        return metrics.cross_entropy(logits, y), {name: state[name].detach() for name in written}

    return loss


def _over_rows(function: Callable[..., Any], layout: Layout, *, shared_data: bool) -> Callable[..., Any]:
    """Map a function of one row's (params, rest, x, y) over all rows.

    One seed is one vmap, whose batch is not batched: the first layer of all rows is then one large product. Several
    seeds are a vmap over seeds around it. A single row needs neither, and is as quick as it would be alone.
    """
    if layout.total == 1:
        return lambda params, rest, x, y: _each(
            function(_each(params, lambda t: t[0]), _each(rest, lambda t: t[0]), x if shared_data else x[0],
                     y if shared_data else y[0]),
            lambda t: t.unsqueeze(0),
        )  # fmt: skip
    if layout.seeds == 1 or shared_data:
        # rows of one seed draw the same masks
        mapped = vmap(function, in_dims=(0, 0, None, None), randomness="same")
        if shared_data:
            return mapped
        return lambda params, rest, x, y: mapped(params, rest, x[0], y[0])
    nested = vmap(vmap(function, in_dims=(0, 0, None, None)), in_dims=(0, 0, 0, 0))
    shape = (layout.seeds, layout.rows)
    return lambda params, rest, x, y: _each(
        nested(
            _each(params, lambda t: t.view(*shape, *t.shape[1:])),
            _each(rest, lambda t: t.view(*shape, *t.shape[1:])),
            x,
            y,
        ),
        lambda t: t.flatten(0, 1),
    )


def _each(tree: Any, function: Callable[[Tensor], Tensor]) -> Any:
    return torch.utils._pytree.tree_map(function, tree)


def gradients(model: nn.Module, layout: Layout, names: Names) -> Callable[..., Any]:
    """(params, rest, x_SB…, y_SB…) → gradients, (losses_R, buffers that the pass wrote)."""
    return _over_rows(grad_and_value(_loss(model, names.written), has_aux=True), layout, shared_data=False)


def _step(
    model: nn.Module,
    task: Task,
    kernel: str,
    layout: Layout,
    names: Names,
    device: torch.device,
) -> Callable[..., Tensor]:
    update, coefficients, _ = KERNELS[kernel]
    over_rows = gradients(model, layout, names)

    def step(stack: Stack, x: Tensor, y: Tensor, matrices: Tensor, others: Tensor) -> Tensor:
        params, rest, state = stack
        with autocast(task, device), _attention(layout, device):
            grads, (losses, changed) = over_rows(params, rest, x, y)
        for name in names.trained:
            p = params[name]
            table = matrices if p.ndim > 2 else others
            c = coefficients(*(row.view(-1, *(1,) * (p.ndim - 1)) for row in table.unbind(0)))
            update(p, grads[name], *(own[name] for own in state), c)
        for name in names.written:
            rest[name].copy_(changed[name])
        return losses.detach()  # type: ignore[no-any-return]  # torch.func returns Any

    return step


def _evaluation(
    model: nn.Module, task: Task, layout: Layout, device: torch.device
) -> Callable[..., tuple[Tensor, Tensor]]:
    def measure(params: Tensors, rest: Tensors, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logits = functional_call(model, {**params, **rest}, (x,))
        losses = metrics.cross_entropy(logits, y, reduction="none")
        return losses.view(len(y), -1).sum(1), (logits.argmax(-1) != y).view(len(y), -1).sum(1)

    rows = _over_rows(measure, layout, shared_data=True)

    def evaluate(params: Tensors, rest: Tensors, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        with autocast(task, device), _attention(layout, device):
            measured: tuple[Tensor, Tensor] = rows(params, rest, x, y)
        return measured

    return evaluate
