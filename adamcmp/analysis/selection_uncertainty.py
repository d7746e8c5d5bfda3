r"""How uncertain the selection of a trial is: a bootstrap over the tuning seeds.

Other tuning seeds may have selected another trial. A verdict is about an optimizer as it was tuned, so the T tuning
seeds are resampled with replacement and the selection is repeated on every resample b. The *win share* w_c of trial c
is the share of resamples in which c wins. Held-out runs exist for the trials with w_c ≥ ``MIN_WIN_SHARE``, and the
error of the optimizer is the average of their held-out errors f_c, weighted by w_c (bagging: the error of "this
optimizer, tuned with T seeds").

Its variance over tuning seeds is the infinitesimal jackknife of that average, with T − 1 degrees of freedom:

.. math:: V = \frac{T}{T−1} \sum_t \mathrm{Cov}_b(N_{bt}, f_{c(b)})^2

with N_bt copies of seed t in resample b. Bootstrap means of T seeds spread by √((T − 1)/T) too little, so their
deviations are multiplied by √(T/(T − 1)). The jackknife misses trials that these T seeds hardly select by chance.
So V is at least a quarter of the variance of the error that other tuning seeds select (``spread_B``), where trials
without held-out runs count with the test errors of their tuning runs. Both constants were set on real trainings
(docs/explanation/verdicts.md).

Without held-out runs of the other trials, V is the mean square of the shift t̄(c(b)) − t̄(c) in test error of the
tuning runs, which includes the noise of these runs and is therefore too large rather than too small.

Optimizers with unequal tuning budgets (trials × seeds, in runs) are compared as if each had had the smaller budget.
The best of k among an optimizer's N trials, drawn without replacement, is the trial of validation rank r with
probability w_r = C(N−1−r, k−1) / C(N, k) (``rank_weights``). The trials of the smaller search are one such draw. Its
luck is skewed (a few trials may all be bad), so it enters interval and p as a distribution, not as a variance.

Up to ``MAX_EXACT_SEEDS`` tuning seeds, all resamples are enumerated with their multinomial probabilities.

Sources: B. Efron, Estimation and Accuracy After Model Selection, JASA 109, 2014 (bagging, infinitesimal jackknife);
S. Wager, T. Hastie and B. Efron, Confidence Intervals for Random Forests, JMLR 15, 2014; J. Dodge et al., Show Your
Work: Improved Reporting of Experimental Results, EMNLP 2019 (best of k).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adamcmp.analysis.bootstrap import draw_resamples
from adamcmp.analysis.intervals import Array
from adamcmp.analysis.selection import TRIAL_KEY, ranked_trials, trials_table, tuning_runs
from adamcmp.metrics.spec import task_metrics

MIN_WIN_SHARE = 0.05
"""Trials that win in this share of the resamples or more get held-out runs."""
MIN_AVERAGED_VARIANCE_SHARE = 0.25
"""Lower bound on the variance of the average over candidates, as a share of the variance of one selected trial; with
two tuning seeds the share is 1."""


class VarianceComponent(NamedTuple):
    """One source of variance of an estimate."""

    variance: float
    freedom: float
    """Degrees of freedom of the variance; infinite where the variance is known."""


class BestOf(NamedTuple):
    """The result of a search with k trials."""

    shift: float
    """Expected test error minus that of the selected trial."""
    error_R: Array
    """Test error of the trial of each validation rank, minus the expected one."""
    weight_R: Array
    """Probability that the search finds the trial of that rank."""
    shift_B: Array
    """The expected shift on every resample of the tuning seeds."""
    noise_R: Array
    """Variance of these errors over the noise of tuning runs, relative to the selected trial."""


@dataclass(frozen=True, eq=False)
class Selection:
    """The tuning results of one optimizer that its trial was selected by."""

    validation_CT: Array
    """Validation errors of C eligible trials on T tuning seeds, lower is better, the selected trial first."""
    test_CT: Array
    trials: int
    """N trials that were tuned, eligible or not."""
    seed_ids: tuple[int, ...] = ()
    """The T tuning seeds."""
    places: Sequence[tuple[float, float]] = ()
    """Learning rate and weight decay of each eligible trial."""
    selected: int | None = None
    """Index of the selected trial; None: the lowest mean validation error, ties to the first."""
    _best_of: dict[int, BestOf] = field(default_factory=dict, repr=False)

    @property
    def seeds(self) -> float:
        """T; infinite with one trial, where nothing was selected."""
        return math.inf if len(self.test_CT) == 1 else self.test_CT.shape[1]

    @property
    def is_known(self) -> bool:
        """Whether the uncertainty of the selection can be estimated: one trial, or two tuning seeds or more."""
        return self.seeds >= 2

    @property
    def runs(self) -> int:
        """The tuning budget."""
        return self.trials * int(self.test_CT.shape[1])

    @property
    def place(self) -> int:
        """Index of the selected trial."""
        return self.selected if self.selected is not None else int(np.argmin(self.validation_CT.mean(1).round(12)))

    @cached_property
    def winner_B(self) -> NDArray[np.int64]:  # noqa: N802  # axes, as in all arrays
        """Index of the trial that wins on every resample."""
        if not 2 <= self.seeds < math.inf:
            return np.array([self.place])
        return np.asarray(self._validation_BC().argmin(1))

    @cached_property
    def win_share_C(self) -> Array:  # noqa: N802  # axes, as in all arrays
        """Share of the resamples in which each trial wins."""
        if not 2 <= self.seeds < math.inf:
            return np.asarray(np.arange(len(self.test_CT)) == self.place, float)
        probability_B = draw_resamples(self.test_CT.shape[1]).probability_B
        return np.asarray(np.bincount(self.winner_B, probability_B, minlength=len(self.test_CT)).round(12))

    def trial_errors(self, held_out: Mapping[int, float]) -> Array | None:
        """Return the held-out error of every candidate, and for other trials the shift of their tuning runs.

        Args:
            held_out: mean held-out error by index.

        Returns:
            (C,); None if a candidate has no held-out error.
        """
        if any(index not in held_out for index in candidate_indices(self)):
            return None
        mean_C = self.test_CT.mean(1)
        error_C = held_out[self.place] + mean_C - mean_C[self.place]
        error_C[list(held_out)] = list(held_out.values())
        return np.asarray(error_C)

    def spread_B(self, error_C: Array) -> Array:  # noqa: N802  # axes, as in all arrays
        """Return the error of the trial that other tuning seeds select, on every resample, minus its average.

        Means of two sets of tuning seeds differ by √2 times as much as a mean from the truth.
        """
        probability_B = draw_resamples(self.test_CT.shape[1]).probability_B
        error_B = error_C[self._validation_BC(math.sqrt(2)).argmin(1)]
        return np.asarray(error_B - probability_B @ error_B)

    def influence(self, error_C: Array) -> Array:
        """Return the covariance of the selected trial's error with the copies of each tuning seed: (T,).

        Args:
            error_C: error of every trial (``trial_errors``); trials that are no candidates count as their average.
        """
        share_BT, probability_B = draw_resamples(self.test_CT.shape[1])
        copies_BT = share_BT * share_BT.shape[1] - 1
        wanted = candidate_indices(self)
        averaged_C = np.full(len(error_C), error_C[wanted].mean())
        averaged_C[wanted] = error_C[wanted]
        error_B = averaged_C[self.winner_B]
        return np.asarray((probability_B * (error_B - probability_B @ error_B)) @ copies_BT)

    @cached_property
    def shift_B(self) -> Array:  # noqa: N802  # axes, as in all arrays
        """Test error of the tuning runs of the trial that wins on each resample, minus that of the selected trial."""
        mean_C = self.test_CT.mean(1)
        return np.asarray(mean_C[self.winner_B] - mean_C[self.place])

    def best_of(self, k: int) -> BestOf:
        """Return the expected result of a search of k of the N trials."""
        if k not in self._best_of:
            self._best_of[k] = self._expected_best_of(k)
        return self._best_of[k]

    def _expected_best_of(self, k: int) -> BestOf:
        if math.isinf(self.seeds):
            return BestOf(0.0, np.zeros(1), np.ones(1), np.zeros(1), np.zeros(1))
        mean_C, weight_C = self.test_CT.mean(1), rank_weights(self.trials, k)[: len(self.test_CT)]
        weight_C = weight_C / weight_C.sum()
        order_C = self.validation_CT.mean(1).round(12).argsort(kind="stable")
        expected = float(mean_C[order_C] @ weight_C)
        selected = float(mean_C[self.place])
        expected_B = mean_C[self._validation_BC().argsort(1, kind="stable")] @ weight_C
        shift_CT = self.test_CT[order_C] - self.test_CT[self.place]
        noise_C = shift_CT.var(1, ddof=1) / self.test_CT.shape[1]
        return BestOf(expected - selected, mean_C[order_C] - expected, weight_C, expected_B - selected, noise_C)

    def _validation_BC(self, times: float = 1.0) -> Array:  # noqa: N802  # axes, as in all arrays
        """Return the mean validation errors of every resample, spread as those of new seeds are."""
        seeds, mean_C = self.test_CT.shape[1], self.validation_CT.mean(1)
        drawn_BC = draw_resamples(seeds).share_BT @ self.validation_CT.T
        away_BC = drawn_BC - mean_C
        # a trial that failed on some seeds must not become better than all that was measured of it: its means are moved
        # by no more than those of the better half of the trials are at most
        better = np.argsort(mean_C, kind="stable")[: max(2, len(mean_C) // 2)]
        typical = float(np.abs(away_BC).max(0)[better].max())
        more = times * math.sqrt(seeds / (seeds - 1)) - 1
        return np.asarray((drawn_BC + more * np.clip(away_BC, -typical, typical)).round(12))


def selections(records: pd.DataFrame, table: pd.DataFrame | None = None) -> dict[str, Selection]:
    """Return the selection of every optimizer of one task that has an eligible trial.

    Args:
        records: runs of one task.
        table: ``trials_table(records)``, if it is known.
    """
    table = trials_table(records) if table is None else table
    runs = tuning_runs(records)
    runs = runs[runs["status"] == "completed"]
    runs = runs[np.isfinite(runs["final_validation_error"].to_numpy(float))]
    sign, trials, result = task_metrics(records).error.sign, table.groupby("arm").size(), {}
    by_arm = dict(iter(runs.groupby("arm")))
    for arm, ranked in ranked_trials(table).groupby("arm"):
        arm_runs = by_arm[arm].set_index([*TRIAL_KEY[1:], "seed"])
        order = pd.MultiIndex.from_frame(ranked[TRIAL_KEY[1:]])
        whole_CT = arm_runs["final_validation_error"].unstack().loc[order]
        validation_CT = whole_CT.dropna(axis="columns")
        if not len(validation_CT.columns):  # no tuning seed is shared by all trials: the selection is not known
            validation_CT = whole_CT.mean(axis=1).to_frame(whole_CT.columns[0])
        test_CT = arm_runs["final_test_error"].unstack().loc[order].reindex(columns=validation_CT.columns)
        result[str(arm)] = Selection(
            sign * validation_CT.to_numpy(),
            test_CT.to_numpy(),
            int(trials[arm]),
            tuple(map(int, validation_CT.columns)),
            list(order),
            selected=0,  # by all of its tuning seeds, which trials need not share
        )
    return result


def candidate_indices(selection: Selection) -> list[int]:
    """Return the indices of the trials that get held-out runs: the selected one first, then by win share."""
    share_C, place = selection.win_share_C, selection.place
    others = [int(i) for i in np.argsort(-share_C, kind="stable") if i != place and share_C[i] >= MIN_WIN_SHARE]
    return [place, *others]


def runner_ups(selection: Selection) -> list[tuple[tuple[float, float], float]]:
    """Return learning rate and weight decay of the other candidates, with their win shares, largest first."""
    return [(selection.places[i], float(selection.win_share_C[i])) for i in candidate_indices(selection)[1:]]


def selection_variance(
    a: Selection, b: Selection, error_a_C: Array | None, error_b_C: Array | None
) -> list[VarianceComponent]:
    """Return the variance that the selection of both trials adds to a difference a − b.

    Args:
        a: selection of one optimizer.
        b: of the other. Shared tuning seeds are resampled together.
        error_a_C: held-out error of every trial of ``a``; None: other candidates have no held-out runs.
        error_b_C: the same of ``b``.

    Returns:
        One component, or one per optimizer; infinite variance where one tuning seed selected among several trials.
    """
    sides = [(side, error_C) for side, error_C in ((a, error_a_C), (b, error_b_C)) if math.isfinite(side.seeds)]
    if any(not side.is_known for side, _ in sides):
        return [VarianceComponent(math.inf, 1)]
    if len(sides) == 2 and a.seed_ids == b.seed_ids:
        seeds = len(a.seed_ids)
        if error_a_C is not None and error_b_C is not None:
            influence_T = a.influence(error_a_C) - b.influence(error_b_C)
            return [_jackknife_variance(influence_T, a.spread_B(error_a_C) - b.spread_B(error_b_C))]
        if error_a_C is None and error_b_C is None:
            probability_B = draw_resamples(seeds).probability_B
            return [VarianceComponent(float(probability_B @ (a.shift_B - b.shift_B) ** 2), seeds - 1)]
    return [
        _jackknife_variance(side.influence(error_C), side.spread_B(error_C))
        if error_C is not None
        else VarianceComponent(float(draw_resamples(int(side.seeds)).probability_B @ side.shift_B**2), side.seeds - 1)
        for side, error_C in sides
    ]


def _jackknife_variance(influence_T: Array, spread_B: Array) -> VarianceComponent:
    """Return the variance by the infinitesimal jackknife, and at least a share of that of the unaveraged selection."""
    seeds = len(influence_T)
    jackknife = float((influence_T**2).sum()) * seeds / (seeds - 1)
    unaveraged = float(draw_resamples(seeds).probability_B @ spread_B**2)
    return VarianceComponent(
        max(jackknife, unaveraged * (MIN_AVERAGED_VARIANCE_SHARE if seeds > 2 else 1.0)), seeds - 1
    )


class EqualBudget(NamedTuple):
    """A difference a − b as if both optimizers had had the smaller tuning budget."""

    runs: int
    """The smaller budget."""
    shift: float
    """The change of the difference."""
    components: list[VarianceComponent]
    """Variance of the selection then."""
    luck_R: Array
    """Deviation of the true difference from the estimate by which trials the smaller search drew."""
    weight_R: Array
    """Probability of each deviation."""
    noise_R: list[VarianceComponent]
    """Variance of each deviation over the noise of tuning runs."""


def at_equal_budget(a: Selection, b: Selection) -> EqualBudget | None:
    """Return the correction of a difference a − b for unequal tuning budgets; None for equal ones."""
    runs = min(a.runs, b.runs)
    if runs == max(a.runs, b.runs) or not (a.is_known and b.is_known) or (math.isinf(a.seeds) and math.isinf(b.seeds)):
        return None
    of_a, of_b = (side.best_of(max(1, runs // side.test_CT.shape[1])) for side in (a, b))
    components = []
    if a.seed_ids == b.seed_ids and math.isfinite(a.seeds) and math.isfinite(b.seeds):
        centred_B = (of_a.shift_B - of_a.shift) - (of_b.shift_B - of_b.shift)
        components.append(
            VarianceComponent(float(draw_resamples(len(a.seed_ids)).probability_B @ centred_B**2), a.seeds - 1)
        )
    else:
        for side, best in ((a, of_a), (b, of_b)):
            if math.isfinite(side.seeds):
                square = float(draw_resamples(int(side.seeds)).probability_B @ (best.shift_B - best.shift) ** 2)
                components.append(VarianceComponent(square, side.seeds - 1))
    larger, sign = (of_a, 1.0) if a.runs > b.runs else (of_b, -1.0)
    noise_R = [VarianceComponent(float(variance), min(a.seeds, b.seeds) - 1) for variance in larger.noise_R]
    return EqualBudget(runs, of_a.shift - of_b.shift, components, sign * larger.error_R, larger.weight_R, noise_R)


def rank_weights(trials: int, k: int) -> Array:
    """Return the probability that the best of k of N trials has rank 0, 1, …, N − k; drawn without replacement.

    >>> [round(float(w), 3) for w in rank_weights(4, 2)]
    [0.5, 0.333, 0.167, 0.0]
    """
    rank = np.arange(trials - 1)
    return k / trials * np.concatenate([[1.0], np.cumprod(np.maximum(trials - k - rank, 0) / (trials - 1 - rank))])
