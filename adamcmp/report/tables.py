"""Tables for readers: as text, Markdown, CSV, LaTeX and on a terminal.

CSV holds the raw numbers with every digit; the others show ``2.31 ± 0.20 %``. A line next to each table explains ±.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from adamcmp.analysis import BASELINE, Verdict, task_metrics
from adamcmp.analysis.across_tasks import PooledVerdict
from adamcmp.analysis.basin import Basin
from adamcmp.analysis.effect_sizes import EffectSize
from adamcmp.analysis.intervals import Estimate
from adamcmp.analysis.sensitivity import Sensitivity
from adamcmp.figures.axis_labels import decay_name, display_unit, format_tick, metric_label, with_unit
from adamcmp.metrics.spec import TaskMetrics, format_significant
from adamcmp.report.formatting import NO_VALUE, format_estimate, format_mean_ci, format_mean_half_width, format_number
from adamcmp.report.verdict_text import format_difference, format_interval

DISPLAY_COLUMNS = ("final_validation_error", "final_test_error", "best_test_error", "final_train_loss", "final_gap")
"""Measured columns of a table."""


def leaderboard_display(board: pd.DataFrame) -> pd.DataFrame:
    """Return ``analysis.leaderboard`` as text: mean ± 95 % half width of each optimizer's selected trial; no empty
    columns.
    """
    display = pd.DataFrame({"optimizer": board["arm"], **_cell_columns(board)})
    for name in ("n", "trials", "diverged", "failed"):
        display[name] = board[name].astype(str)
    criteria = task_metrics(board)
    tuned = zip(board["tuned_validation_error"], board["tuned_validation_error_half_width"], strict=True)
    texts = [format_mean_ci(mean, half, "final_validation_error", criteria) for mean, half in tuned]
    display["tuned validation"] = [text if text != NO_VALUE else "" for text in texts]
    optimism = [format_mean_ci(value, math.nan, "final_gap", criteria) for value in board["optimism"]]
    display["optimism"] = [text if text != NO_VALUE else "" for text in optimism]
    display["boundary"], display["note"] = board["edge"], board["note"]
    return _without_empty(display, ("tuned validation", "optimism", "boundary", "note"))


OPTIONAL_COLUMNS = ["as tuned"]
"""Columns of verdicts that are left out where they are empty."""
KINDS = {
    "apart": "significantly different",
    "same": "equivalent",
    "open": "no significant difference",
    "none": "not tested",
}


def verdicts_display(verdicts: Sequence[Verdict], criteria: TaskMetrics) -> pd.DataFrame:
    """Return ``analysis.verdicts`` as text: one row per pair."""

    def shown(value: float, half: float = math.nan) -> str:
        return format_mean_ci(value, half, "final_gap", criteria)

    table = pd.DataFrame(
        {
            "a": [verdict.a for verdict in verdicts],
            "b": [verdict.b for verdict in verdicts],
            "verdict": [KINDS[verdict.kind] for verdict in verdicts],
            f"Δ test {criteria.error.label}, a − b [95 % CI]": [
                f"{format_difference(criteria.error, verdict.mean, sign=True)} "
                f"{format_interval(criteria.error, verdict).replace('95 % CI ', '')}"
                if verdict.has_interval
                else NO_VALUE
                for verdict in verdicts
            ],
            "as tuned": [
                NO_VALUE if math.isnan(verdict.budget) else shown(verdict.mean_as_tuned) for verdict in verdicts
            ],
            "SE seeds": [shown(verdict.se_seeds) for verdict in verdicts],
            "SE test examples": [shown(verdict.se_examples) for verdict in verdicts],
            "SE selection": [
                shown(verdict.se_selection) if math.isfinite(verdict.se_selection) else NO_VALUE for verdict in verdicts
            ],
            "seeds": [str(verdict.n) if verdict.paired else f"{verdict.n} each" for verdict in verdicts],
            "p": [_format_p(verdict.p_value) for verdict in verdicts],
            "margin": [shown(verdict.margin) for verdict in verdicts],
            "80 % power at": [
                shown(verdict.detectable) if math.isfinite(verdict.detectable) else NO_VALUE for verdict in verdicts
            ],
            "seeds needed": [_count(verdict.seeds_needed) for verdict in verdicts],
        }
    )
    return table.loc[:, (table != NO_VALUE).any() | ~table.columns.isin(OPTIONAL_COLUMNS)]


def across_display(pooled: Sequence[PooledVerdict]) -> pd.DataFrame:
    """Return ``across_tasks.pool_tasks`` as text: one row per pair."""

    def percent(value: float) -> str:
        return format_number(100 * value, "+.3g")

    return pd.DataFrame(
        {
            "a": [pooled_verdict.verdict.a for pooled_verdict in pooled],
            "b": [pooled_verdict.verdict.b for pooled_verdict in pooled],
            "verdict": [KINDS[pooled_verdict.verdict.kind] for pooled_verdict in pooled],
            "relative difference, a − b [95 % CI] (%)": [
                f"{percent(pooled_verdict.verdict.mean)} [{percent(pooled_verdict.verdict.low)}, "
                f"{percent(pooled_verdict.verdict.high)}]"
                if pooled_verdict.verdict.has_interval
                else percent(pooled_verdict.verdict.mean)
                for pooled_verdict in pooled
            ],
            "p": [_format_p(pooled_verdict.verdict.p_value) for pooled_verdict in pooled],
            "SD between tasks (%)": [f"{100 * pooled_verdict.spread:.1f}" for pooled_verdict in pooled],
            "tasks": [str(pooled_verdict.verdict.n) for pooled_verdict in pooled],
            "wins / ties / losses of a": [
                f"{pooled_verdict.wins} / {pooled_verdict.ties} / {pooled_verdict.losses}" for pooled_verdict in pooled
            ],
        }
    )


def by_task_display(boards: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Test errors as text: one row per optimizer, one column per task; optimizers with the best mean rank first."""
    columns = {}
    for label, board in boards.items():
        criteria = task_metrics(board)
        columns[label] = pd.Series(
            {
                row["arm"]: format_mean_ci(
                    row["final_test_error"], row["final_test_error_half_width"], "final_test_error", criteria
                )
                for row in board.to_dict("records")
            }
        )
    values = pd.DataFrame(
        {
            label: board.set_index("arm")["final_test_error"] * task_metrics(board).error.sign
            for label, board in boards.items()
        }
    )
    rank = values.rank().mean(axis=1).sort_values()
    display = pd.DataFrame(columns).reindex(rank.index).fillna(NO_VALUE)
    display.insert(0, "optimizer", rank.index)
    return display.assign(**{"mean rank": [f"{value:.1f}" for value in rank]}).reset_index(drop=True)


def effects_display(effects: Sequence[EffectSize], criteria: TaskMetrics) -> pd.DataFrame:
    """Return ``analysis.effect_sizes`` as text: one row per pair, each estimate with its 95 % interval in brackets."""
    factor, unit = display_unit("final_gap", criteria)

    def format_change(estimate: Estimate, times: float, digits: str) -> str:
        return format_estimate(Estimate(*(times * x for x in estimate)), digits)

    form = "+.2f" if factor == 100 else "+.3g"
    return pd.DataFrame(
        {
            "a": [effect.a for effect in effects],
            "b": [effect.b for effect in effects],
            with_unit("mean of a − b, BCa", unit): [format_change(effect.mean, factor, form) for effect in effects],
            with_unit("interquartile mean, BCa", unit): [
                format_change(effect.interquartile_mean, factor, form) for effect in effects
            ],
            "P(a better)": [format_change(effect.improvement, 1, ".2f") for effect in effects],
            "standardized": [format_change(effect.standardised, 1, "+.2f") for effect in effects],
            "seeds": [str(effect.n) for effect in effects],
        }
    )


def basin_display(basins: Sequence[Basin], criteria: TaskMetrics) -> pd.DataFrame:
    """Return ``analysis.basin`` as text: one row per optimizer."""
    within = {format_mean_ci(basin.within, math.nan, "final_gap", criteria) for basin in basins}
    head = f"trials within {within.pop()} of the best" if len(within) == 1 else "trials near the best"
    return pd.DataFrame(
        {
            "optimizer": [basin.arm for basin in basins],
            "d log λ*/d log lr, rows": [format_estimate(basin.rows, "+.2f") for basin in basins],
            "ridge": [format_estimate(basin.ridge, "+.2f") for basin in basins],
            "d log lr*/d log λ, columns": [format_estimate(basin.columns, "+.2f") for basin in basins],
            "separability": [format_estimate(basin.separability, "+.2f") for basin in basins],
            head: [format_estimate(Estimate(*(100 * x for x in basin.area)), ".0f", " %") for basin in basins],
            "optima at a boundary": [f"{basin.censored} of {basin.lrs + basin.decays}" for basin in basins],
        }
    )


def sensitivity_display(sensitivities: Sequence[Sensitivity], criteria: TaskMetrics) -> pd.DataFrame:
    """Return ``analysis.sensitivity`` as text: one row per optimizer."""
    factor, unit = display_unit("final_gap", criteria)
    form = ".2f" if factor == 100 else ".3g"

    def share(sensitivity: Sensitivity, name: str) -> str:
        value = sensitivity.importance.get(name, math.nan)
        return NO_VALUE if math.isnan(value) else f"{abs(value):.0%}"

    display = pd.DataFrame(
        {
            "optimizer": [sensitivity.arm for sensitivity in sensitivities],
            "learning rates": [
                f"{sensitivity.lrs} over {sensitivity.decades:.1f} decades" for sensitivity in sensitivities
            ],
            with_unit("lost by an untuned lr", unit): [
                format_estimate(Estimate(*(factor * x for x in sensitivity.to_lr)), form)
                for sensitivity in sensitivities
            ],
            **{
                f"importance of {name}": [share(sensitivity, name) for sensitivity in sensitivities]
                for name in ("lr", "λ", "variant", "together", "seeds")
            },
        }
    )
    several = any(sensitivity.importance.get("variant", 0) > 1e-9 for sensitivity in sensitivities)
    return display if several else display.drop(columns="importance of variant")


def best_of_k_display(table: pd.DataFrame, criteria: TaskMetrics) -> pd.DataFrame:
    """Return ``analysis.best_of_k`` as text: one row per optimizer and power of two; in brackets the middle 80 % of
    searches.
    """
    rows = table[(table["k"] & (table["k"] - 1) == 0) | (table["k"] == table["cells"])]
    factor, unit = display_unit("final_test_error", criteria)
    form = ".2f" if factor == 100 else ".3g"
    return pd.DataFrame(
        {
            "optimizer": rows["arm"],
            "k": [f"{k} of {cells}" for k, cells in zip(rows["k"], rows["cells"], strict=True)],
            **{
                with_unit(metric_label(f"{part}_error", criteria), unit): [
                    format_estimate(Estimate(*(factor * x for x in values)), form)
                    for values in zip(rows[part], rows[f"{part}_low"], rows[f"{part}_high"], strict=True)
                ]
                for part in ("validation", "test")
            },
        }
    )


def targets_display(table: pd.DataFrame) -> pd.DataFrame:
    """Return ``analysis.rank_over_time.targets_table`` as text: one row per task and optimizer."""
    display = pd.DataFrame(
        {"task": table["task"], "optimizer": table["arm"], "target": table["target"].map("{:.3g}".format)}
    )
    for name in ("steps", "seconds"):
        values = zip(table[name], table[f"{name}_ratio"], strict=True)
        display[f"median {name} (by the fastest)"] = [
            f"{value:{',.0f' if name == 'steps' else '.3g'}} ({ratio:.2f})" if math.isfinite(value) else "never"
            for value, ratio in values
        ]
    return display


def with_boundaries(display: pd.DataFrame, board: pd.DataFrame) -> pd.DataFrame:
    """Return a table of optimizers or pairs with the boundaries at which their selected trials are, if any."""
    edges = {arm: edge for arm, edge in zip(board["arm"], board["edge"], strict=True) if edge}
    if not edges or "boundary" in display:
        return display
    names = [name for name in ("optimizer", "a", "b") if name in display]
    if not names:  # a column an optimizer
        return display.rename(columns={arm: f"{arm} (boundary: {edge})" for arm, edge in edges.items()})
    texts = [
        "; ".join(
            f"{name}: {edges[arm]}" if len(names) > 1 else edges[arm] for name, arm in row.items() if arm in edges
        )
        for row in display[names].to_dict("records")
    ]
    return display.assign(boundary=texts) if any(texts) else display


def _format_p(value: float) -> str:
    return NO_VALUE if math.isnan(value) else f"{value:.2g}"


def _count(value: float) -> str:
    return NO_VALUE if math.isnan(value) else "> 10,000" if math.isinf(value) else f"{value:,.0f}"


def grid_display(table: pd.DataFrame) -> pd.DataFrame:
    """Return ``analysis.trials_table`` as text: one row per trial."""
    display = pd.DataFrame({"optimizer": table["arm"], **_cell_columns(table)})
    for name in ("n", "diverged", "failed"):
        display[name] = table[name].astype(str)
    return display


def extra_metrics_display(table: pd.DataFrame) -> pd.DataFrame:
    """Return ``analysis.extra_metric_tables`` as text: one row per metric, one column per optimizer, mean ± 95 % half
    width.
    """
    pairs = zip(table["mean"], table["half_width"], strict=True)
    display = table.assign(text=[format_mean_half_width(mean, half) for mean, half in pairs])
    wide = display.pivot_table(index="metric", columns="arm", values="text", aggfunc="first", sort=False)
    return wide.fillna(NO_VALUE).reset_index().rename_axis(columns=None)


def time_display(table: pd.DataFrame) -> pd.DataFrame:
    """Return ``analysis.time_to_target_table`` as text."""
    return pd.DataFrame(
        {
            "optimizer": table["arm"],
            "runs": [f"{row.reached} of {row.n}" for row in table.itertuples()],
            "median steps": [f"{steps:,.0f}" if math.isfinite(steps) else "never" for steps in table["steps"]],
            "median seconds": [f"{seconds:.3g}" if math.isfinite(seconds) else "never" for seconds in table["seconds"]],
        }
    )


def display_table(metric: str, criteria: TaskMetrics) -> str:
    """Return a table with human-readable names of measured columns: ``test error``, ``test RMSE, best epoch``."""
    when, _, name = metric.partition("_")
    text = "gap" if name == "gap" else metric_label(name, criteria).replace("training", "train")
    return f"{text}, best epoch" if when == "best" else text


def _cell_columns(table: pd.DataFrame) -> dict[str, list[str]]:
    columns = {
        "lr": [format_tick(x, 4) if pd.notna(x) else NO_VALUE for x in table["lr"]],
        "λ": [format_tick(x, 4) if pd.notna(x) else NO_VALUE for x in table["weight_decay"]],
        "decay": table["decay"].map(decay_name, na_action=None).tolist(),
    }
    criteria = task_metrics(table)
    for metric in DISPLAY_COLUMNS:
        pairs = zip(table[metric].to_numpy(float), table[f"{metric}_half_width"].to_numpy(float), strict=True)
        texts = [format_mean_ci(mean, half, metric, criteria) for mean, half in pairs]
        if metric.endswith("_error") or any(text != NO_VALUE for text in texts):
            columns[display_table(metric, criteria)] = texts
    validation, test = (display_table(f"final_{split}_error", criteria) for split in ("validation", "test"))
    is_one = columns[test] == columns[validation] and any(text != NO_VALUE for text in columns[test])
    if is_one:  # test and validation metric
        del columns[validation]
        columns = {name.removeprefix("test "): texts for name, texts in columns.items()}
    return columns


def _without_empty(display: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    return display.drop(columns=[name for name in names if display[name].eq("").all()])


def baseline(board: pd.DataFrame) -> str:
    """Return the error of the best constant prediction: ``always the majority class: 89 % validation, 90 % test
    error``.
    """
    error = task_metrics(board).error
    values = board[list(BASELINE)].iloc[0]
    if not len(board) or values.isna().any():
        return ""
    validation, test = (f"{format_significant(error.factor * value)} {error.unit}".rstrip() for value in values)
    return f"always {error.baseline}: {validation} validation, {test} test {error.label}"
