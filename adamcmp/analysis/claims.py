"""A statement of the literature as a number: what it predicts, what was measured, and the verdict that follows.

A claim predicts an open range of values. It is *found* where the whole 95 % interval lies inside, *contradicted* where
all of it lies outside, and *not told* where it holds both; a value without an interval tells nothing. So no verdict is
written by hand, and one that is not told says how far the number may still be from the prediction.

A difference of two estimates takes its interval from theirs, without symmetry (MOVER):
L = d − √((a − l_a)² + (u_b − b)²), U = d + √((u_a − a)² + (b − l_b)²). It is for independent estimates; of arms that
share seeds it is mostly too wide.

Source: G. Y. Zou and A. Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27,
2008.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from adamcmp.analysis.intervals import Estimate, half_width

BELOW, ABOVE = (-math.inf, 0.0), (0.0, math.inf)
"""What is predicted of a number that shall be negative, or positive."""
VERDICTS = {
    "found": "found",
    "contradicted": "contradicted",
    "open": "not told",
    "none": "no interval",
}
"""How each is spelt."""


class Claim(NamedTuple):
    """One statement, and what was measured of it."""

    statement: str
    """In one sentence, without its end."""
    source: str
    """Where it is made."""
    measured: str
    """What number this is."""
    estimate: Estimate
    """As it is shown, in ``unit``."""
    predicted: tuple[float, float]
    """The open range of values that the statement stands for."""
    task: str | None = None
    """Hash of the task that it is about; None: of several."""
    on: str = ""
    """What it was measured on: the task's label."""
    unit: str = ""
    form: str = "+.2f"
    """How numbers are written."""

    @property
    def verdict(self) -> Literal["found", "contradicted", "open", "none"]:
        """What follows from the interval."""
        _, low, high = self.estimate
        if math.isnan(low) or math.isnan(high):
            return "none"
        if self.predicted[0] < low and high < self.predicted[1]:
            return "found"
        return "contradicted" if high <= self.predicted[0] or low >= self.predicted[1] else "open"

    @property
    def narrower(self) -> float:
        """How many times narrower the interval would have to be, around the same value, to tell; NaN where it does.

        By seeds alone, it takes the square of that many times as many.
        """
        if self.verdict != "open":
            return math.nan
        value, low, high = self.estimate
        ends = [(high if bound > value else low, bound) for bound in self.predicted if low < bound < high]
        ratios = [(end - value) / (bound - value) if bound != value else math.inf for end, bound in ends]
        return max(ratios, default=math.inf)


def frame(claims: Sequence[Claim]) -> pd.DataFrame:
    """One row a claim, numbers as they are shown."""
    rows = [
        {
            "statement": each.statement,
            "source": each.source,
            "on": each.on,
            "measured": each.measured,
            **each.estimate.columns("value"),
            "unit": each.unit,
            "predicted_low": each.predicted[0],
            "predicted_high": each.predicted[1],
            "verdict": each.verdict,
            "narrower": each.narrower,
            "form": each.form,
        }
        for each in claims
    ]
    return pd.DataFrame(rows)


def of_values(each: Iterable[float]) -> Estimate:
    """Mean of independent values with Student's 95 % interval; one value, or values without spread, have none."""
    values = np.fromiter(each, dtype=np.float64)
    if len(values) < 2 or not values.std() > 0:
        return Estimate(float(values.mean()) if len(values) else math.nan)
    half = float(half_width(values.std(ddof=1), len(values)))
    return Estimate(float(values.mean()), float(values.mean()) - half, float(values.mean()) + half)


def minus(a: Estimate, b: Estimate) -> Estimate:
    """The difference a − b of independent estimates."""
    difference = a.value - b.value
    return Estimate(
        difference,
        difference - math.hypot(a.value - a.low, b.high - b.value),
        difference + math.hypot(a.high - a.value, b.value - b.low),
    )


def magnitude(each: Estimate) -> Estimate:
    """|a|; the interval of a number whose sign is open begins at 0."""
    if math.isnan(each.low):
        return Estimate(abs(each.value))
    ends = sorted((abs(each.low), abs(each.high)))
    return Estimate(abs(each.value), 0.0 if each.low <= 0 <= each.high else ends[0], ends[1])


def times(each: Estimate, factor: float) -> Estimate:
    """Of an estimate in another unit."""
    return Estimate(*(factor * x for x in each))
