"""A step recorded once as a CUDA graph and replayed: one launch in place of hundreds.

A replay reads and writes the addresses of its recording. The stack of a training stays where it is, since steps change
it in place; batches and coefficients are copied into tensors that stay. Random numbers of the step come from the
device's generator as it is seeded at the replay, so masks are those of a step that is not recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

WARMUP_CALLS = 3
"""Steps in front of a recording, in which libraries allocate and choose."""


class GraphedStep:
    """A step function that is recorded for each new stack."""

    def __init__(self, step: Callable[..., Tensor], device: torch.device) -> None:
        self._step, self._device = step, device
        self._stack: Any = None
        self._given: Any = ()
        self._replay: Callable[[], None] = lambda: None
        self._losses = torch.empty(0)

    def __call__(self, stack: Any, *arguments: Any) -> Tensor:
        """Take a step of this stack; its losses."""
        if self._stack is not stack:
            self._begin(stack, arguments)
        for static, new in zip(pytree.tree_leaves(self._given), pytree.tree_leaves(arguments), strict=True):
            static.copy_(new)
        self._replay()
        return self._losses.clone()

    def _begin(self, stack: Any, arguments: tuple[Any, ...]) -> None:
        """Record a step, which leaves the stack and the generators as they were."""
        self._stack, self._given = stack, pytree.tree_map(torch.clone, arguments)
        tensors = pytree.tree_leaves(tuple(stack))
        before = [tensor.clone() for tensor in tensors]
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            self._replay, self._losses = record_cuda(lambda: self._step(stack, *self._given), self._device)
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)


def record_cuda(function: Callable[[], Tensor], device: torch.device) -> tuple[Callable[[], None], Tensor]:
    """Return a function that replays a recording, and the tensor of its result; recorded after warming up on a stream
    of its own.
    """
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(WARMUP_CALLS):
            function()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        losses = function()
    return graph.replay, losses
