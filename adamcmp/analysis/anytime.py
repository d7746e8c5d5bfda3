r"""A confidence sequence for paired differences: an interval that holds at every number of seeds at once.

Whoever adds seeds until an interval of fixed size excludes 0 will see that happen by chance alone. This one may be
looked at after every seed. If each d_i is symmetric about μ, then for every λ

.. math:: \exp(λ S_n(μ) − λ² V_n(μ) / 2), \quad S_n(μ) = \sum (d_i − μ), \; V_n(μ) = \sum (d_i − μ)²

is a supermartingale, whatever the distribution and its variance; so is its mixture over λ ~ N(0, ρ²),

.. math:: M_n(μ) = (1 + ρ² V_n)^{−1/2} \exp\left(\frac{ρ² S_n²}{2 (1 + ρ² V_n)}\right),

which by Ville's inequality exceeds 1/α with a probability of at most α at any n. The sequence is {μ: M_n(μ) < 1/α}. Any
ρ that was fixed before is right; it is narrowest at the number of seeds that ρ is made for.

Sources: V. H. de la Peña, A General Class of Exponential Inequalities for Martingales and Ratios, Annals of Probability
27(1), 1999 (symmetric increments); V. H. de la Peña, M. J. Klass and T. L. Lai, Self-normalized Processes, Annals of
Probability 32(3), 2004 (mixtures).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import optimize, special

from adamcmp.analysis.choice import choices
from adamcmp.analysis.intervals import Array
from adamcmp.analysis.selection import CELL, judged
from adamcmp.analysis.verdicts import (
    LEVEL,
    Verdict,
    differences,
    examples_of,
    intervals_say,
    over_examples,
    tolerance,
    with_choice,
)
from adamcmp.criteria import criteria_of

BEST_AT = 30
"""Seeds at which the sequence is narrowest."""


def scale(sd: float, level: float = LEVEL) -> float:
    """ρ for differences of about that standard deviation, as known from other seeds."""
    return math.sqrt(2 * math.log(1 / level)) / (sd * math.sqrt(BEST_AT))


def log_evidence(d: Array, mean: float, rho: float) -> float:
    """Log M_n: how much the differences speak against their being symmetric about ``mean``."""
    centred = d - mean
    total, squares = float(centred.sum()), float((centred**2).sum())
    shrunk = 1 + rho**2 * squares
    return rho**2 * total**2 / (2 * shrunk) - 0.5 * math.log(shrunk)


def confidence_sequence(d: Array, rho: float, level: float = LEVEL) -> tuple[float, float]:
    """The interval after n differences; with a probability of 1 − ``level`` it holds their centre at all n at once.

    Far from all differences M_n falls again, since it cannot grow without bound. There another bound holds: that the
    first f (``first_look``) lie on one side of the centre has a probability of 2 · 2^−f, which is taken off ``level``.
    So it is the stretch around the mean where M_n < 1/(level − 2^(1−f)), as far as it lies between the least and the
    largest of the first f; infinite while there are fewer. ``rho`` must not depend on these differences.
    """
    first = first_look(level)
    if len(d) < first:
        return -math.inf, math.inf
    limit, mean = math.log(1 / (level - 2.0 ** (1 - first))), float(d.mean())

    def over(x: float) -> float:
        return log_evidence(d, x, rho) - limit

    ends: list[float] = []
    for bound in (float(d[:first].min()), float(d[:first].max())):
        inside = abs(bound - mean) > 0 and (bound < mean) == (not ends) and over(bound) >= 0
        ends.append(float(optimize.brentq(over, mean, bound)) if inside and over(mean) < 0 else bound)
    return min(ends[0], mean), max(ends[1], mean)


def first_look(level: float = LEVEL) -> int:
    """Differences before there is an interval: with so many, a fifth of the level goes into the other bound.

    >>> first_look(), first_look(0.05 / 6)
    (8, 11)
    """
    return math.ceil(1 - math.log2(level / 5))


def settled(
    records: pd.DataFrame,
    best: pd.DataFrame,
    pair: tuple[str, str],
    margin: float | None = None,
    outcomes: Mapping[str, Array] | None = None,
) -> Verdict:
    """What the seeds of stage ``settle`` say of two arms' best cells, at whatever number of them.

    ρ is made from the confirming seeds, which are others. The verdict's ``low`` and ``high`` are the sequence's ends,
    its ``p_value`` min(1, m/M_n(0)), which may be looked at as often; what belongs to fixed numbers of seeds is NaN.
    Each of the m pairs of the task has an m-th of the level (Bonferroni), so that whichever of them are settled, and
    whyever, the error rate holds for all together. Test examples and the choice of both cells enter as elsewhere: they
    do not narrow by fresh seeds.

    Args:
        records: of one task, of all stages.
        best: one row an arm, as ``best_cells`` returns it.
        pair: the arms.
        margin: as ``verdicts`` has it.
        outcomes: what each test example says of a run, as ``verdicts`` has it.

    Raises:
        ValueError: fewer than three shared confirming seeds, or no spread among them.
    """
    confirming = judged(records, best)
    d = differences(confirming, *pair)
    sd = float(d.std(ddof=1)) if len(d) > 2 else 0.0
    if sd == 0:
        raise ValueError("the arms need three confirming seeds that differ")
    error, pairs = criteria_of(records).error, max(len(best) * (len(best) - 1) // 2, 1)
    rows = records[(records["stage"] == "settle") & (records["status"] == "completed")].merge(best[CELL], on=CELL)
    found = sequence(*pair, differences(rows, *pair), scale(sd, LEVEL / pairs), tolerance(margin, error), pairs)
    both = pd.concat([confirming, rows], ignore_index=True)
    examples = examples_of(both[both["arm"].isin(pair)], outcomes or {})
    if len(examples) == 2 and found.n:
        found = _with_examples(found, examples, is_root=error.is_root)
    how = choices(records)
    return ruled(with_choice(found, how[pair[0]], how[pair[1]], pairs))


def _with_examples(found: Verdict, examples: Mapping[str, Mapping[int, Array]], *, is_root: bool) -> Verdict:
    """The same with an interval over test examples too: in quadrature, since they are drawn apart from seeds."""
    drawn = over_examples(examples, is_root=is_root)
    mean_B = np.mean(list(drawn[found.a].values()), axis=0) - np.mean(list(drawn[found.b].values()), axis=0)
    half = float(special.ndtri(1 - LEVEL / 2) * mean_B.std())
    low, high = found.with_half_width(half)
    return found._replace(low_examples=low, high_examples=high)


def sequence(a: str, b: str, d: Array, rho: float, margin: float, pairs: int = 1) -> Verdict:
    """A pair, one of so many, by its differences so far, not yet decided."""
    low, high = confidence_sequence(d, rho, LEVEL / pairs)
    mean = float(d.mean()) if len(d) else 0.0
    p_value = min(1.0, pairs * math.exp(-log_evidence(d, 0.0, rho)))
    return Verdict(a, b, "open", len(d), mean, low, high, p_value, margin, math.nan, math.nan, math.nan)


def ruled(found: Verdict) -> Verdict:
    """The verdict by the sequence, and by what test examples and the choice of cells add to it."""
    apart, same = intervals_say(found)
    return found._replace(kind="apart" if apart else "same" if same else "open")


def is_stuck(verdict: Verdict) -> bool:
    """Whether no number of fresh seeds settles it: what test examples and the choice of cells leave open is more than
    the difference can be, and more than the margin.
    """
    if not verdict.n:
        return verdict.kind == "open" and not verdict.choice < math.inf
    low, _ = verdict.with_half_width(0.0)
    examples = math.sqrt(max((verdict.mean - low) ** 2 - (verdict.mean - verdict.low) ** 2, 0.0))
    left = math.hypot(examples if math.isfinite(examples) else 0.0, verdict.choice_factor * verdict.choice)
    largest = max(abs(verdict.low), abs(verdict.high))
    return verdict.kind == "open" and not left < verdict.margin and largest <= left
