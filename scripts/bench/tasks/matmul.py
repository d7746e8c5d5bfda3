"""The machine's matrix product on all threads; prints GFLOP/s as fp32, fp32 under ``medium``, and bf16.

python -m tasks.matmul 0.5
"""

from __future__ import annotations

import sys
import time

import torch

SIZE = 2048


def rate(dtype: torch.dtype, seconds: float) -> float:
    """GFLOP/s of SIZE² products, the best of those that fit into so many seconds."""
    a, b = torch.randn(SIZE, SIZE, dtype=dtype), torch.randn(SIZE, SIZE, dtype=dtype)
    a @ b
    best, ends = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < ends:
        started = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - started)
    return 2 * SIZE**3 / best / 1e9


def main() -> None:
    """Print the three rates in one line."""
    seconds = float(sys.argv[1])
    fp32 = rate(torch.float32, seconds)
    torch.set_float32_matmul_precision("medium")
    print(fp32, rate(torch.float32, seconds), rate(torch.bfloat16, seconds))


if __name__ == "__main__":
    main()
