"""Grid boundaries: whether the selected trial is at the edge of its grid, and the next values beyond."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd


def grid_boundaries(cells_of_arm: pd.DataFrame, best: pd.Series) -> list[str]:
    """Return the boundaries of the grid at which the selected trial is: "lr low", "lr high", "λ low", "λ high".

    There the optimum may lie outside the grid. λ = 0 is a natural bound, no edge; nor is an axis of one value.
    """
    boundaries = []
    for name, column in (("lr", "lr"), ("λ", "weight_decay")):
        low, high = cells_of_arm[column].min(), cells_of_arm[column].max()
        if low < high and best[column] == low and not (name == "λ" and low == 0):
            boundaries.append(f"{name} low")
        if low < high and best[column] == high:
            boundaries.append(f"{name} high")
    return boundaries


def next_grid_values(values: Sequence[float], end: str, count: int) -> list[float]:
    """Return the next values of a geometric grid, beyond its ``low`` or its ``high`` end; none where it has no ratio.

    >>> next_grid_values([0, 1e-3, 1e-2], "high", 2)
    [0.1, 1.0]
    """
    positive = [value for value in values if value > 0]
    if len(positive) < 2:
        return []
    near, next_to = (positive[0], positive[1]) if end == "low" else (positive[-1], positive[-2])
    return [float(f"{near * (near / next_to) ** i:.12g}") for i in range(1, count + 1)]
