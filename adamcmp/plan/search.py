"""Searches: batches of trials, each of which is trained before the next is requested.

A proposal is a number between 0 and 1 per setting, which ``Dimension`` maps to a value. A batch
depends on the search's seed, on its number and on the errors of the batches before, all of which are stored runs. So a
search that was interrupted resumes by asking the same questions again, and finds most of the answers on disk; it has no
storage of its own. Optuna proposes for ``tpe`` and ``gp``.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from adamcmp.config.schema import Range, SearchSettings
from adamcmp.errors import InputError
from adamcmp.lazy_imports import LazyModule
from adamcmp.plan.run_ids import canonical_json, rule_identity, run_id
from adamcmp.plan.runs import Run, TaskSpec

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
else:
    np = LazyModule("numpy")

SIGNIFICANT_DIGITS = 4
"""Digits of drawn values: more would not change a training, and make longer names."""
LR_STEP = 1e-6
"""Relative difference of the learning rates of trials that would share learning rate and λ."""
EVEN_TOLERANCE = 1e-3
"""Maximum relative difference of the steps of a grid that counts as even."""
ADAPTIVE_METHODS = ("tpe", "gp", "coordinate")
MAX_TRIALS_AT_ONCE = 10_000
"""Number of trials above which independent trials are requested in batches, too: a user may stop a long search."""
Point = tuple[float, ...]
"""A trial's place in the unit cube."""


@dataclass(frozen=True)
class Dimension:
    """One searched setting: maps a number between 0 and 1 to its values."""

    key: str
    values: tuple[Any, ...] = ()
    """Values of a setting that takes only these; the values of a grid for ``coordinate``."""
    range: Range | None = None
    zero: float = 0.0
    """Share of the unit interval that stands for 0, in front of a log range: that of a trial of the grid."""

    @classmethod
    def of(cls, key: str, values: Sequence[Any]) -> Dimension:
        """Return the dimension that the values of a grid span: even steps, even ratios, or even ratios of 1 − x; else
        these values.

        >>> Dimension.of("optimizer.lr", [1e-3, 1e-2, 1e-1]).range.scale
        'log'
        >>> Dimension.of("model.width", [16, 32, 64]).at(0.999)
        64
        """
        listed = tuple(values)
        numbers = sorted({float(v) for v in listed if isinstance(v, int | float) and not isinstance(v, bool)})
        positive = [number for number in numbers if number > 0]
        has_zero = 0.0 in numbers
        if len(numbers) < len(set(map(str, listed))) or len(positive) < 2 + (not has_zero and len(numbers) > 2):
            return cls(key, listed)
        is_integer = all(isinstance(value, int) for value in listed)
        low, high = positive[0], positive[-1]
        if _evenly_spaced(np.log(positive)):
            zero = 1 / len(numbers) if has_zero else 0.0
            return cls(key, listed, Range(low=low, high=high, scale="log", whole=is_integer), zero)
        if _evenly_spaced(numbers):
            return cls(key, listed, Range(low=numbers[0], high=high, scale="linear", whole=is_integer))
        if high < 1 and _evenly_spaced(np.log1p(-np.array(positive))):
            return cls(key, listed, Range(low=low, high=high, scale="log1m"))
        return cls(key, listed)

    def at(self, u: float) -> Any:
        """Return the setting at a place of the unit interval."""
        if self.range is None:
            return self.values[min(int(u * len(self.values)), len(self.values) - 1)]
        if u < self.zero:
            return 0.0
        share = (u - self.zero) / (1 - self.zero)
        low, high = self.range.low, self.range.high
        match self.range.scale:
            case "log":
                value = low * (high / low) ** share
            case "linear":
                value = low + (high - low) * share
            case "log1m":
                value = 1 - (1 - low) * ((1 - high) / (1 - low)) ** share
        if self.range.whole:
            return int(min(max(round(value), math.ceil(low)), math.floor(high)))
        if self.range.scale == "log1m":
            return 1 - float(f"{1 - value:.{SIGNIFICANT_DIGITS}g}")
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def _evenly_spaced(values: Any) -> bool:
    steps = np.diff(np.asarray(values, float))
    return len(steps) >= 2 and bool(np.ptp(steps) <= EVEN_TOLERANCE * abs(steps).max())


@dataclass(frozen=True)
class Trial:
    """Settings that are tried, on all seeds."""

    point: Point
    settings: Mapping[str, Any]
    runs: tuple[Run, ...]


@dataclass
class SearchArm:
    """An optimizer with one schedule, model and data set, which competes with the same number of trials as others."""

    name: str
    dimensions: tuple[Dimension, ...]
    make: Callable[[Mapping[str, Any]], list[Run]]
    """Settings in; a run for each seed."""
    start: Mapping[str, Any] = field(default_factory=dict)
    """Configured values, from which ``coordinate`` starts."""
    trials: list[Trial] = field(default_factory=list)
    batches: int = 0
    is_done: bool = False


@dataclass
class SearchState:
    """The search of a study: its optimizers, and how far each is."""

    settings: SearchSettings
    arms: tuple[SearchArm, ...]

    def more(self, records: pd.DataFrame | None) -> list[Run]:
        """Return the runs of the next batch of every optimizer that has trials left; empty where none has.

        Args:
            records: stored runs, at least those of earlier batches; None: there are none.
        """
        errors = _validation_errors(records)
        runs: list[Run] = []
        most = max(len(arm.trials) for arm in self.arms)
        for arm in self.arms:
            left = self.settings.trials - len(arm.trials)
            if left > 0 and not arm.is_done:
                behind = most - len(arm.trials)  # by what it has drawn twice
                proposals = self._ask(arm, min(self.settings.batch + behind, left), left, errors)
                arm.batches += 1
                arm.trials += proposals
                arm.is_done = not proposals
                runs += [run for trial in proposals for run in trial.runs]
        return runs

    def _ask(self, arm: SearchArm, batch: int, left: int, errors: Mapping[str, float]) -> list[Trial]:
        method = self.settings.method
        by_batch = method in ADAPTIVE_METHODS or self.settings.trials > MAX_TRIALS_AT_ONCE
        count = batch if by_batch else left
        text = f"{self.settings.seed}|{arm.name}|{arm.batches}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
        results = [(trial, _trial_value(trial, errors)) for trial in arm.trials]
        if method == "coordinate":
            proposals = _next_coordinate(arm, results, self.settings.trials)
            return _new_trials(arm, [((), point) for point in proposals][:left], self._label(arm))
        size = len(arm.dimensions)
        if method in ("tpe", "gp") and results:
            points = _propose_with_optuna(method, size, results, count, seed)
        elif method in ("random", "asha"):
            points = [tuple(value) for value in np.random.default_rng(seed).random((count, size)).tolist()]
        else:
            points = _sobol_points(size, count, seed)
        placed = [(point, {d.key: d.at(u) for d, u in zip(arm.dimensions, point, strict=True)}) for point in points]
        return _new_trials(arm, placed, self._label(arm))

    def _label(self, arm: SearchArm) -> str:
        keys = ", ".join(d.key.removeprefix("optimizer.") for d in arm.dimensions)
        return f"{self.settings.method} over {keys}"


def _new_trials(arm: SearchArm, placed: Sequence[tuple[Point, Mapping[str, Any]]], label: str) -> list[Trial]:
    """Return trials of settings that the optimizer has not tried."""
    tried = {canonical_json(trial.settings) for trial in arm.trials}
    taken = {_lr_and_decay(run) for trial in arm.trials for run in trial.runs}
    trials = []
    for point, settings in placed:
        if canonical_json(settings) not in tried:
            tried.add(canonical_json(settings))
            runs = _with_distinct_lr([replace(run, search=label) for run in arm.make(settings)], taken)
            taken |= {_lr_and_decay(run) for run in runs}
            trials.append(Trial(point, settings, runs))
    return trials


def _with_distinct_lr(runs: Sequence[Run], taken: Collection[tuple[float, float]]) -> tuple[Run, ...]:
    """Return the runs of a trial with a learning rate that is larger by millionths if another trial has the same
    learning rate and λ, by which results identify trials.
    """
    first, decay = _lr_and_decay(runs[0])
    lr, steps = first, 0
    while (lr, decay) in taken:
        steps += 1
        lr = float(f"{first * (1 + LR_STEP * steps):.10g}")
    return tuple(_with_lr(run, lr) for run in runs) if steps else tuple(runs)


def _with_lr(run: Run, lr: float) -> Run:
    optimizer = run.optimizer.model_copy(update={"lr": lr})
    number = run_id(run.task, rule_identity(optimizer), rule_identity(run.schedule), run.seed)
    return replace(run, optimizer=optimizer, id=number)


def _lr_and_decay(run: Run) -> tuple[float, float]:
    return run.optimizer.lr, run.optimizer.weight_decay


def _validation_errors(records: pd.DataFrame | None) -> dict[str, float]:
    """Return the validation error of each run, signed so that lower is better; inf if it has none."""
    if records is None or records.empty:
        return {}
    sign = records["error_better"].map({"higher": -1.0}).fillna(1.0)
    values = (sign * records["final_validation_error"]).fillna(math.inf)
    return dict(zip(records["run_id"], values.astype(float), strict=True))


def _trial_value(trial: Trial, errors: Mapping[str, float]) -> float:
    """Return a trial's mean error over its seeds; inf where one of them did not complete."""
    return float(np.mean([errors.get(run.id, math.inf) for run in trial.runs]))


def _sobol_points(size: int, count: int, seed: int) -> list[Point]:
    """Return points of a scrambled Sobol sequence."""
    from scipy.stats import qmc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of counts that are no power of two
        return [tuple(value) for value in qmc.Sobol(size, rng=seed).random(count).tolist()]


def _propose_with_optuna(
    method: str, size: int, results: Sequence[tuple[Trial, float]], count: int, seed: int
) -> list[Point]:
    """Return the next proposals of Optuna's sampler, as if earlier ones of the batch were running."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    finite = [value for _, value in results if math.isfinite(value)]
    worst = max(finite, default=1.0)
    spread = worst - min(finite, default=0.0)
    space: dict[str, Any] = {f"u{i}": optuna.distributions.FloatDistribution(0.0, 1.0) for i in range(size)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of options that Optuna calls experimental
        sampler: Any = (
            optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=1)
            if method == "tpe"
            else optuna.samplers.GPSampler(seed=seed, n_startup_trials=1)
        )
        study = optuna.create_study(sampler=sampler)
        for trial, value in results:
            params = {f"u{i}": u for i, u in enumerate(trial.point)}
            lost = worst + spread  # what diverged is worse than all that did not
            told_value = value if math.isfinite(value) else lost
            study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=told_value))
        proposals = [study.ask(space) for _ in range(count)]
    return [tuple(min(float(trial.params[name]), math.nextafter(1.0, 0.0)) for name in space) for trial in proposals]


def _next_coordinate(arm: SearchArm, results: Sequence[tuple[Trial, float]], most: int) -> list[Mapping[str, Any]]:
    """Return all values of the next setting, the others as in the best trial so far; none when a whole round has won
    nothing.

    The first batch is the configuration as it is, with all values of the first setting.
    """
    best = min(results, key=lambda pair: pair[1])[0].settings if results else dict(arm.start)
    tried = {canonical_json(trial.settings) for trial, _ in results}
    for i in range(len(arm.dimensions)):
        dimension = arm.dimensions[(arm.batches + i) % len(arm.dimensions)]
        proposals: list[Mapping[str, Any]] = [{**best, dimension.key: value} for value in dimension.values]
        if not results:
            proposals.insert(0, best)
        new = [point for point in proposals if canonical_json(point) not in tried]
        if new:
            arm.batches += i
            return new[:most]
    return []


def pruning_steps(task: TaskSpec, settings: SearchSettings) -> tuple[int, ...]:
    """Return the steps at which a search by ``asha`` looks which runs go on: evaluations next behind T/η^k."""
    if settings.method != "asha":
        return ()
    steps, looks = task.evaluations.steps, set[int]()
    for k in range(1, settings.rungs + 1):
        at = next(step for step in steps if step >= task.steps / settings.reduction**k)
        if at < task.steps:
            looks.add(at)
    return tuple(sorted(looks))


def check_search(settings: SearchSettings, arms: Sequence[SearchArm]) -> None:
    """Refuse a search of nothing.

    Raises:
        InputError: an optimizer has no setting to search, or ``coordinate`` has a range without values.
    """
    for arm in arms:
        if not arm.dimensions:
            raise InputError(
                f"search={settings.method}: {arm.name} has no setting with several values; give a grid, such as "
                "optimizer.lr=geomspace(1e-4,1e-1,7), or search.space"
            )
        if settings.method == "coordinate" and (lacking := [d.key for d in arm.dimensions if not d.values]):
            raise InputError(f"search.space.{lacking[0]}: coordinate descent takes a list of values, not a range")
