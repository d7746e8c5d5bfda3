r"""What may be said of two arms: told apart, the same to within a margin, or not told apart, and what that would take.

Arms share seeds, so all is about d_i = a_i − b_i, the difference of their errors on seed i (of n):

- *told apart* by the exact paired permutation test: under "no difference" each d_i may as well have the other sign, so
  p is the share of the 2ⁿ signs whose |Σ ± d_i| is at least the observed one; it cannot go below 2/2ⁿ. Holm's
  correction is over the pairs that are compared.
- *the same* by two one-sided t tests: p = max(P(T ≥ (d̄ + m)/se), P(T ≤ (d̄ − m)/se)) for a margin m, Holm too.
- else the smallest difference that these seeds would have shown in four of five trials, and how many seeds the
  observed one would take: by the noncentral t distribution at the level 0.05 over the number of pairs, and no fewer
  than the permutation test needs.

A test part is a sample too, and so are the seeds that chose the cells (``choice``): "told apart" and "the same" need
the interval over all of these as well; and of arms that searched unequally the interval at the smaller budget.

Arms that share no seeds, as in two folders, are compared by Welch's test, with intervals and power by its degrees of
freedom, ν = (u + v)² / (u²/(n−1) + v²/(m−1)) with u = s_a²/n and v = s_b²/m.

Sources: R. A. Fisher, The Design of Experiments, 1935, section 21 (permutation); D. J. Schuirmann, Journal of
Pharmacokinetics and Biopharmaceutics 15, 1987 (two one-sided tests); J. Cohen, Statistical Power Analysis, 1988;
B. L. Welch, Biometrika 34, 1947.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, special, stats

from adamcmp.analysis.choice import Choice, at_smaller_budget, choices, half_width_of_choice
from adamcmp.analysis.intervals import Array, generator, half_width, holm
from adamcmp.analysis.selection import judged
from adamcmp.criteria import ErrorMetric, criteria_of

LEVEL, POWER = 0.05, 0.8
EXACT = 20
"""Seeds up to which all signs are tried."""
DRAWS = 1 << 18
"""Signs that are drawn beyond that."""
MOST_SEEDS = 10_000
"""More than so many are not counted."""
RESAMPLES, AT_ONCE = 4000, 200
"""Of the crossed bootstrap; and how many are drawn together."""
POINTS = 0.005
"""The margin of shares where none is given: half a point."""


class Verdict(NamedTuple):
    """What the shared seeds of two arms say of their errors; differences are a − b, as errors are stored."""

    a: str
    b: str
    kind: Literal["apart", "same", "open", "none"]
    """Told apart; the same to within ``margin``; not told apart; fewer than two shared seeds, or no spread."""
    n: int
    """Shared seeds."""
    mean: float
    low: float
    high: float
    """Student's 95 % interval."""
    p_value: float
    """Of the permutation test, after Holm."""
    margin: float
    """NaN: none."""
    p_same: float
    """Of the two one-sided tests, after Holm."""
    detectable: float
    """The smallest difference that n seeds show with a power of 0.8."""
    seeds_needed: float
    """For the observed difference; infinite beyond ``MOST_SEEDS``."""
    low_examples: float = math.nan
    """The 95 % interval over seeds and test examples; NaN where outcomes of examples are not stored."""
    high_examples: float = math.nan
    choice: float = 0.0
    """The half width for the choice of the cells; 0: nothing was chosen, infinite: by one seed."""
    tuned: float = math.inf
    """Seeds that chose; infinite where nothing was chosen."""
    paired: bool = True
    """By differences over shared seeds; else by Welch's test, over ``n`` seeds each at least."""
    budget: float = math.nan
    """Runs of the arm that searched less; NaN where both searched as much."""
    mean_at_budget: float = math.nan
    low_at_budget: float = math.nan
    high_at_budget: float = math.nan
    """The difference if the other had searched no more; with the widest 95 % interval."""
    choice_at_budget: float = 0.0
    """The half width for the choice then."""
    choice_factor: float = 1.0
    """How many times wider the choice counts in a verdict, since several pairs are told at once (``of_all_pairs``)."""

    @property
    def widest(self) -> tuple[float, float]:
        """The interval over seeds, test examples (where known) and the choice of cells."""
        return self.with_half_width(self.choice)

    @property
    def known(self) -> tuple[float, float]:
        """The widest one that can be told: without the choice of cells where one seed chose them."""
        return self.widest if math.isfinite(self.choice) else self.with_half_width(0.0)

    def with_half_width(self, choice: float, shift: float = 0.0) -> tuple[float, float]:
        """The interval over seeds and test examples, and so much for the choice of cells, around a shifted mean."""
        alone = math.isnan(self.low_examples)
        low, high = (self.low, self.high) if alone else (self.low_examples, self.high_examples)
        centre = self.mean + shift
        return centre - math.hypot(self.mean - low, choice), centre + math.hypot(high - self.mean, choice)


def verdicts(
    records: pd.DataFrame,
    best: pd.DataFrame,
    margin: float | None = None,
    reference: str | None = None,
    outcomes: Mapping[str, Array] | None = None,
    table: pd.DataFrame | None = None,
) -> list[Verdict]:
    """Every pair of arms, or each arm against a reference, by their final test errors.

    Where records have a column ``side``, as ``comparing.compared`` makes it, pairs are of arms of different sides.

    Args:
        records: of one task, of both stages.
        best: one row an arm, as ``best_cells`` returns it.
        margin: as errors are stored; None: half a point of shares, and none of other errors.
        reference: an arm, or its optimizer's configuration; None: all pairs.
        outcomes: what each test example says of a run, by its id, as ``records.read_outcomes`` gives it.
        table: ``cells(records)``, if it is known.
    """
    rows = judged(records, best)
    examples = examples_of(rows, outcomes or {})
    error = criteria_of(records).error
    means = rows.groupby("arm")["final_test_error"].mean()
    ordered = [str(arm) for arm in best["arm"] if arm in means.index]
    ordered.sort(key=lambda arm: error.sign * means[arm])  # the better one of a pair stands first
    named = set(best.loc[(best["arm"] == reference) | (best["optimizer"] == reference), "arm"].astype(str))
    across = pairs_across(records)
    pairs = [
        pair
        for pair in combinations(ordered, 2)
        if (reference is None or named & set(pair)) and (across is None or frozenset(pair) in across)
    ]
    single = [_looked_at(rows, a, b, tolerance(margin, error), len(pairs)) for a, b in pairs]
    if examples:
        drawn = over_examples(examples, is_root=error.is_root)
        single = [_with_examples(each, examples, drawn) for each in single]
    how = choices(records, table)
    return decided([with_choice(each, how[each.a], how[each.b], len(pairs)) for each in single])


def examples_of(rows: pd.DataFrame, outcomes: Mapping[str, Array]) -> dict[str, dict[int, Array]]:
    """What each test example says of runs, by arm and seed; empty where none or different numbers of them are known."""
    found = {
        str(arm): {
            int(seed): outcomes[i] for seed, i in zip(part["seed"], part["run_id"], strict=True) if i in outcomes
        }
        for arm, part in rows.groupby("arm")
    }
    return found if len({len(each) for own in found.values() for each in own.values()}) == 1 else {}


def with_choice(single: Verdict, a: Choice, b: Choice, pairs: int = 1) -> Verdict:
    """The same with what the choice of both cells adds, and at the budget of the arm that searched less.

    Args:
        single: a pair.
        a: how the cell of its first arm was chosen.
        b: and of its second.
        pairs: how many are told of at once.
    """
    tuned = min(a.seeds, b.seeds)
    found = single._replace(choice=half_width_of_choice(a, b), tuned=tuned, choice_factor=of_all_pairs(pairs, tuned))
    if (smaller := at_smaller_budget(a, b)) is None:
        return found
    budget, shift, choice = smaller
    low, high = found.with_half_width(choice, shift)
    mean = found.mean + shift
    return found._replace(
        budget=budget, mean_at_budget=mean, low_at_budget=low, high_at_budget=high, choice_at_budget=choice
    )


def of_all_pairs(pairs: int, seeds: float) -> float:
    """How many times Student's quantile of one pair it takes for all pairs together to be right in 95 % (Bonferroni).

    By ``seeds`` − 1 degrees of freedom. Tukey's range, which is smaller, was too small where few cells nearly tie.

    >>> [round(of_all_pairs(pairs, 5), 2) for pairs in (1, 3, 6)]
    [1.0, 1.43, 1.75]
    """
    if not 2 <= seeds < math.inf:
        return 1.0
    one, all_ = (special.stdtrit(seeds - 1, 1 - LEVEL / 2 / count) for count in (1, pairs))
    return float(all_ / one)


def decided(single: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts on pairs that were looked at one by one (``alone``), with Holm's correction over all of them."""
    apart = holm([1.0 if math.isnan(each.p_value) else each.p_value for each in single])
    same = holm([1.0 if math.isnan(each.p_same) else each.p_same for each in single])
    return [_decided(each, p, q) for each, p, q in zip(single, apart, same, strict=True)]


def differences(rows: pd.DataFrame, a: str, b: str) -> Array:
    """Of the final test errors of two arms, over the seeds that both have, in their order."""
    of_a, of_b = (rows[rows["arm"] == arm].set_index("seed")["final_test_error"] for arm in (a, b))
    shared = sorted(set(of_a.index) & set(of_b.index))
    return np.array([of_a[seed] - of_b[seed] for seed in shared])


def pairs_across(records: pd.DataFrame) -> set[frozenset[str]] | None:
    """Of records with a column ``side``: pairs of arms of different sides, and where two sides have arms of one label,
    of these alone. None: all pairs.
    """
    if "side" not in records:
        return None
    arms = records[["side", "own_arm", "arm"]].drop_duplicates()
    sides = [list(zip(part["own_arm"], part["arm"], strict=True)) for _, part in arms.groupby("side")]
    found: set[frozenset[str]] = set()
    for one, other in combinations(sides, 2):
        shared = {label for label, _ in one} & {label for label, _ in other}
        found |= {frozenset((a, b)) for x, a in one for y, b in other if (x == y if shared else True)}
    return found


def tolerance(margin: float | None, error: ErrorMetric) -> float:
    """The margin as given; else ``POINTS`` of shares, and NaN of other errors."""
    if margin is not None:
        return margin
    return POINTS if error.unit == "%" else math.nan


def _looked_at(rows: pd.DataFrame, a: str, b: str, margin: float, pairs: int) -> Verdict:
    """By differences where two seeds or more are shared; else by Welch's test, where each arm has two."""
    d = differences(rows, a, b)
    x, y = (rows.loc[rows["arm"] == arm, "final_test_error"].to_numpy() for arm in (a, b))
    if len(d) < 2 <= min(len(x), len(y)):
        return unpaired(a, b, x, y, margin, pairs)
    return alone(a, b, d, margin, pairs)


def unpaired(a: str, b: str, x: Array, y: Array, margin: float, pairs: int = 1) -> Verdict:
    """A pair that shares no seeds, by Welch's test; else as ``alone``."""
    n, mean = min(len(x), len(y)), float(x.mean() - y.mean())
    u, v = float(x.var(ddof=1)) / len(x), float(y.var(ddof=1)) / len(y)
    if u + v <= 1e-18 * max(float(np.abs(x).max()), float(np.abs(y).max())) ** 2:
        nan = math.nan
        return Verdict(a, b, "none", n, mean, nan, nan, nan, margin, nan, nan, nan, paired=False)
    se, freedom = math.sqrt(u + v), (u + v) ** 2 / (u**2 / (len(x) - 1) + v**2 / (len(y) - 1))
    half = float(special.stdtrit(freedom, 0.975)) * se
    level = LEVEL / pairs
    same = max(special.stdtr(freedom, -(mean + margin) / se), special.stdtr(freedom, (mean - margin) / se))
    sd, shrunk = se * math.sqrt(n), freedom / (n - 1)
    return Verdict(
        a, b, "open", n, mean, mean - half, mean + half, float(2 * special.stdtr(freedom, -abs(mean) / se)), margin,
        float(same), detectable(sd, n, level, shrunk), seeds_needed(abs(mean), sd, level, shrunk), paired=False,
    )  # fmt: skip


def alone(a: str, b: str, d: Array, margin: float, pairs: int = 1) -> Verdict:
    """A pair, one of so many, by its differences over seeds, before any correction of p, and not yet decided."""
    n = len(d)
    mean = float(d.mean()) if n else math.nan
    sd = float(d.std(ddof=1)) if n > 1 else math.nan
    if n < 2 or sd <= 1e-9 * float(np.abs(d).max()):  # errors are multiples of 1/N: no spread is no certainty
        nan = math.nan
        return Verdict(a, b, "none", n, mean, nan, nan, nan, margin, nan, nan, nan)
    half, level = float(half_width(sd, n)), LEVEL / pairs
    return Verdict(
        a, b, "open", n, mean, mean - half, mean + half, permutation_test(d), margin,
        equivalence_test(d, margin), detectable(sd, n, level),
        max(seeds_needed(abs(mean), sd, level), fewest_seeds(pairs)),
    )  # fmt: skip


def _decided(single: Verdict, p_value: float, p_same: float) -> Verdict:
    if single.kind == "none":
        return single
    wide_apart, wide_same = intervals_say(single)
    if single.choice == 0 and math.isnan(single.low_examples) and math.isnan(single.budget):
        wide_apart = wide_same = True  # the tests alone
    kind: Literal["apart", "same", "open"] = "open"
    if p_value <= LEVEL and wide_apart:
        kind = "apart"
    elif p_same <= LEVEL and wide_same:
        kind = "same"
    return single._replace(kind=kind, p_value=p_value, p_same=p_same)


def intervals_say(single: Verdict) -> tuple[bool, bool]:
    """Whether the widest interval, and the one at the smaller budget, lie on one side of 0; and within the margin.

    Of several pairs both are wider by the ``choice_factor``.
    """
    factor = single.choice_factor
    ends = [single.with_half_width(factor * single.choice)]
    if not math.isnan(single.budget):
        ends.append(single.with_half_width(factor * single.choice_at_budget, single.mean_at_budget - single.mean))
    apart = all(low > 0 for low, _ in ends) or all(high < 0 for _, high in ends)
    return apart, all(low > -single.margin and high < single.margin for low, high in ends)


def _with_examples(
    single: Verdict, examples: Mapping[str, Mapping[int, Array]], drawn: Mapping[str, Mapping[int, Array]]
) -> Verdict:
    """The same with its interval over seeds and test examples, where all shared seeds have outcomes."""
    a, b = (examples[arm] for arm in single[:2])
    if not single.paired and min(len(a), len(b)) < single.n:
        return single
    if not single.paired:
        low, high = over_seeds_apart(*(np.stack(list(drawn[arm].values())) for arm in single[:2]))
        return single._replace(low_examples=low, high_examples=high)
    seeds = sorted(a.keys() & b.keys())
    if len(seeds) != single.n or single.n < 2:
        return single
    d_SB = np.stack([drawn[single.a][seed] - drawn[single.b][seed] for seed in seeds])
    low, high = over_seeds(d_SB)
    return single._replace(low_examples=low, high_examples=high)


def over_examples(examples: Mapping[str, Mapping[int, Array]], *, is_root: bool) -> dict[str, dict[int, Array]]:
    """The error of each run, by arm and seed, on ``RESAMPLES`` draws of the test examples: (B,), the same for all.

    Args:
        examples: what each of N examples says of a run, such as 1 for a wrong prediction; N the same for all.
        is_root: the error is the root of the mean over examples.
    """
    runs = [(arm, seed) for arm, own in examples.items() for seed in own]
    stacked_RN = np.stack([examples[arm][seed] for arm, seed in runs])
    draw, count = generator("test examples"), stacked_RN.shape[1]
    parts = []
    for _ in range(0, RESAMPLES, AT_ONCE):
        weight_BN = draw.multinomial(count, np.full(count, 1 / count), AT_ONCE) / count
        parts.append(stacked_RN @ weight_BN.T)
    mean_RB = np.concatenate(parts, axis=1)
    found: dict[str, dict[int, Array]] = {arm: {} for arm in examples}
    for (arm, seed), mean_B in zip(runs, np.sqrt(mean_RB) if is_root else mean_RB, strict=True):
        found[arm][seed] = mean_B
    return found


def over_seeds(d_SB: Array) -> tuple[float, float]:
    """95 % interval of a mean over seeds and test examples, both drawn anew: percentiles of a crossed bootstrap.

    Args:
        d_SB: a difference on each of S seeds, for each of B draws of the test examples.

    Source: A. B. Owen, The Pigeonhole Bootstrap, Annals of Applied Statistics 1(2), 2007: where both vary, it is
    conservative.
    """
    return _middle(_redrawn_mean(d_SB, generator("seeds")))


def over_seeds_apart(a_SB: Array, b_SB: Array) -> tuple[float, float]:
    """The same of the difference of two arms that share no seeds, but all test examples."""
    draw = generator("seeds")
    return _middle(_redrawn_mean(a_SB, draw) - _redrawn_mean(b_SB, draw))


def _redrawn_mean(error_SB: Array, draw: np.random.Generator) -> Array:
    """The mean over seeds drawn anew, one draw of them for each draw of the examples: (B,)."""
    seeds, draws = error_SB.shape
    weight_BS = draw.multinomial(seeds, np.full(seeds, 1 / seeds), draws) / seeds
    return np.asarray((weight_BS * error_SB.T).sum(1))


def _middle(draws_B: Array) -> tuple[float, float]:
    low, high = np.quantile(draws_B, [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)


def permutation_test(d: Array) -> float:
    """Two-sided p of "each difference may have either sign": exact up to ``EXACT`` of them, else of drawn signs.

    >>> permutation_test(np.array([1.0, 2.0, 3.0, 4.0]))
    0.125
    """
    n, observed = len(d), abs(float(d.sum()))
    if n <= EXACT:
        sums: NDArray[np.float64] = np.zeros(1)
        for each in d:
            sums = np.concatenate([sums + each, sums - each])
        return float((np.abs(sums) >= observed * (1 - 1e-12)).mean())
    signs = generator("signs").integers(0, 2, (DRAWS, n), np.int8) * 2 - 1
    as_large = (np.abs(signs @ d) >= observed * (1 - 1e-12)).sum()
    return float((1 + as_large) / (1 + DRAWS))


def equivalence_test(d: Array, margin: float) -> float:
    """P of two one-sided t tests against "they differ by the margin or more"; NaN without a margin."""
    se = float(d.std(ddof=1)) / math.sqrt(len(d))
    above, below = (float(d.mean()) + margin) / se, (float(d.mean()) - margin) / se
    return float(max(special.stdtr(len(d) - 1, -above), special.stdtr(len(d) - 1, below)))


def power(difference: float, sd: float, n: int, level: float = LEVEL, freedom: float = 1.0) -> float:
    """Of the two-sided paired t test: how often n seeds show a true difference.

    Args:
        difference: the true one.
        sd: of differences over seeds; of arms that share no seeds √n times the standard error of the difference.
        n: seeds.
        level: of the test.
        freedom: degrees of freedom over n − 1: 1 of pairs, up to 2 of arms that share no seeds.
    """
    degrees = freedom * (n - 1)
    limit, shift = special.stdtrit(degrees, 1 - level / 2), difference / sd * math.sqrt(n)
    this_way, other_way = stats.nct.sf(limit, degrees, shift), stats.nct.cdf(-limit, degrees, shift)
    return float(np.nan_to_num(this_way, nan=1.0) + np.nan_to_num(other_way, nan=0.0))  # of large shifts scipy has none


def detectable(sd: float, n: int, level: float = LEVEL, freedom: float = 1.0) -> float:
    """The smallest difference that n seeds show with ``POWER``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of scipy's series far off, where the power is 1
        return float(optimize.brentq(lambda x: power(x * sd, sd, n, level, freedom) - POWER, 1e-6, 1e6)) * sd


def seeds_needed(difference: float, sd: float, level: float = LEVEL, freedom: float = 1.0) -> float:
    """The fewest seeds that show a difference with ``POWER``; infinite where ``MOST_SEEDS`` do not."""
    if power(difference, sd, MOST_SEEDS, level, freedom) < POWER:
        return math.inf
    low, high = 2, MOST_SEEDS
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(difference, sd, middle, level, freedom) >= POWER else (middle + 1, high)
    return float(low)


def fewest_seeds(pairs: int) -> int:
    """Seeds from which on the permutation test can tell all of so many pairs apart, after Holm.

    >>> [fewest_seeds(pairs) for pairs in (1, 3, 6)]
    [6, 7, 8]
    """
    return math.ceil(math.log2(2 * max(pairs, 1) / LEVEL))


def in_the_way(verdict: Verdict) -> Literal["one seed", "examples", "effort", "choice", "seeds"]:
    """Why a pair is open: what more fresh seeds would not mend, or ``seeds``."""
    if math.isinf(verdict.choice):
        return "one seed"
    equal = verdict._replace(budget=math.nan)
    of_cells = equal._replace(choice=0.0)
    if _kind(of_cells) == "open" and _kind(of_cells._replace(low_examples=math.nan)) == "apart":
        return "examples"
    if _kind(equal) != "open":
        return "effort"
    return "choice" if _kind(of_cells) != "open" else "seeds"


def _kind(corrected: Verdict) -> str:
    """What would be said of a pair whose p values are corrected already."""
    return _decided(corrected, corrected.p_value, corrected.p_same).kind


def frame(found: Sequence[Verdict]) -> pd.DataFrame:
    """One row a pair, with the fields of ``Verdict`` as columns; ``low_widest`` and ``high_widest`` are over all
    sources that are known.
    """
    table = pd.DataFrame(found, columns=Verdict._fields)
    widest = [each.with_half_width(each.choice if each.choice < math.inf else 0.0) for each in found]
    return table.assign(low_widest=[low for low, _ in widest], high_widest=[high for _, high in widest])
