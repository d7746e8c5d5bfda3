"""What the machine is asked: control groups in made-up files, products that are rounded on purpose."""

import math
from pathlib import Path

import psutil
import pytest
import torch

from adamcmp.engine import hardware

GIB = 2**30


def groups(tmp_path: Path, own: str, files: dict[str, object]) -> float:
    (tmp_path / "self").write_text(own)
    for name, value in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return hardware._cgroup_memory(tmp_path / "cgroup", tmp_path / "self")


def test_the_least_limit_of_all_groups_above_counts(tmp_path):
    files = {
        "a/b/memory.max": "max", "a/b/memory.current": GIB,
        "a/memory.max": 8 * GIB, "a/memory.current": 3 * GIB, "a/memory.stat": f"anon 5\ninactive_file {GIB}",
    }  # fmt: skip
    assert groups(tmp_path, "0::/a/b\n", files) == 6 * GIB


def test_the_first_version_has_other_files(tmp_path):
    files = {
        "memory/x/memory.limit_in_bytes": 4 * GIB, "memory/x/memory.usage_in_bytes": GIB,
        "memory/x/memory.stat": "inactive_file 7\ntotal_inactive_file 100",
        "memory/memory.limit_in_bytes": 9223372036854771712, "memory/memory.usage_in_bytes": 5,
    }  # fmt: skip
    assert groups(tmp_path, "5:cpu:/x\n4:memory:/x\n", files) == 3 * GIB + 100


@pytest.mark.parametrize("own", ["", "nonsense", "0::/gone", "4:memory:/gone"])
def test_without_limits_there_is_none(tmp_path, own):
    assert groups(tmp_path, own, {"memory.max": "max", "memory.current": 1}) == math.inf


def test_a_container_that_is_full_leaves_nothing(tmp_path):
    assert groups(tmp_path, "0::/", {"memory.max": GIB, "memory.current": 2 * GIB}) == 0.0


def test_a_limit_binds_what_is_available(monkeypatch):
    assert 0 < hardware.available_memory() <= psutil.virtual_memory().total
    monkeypatch.setattr(hardware, "_cgroup_memory", lambda *_: 1e6)
    assert hardware.available_memory() == 1e6


def test_cores_heed_a_quota(monkeypatch):
    assert hardware.count_cores() >= 1
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # the last of the bounds that joblib takes the least of
    assert hardware.count_cores() == 1


def test_products_that_are_rounded_are_noticed(monkeypatch):
    product = torch.bmm

    def rounded(a, b):
        if torch.get_float32_matmul_precision() == "medium":
            return product(a.bfloat16(), b.bfloat16()).float()
        return product(a, b)

    before = torch.get_float32_matmul_precision()
    try:
        hardware.onednn_rounds_to_bf16.cache_clear()
        assert hardware.onednn_rounds_to_bf16() == ("amx_bf16" in Path("/proc/cpuinfo").read_text())
        hardware.onednn_rounds_to_bf16.cache_clear()
        monkeypatch.setattr(torch, "bmm", rounded)
        assert hardware.onednn_rounds_to_bf16()
    finally:
        hardware.onednn_rounds_to_bf16.cache_clear()
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize(
    ("name", "count", "expected"),
    [("cuda", 4, ["cuda:0", "cuda:1", "cuda:2", "cuda:3", "cuda:0"]), ("cuda:1", 4, ["cuda:1"] * 5),
     ("cuda", 1, ["cuda"] * 5), ("cpu", 4, ["cpu"] * 5)],
)  # fmt: skip
def test_processes_take_all_accelerators_in_turns(monkeypatch, name, count, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    device = torch.device(name)
    assert [hardware.device_for_process(device, i) for i in range(5)] == expected
    assert hardware.count_devices(device) == len(set(expected))
