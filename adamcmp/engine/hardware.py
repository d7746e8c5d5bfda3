"""Hardware of this machine: cores, memory, a compiler, exact matrix products."""

from __future__ import annotations

import os
import platform
import shutil
from functools import cache
from pathlib import Path

import joblib
import psutil
import torch
from torch.torch_version import TorchVersion

MIN_TORCH_FOR_COMPILED_CPU = "2.12"
"""The first torch whose compiled CPU programs update weights after their last use."""
MAX_ERROR_RATIO = 4.0
"""oneDNN's products count as fp32 if their error is at most this many times the default's; bf16's is 10⁴ times."""
CGROUPS, PROCESS_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def count_cores() -> int:
    """Return cores that this process may use: by affinity, and by the quota of its container."""
    return int(joblib.cpu_count())


def count_devices(device: torch.device) -> int:
    """Return how many accelerators a name stands for: ``cuda:1`` is one, ``cuda`` all that there are."""
    every = device.index is None and device.type == "cuda"
    return max(1, torch.cuda.device_count()) if every else 1


def device_for_process(device: torch.device, i: int) -> str:
    """Return the device of the i-th of several processes: they take the accelerators in turns."""
    count = count_devices(device)
    return f"{device.type}:{i % count}" if count > 1 else str(device)


def available_memory() -> float:
    """Return bytes that are free for this process: of the machine, and of its container's limit."""
    return min(float(psutil.virtual_memory().available), _cgroup_memory(CGROUPS, PROCESS_CGROUPS))


def device_memory(device: torch.device) -> float:
    """Return bytes that are free where training takes place."""
    return float(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else available_memory()


def _cgroup_memory(root: Path, cgroup_file: Path) -> float:
    """Return the memory that this process's control groups leave, in either version's files; inf without a limit.

    Pages of files that were not used lately count as free, since they are released when memory is needed.
    """
    try:
        lines = cgroup_file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return float("inf")
    free = float("inf")
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if controllers not in ("", "memory"):
            continue
        top = root / controllers
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        folder = top / path.lstrip("/")
        for parent in (folder, *folder.parents):
            if top not in (parent, *parent.parents):
                break
            limit, used = (_number(parent / name) for name in names)
            if limit is not None and used is not None:
                free = min(free, max(limit - used + _inactive(parent / "memory.stat"), 0.0))
    return free


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, or "max"
        return None


def _inactive(path: Path) -> float:
    try:
        fields = dict(line.split() for line in path.read_text(encoding="utf-8").splitlines())
        return float(fields.get("total_inactive_file", fields.get("inactive_file", 0)))
    except (OSError, ValueError):
        return 0.0


@cache
def processor_name(device: torch.device) -> str:
    """Return the chip that trains."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def describe_hardware(device: torch.device) -> str:
    """Return a description of a device: the chip; cores and memory (10⁹ bytes) of the machine."""
    return f"{processor_name(device)}; {count_cores()} cores, {psutil.virtual_memory().total / 1e9:.0f} GB"


@cache
def onednn_rounds_to_bf16() -> bool:
    """Return whether torch's oneDNN rounds fp32 matrix products to bf16 on this CPU, as it may on one with AMX.

    torch takes oneDNN for them under the precision "medium", which permits that rounding.
    """
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(4, 128, 128, generator=generator, device="cpu") for _ in range(2))
    exact = a.double() @ b.double()
    before, errors = torch.get_float32_matmul_precision(), []
    try:
        for precision in ("highest", "medium"):
            torch.set_float32_matmul_precision(precision)
            products = torch.stack([torch.bmm(a, b), torch.stack([x @ y for x, y in zip(a, b, strict=True)])])
            errors.append(float((products - exact).norm()))
    finally:
        torch.set_float32_matmul_precision(before)
    return errors[1] > MAX_ERROR_RATIO * errors[0]


@cache
def why_not_compile(device: torch.device) -> str | None:
    """Return why torch.compile cannot be used on the CPU: no C++ compiler, or a torch version with a wrong order of
    updates.

    Before version 2.12 it may update a layer's weights before the gradients of the layers in front of it have read
    them (pytorch issue 177631): measured with 2.9.1, gradients of an MLP's first layer were off by 1e-4.
    """
    if device.type != "cpu":
        return None
    if TorchVersion(torch.__version__) < MIN_TORCH_FOR_COMPILED_CPU:
        fixed = f"torch {MIN_TORCH_FOR_COMPILED_CPU} does not"
        return f"torch {torch.__version__} may compile updates in the wrong order, {fixed}"
    if not any(shutil.which(compiler) for compiler in (os.environ.get("CXX", ""), "g++", "clang++")):
        return "no C++ compiler found (CXX, g++ or clang++)"
    return None
