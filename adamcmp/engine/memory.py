"""What ``execute.memory_gb`` allows: data first, of which the largest stay on disk, then what is trained."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from adamcmp.config.schema import ExecutionSettings
from adamcmp.data.dataset import Dataset
from adamcmp.engine.machine import available_memory, device_memory, devices

DATA_SHARE = 0.25
"""Of the memory, beyond which a memory-mapped data set stays on disk."""
COPIES = 2
"""Of a data set in memory: this process's, and the one that training processes share."""
LEAST = 0.25
"""Share of the memory that is left to training however large the data are."""


def host_memory(settings: ExecutionSettings) -> float:
    """Bytes of this machine that may be taken: what was set, or half of what is available."""
    return settings.memory_gb * 1e9 if settings.memory_gb != "auto" else available_memory() / 2


def data_memory(settings: ExecutionSettings) -> float:
    """Bytes beyond which a memory-mapped data set stays on disk."""
    return DATA_SHARE * host_memory(settings)


def training_memory(settings: ExecutionSettings, device: torch.device, datasets: Iterable[Dataset]) -> float:
    """Bytes that are left for what is trained, all processes together."""
    held = sum(dataset.memory_bytes for dataset in datasets)
    if device.type == "cuda" and settings.memory_gb == "auto":
        copies = devices(device)
        whole = copies * device_memory(device) / 2
    else:
        whole, copies = host_memory(settings), COPIES
    return max(whole - copies * held, LEAST * whole)
