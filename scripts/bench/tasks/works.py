"""Workloads of the comparison: configuration, grid and goals, and its model and data once built."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

CONFIGS = Path(__file__).resolve().parent / "configs"


@dataclass(frozen=True)
class Goals:
    """Minimum ratios of adamcmp's run-steps per second to those of another loop, on two cores; None without a goal.

    Keys are precisions: ``{"fp32": 15.0}`` is 15 times the other.
    """

    plain: dict[str, float]
    jax: dict[str, float]


@dataclass(frozen=True)
class Work:
    """A model, its data and the sweep over it that is timed."""

    config: str
    """adamcmp's configuration: of those that ship, or of ``configs/`` here."""
    title: str
    side: int
    """So many learning rates, and as many weight decays, are in the grid."""
    seeds: int
    goals: Goals
    jax_rows: tuple[int, ...] = ()
    """Numbers of runs for the JAX program to choose its best from; empty: there is no JAX program."""


WORKS = {
    work.config: work
    for work in [
        Work(
            "digits", "MLP 64-32-10, batch 100", 8, 2,
            Goals({"fp32": 15, "bf16": 30}, {"fp32": 1.1, "bf16": 1.8}), (64, 256),
        ),
        Work(
            "mnist1d", "MLP 40-100-100-10, batch 100", 8, 2,
            Goals({"fp32": 9, "bf16": 15}, {"fp32": 1.2, "bf16": 2.2}), (16, 64, 256),
        ),
        Work(
            "pictures_mlp", "MLP 784-128-128-10, batch 128", 8, 1,
            Goals({"fp32": 3, "bf16": 4.5}, {"fp32": 1.4, "bf16": 2.4}), (4, 16, 64),
        ),
        Work("pictures_cnn", "CNN of three blocks on 28×28, batch 128", 4, 1, Goals({"fp32": 1.4}, {})),
        Work("gpt", "GPT of width 64, two blocks, batch 16 × 32 tokens", 4, 2, Goals({"fp32": 1.4}, {})),
    ]
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """A work as a plain training loop sees it."""

    model: nn.Module
    x: Tensor
    y: Tensor
    batch_size: int

    @cached_property
    def steps_per_epoch(self) -> int:
        """Whole batches in the training part."""
        return len(self.y) // self.batch_size

    def loss(self, batch_B: Tensor) -> Tensor:
        """Mean cross-entropy on the examples of these indices."""
        return functional.cross_entropy(self.model(self.x[batch_B]).flatten(0, -2), self.y[batch_B].flatten())


def build(work: Work) -> Task:
    """Model and training data exactly as adamcmp builds them from the same configuration."""
    from adamcmp.config.compose import compose
    from adamcmp.config.instantiate import call_target
    from adamcmp.config.lookup import find_config
    from adamcmp.config.validate import validate_config
    from adamcmp.engine.loading import load_data

    source = find_config(work.config, CONFIGS)
    config = validate_config(compose(source, []), source)
    dataset = load_data(config.data)
    shapes = {"input_shape": dataset.input_shape, "num_classes": dataset.num_outputs}
    model = call_target(config.model.target, "model", config.model.arguments, **shapes)
    return Task(model, dataset.train.x, dataset.train.y, int(config.train.batch_size))


def flops(task: Task) -> int:
    """FLOPs of one step; for an MLP 6·B·Σ(in·out) − 2·B·(first in·out), as inputs need no gradient."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # it cannot see into fused attention
        task.loss(torch.arange(task.batch_size)).backward()
    return int(counter.get_total_flops())
