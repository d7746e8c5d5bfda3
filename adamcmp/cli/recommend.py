"""The command ``recommend``: an optimizer with its settings for a model and data, within a time budget."""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adamcmp import signals
from adamcmp.cli.app import (
    DEFAULT_RESULTS,
    ConfigDir,
    Debug,
    Device,
    Json,
    Overrides,
    Quiet,
    ResultsDir,
    Verbose,
    add_json,
    complete_names,
    is_called_from_python,
    is_quiet,
    print_line,
    print_lines,
    print_note,
    terminal_width,
)
from adamcmp.cli.spinner import show_status
from adamcmp.cli.sweep_stages import open_study, train
from adamcmp.errors import InputError

if TYPE_CHECKING:
    from adamcmp.execute.session import Session
    from adamcmp.plan.runs import Run
    from adamcmp.report.recommendation import Recommendation

TUNING_FRACTION = 0.6
"""Share of the budget after which nothing more is tuned."""
REPORTING_FRACTION = 0.02
"""Share of the budget for tables and figures, at least ``MIN_REPORTING_SECONDS`` seconds."""
MIN_REPORTING_SECONDS = 10.0
SEEDS_PER_ROUND = 8
"""Held-out seeds that are added at a time."""
TRIALS_PER_BATCH = 8
"""Trials of each optimizer that are requested at a time."""
MIN_BUDGET_TO_BENCHMARK = 300.0
"""Seconds of budget below which training strategies are chosen by rough estimates: timing them may take a minute."""
SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_budget(text: str) -> float:
    """Return a time such as ``90s``, ``30m``, ``1.5h``; minutes where no unit is given.

    Raises:
        InputError: the text is no time.

    >>> parse_budget("30m"), parse_budget("1.5h"), parse_budget("2")
    (1800.0, 5400.0, 120.0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if match is None or float(match[1]) <= 0:
        raise InputError(f"--budget {text}: is not a time; give a time such as 90s, 30m or 2h")
    return float(match[1]) * SECONDS_PER_UNIT[match[2] or "m"]


def recommend(
    config: Annotated[
        str,
        typer.Argument(
            metavar="[CONFIG]",
            help="Name of a built-in configuration (see `adamcmp list configs`) or path to a YAML file.",
            autocompletion=complete_names(""),
        ),
    ] = "digits",
    overrides: Overrides = None,
    budget: Annotated[str, typer.Option(help="Time budget: 90s, 30m, 2h.")] = "30m",
    optimizers: Annotated[
        str, typer.Option(help="Comma-separated optimizers to compare (see `adamcmp list optimizers`).")
    ] = "adam,adamw",
    results_dir: ResultsDir = DEFAULT_RESULTS,
    config_dir: ConfigDir = None,
    device: Device = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Recommend an optimizer and settings within a time budget."""
    find_recommendation(config, overrides, budget, optimizers, results_dir, config_dir, device)


def find_recommendation(
    config: str,
    overrides: list[str] | None,
    budget: str,
    optimizers: str,
    results_dir: Path,
    config_dir: Path | None,
    device: str | None,
) -> tuple[Path, Recommendation]:
    """Spend a budget, print the recommendation, and return it with the folder of its study.

    Raises:
        InputError: a setting cannot be used, or nothing completed within the budget.
    """
    began = time.monotonic() - process_seconds()
    seconds = parse_budget(budget)
    if "=" in config:
        config, overrides = "digits", [config, *(overrides or [])]
    all_overrides = [*added_overrides(config, overrides or [], optimizers, config_dir), *(overrides or [])]
    opened = open_study(lambda: config, all_overrides, results_dir, config_dir, device)
    if opened.plan.searching is None:
        raise InputError("recommend: search=grid has no budget; leave search out, or give tpe, gp, random or sobol")
    deadline = began + seconds - max(MIN_REPORTING_SECONDS, REPORTING_FRACTION * seconds)
    spending = BudgetedSearch(opened, began, deadline, seconds)
    with signals.stop_after(deadline - time.monotonic()) as struck:
        try:
            spending.tune()
            spending.confirm()
        except KeyboardInterrupt:
            if not struck():
                raise
    return opened.study_dir, print_recommendation(opened, spending)


def process_seconds() -> float:
    """Return the age of this process, which a command counts as its own time; 0 in a program that calls adamcmp."""
    import psutil

    from adamcmp.cli.app import is_called_from_python

    return 0.0 if is_called_from_python() else time.time() - psutil.Process().create_time()


def added_overrides(config: str, overrides: Sequence[str], optimizers: str, config_dir: Path | None) -> list[str]:
    """Return the overrides that the command adds to the user's: names, seeds, and ranges that the user left open."""
    with show_status("starting"):
        from adamcmp.config.compose import compose
        from adamcmp.config.lookup import find_config
        from adamcmp.config.overrides import parse_override
        from adamcmp.config.validate import safe_stem

        source = find_config(config, config_dir)
        parsed = [parse_override(text) for text in overrides]
        keys = {override.key_or_group for override in parsed}
        fixed = [text for text, override in zip(overrides, parsed, strict=True) if not override.is_sweep_override()]
        study = compose(source, fixed).values.get("study") or {}
        added = [] if "search" in keys else ["search=tpe"]
        added += [] if "search.trials" in keys else ["search.trials=1000000"]
        added += [] if "search.batch" in keys else [f"search.batch={TRIALS_PER_BATCH}"]
        added += [] if "study.seeds" in keys else ["study.seeds=5"]
        if "study.name" not in keys:
            data, model, path = (
                next((override.value() for override in parsed if override.key_or_group == key), None)
                for key in ("data", "model", "data.path")
            )
            parts = [str(name) for name in (data, model) if isinstance(name, str)] or [source.stem]
            parts += [safe_stem(path)] if isinstance(path, str) else []
            added.append(f"study.name=recommend_{'_'.join(dict.fromkeys(parts))}")
        has_ranges = (
            study.get("grid")
            or study.get("spaces")
            or any(
                override.is_sweep_override() and override.key_or_group.startswith("optimizer.") for override in parsed
            )
        )
        if has_ranges or any(key.startswith("search.space") for key in keys):
            return added if "optimizer" in keys or study.get("spaces") else [*added, f"optimizer={optimizers}"]
        names = optimizers.split(",")
        if "optimizer" in keys:
            optimizer_override = next(override for override in parsed if override.key_or_group == "optimizer")
            names = (
                list(map(str, optimizer_override.sweep_iterator()))
                if optimizer_override.is_sweep_override()
                else [str(optimizer_override.value())]
            )
        spaces = [
            search_space(name, compose(source, [*fixed, f"optimizer={name}"]).values["optimizer"]) for name in names
        ]
        added.append(f"++study.spaces=[{','.join(spaces)}]")
        return added if "optimizer" in keys else [*added, f"optimizer={','.join(names)}"]


DECAY_RANGES = {"l2": (1e-6, 1e-2), "lr_scaled": (1e-4, 1.0)}
"""Ranges of λ by convention; other conventions use 0.01 to 100 times the configuration's value."""


def search_space(name: str, optimizer: Any) -> str:
    """Return the ranges of an optimizer's lr and λ: thirty times more and less than its configuration has; 0 among
    λ.
    """
    if optimizer.get("lr") is None:
        raise InputError(
            "recommend: a script's optimizers have no usual learning rate; give ranges, such as "
            "'optimizer.lr=geomspace(1e-4,1e-1,7)'"
        )
    lr, decay = float(optimizer["lr"]), float(optimizer.get("weight_decay", 0.0))
    low, high = DECAY_RANGES.get(str(optimizer.get("decay")), (decay / 100, decay * 100) if decay else (1e-6, 1e-2))
    return (
        f"{{optimizer: {name}, optimizer.lr: 'geomspace({lr / 30:.3g},{lr * 30:.3g},9)', "
        f"optimizer.weight_decay: 'geomspace({low:.3g},{high:.3g},8,zero=true)'}}"
    )


class BudgetedSearch:
    """A search that spends a time budget on tuning and then on held-out seeds, by the measured time of runs."""

    def __init__(self, opened: Session, began: float, deadline: float, seconds: float) -> None:
        self._opened, self._began, self._deadline, self._seconds = opened, began, deadline, seconds
        self.a_run = 0.0
        """Seconds that one more run takes, with all that trains at the same time."""
        self._tuned: list[Run] = list(opened.plan.runs)

    @property
    def spent(self) -> float:
        """Seconds since the command began."""
        return time.monotonic() - self._began

    def tune(self) -> None:
        """Request batches of trials until the rest of the budget is needed for held-out seeds."""
        from adamcmp.storage.records import read_records

        searching = self._opened.plan.searching
        assert searching is not None
        batch = list(self._opened.plan.runs)
        if not (read_records(self._opened.study_dir)["status"] == "completed").any():
            first = {run.arm: run for run in reversed(batch)}  # with these there is an answer, however uncertain
            self._train(list(first.values()), "first run of each optimizer")
        while batch:
            tried = max(len(arm.trials) for arm in searching.arms)
            self._train(batch, f"{searching.settings.method}, {tried:,} trials")
            batch = searching.more(read_records(self._opened.study_dir))
            missing = self._missing(batch)
            if missing and self.spent + self.a_run * len(missing) > self._until():
                break
            self._tuned += batch

    def _until(self) -> float:
        """Return the latest end of tuning: the minimum number of held-out seeds must fit after it."""
        searching = self._opened.plan.searching
        assert searching is not None
        rest = self._deadline - self._began
        return min(TUNING_FRACTION * self._seconds, rest - 1.2 * self.a_run * SEEDS_PER_ROUND * len(searching.arms))

    def confirm(self) -> None:
        """Train the selected trials on as many held-out seeds as the budget allows."""
        from adamcmp.execute.next_runs import held_out_runs
        from adamcmp.storage.records import read_records

        seeds = 0
        while True:
            seeds += SEEDS_PER_ROUND
            runs = held_out_runs(self._tuned, read_records(self._opened.study_dir), seeds)
            missing = self._missing(runs)
            if not runs or (
                missing and seeds > SEEDS_PER_ROUND and self.a_run * len(missing) > self._deadline - time.monotonic()
            ):
                return
            self._train(runs, "", "Held-out")

    def _missing(self, runs: Sequence[Run]) -> list[Run]:
        from adamcmp.execute.study_dir import missing_runs

        return missing_runs(runs, self._opened.study_dir)

    def _train(self, runs: Sequence[Run], rest: str, label: str = "") -> None:
        began, count = time.monotonic(), len(self._missing(runs))
        benchmarks = self._seconds >= MIN_BUDGET_TO_BENCHMARK
        train(self._opened, runs, None, label=label, rest=rest, benchmarks=benchmarks)
        if count:
            self.a_run = (time.monotonic() - began) / count


def print_recommendation(opened: Session, spending: BudgetedSearch) -> Recommendation:
    """Print the recommendation, write it into the results folder, and return it."""
    with show_status("drawing"):
        from adamcmp.analysis import leaderboard, split_by_task
        from adamcmp.cli.progress import format_duration
        from adamcmp.report import terminal
        from adamcmp.report.recommendation import minimum_budget, recommend, write_recommendation
        from adamcmp.report.verdict_text import ComparisonSettings
        from adamcmp.storage.records import read_outcomes, read_records

        records = read_records(opened.study_dir)
        comparison = ComparisonSettings.of(opened.plan.config.study.model_dump())
        searching = opened.plan.searching
        assert searching is not None
        seeds = len(opened.plan.config.seeds)
        if records.empty or not (records["status"] == "completed").any():
            raise InputError(
                f"recommend: no run has completed within {format_duration(spending.spent)}, start-up included. "
                "Give a larger --budget, a shorter training (train.steps=…), or a smaller model or data set"
            )
        enough = minimum_budget(
            spending.a_run or float(records["seconds"].max()), TRIALS_PER_BATCH, len(searching.arms), seeds
        )
        task = split_by_task(records)[0]
        verdicts = comparison.verdicts(task, read_outcomes([opened.study_dir]))
        recommendation = recommend(task, verdicts, spending.a_run)
        if recommendation is None:
            raise InputError(
                f"recommend: no setting has completed on all of its seeds within the budget; the others diverged or "
                f"failed. The same command with --budget {enough} resumes from here"
            )
        files = write_recommendation(recommendation, task, opened.study_dir / "recommendation")
    values = {
        "arm": recommendation.arm,
        "lr": recommendation.lr,
        "weight_decay": recommendation.weight_decay,
        "text": recommendation.paragraph,
    }
    add_json(
        folder=str(opened.study_dir),
        recommendation={**values, "is_sure": recommendation.is_sure, "recipes": recommendation.recipes},
        files=[str(path) for path in files],
        spent_seconds=spending.spent,
    )
    if is_quiet() and is_called_from_python():
        return recommendation
    if not is_quiet():
        print_lines([*terminal.leaderboard_lines(leaderboard(task.records), terminal_width()), [("", "")]])
    for row in textwrap.wrap(
        recommendation.paragraph, terminal_width(), break_long_words=False, break_on_hyphens=False
    ):
        print_note(row, "bold", err=False)
    if is_quiet():
        return recommendation
    if not verdicts or any(verdict.kind == "none" for verdict in verdicts):
        print_note(f"The same command with --budget {enough} or more resumes from here.", err=False)
    print_line(f"\n{recommendation.recipes['torch']}")
    print_line(f"Report   {files[0]}  (table, figure, and code for Keras and optax)")
    print_note(f"spent {format_duration(spending.spent)}")
    return recommendation
