"""The command settle: add held-out seeds until two optimizers are decided."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adamcmp.cli.app import (
    DEFAULT_RESULTS,
    ConfigDir,
    Debug,
    Device,
    Json,
    Margin,
    Overrides,
    Quiet,
    ResultsDir,
    Trust,
    Verbose,
    add_json,
    complete_names,
    print_note,
)
from adamcmp.cli.json_values import verdict_as_json
from adamcmp.cli.sweep_stages import open_study, show_header, train
from adamcmp.errors import InputError, command_text
from adamcmp.storage.backend import open_path

if TYPE_CHECKING:
    from adamcmp.report.commands import TrainCommand


SEEDS_PER_LOOK = 8
"""Seeds that ``settle`` adds before it looks again."""


def settle(
    a: Annotated[str, typer.Argument(metavar="A", help="An optimizer, by its label or its configuration's name.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another optimizer.")],
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="STUDY",
            help="A study's name or YAML file. Default: the stored study that has both optimizers.",
            autocompletion=complete_names("study", ""),
        ),
    ] = None,
    overrides: Overrides = None,
    margin: Margin = None,
    max_seeds: Annotated[int, typer.Option(min=1, help="Maximum number of held-out seeds per optimizer.")] = 200,
    assume_symmetric: Annotated[
        bool,
        typer.Option(
            "--assume-symmetric",
            help="Differences are symmetric: neither optimizer fails on some seeds. Needs far fewer seeds.",
        ),
    ] = False,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    config_dir: ConfigDir = None,
    device: Device = None,
    trust: Trust = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Add held-out seeds until two optimizers are decided."""
    from adamcmp.analysis import split_by_task, task_metrics
    from adamcmp.analysis.sequential_test import cannot_be_decided, sequential_verdict
    from adamcmp.execute.next_runs import FIRST_SETTLE_SEED, find_arm_pair, settle_runs
    from adamcmp.report.verdict_text import format_settle_state, format_symmetric_hint
    from adamcmp.storage.records import read_outcomes, read_records

    if stored_study(a, results_dir) and study is not None:
        raise InputError(
            f"settle {a}: is a study; the two optimizers come first: {command_text('settle', b, study, a)}"
        )
    if study is None or (stored_study(study, results_dir) and not overrides):
        folder, trained = find_stored_pair(a, b, study, results_dir, trust=trust)
        study, overrides, config_dir = trained.study, trained.overrides, config_dir or trained.config_dir
        results_dir = folder.parent
    named = study
    opened = open_study(lambda: named, overrides, results_dir, config_dir, device)
    records = read_records(opened.study_dir)
    pair = find_arm_pair(opened.plan.runs, records, (a, b))
    show_header(opened)
    error = task_metrics(pair.task.records).error
    accepted_margin = margin if margin is not None else opened.plan.config.study.margin
    tolerated = None if accepted_margin is None else accepted_margin / error.factor
    hint = ""
    while True:
        (task,) = (task for task in split_by_task(records) if task.task == pair.task.task)
        try:
            outcomes = read_outcomes([opened.study_dir])
            verdict = sequential_verdict(
                task.records, pair.arms, tolerated, outcomes, assume_symmetric=assume_symmetric
            )
        except ValueError as reason:
            raise InputError(f"settle {a} {b}: {reason}") from reason
        seeds = range(FIRST_SETTLE_SEED + verdict.n, FIRST_SETTLE_SEED + min(verdict.n + SEEDS_PER_LOOK, max_seeds))
        undecided = verdict.kind == "open" and not cannot_be_decided(verdict)
        more = f"; adding {len(seeds)} seeds (of at most {max_seeds})" if seeds else "; --max-seeds is reached"
        sentence = format_settle_state(verdict, error, more if undecided else "")
        print_note(sentence, err=False)
        add_json(verdict=verdict_as_json(verdict, sentence))
        if undecided and verdict.n and not assume_symmetric and (not hint or not seeds):
            last, hint = hint, format_symmetric_hint(verdict, task.records, error)
            if hint != last:
                print_note(hint, err=False)
        if not undecided or not seeds:
            return
        added = settle_runs(
            opened.plan.runs, pair, range(FIRST_SETTLE_SEED, seeds.stop)
        )  # failed ones are trained again
        train(opened, added, None, label="Added")
        records = read_records(opened.study_dir)
        there = records[records["run_id"].isin([run.id for run in added])]
        failed = int((there["status"] == "failed").sum())
        if failed or len(there) < len(added):
            raise InputError(
                f"settle {a} {b}: {failed} of the added runs failed, {len(added) - len(there)} are missing; the same "
                "command trains them again"
            )


def stored_study(name: str, results_dir: Path) -> Path | None:
    """Return the folder of a stored study by its name, its path or the path of its ``study.yaml``."""
    typed = open_path(name)
    folders = (results_dir / name, typed.parent if typed.name == "study.yaml" else typed)
    return next((folder for folder in folders if name and (folder / "records").is_dir()), None)


def find_stored_pair(a: str, b: str, name: str | None, results_dir: Path, *, trust: bool) -> tuple[Path, TrainCommand]:
    """Return the folder of the stored study that has both optimizers, and its configuration and settings."""
    from adamcmp.config.trust import check_stored_words
    from adamcmp.report.commands import find_train_command
    from adamcmp.storage.records import find_studies, read_records

    stored = None if name is None else stored_study(name, results_dir)
    if stored is not None and (read_records(stored)["engine"] == "imported").all():
        raise InputError(f"settle {a} {b}: {stored} is imported: adamcmp cannot train more of its runs")
    candidates = {
        study_dir: trained
        for study_dir in find_studies(results_dir if name is None else stored_study(name, results_dir) or results_dir)
        if (trained := find_train_command(read_records(study_dir), (a, b)))
    }
    if len(candidates) > 1:
        names = ", ".join(path.name for path in candidates)
        one = command_text("settle", a, b, next(iter(candidates)).name)
        raise InputError(f"settle {a} {b}: {len(candidates)} studies have both: {names}; name one, such as {one}")
    if not candidates:
        where = results_dir if name is None else name
        raise InputError(f"settle {a} {b}: no sweep in {where} has both; sweep the two optimizers first")
    ((study_dir, trained),) = candidates.items()
    if not trust:
        check_stored_words(*trained, whose=f"the command stored in {study_dir}")
    other_overrides = [word for word in trained.overrides if not word.startswith("study.name=")]
    scale = next((word.partition("=")[2] for word in other_overrides if word.startswith("scale=")), "")
    # runs that several studies share are stored with the command of the first, which names another study
    study_name = study_dir.name.removesuffix(f"_{scale}") if scale else study_dir.name
    return study_dir, trained._replace(overrides=[*other_overrides, f"study.name={study_name}"])
