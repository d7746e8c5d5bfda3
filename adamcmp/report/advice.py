"""What ``adamcmp recommend`` says: which optimizer, how sure that is, and what it would take to be surer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from adamcmp.analysis import Task, Verdict, best_cells, cells, criteria_of, judged, leaderboard
from adamcmp.criteria import ErrorMetric
from adamcmp.drawing.labels import short
from adamcmp.report.judging import told
from adamcmp.report.labels import quantity
from adamcmp.report.recipe import FRAMEWORKS, recipe

FEWEST = 8
"""Fresh seeds of each optimizer below which nothing is said to be sure."""


@dataclass(frozen=True)
class Advice:
    """A recommendation of one task."""

    arm: str
    lr: float
    weight_decay: float
    paragraph: str
    recipes: dict[str, str]
    """By framework: code to paste."""
    is_sure: bool
    """Some pair that it is in was told apart, or is the same to within the margin."""


def advice(task: Task, verdicts: list[Verdict], seconds_a_run: float) -> Advice | None:
    """What to use; None where no optimizer has a setting that completed.

    The optimizer is chosen by validation errors on fresh seeds, or by those of tuning where there are none; test errors
    only tell how good it is.

    Args:
        task: what was trained for it.
        verdicts: of its arms.
        seconds_a_run: what one more run takes, to price what would make it surer.
    """
    records, error = task.records, criteria_of(task.records).error
    best = best_cells(cells(records))
    if best.empty:
        return None
    fresh = judged(records, best)
    means = fresh.groupby("arm")["final_validation_error"].agg(["mean", "count"])
    confirmed = len(means) == len(best) and bool((means["count"] >= 2).all())
    values = means["mean"] if confirmed else best.set_index("arm")["final_validation_error"]
    arm = str((error.sign * values).idxmin())
    cell = best[best["arm"] == arm].iloc[0]
    lr, decay = float(cell["lr"]), float(cell["weight_decay"])
    board = leaderboard(records)
    row = board[board["arm"] == arm].iloc[0]
    shown = quantity(
        row["final_test_error"], row["final_test_error_half_width"], "final_test_error", criteria_of(records)
    )
    n = int((fresh["arm"] == arm).sum()) if confirmed else int(cell["n"])
    seeds = f"{n} {'fresh seeds' if confirmed else 'tuning seeds, which have chosen it'}"
    first = f"Use {arm} with lr {short(lr, 4)} and λ {short(decay, 4)}: test {error.label} {shown} over {seeds}."
    own = [each for each in verdicts if arm in (each.a, each.b)]
    sure = bool(own) and all(each.kind in ("apart", "same") for each in own)
    parts = [
        first,
        *_how_sure(own, error, len(verdicts), n if confirmed else 0),
        *_surer(own, n, len(best), seconds_a_run),
    ]
    if edge := str(cell["edge"]):
        parts.append(
            f"Its setting lies on the edge of what was searched ({edge}): a wider range may hold a better one."
        )
    run = records[(records["arm"] == arm) & (records["lr"] == lr) & (records["weight_decay"] == decay)]
    title = f"{arm}, lr {lr:.6g}, λ {decay:.6g}: test {error.label} {shown}, {seeds}"
    first_run = run.sort_values("seed").iloc[0]
    recipes = {framework: recipe(first_run, framework, title) for framework in FRAMEWORKS}
    return Advice(arm, lr, decay, " ".join(parts), recipes, sure)


def _how_sure(own: list[Verdict], error: ErrorMetric, pairs: int, fresh: int) -> list[str]:
    if not own or fresh == 0:
        untold = "none was judged on seeds that did not choose its setting"
        return [f"That was too little to tell the optimizers apart: {untold}."]
    found = [told(each, error, pairs) for each in own]
    if fresh < FEWEST:
        found.append(f"With {fresh} fresh seeds that was too little to tell much.")
    return found


def _surer(own: list[Verdict], n: int, arms: int, seconds: float) -> list[str]:
    """What would make it surer, priced by what a run took."""
    open_ = [each for each in own if each.kind == "open" and math.isfinite(each.seeds_needed)]
    if not open_ or seconds <= 0:
        return []
    seeds = max(each.seeds_needed for each in open_)
    more = max(seeds - n, 1) * arms * seconds
    if seeds <= n:
        return []
    return [f"To tell this difference by seeds alone would take about {_time(more)} more on this machine."]


def _time(seconds: float) -> str:
    for limit, size, unit in ((90, 1, "seconds"), (5400, 60, "minutes"), (172800, 3600, "hours")):
        if seconds < limit:
            return f"{max(seconds / size, 1):,.0f} {unit}"
    return f"{seconds / 86400:,.0f} days"


def minimum(seconds_a_run: float, trials: int, arms: int, seeds: int) -> str:
    """The budget that would do: one batch of trials, and the fewest fresh seeds."""
    needed = 1.3 * seconds_a_run * arms * (trials * seeds + FEWEST) + 20
    return f"{math.ceil(needed / 60)}m"
