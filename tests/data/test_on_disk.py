"""Examples that memory need not hold: the same numbers, read batch by batch."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from adamcmp.data.dataset import make_dataset
from adamcmp.data.on_disk import DiskRows, MappedArray, concatenate
from adamcmp.errors import InputError
from adamcmp.execute.worker import publish_datasets, receive_datasets

PARTS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def _everything_is_large(monkeypatch):
    monkeypatch.setattr("adamcmp.data.raw.LARGE_BYTES", 0)
    monkeypatch.setattr("adamcmp.data.dataset.LARGE_BYTES", 0)
    monkeypatch.setattr("adamcmp.data.raw.CHUNK_NUMBERS", 500)


def mapped(folder, x, name="x"):
    np.save(folder / f"{name}.npy", x)
    return np.load(folder / f"{name}.npy", mmap_mode="r")


KINDS = {
    "pixels": lambda rng: rng.integers(0, 256, (90, 3, 4, 4), dtype=np.uint8),
    "float32": lambda rng: rng.normal(3, 2, (90, 7)).astype(np.float32),
    "float64": lambda rng: rng.normal(3, 2, (90, 7)),
    "tokens": lambda rng: rng.integers(0, 11, (90, 5)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("normalize", [True, False])
def test_disk_and_memory_hold_the_same(tmp_path, kind, normalize):
    rng = np.random.default_rng(0)
    x, y = KINDS[kind](rng), rng.integers(0, 3, 90)
    x_disk = mapped(tmp_path, x)
    disk = make_dataset({"train": (x_disk, y)}, name="own", normalize=normalize, memory=0)
    memory = make_dataset({"train": (x_disk, y)}, name="own", normalize=normalize)
    plain = make_dataset({"train": (x, y)}, name="own", normalize=normalize, memory=0)
    assert isinstance(disk.train.x, DiskRows)
    assert disk.disk_bytes == memory.memory_bytes - disk.memory_bytes == x.nbytes
    assert disk.fingerprint == memory.fingerprint == plain.fingerprint
    assert disk.num_tokens == memory.num_tokens == (11 if kind == "tokens" else 0)
    for part in PARTS:
        there, here = getattr(disk, part), getattr(memory, part)
        assert torch.equal(there.y, here.y)
        assert torch.equal(disk.inputs(there.x), memory.inputs(here.x))
        assert torch.equal(disk.inputs(there.x[torch.tensor([4, 0, 4])]), memory.inputs(here.x[[4, 0, 4]]))
        assert torch.equal(disk.inputs(there.x[1::3]), memory.inputs(here.x[1::3]))


def test_scaled_as_small_data_are(tmp_path, monkeypatch):
    x, y = np.random.default_rng(0).normal(3, 2, (90, 3, 4)).astype(np.float32), np.arange(90) % 3
    disk = make_dataset({"train": (mapped(tmp_path, x), y)}, name="own", memory=0)
    monkeypatch.setattr("adamcmp.data.dataset.LARGE_BYTES", 1e9)
    small = make_dataset({"train": (x, y)}, name="own")
    torch.testing.assert_close(disk.inputs(disk.test.x), small.test.x)


def test_little_is_read_in(tmp_path, monkeypatch):
    x, y = np.zeros((90, 7), np.float32), np.arange(90) % 3
    assert isinstance(
        make_dataset({"train": (mapped(tmp_path, x), y)}, name="own", memory=x.nbytes).train.x, torch.Tensor
    )
    monkeypatch.setattr("adamcmp.data.dataset.LARGE_BYTES", 1e9)  # what is left after the cut is small
    assert isinstance(make_dataset({"train": (mapped(tmp_path, x), y)}, name="own", memory=0).train.x, torch.Tensor)


def test_several_files_are_joined(tmp_path):
    rng = np.random.default_rng(0)
    xs = [rng.integers(0, 256, (n, 2), dtype=np.uint8) for n in (5, 3, 4)]
    parts = [DiskRows.whole(MappedArray.of(mapped(tmp_path, x, f"x{i}"))) for i, x in enumerate(xs)]
    parts[1] = parts[1][torch.tensor([2, 0])]
    expected = torch.from_numpy(np.concatenate([xs[0], xs[1][[2, 0]], xs[2]]))
    assert torch.equal(concatenate(parts).read(), expected)
    assert torch.equal(concatenate(parts)[torch.tensor([10, 0, 6])].read(), expected[[10, 0, 6]])
    assert torch.equal(concatenate([parts[0], torch.from_numpy(xs[1])]), torch.from_numpy(np.concatenate(xs[:2])))


def test_only_whole_maps_stay_on_disk(tmp_path):
    whole = mapped(tmp_path, np.arange(40.0).reshape(10, 4))
    assert MappedArray.of(whole).shape == (10, 4)
    for view in (whole[2:], whole.T, whole.astype(np.float32), np.asarray(whole), np.zeros(3)):
        assert MappedArray.of(view) is None


def test_values_that_are_not_finite_are_found(tmp_path):
    x = np.zeros((90, 7), np.float32)
    x[70, 3] = np.nan
    with pytest.raises(InputError, match="not finite"):
        make_dataset({"train": (mapped(tmp_path, x), np.arange(90) % 3)}, name="own", memory=0)
    x[70, 3] = 1e300 if x.dtype == np.float64 else 3e38
    wide = mapped(tmp_path, x.astype(np.float64) * 1e10, "wide")
    with pytest.raises(InputError, match="leaves the range of float32"):
        make_dataset({"train": (wide, np.arange(90) % 3)}, name="own", memory=0, normalize=False)


def test_training_processes_read_the_same_file(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(90, 70)), np.arange(90) % 3
    disk = make_dataset({"train": (mapped(tmp_path, x), y)}, name="own", memory=0)
    publish_datasets({disk.fingerprint: disk}, tmp_path)
    assert (tmp_path / f"{disk.fingerprint}.pt").stat().st_size < x.nbytes
    again = receive_datasets(tmp_path, disk.fingerprint)
    assert isinstance(again.train.x, DiskRows)
    assert torch.equal(again.inputs(again.train.x), disk.inputs(disk.train.x))
    assert torch.equal(again.scale.mean, disk.scale.mean)


@pytest.mark.slow
def test_memory_holds_no_more_than_what_is_looked_at(tmp_path):
    size = 10**9
    np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.uint8, shape=(size // 3072, 3, 32, 32)).flush()

    def grown(memory):
        """Bytes by which the process's largest extent grows."""
        program = f"""
import numpy as np, torch
from adamcmp.data.dataset import make_dataset
def extent():  # getrusage's survives exec: what the tests before this one took
    return 1024 * next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = extent()
x = np.load("x.npy", mmap_mode="r")
data = make_dataset({{"train": (x, np.arange(len(x)) % 10)}}, name="own", memory={memory})
data.inputs(data.train.x[torch.randperm(len(data.train.y))[:1000]])
print(extent() - before)
"""
        ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True)
        return int(ended.stdout)

    assert grown(0) < 0.6 * size  # a chunk as float64, and the rows read for it
    assert grown(1e12) > size
