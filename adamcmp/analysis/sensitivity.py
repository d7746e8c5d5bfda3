r"""Sensitivity of each optimizer to lr and λ.

*Sensitivity to the learning rate* is E_lr[min(ℓ(lr), ℓ_0) − ℓ*] over the grid's learning rates: how much is lost, on
average, by a rate that was not tuned, with ℓ(lr) the mean validation error at the λ that is best for it, ℓ* the best of
these, and ℓ_0 the error of the best constant prediction, which a rate that diverges has too. For grids that are evenly
spread on a logarithmic axis that is the mean over log lr.

*Importance* is the share of the spread of validation errors over a grid that each of its axes explains alone
(functional ANOVA of a full grid, which is the classical one): for lr SS_lr/SS with SS_lr = Σ (mean at that lr − mean of
all)², λ and variant alike. *Together* is the share that trials explain beyond these, *seeds* the rest. Variants are
optimizers of one optimizer on one grid. Lost trials count as ℓ_0. Of the points of a search, a forest of trees stands
for a grid.

Sources: M. Wortsman et al., Small-scale Proxies for Large-scale Transformer Training Instabilities, ICLR 2024
(sensitivity); F. Hutter, H. Hoos and K. Leyton-Brown, An Efficient Approach for Assessing Hyperparameter Importance,
ICML 2014 (functional ANOVA).
"""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd

from adamcmp.analysis.bootstrap import bootstrap_weights
from adamcmp.analysis.intervals import Array, Estimate, bootstrap_estimate
from adamcmp.analysis.selection import BASELINE, tuning_runs
from adamcmp.figures.heatmap import is_grid
from adamcmp.metrics.spec import task_metrics

MIN_SEARCH_TRIALS = 10
"""Points of a search below which nothing is said of importance."""


class Sensitivity(NamedTuple):
    """Sensitivity of one optimizer; NaN for numbers that cannot be estimated."""

    arm: str
    to_lr: Estimate
    """As errors are stored."""
    lrs: int
    decades: float
    """That the learning rates span."""
    importance: dict[str, float]
    """Shares of lr, λ, variant (of the optimizer), interactions and seeds, as far as known."""


class _Grid(NamedTuple):
    lrs: Array
    decays: Array
    errors_LJT: Array
    """Validation errors, lower is better; lost trials have ℓ_0."""


def estimate_sensitivities(records: pd.DataFrame, table: pd.DataFrame) -> list[Sensitivity]:
    """Estimate the sensitivity of every optimizer of a task that tried two learning rates or weight decays. ``table``
    is the ``trials_table`` of the records.
    """
    sign = task_metrics(records).error.sign
    baseline = sign * float(records[BASELINE[0]].max())
    runs = tuning_runs(records)
    by_arm = {str(arm): part for arm, part in runs.groupby("arm")}
    optimizer = table.groupby("arm")["optimizer"].first()
    grids = {
        str(arm): grid
        for arm, tried in table.groupby("arm")
        if (grid := _grid(by_arm[str(arm)], tried, sign, baseline)) is not None
    }

    def variants(arm: str) -> list[_Grid]:
        """Return the grids of an optimizer's optimizers that are like this one's, its own first."""
        variants_of_optimizer = [
            grid for other, grid in grids.items() if optimizer[other] == optimizer[arm] and other != arm
        ]
        return [grids[arm], *(grid for grid in variants_of_optimizer if _alike(grid, grids[arm]))]

    sensitivities = [
        Sensitivity(
            arm, to_lr(grid.errors_LJT), len(grid.lrs), math.log10(grid.lrs[-1] / grid.lrs[0]),
            importance(variants(arm)),
        )
        for arm, grid in grids.items()
    ]  # fmt: skip
    drawn = {str(arm): tried for arm, tried in table.groupby("arm") if not is_grid(tried)}
    for arm, tried in drawn.items():
        lrs = tried["lr"]
        span = math.log10(float(lrs.max() / lrs.min()))
        sensitivities.append(Sensitivity(arm, Estimate(math.nan), lrs.nunique(), span, of_drawn(tried, sign, baseline)))
    return sensitivities


def of_drawn(tried: pd.DataFrame, sign: float, baseline: float) -> dict[str, float]:
    """Return shares of lr and λ among the points that a search has drawn; empty where they are too few to tell.

    By the functional ANOVA of a forest of trees over log lr and λ's rank, as Optuna has it; lost trials count as ℓ_0.
    """
    errors = (sign * tried["final_validation_error"]).fillna(baseline)
    if len(tried) < MIN_SEARCH_TRIALS or errors.isna().any() or errors.nunique() < 2:
        return {}
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    places = {"lr": np.log(tried["lr"]).rank(pct=True), "λ": tried["weight_decay"].rank(pct=True)}
    varied = {name: place for name, place in places.items() if place.nunique() > 1}
    space: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in varied
    }
    study = optuna.create_study()
    for i, error in enumerate(errors):
        params = {name: float(place.iloc[i]) for name, place in varied.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=float(error)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Optuna calls experimental
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False))


def _alike(a: _Grid, b: _Grid) -> bool:
    return bool(
        a.errors_LJT.shape[:2] == b.errors_LJT.shape[:2]
        and np.allclose(a.lrs, b.lrs)
        and np.allclose(a.decays, b.decays)
    )


def _grid(runs: pd.DataFrame, tried: pd.DataFrame, sign: float, baseline: float) -> _Grid | None:
    """Return None where fewer than two trials were tried, they are no grid, or all were lost."""
    lrs, decays = np.unique(tried["lr"]), np.unique(tried["weight_decay"])
    good = tried.loc[tried["eligible"], ["lr", "weight_decay"]]
    if len(tried) < 2 or good.empty or not is_grid(tried):
        return None
    wide = runs[runs["status"] == "completed"].merge(good)
    wide = wide.pivot(index=["lr", "weight_decay"], columns="seed", values="final_validation_error") * sign
    wide = wide.loc[:, wide.notna().sum() >= wide.notna().sum().max()]
    worst = float(np.nanmax(wide.to_numpy()))
    lost = worst if math.isnan(baseline) else max(worst, baseline)
    wide = wide.reindex(pd.MultiIndex.from_frame(tried[["lr", "weight_decay"]])).fillna(
        lost
    )  # what was not tried is NaN
    full = wide.reindex(pd.MultiIndex.from_product([lrs, decays])).to_numpy().reshape(len(lrs), len(decays), -1)
    return _Grid(lrs, decays, full)


def to_lr(errors_LJT: Array) -> Estimate:
    """Return E_lr[min(ℓ(lr), ℓ_0) − ℓ*] with its interval over redrawn seeds, θ ± t_{T−1} √(T/(T−1)) s."""
    lrs, _, seeds = errors_LJT.shape
    if lrs < 2:
        return Estimate(math.nan)
    missing_LJT = np.isnan(errors_LJT)
    weight_BT = np.concatenate([np.full((1, seeds), 1 / seeds), bootstrap_weights(seeds)])
    mean_LJB = np.where(missing_LJT, 0.0, errors_LJT) @ weight_BT.T
    mean_LJB[missing_LJT.astype(float) @ weight_BT.T > 0] = np.inf  # a trial that lacks a drawn seed never wins
    best_BL = np.moveaxis(mean_LJB, -1, 0).min(2)
    lost_B = best_BL.mean(1) - best_BL.min(1)
    value = float(lost_B[0])
    if seeds < 2:
        return Estimate(value)
    estimate = bootstrap_estimate(value, float(lost_B[1:].std()), seeds)
    return estimate._replace(low=max(estimate.low, 0.0))


def importance(grids: list[_Grid]) -> dict[str, float]:
    """Return shares of the sum of squares over variants × lr × λ × seeds; empty where a trial was not tried, or all are
    alike.

    Variants that were tuned with other numbers of seeds are compared on as many as all have.
    """
    seeds = min(grid.errors_LJT.shape[2] for grid in grids)
    errors_VLJT = np.stack([grid.errors_LJT[..., :seeds] for grid in grids])
    if np.isnan(errors_VLJT).any():
        return {}
    mean, cell_VLJ = errors_VLJT.mean(), errors_VLJT.mean(3)
    total = float(((errors_VLJT - mean) ** 2).mean())
    if total == 0:
        return {}
    alone = {
        name: float(((cell_VLJ.mean(tuple({0, 1, 2} - {axis})) - mean) ** 2).mean()) / total
        for axis, name in enumerate(("variant", "lr", "λ"))
    }
    of_cells = float(((cell_VLJ - mean) ** 2).mean()) / total
    return {**alone, "together": of_cells - sum(alone.values()), "seeds": 1 - of_cells}


def to_frame(sensitivities: list[Sensitivity]) -> pd.DataFrame:
    """Return one row per optimizer."""
    names = {"lr": "importance_lr", "λ": "importance_weight_decay", "variant": "importance_variant",
             "together": "importance_together", "seeds": "importance_seeds"}  # fmt: skip
    return pd.DataFrame(
        [
            {
                "arm": sensitivity.arm, "lrs": sensitivity.lrs, "decades": sensitivity.decades,
                **sensitivity.to_lr.columns("lr_sensitivity"),
                **{column: sensitivity.importance.get(name, math.nan) for name, column in names.items()},
            }
            for sensitivity in sensitivities
        ]
    )  # fmt: skip
