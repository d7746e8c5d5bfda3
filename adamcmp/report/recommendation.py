"""The recommendation of ``adamcmp recommend``: optimizer, settings, confidence, and its files."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path

from adamcmp.analysis import TaskRecords, Verdict, best_trials, leaderboard, task_metrics, trials_table
from adamcmp.analysis.held_out import held_out_rows_of
from adamcmp.figures.axis_labels import format_tick
from adamcmp.metrics.spec import MetricSpec
from adamcmp.report import table_formats, tables
from adamcmp.report.code_recipes import FRAMEWORKS, training_code
from adamcmp.report.formatting import format_mean_ci
from adamcmp.report.verdict_text import format_verdict
from adamcmp.storage.backend import write_file

MIN_HELD_OUT_SEEDS = 8
"""Number of held-out seeds per optimizer below which a recommendation is never called sure."""


@dataclass(frozen=True)
class Recommendation:
    """A recommendation of one task."""

    arm: str
    lr: float
    weight_decay: float
    paragraph: str
    recipes: dict[str, str]
    """Training code by framework."""
    is_sure: bool
    """Every pair is decided, significantly better or equivalent, and no held-out run of it was lost."""


def recommend(task: TaskRecords, verdicts: list[Verdict], seconds_a_run: float) -> Recommendation | None:
    """Return the recommendation of a task; None if no optimizer has a completed trial.

    The optimizer is selected by validation errors on held-out seeds, or by those of tuning without any; test errors
    only measure it.

    Args:
        task: runs of the recommendation.
        verdicts: on its optimizers.
        seconds_a_run: duration of one more run, for the cost of a more certain recommendation.
    """
    records, error = task.records, task_metrics(task.records).error
    table = trials_table(records)
    best = best_trials(table)
    if best.empty:
        return None
    fresh = held_out_rows_of(records, table)
    fresh = fresh[fresh["arm"].isin(best["arm"])]
    means = fresh.groupby("arm")["final_validation_error"].agg(["mean", "count"])
    confirmed = len(means) == len(best) and bool((means["count"] >= 2).all())
    values = means["mean"] if confirmed else best.set_index("arm")["final_validation_error"]
    arm = str((error.sign * values).idxmin())
    cell = best[best["arm"] == arm].iloc[0]
    lr, decay = float(cell["lr"]), float(cell["weight_decay"])
    board = leaderboard(records)
    row = board[board["arm"] == arm].iloc[0]
    error_text = format_mean_ci(
        row["final_test_error"], row["final_test_error_half_width"], "final_test_error", task_metrics(records)
    )
    n = int((fresh["arm"] == arm).sum()) if confirmed else int(cell["n"])
    seeds = f"{n} {'held-out seeds' if confirmed else 'tuning seeds, which selected it'}"
    arm_verdicts = [verdict for verdict in verdicts if arm in (verdict.a, verdict.b)]
    lost = int((fresh.loc[fresh["arm"] == arm, "lost"] != "").sum())
    sure = (
        bool(arm_verdicts)
        and not lost
        and all(verdict.kind == "same" or _wins(verdict, arm, error) for verdict in arm_verdicts)
    )
    wins = bool(arm_verdicts) and all(_wins(verdict, arm, error) for verdict in arm_verdicts)
    words = "Use" if wins or not lost else "No safe choice; the best is"
    averaged = ", averaged over the trials that tuning may select" if confirmed and row["near_ties"] > 0 else ""
    over = f"over {seeds}{averaged}"
    best_word = "highest" if error.higher_is_better else "lowest"
    why = f", which has the {best_word} validation {error.label}" if arm_verdicts and not wins else ""
    setting = f"lr {format_tick(lr, 3)} and λ {format_tick(decay, 3)}"
    parts = [
        f"{words} {arm} with {setting}{why}: test {error.label} {error_text} {over}.",
        *([f"It diverged or failed on {lost} of {n} held-out seeds."] if lost else []),
        *_confidence_sentence(arm_verdicts, error, n if confirmed else 0),
        *_cost_to_decide(arm_verdicts, n, len(best), seconds_a_run),
    ]
    if edge := str(cell["edge"]):
        parts.append(
            f"Its setting is on the edge of the search range ({edge}); a wider range may contain a better one."
        )
    run = records[(records["arm"] == arm) & (records["lr"] == lr) & (records["weight_decay"] == decay)]
    title = f"{arm}, lr {lr:.6g}, λ {decay:.6g}: test {error.label} {error_text}, {seeds}"
    first_run = run.sort_values("seed").iloc[0]
    recipes = {framework: training_code(first_run, framework, title) for framework in FRAMEWORKS}
    return Recommendation(arm, lr, decay, " ".join(parts), recipes, sure)


def _wins(verdict: Verdict, arm: str, error: MetricSpec) -> bool:
    """Return whether an optimizer of a pair is significantly better than the other."""
    return verdict.kind == "apart" and (error.sign * verdict.mean < 0) == (verdict.a == arm)


def _confidence_sentence(arm_verdicts: list[Verdict], error: MetricSpec, held_out: int) -> list[str]:
    if not arm_verdicts or held_out == 0:
        return ["No held-out runs compare the optimizers yet: give a larger --budget."]
    lines = [format_verdict(verdict, error) for verdict in arm_verdicts]
    if held_out < MIN_HELD_OUT_SEEDS and any(verdict.limit not in ("examples", "tuning") for verdict in arm_verdicts):
        lines.append(f"{held_out} held-out seeds are few: use {MIN_HELD_OUT_SEEDS} or more.")
    return lines


def _cost_to_decide(arm_verdicts: list[Verdict], n: int, arms: int, seconds: float) -> list[str]:
    """Return the price of more held-out seeds, where they would decide an open verdict."""
    open_ = [verdict for verdict in arm_verdicts if verdict.kind == "open" and math.isfinite(verdict.seeds_needed)]
    if not open_ or seconds <= 0:
        return []
    seeds = max(verdict.seeds_needed for verdict in open_)
    if seeds <= n:
        return []
    return [f"That many seeds take about {_duration_text((seeds - n) * arms * seconds)} more on this machine."]


def _duration_text(seconds: float) -> str:
    for limit, size, unit in ((90, 1, "seconds"), (5400, 60, "minutes"), (172800, 3600, "hours")):
        if seconds < limit:
            return f"{max(seconds / size, 1):,.0f} {unit}"
    return f"{seconds / 86400:,.0f} days"


def minimum_budget(seconds_a_run: float, trials: int, arms: int, seeds: int) -> str:
    """Return the minimum useful budget: one batch of trials, and the minimum number of held-out seeds."""
    needed = 1.3 * seconds_a_run * arms * (trials * seeds + MIN_HELD_OUT_SEEDS) + 20
    return f"{math.ceil(needed / 60)}m"


FILE_NAMES = {"torch": "recipe_torch.py", "optax": "recipe_optax.py", "keras": "recipe_keras.py"}


def write_recommendation(recommendation: Recommendation, task: TaskRecords, folder: Path) -> list[Path]:
    """Write them; the text first.

    Raises:
        InputError: they cannot be written.
    """
    from adamcmp.figures.csv_io import read_table
    from adamcmp.figures.registry import FIGURES
    from adamcmp.figures.style import FigureSkipped, FigureStyle, layout, render_figure, use_style

    written = [
        write_file(folder / FILE_NAMES[framework], text.encode()) for framework, text in recommendation.recipes.items()
    ]
    board = tables.leaderboard_display(leaderboard(task.records))
    lines = [
        f"# {recommendation.arm} for {task.label}",
        "",
        recommendation.paragraph,
        "",
        board.to_markdown(index=False),
        "",
    ]
    frame = read_table(io.StringIO(table_formats.to_csv(trials_table(task.records))))
    arms = tuple(sorted(frame["arm"].unique()))
    try:
        with use_style(FigureStyle("double", arms, "")):
            figure = FIGURES["heatmap"].draw(frame)
            layout(figure)
            written.append(write_file(folder / "basin.png", render_figure(figure, "png")))
        lines += ["![Test error over learning rate and weight decay](basin.png)", ""]
    except FigureSkipped as reason:
        lines += [f"No figure of the basin: {reason}.", ""]
    for framework, text in recommendation.recipes.items():
        lines += [f"## {FRAMEWORKS[framework]}", "", "```python", text.rstrip(), "```", ""]
    return [write_file(folder / "recommendation.md", "\n".join(lines).encode()), *written]
