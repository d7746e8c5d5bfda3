"""What execute.memory_gb leaves to data and to training."""

from dataclasses import dataclass

import pytest
import torch

from adamcmp.config.schema import ExecutionSettings
from adamcmp.engine.loading import CPU
from adamcmp.engine.strategy import cost
from adamcmp.engine.train import is_out_of_memory


@dataclass
class Held:
    memory_bytes: int


def test_half_of_what_is_free_may_be_taken_or_what_is_set(monkeypatch):
    monkeypatch.setattr(cost, "available_memory", lambda: 8e9)
    assert cost.host_memory(ExecutionSettings()) == 4e9
    assert cost.host_memory(ExecutionSettings(memory_gb=3)) == 3e9
    assert cost.data_memory(ExecutionSettings(memory_gb=3)) == 0.75e9


def test_training_has_what_two_copies_of_the_data_leave_and_never_less_than_a_quarter():
    held = [Held(100_000_000), Held(200_000_000)]
    assert cost.training_memory(ExecutionSettings(memory_gb=1), CPU, held) == 0.4e9
    assert cost.training_memory(ExecutionSettings(memory_gb=1), CPU, [Held(600_000_000)]) == 0.25e9


def test_on_cuda_half_of_its_memory_counts_and_the_data_lie_there_once(monkeypatch):
    monkeypatch.setattr(cost, "device_memory", lambda _: 80e9)
    cuda = torch.device("cuda")
    assert cost.training_memory(ExecutionSettings(), cuda, [Held(10_000_000_000)]) == 30e9
    assert cost.training_memory(ExecutionSettings(memory_gb=2), cuda, [Held(500_000_000)]) == 1e9


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("x"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory"), True),
        (RuntimeError("can't allocate memory"), True),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_torch_says_in_several_ways_that_memory_has_ended(error, is_memory):
    assert is_out_of_memory(error) == is_memory
