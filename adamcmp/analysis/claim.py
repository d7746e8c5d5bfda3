"""A claim of the literature as a number: predicted range, measured estimate, and the verdict that follows from both.

A claim predicts an open range of values. It is *supported* where the whole 95 % interval lies inside, *refuted* where
all of it lies outside, and *inconclusive* where it holds both; a value without an interval supports nothing. So no
verdict is written by hand, and one that is inconclusive says how large an effect would have been seen.

A difference of two estimates takes its interval from theirs, without symmetry (MOVER):
L = d − √((a − l_a)² + (u_b − b)²), U = d + √((u_a − a)² + (b − l_b)²). It is for independent estimates; of optimizers
that share seeds it is mostly too wide.

Source: G. Y. Zou and A. Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27,
2008.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from adamcmp.analysis.intervals import Estimate, half_width

BELOW_RANGE, ABOVE_RANGE = (-math.inf, 0.0), (0.0, math.inf)
"""Predicted ranges of a number that is claimed to be negative, and of one that is claimed to be positive."""
VERDICTS = {
    "supported": "supported",
    "refuted": "refuted",
    "inconclusive": "inconclusive",
    "none": "no interval",
}
"""Verdicts as they are printed."""


FALSE_DISCOVERY_RATE = 0.05
"""False discovery rate that the claims of one page are corrected to."""
DETECTION_POWER = float((norm.ppf(0.975) + norm.ppf(0.8)) / norm.ppf(0.975))
"""Half widths of a 95 % interval that an effect must measure to be detected with 80 % power."""


class Claim(NamedTuple):
    """A claim of the literature and its measurement."""

    statement: str
    """In one sentence, without its end."""
    source: str
    """Where it is made."""
    measured: str
    """Description of the measured number."""
    estimate: Estimate
    """As it is shown, in ``unit``."""
    predicted: tuple[float, float]
    """The open range of values that the statement stands for."""
    task: str | None = None
    """Hash of the task that it is about; None: of several."""
    on: str = ""
    """Label of the task, or of the closed-form test."""
    unit: str = ""
    form: str = "+.2f"
    """How numbers are written."""

    @property
    def verdict(self) -> Literal["supported", "refuted", "inconclusive", "none"]:
        """Verdict that follows from the interval."""
        _, low, high = self.estimate
        if not self.estimate.has_interval:
            return "none"
        if self.predicted[0] < low and high < self.predicted[1]:
            return "supported"
        return "refuted" if high <= self.predicted[0] or low >= self.predicted[1] else "inconclusive"

    @property
    def p_value(self) -> float:
        """Two-sided p of the nearest end of the predicted range, from the interval; NaN without an interval.

        The half width on the side of that end counts as 1.96 standard errors. A number without chance has p = 0.
        """
        value, low, high = self.estimate
        if not self.estimate.has_interval:
            return math.nan
        ends = [end for end in self.predicted if math.isfinite(end)]
        return max((_p_value_of(value, low, high, end) for end in ends), default=0.0)

    @property
    def narrower(self) -> float:
        """How many times narrower the interval would have to be, around the same value, to tell; NaN where it does.

        By seeds alone, it takes the square of that many times as many.
        """
        if self.verdict != "inconclusive":
            return math.nan
        value, low, high = self.estimate
        ends = [(high if bound > value else low, bound) for bound in self.predicted if low < bound < high]
        ratios = [(end - value) / (bound - value) if bound != value else math.inf for end, bound in ends]
        return max(ratios, default=math.inf)

    @property
    def detectable(self) -> float:
        """Distance of a true value from the end of the predicted range that is detected with 80 % power, in ``unit``.

        (z_0.975 + z_0.8) / z_0.975 half widths of the interval, the wider half; NaN without an interval.
        """
        value, low, high = self.estimate
        return DETECTION_POWER * max(value - low, high - value)


def _p_value_of(value: float, low: float, high: float, end: float) -> float:
    half = value - low if end < value else high - value
    if half <= 0:
        return 1.0 if end == value else 0.0
    return float(2 * norm.sf(norm.ppf(0.975) * abs(value - end) / half))


def false_discovery(p_values: Sequence[float]) -> list[float]:
    """Return p-values of claims that are tested together, adjusted by Benjamini and Hochberg; NaN stays NaN.

    Of decided claims with an adjusted p ≤ ``FALSE_DISCOVERY_RATE``, a share of at most ``FALSE_DISCOVERY_RATE`` is
    expected to be decided wrongly.

    Source: Y. Benjamini and Y. Hochberg, JRSS B 57, 1995; Y. Benjamini and D. Yekutieli, Annals of Statistics 29, 2001
    (positive dependence).
    """
    finite = [(p, i) for i, p in enumerate(p_values) if not math.isnan(p)]
    adjusted, least = [math.nan] * len(p_values), 1.0
    for rank, (p, i) in sorted(enumerate(sorted(finite), start=1), reverse=True):
        least = min(least, p * len(finite) / rank)
        adjusted[i] = least
    return adjusted


def lost_after_correction(claims: Sequence[Claim]) -> list[bool]:
    """Return which claims are decided by their own interval, but not at the false discovery rate of all of them."""
    return [
        claim.verdict in ("supported", "refuted") and p > FALSE_DISCOVERY_RATE
        for claim, p in zip(claims, false_discovery([claim.p_value for claim in claims]), strict=True)
    ]


def to_frame(claims: Sequence[Claim]) -> pd.DataFrame:
    """Return one row per claim, with numbers in the unit in which they are shown."""
    rows = [
        {
            "statement": claim.statement,
            "source": claim.source,
            "on": claim.on,
            "measured": claim.measured,
            **claim.estimate.columns("value"),
            "unit": claim.unit,
            "predicted_low": claim.predicted[0],
            "predicted_high": claim.predicted[1],
            "verdict": claim.verdict,
            "p_value": claim.p_value,
            "p_adjusted": adjusted,
            "narrower": claim.narrower,
            "detectable": claim.detectable,
            "form": claim.form,
        }
        for claim, adjusted in zip(claims, false_discovery([claim.p_value for claim in claims]), strict=True)
    ]
    return pd.DataFrame(rows)


def mean_with_ci(each: Iterable[float]) -> Estimate:
    """Return mean of independent values with Student's 95 % interval; one value, or values without spread, have
    none.
    """
    values = np.fromiter(each, dtype=np.float64)
    if len(values) < 2 or not values.std() > 0:
        return Estimate(float(values.mean()) if len(values) else math.nan)
    half = float(half_width(values.std(ddof=1), len(values)))
    return Estimate(float(values.mean()), float(values.mean()) - half, float(values.mean()) + half)


def subtract(a: Estimate, b: Estimate) -> Estimate:
    """Return the difference a − b of independent estimates."""
    difference = a.value - b.value
    return Estimate(
        difference,
        difference - math.hypot(a.value - a.low, b.high - b.value),
        difference + math.hypot(a.high - a.value, b.value - b.low),
    )


def absolute(estimate: Estimate) -> Estimate:
    """Return |a|; the interval of a number whose sign is open begins at 0."""
    if math.isnan(estimate.low):
        return Estimate(abs(estimate.value))
    ends = sorted((abs(estimate.low), abs(estimate.high)))
    return Estimate(abs(estimate.value), 0.0 if estimate.low <= 0 <= estimate.high else ends[0], ends[1])


def exact_value(value: float) -> Estimate:
    """Return a number that is known, as of a formula or of a computation without chance."""
    return Estimate(value, value, value)


def scale_by(estimate: Estimate, factor: float) -> Estimate:
    """Return an estimate in another unit."""
    return Estimate(*(factor * x for x in estimate))
