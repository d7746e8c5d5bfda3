"""Examples that stay on disk: memory-mapped arrays, of which only the requested rows are in memory."""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adamcmp.data.multi_input import MultiInput


class MappedArray(NamedTuple):
    """An array inside a file, row after row."""

    path: str
    dtype: str
    offset: int
    """Bytes in front of it."""
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @classmethod
    def of(cls, array: object) -> MappedArray | None:
        """Return the file region of a memory-mapped array; None for a view of one, and for any other array."""
        if not isinstance(array, np.memmap) or not isinstance(array.base, mmap.mmap):
            return None
        if not (array.filename and array.flags.c_contiguous and array.dtype.isnative):
            return None
        return cls(str(array.filename), array.dtype.str, array.offset, array.shape)

    def rows(self, index_n: npt.NDArray[np.int64]) -> Tensor:
        """Return a copy of some rows; the map is closed again, since its pages count as this process's memory until
        then.
        """
        mapped = np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        return torch.from_numpy(np.asarray(mapped[index_n]))


@dataclass(frozen=True, eq=False)
class DiskRows:
    """Some rows of arrays on disk, in an order of their own: it is indexed as a tensor is, and ``read`` makes one."""

    stores: tuple[MappedArray, ...]
    """All of one shape but for the number of rows, and of one dtype."""
    index: Tensor
    """Which rows, counted through all arrays; on the CPU."""
    device: torch.device

    @classmethod
    def whole(cls, stored: MappedArray) -> DiskRows:
        """Return all rows of an array."""
        return cls((stored,), torch.arange(stored.shape[0]), torch.device("cpu"))

    @property
    def shape(self) -> tuple[int, ...]:
        """As of a tensor."""
        return (len(self.index), *self.stores[0].shape[1:])

    @property
    def ndim(self) -> int:
        """As of a tensor."""
        return len(self.shape)

    @property
    def dtype(self) -> torch.dtype:
        """As of a tensor."""
        return torch.from_numpy(np.empty(0, self.stores[0].dtype)).dtype

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, which: Tensor | slice) -> DiskRows:
        """Return other rows of the arrays without reading them."""
        return replace(self, index=self.index[which if isinstance(which, slice) else which.cpu()])

    def to(self, device: torch.device | str) -> DiskRows:
        """Return the same rows, which ``read`` will put on ``device``."""
        return replace(self, device=torch.device(device))

    def read(self) -> Tensor:
        """Return the rows in memory."""
        index_N = self.index.numpy()
        if len(self.stores) == 1:
            return self._placed(self.stores[0].rows(index_N))
        rows = torch.empty(self.shape, dtype=self.dtype)
        starts = np.cumsum([0, *(stored.shape[0] for stored in self.stores)])
        for stored, start, end in zip(self.stores, starts, starts[1:], strict=False):
            (matching,) = np.nonzero((index_N >= start) & (index_N < end))
            if len(matching):
                rows[torch.from_numpy(matching)] = stored.rows(index_N[matching] - start)
        return self._placed(rows)

    def _placed(self, rows: Tensor) -> Tensor:
        """Copy to the device; to CUDA without waiting, from pinned memory. Apple's devices have no float64."""
        if self.device.type == "cuda":
            return rows.pin_memory().to(self.device, non_blocking=True)
        return (rows.float() if self.device.type == "mps" and rows.dtype == torch.float64 else rows).to(self.device)


def to_memory(x: Tensor | DiskRows) -> Tensor:
    """Return the tensor, or the rows read."""
    return x.read() if isinstance(x, DiskRows) else x


def concatenate(xs: Sequence[Tensor | DiskRows | MultiInput]) -> Tensor | DiskRows | MultiInput:
    """Return one behind the other: a tensor of tensors; where one of them stays on disk, all do."""
    several = [x for x in xs if isinstance(x, MultiInput)]
    if several:
        parts = zip(*(x.parts for x in several), strict=True)
        return replace(several[0], parts=tuple(torch.cat(part) for part in parts))
    rows = [x for x in xs if isinstance(x, DiskRows)]
    if len(rows) < len(xs):
        return torch.cat([to_memory(x) for x in xs if not isinstance(x, MultiInput)])
    counts = [sum(stored.shape[0] for stored in row.stores) for row in rows]
    starts = np.cumsum([0, *counts]).tolist()
    index = torch.cat([row.index + start for row, start in zip(rows, starts, strict=False)])
    return replace(rows[0], stores=tuple(stored for row in rows for stored in row.stores), index=index)
