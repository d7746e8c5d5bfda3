"""Commands that train: run, sweep, reproduce, settle."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from adamcmp import garbage_collection
from adamcmp.cli.app import (
    DEFAULT_RESULTS,
    DONE,
    SOME_FAILED,
    ConfigDir,
    ConfigName,
    Debug,
    Device,
    DryRun,
    Format,
    Formats,
    Json,
    Limit,
    Margin,
    Overrides,
    Quiet,
    ResultsDir,
    StudyName,
    Trust,
    Verbose,
    answer,
    complete,
    is_quiet,
    is_verbose,
    print_lines,
    say,
    tell,
)
from adamcmp.cli.showing import (
    report_on,
    reported,
    show_claims,
    show_found,
    show_next,
    show_statements,
    show_summary,
    verdict_answer,
)
from adamcmp.cli.spinner import show_status
from adamcmp.errors import InputError, command_text
from adamcmp.storage.backend import open_path

if TYPE_CHECKING:
    import pandas as pd

    from adamcmp.config.schema import ExecutionSettings
    from adamcmp.execute.execution_plan import ExecutionPlan
    from adamcmp.execute.scheduler import Listener
    from adamcmp.execute.session import Session
    from adamcmp.plan.runs import Run
    from adamcmp.report.commands import TrainCommand
    from adamcmp.report.findings import StudyFindings

SEEDS_A_LOOK = 8
"""Seeds that ``settle`` adds before it looks again."""


def run(
    config: ConfigName,
    overrides: Overrides = None,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    config_dir: ConfigDir = None,
    device: Device = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Train a single configuration and print its metrics."""

    def alone() -> str:
        from adamcmp.config.overrides import require_single_run

        require_single_run(config, overrides or [])
        return config

    opened = open_study(alone, overrides, results_dir, config_dir, device)
    if len(opened.plan.runs) > 1:
        raise InputError(f"{config}: is a study of {len(opened.plan.runs)} runs; use {command_text('sweep', config)}")
    train(opened, opened.plan.runs, limit=None)
    from adamcmp.cli.run_result import run_lines
    from adamcmp.storage.records import read_records

    records = read_records(opened.study_dir)
    record = records[records["run_id"] == opened.plan.runs[0].id].iloc[0]
    print_lines(run_lines(record.to_dict()))
    say(f"Stored   {opened.study_dir} (run {record['run_id']})")
    answer(folder=str(opened.study_dir), run=record.to_dict())
    raise typer.Exit(SOME_FAILED if record["status"] == "failed" else DONE)


def sweep(
    study: StudyName,
    overrides: Overrides = None,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    config_dir: ConfigDir = None,
    device: Device = None,
    dry_run: DryRun = False,
    limit: Limit = None,
    only_failed: Annotated[bool, typer.Option("--only-failed", help="Retry failed runs only.")] = False,
    extend: Annotated[
        bool,
        typer.Option(
            "--extend", help="Extend the grid while the best trial is at its boundary (up to 5 values per side)."
        ),
    ] = False,
    report: Annotated[bool, typer.Option("--report", help="Also write the full report.")] = False,
    collect: Annotated[
        bool, typer.Option("--collect", help="Slurm: show results stored so far without training.")
    ] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Tune optimizers, then compare them on held-out seeds."""
    given = [*(overrides or []), *(["study.extend=5"] if extend else [])]
    opened = open_study(lambda: study, given, results_dir, config_dir, device, dry_run=dry_run, only_failed=only_failed)
    if dry_run:
        _show_plan(opened, limit, only_failed)
        return
    if collect:
        show_header(opened)
        records = _collected(opened)
    elif opened.plan.config.execute.where == "slurm":
        _submit(opened)
        return
    else:
        records = _sweep(opened, limit, only_failed)
    if report:
        report_on([opened.study_dir], None, None, title=False)
        raise typer.Exit(_exit_code(records))
    from adamcmp.report.model import ReportInput
    from adamcmp.report.verdict_text import ComparisonSettings
    from adamcmp.storage.records import read_outcomes

    judging = ComparisonSettings.of(opened.plan.config.study.model_dump())
    report_input = ReportInput(records, outcomes=read_outcomes([opened.study_dir]), judging=judging)
    show_found(report_input)
    show_next(report_input, opened.study_dir)
    raise typer.Exit(_exit_code(records))


def work(
    study_dir: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS/STUDY", help="Folder with the plan that execute=slurm wrote.", parser=open_path
        ),
    ],
    trust: Trust = False,
    plan: Annotated[str | None, typer.Option(help="Trust the plan if its file has this SHA-256.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Run by Slurm jobs: train the missing runs of a submitted plan."""
    with show_status("starting"):
        from adamcmp.execute.session import Session
        from adamcmp.execute.slurm_jobs import PLAN_FILE
        from adamcmp.plan import saved_plan

        saved = saved_plan.read_plan(study_dir / PLAN_FILE, trust=trust, digest=plan)
        opened = Session(saved.plan.here(), study_dir, words=saved.words)
    records = _sweep(opened, None)
    answer(folder=str(study_dir), runs=records["status"].value_counts().to_dict())
    raise typer.Exit(_exit_code(records))


def _submit(opened: Session) -> None:
    """Leave the plan in the study's folder, and hand in jobs that work on it."""
    from adamcmp.cli import plan_view
    from adamcmp.execute.slurm_jobs import PLAN_FILE, check_slurm, submit_jobs
    from adamcmp.execute.study_dir import missing_runs
    from adamcmp.plan import saved_plan
    from adamcmp.plan.search import ADAPTIVE_METHODS

    runs, settings = opened.plan.runs, opened.plan.config.execute.slurm
    method = opened.plan.config.search.method
    if method in ADAPTIVE_METHODS:
        raise InputError(f"search={method}: asks after each batch; with execute=slurm give random, sobol, asha or grid")
    check_slurm(settings)
    lacking = missing_runs(runs, opened.study_dir)
    words = sys.argv[1:] if opened.words is None else opened.words
    digest = saved_plan.write_plan(saved_plan.SavedPlan(opened.plan, tuple(words)), opened.study_dir / PLAN_FILE)
    ids = submit_jobs(settings, opened.study_dir, digest)
    say(f"{opened.plan.config.study.name}: {len(runs):,} runs, {len(lacking):,} to train, by {len(ids)} jobs:")
    answer(folder=str(opened.study_dir), planned=len(runs), missing=len(lacking), jobs=ids)
    say(f"{plan_view.abbreviate(ids)}; see `adamcmp watch {opened.study_dir}`, and the same command with --collect")


def _collected(opened: Session) -> pd.DataFrame:
    """Return the stored records of planned runs, and print how many are missing."""
    from adamcmp.execute.leases import DriverRegistry
    from adamcmp.execute.next_runs import held_out_runs
    from adamcmp.execute.study_dir import missing_runs
    from adamcmp.plan.runs import has_selection
    from adamcmp.storage.merging import merge_parts
    from adamcmp.storage.records import read_records

    merge_parts(opened.study_dir)
    runs, records = list(opened.plan.runs), read_records(opened.study_dir)
    lacking = missing_runs(runs, opened.study_dir)
    seeds = opened.plan.config.study.confirm.seeds
    if seeds and has_selection(runs) and not lacking:
        fresh = held_out_runs(runs, records, seeds)
        lacking += missing_runs(fresh, opened.study_dir)
        runs += fresh
    at_work = len(DriverRegistry(opened.study_dir).alive())
    if lacking or at_work:
        drivers = f"{at_work} driver{'' if at_work == 1 else 's'} at work"
        answer(planned=len(runs), missing=len(lacking), drivers=at_work)
        tell(f"{opened.study_dir}: {len(lacking):,} of {len(runs):,} runs are still to be trained, {drivers}", "yellow")
    return records[records["run_id"].isin({run.id for run in runs})]


def settle(
    a: Annotated[str, typer.Argument(metavar="A", help="An optimizer, by its label or its configuration's name.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another optimizer.")],
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="STUDY",
            help="A study's name or YAML file. Default: the stored study that has both optimizers.",
            autocompletion=complete("study", ""),
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
        folder, trained = _stored_with(a, b, study, results_dir, trust=trust)
        study, overrides, config_dir = trained.study, trained.overrides, config_dir or trained.config_dir
        results_dir = folder.parent
    named = study
    opened = open_study(lambda: named, overrides, results_dir, config_dir, device)
    records = read_records(opened.study_dir)
    pair = find_arm_pair(opened.plan.runs, records, (a, b))
    show_header(opened)
    error = task_metrics(pair.task.records).error
    given = margin if margin is not None else opened.plan.config.study.margin
    tolerated = None if given is None else given / error.factor
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
        seeds = range(FIRST_SETTLE_SEED + verdict.n, FIRST_SETTLE_SEED + min(verdict.n + SEEDS_A_LOOK, max_seeds))
        undecided = verdict.kind == "open" and not cannot_be_decided(verdict)
        more = f"; adding {len(seeds)} seeds (of at most {max_seeds})" if seeds else "; --max-seeds is reached"
        sentence = format_settle_state(verdict, error, more if undecided else "")
        tell(sentence, err=False)
        answer(verdict=verdict_answer(verdict, sentence))
        if undecided and verdict.n and not assume_symmetric and (not hint or not seeds):
            last, hint = hint, format_symmetric_hint(verdict, task.records, error)
            if hint != last:
                tell(hint, err=False)
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
    given = open_path(name)
    folders = (results_dir / name, given.parent if given.name == "study.yaml" else given)
    return next((folder for folder in folders if name and (folder / "records").is_dir()), None)


def _stored_with(a: str, b: str, name: str | None, results_dir: Path, *, trust: bool) -> tuple[Path, TrainCommand]:
    """Return the folder of the stored study that has both optimizers, and its configuration and settings."""
    from adamcmp.config.trust import check_stored_words
    from adamcmp.report.commands import find_train_command
    from adamcmp.storage.records import find_studies, read_records

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
    others = [word for word in trained.overrides if not word.startswith("study.name=")]
    scale = next((word.partition("=")[2] for word in others if word.startswith("scale=")), "")
    # runs that several studies share are stored with the command of the first, which names another study
    own = study_dir.name.removesuffix(f"_{scale}") if scale else study_dir.name
    return study_dir, trained._replace(overrides=[*others, f"study.name={own}"])


def reproduce(
    figure: Annotated[
        str,
        typer.Argument(
            metavar="STUDY",
            help="figure1 … figure4, another study (see `adamcmp list studies`), a YAML file based on one, all, claims "
            "or claims/NAME.",
        ),
    ],
    overrides: Overrides = None,
    scale: Annotated[
        str | None,
        typer.Option(help="Size preset: smoke (seconds), laptop (minutes, default) or paper (as published)."),
    ] = None,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    config_dir: ConfigDir = None,
    device: Device = None,
    dry_run: DryRun = False,
    limit: Limit = None,
    formats: Formats = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Reproduce a figure of the AdamW paper or test published claims."""
    given = [*(overrides or []), *([f"scale={scale}"] if scale is not None else [])]
    if figure.partition("/")[0] == "claims" and not figure.endswith((".yaml", ".yml")):
        raise typer.Exit(_claims(figure, given, scale, results_dir, config_dir, device, dry_run, limit, formats))
    names, codes, claims = [figure], list[int](), list[Any]()
    if figure == "all":
        from adamcmp.studies import ordered_studies

        names = [study.name for study in ordered_studies()]
    for i, name in enumerate(names):
        if len(names) > 1:
            tell(f"{'' if i == 0 else chr(10)}{name} ({i + 1} of {len(names)})", "bold")
        words = _words_for(name, figure, sys.argv[1:])
        reproduced = _reproduce(name, words, given, results_dir, config_dir, device, dry_run, limit, formats)
        codes.append(reproduced.code)
        claims += reproduced.told.claims
    if len(names) > 1 and not dry_run:
        show_claims(claims, results_dir, formats)
    raise typer.Exit(max(codes))


def _claims(
    asked: str,
    overrides: list[str],
    scale: str | None,
    results_dir: Path,
    config_dir: Path | None,
    device: str | None,
    dry_run: bool,
    limit: int | None,
    formats: list[Format] | None,
) -> int:
    """Train what statements need, test each, and write a page of them."""
    with show_status("starting"):
        from adamcmp.claims import resolve_claims, studies_needed

        statements = resolve_claims(asked)
    codes, reports = [DONE], dict[str, Any]()
    studies = studies_needed(statements)
    for i, study in enumerate(studies):
        tell(f"{'' if i == 0 else chr(10)}{study} ({i + 1} of {len(studies)})", "bold")
        opened = open_study(lambda study=study: study, overrides, results_dir, config_dir, device, dry_run=dry_run)  # type: ignore[misc]  # mypy does not infer a default's type
        given = ["--config-dir", str(config_dir)] if config_dir else []
        opened.words = ["sweep", study, *overrides, *given, "--results-dir", str(results_dir)]
        if dry_run:
            _show_plan(opened, limit)
            continue
        records = _sweep(opened, limit)
        codes.append(_exit_code(records))
        reports[study] = reported(opened.study_dir, records)
    if not dry_run:
        suffix = "" if scale is None else f"_{scale}"
        _, _, name = asked.partition("/")
        show_statements(statements, reports, results_dir / f"claims{suffix}" / name, formats)
    return max(codes)


class Reproduced(NamedTuple):
    """One study that was reproduced."""

    code: int
    told: StudyFindings


def _reproduce(
    name: str,
    words: list[str],
    overrides: list[str],
    results_dir: Path,
    config_dir: Path | None,
    device: str | None,
    dry_run: bool,
    limit: int | None,
    formats: list[Format] | None,
) -> Reproduced:
    def named() -> str:
        from adamcmp.studies import study_of

        # study.figure names the findings, also in a file that starts from one of ours
        return name if name.endswith((".yaml", ".yml")) else study_of(name)

    opened = open_study(named, overrides, results_dir, config_dir, device, dry_run=dry_run)
    opened.words = words
    from adamcmp.report.findings import StudyFindings

    if dry_run:
        _show_plan(opened, limit)
        return Reproduced(DONE, StudyFindings())
    records = _sweep(opened, limit)
    return Reproduced(_exit_code(records), report_on([opened.study_dir], formats, None, title=False).told)


def _words_for(name: str, asked: str, typed: Sequence[str]) -> list[str]:
    """Return a ``sweep`` command for this study alone, with its preset among the overrides.

    >>> _words_for("figure1", "all", ["reproduce", "all", "--scale", "smoke", "--results-dir", "all"])
    ['reproduce', 'figure1', 'scale=smoke', '--results-dir', 'all']
    """
    words = list(typed)
    for i, word in enumerate(words):
        if word == "--scale" and i + 1 < len(words):
            words[i : i + 2] = [f"scale={words[i + 1]}"]
        elif word.startswith("--scale="):
            words[i] = word.removeprefix("--")
    if asked in words:  # not where another program has called the command
        words[words.index(asked)] = name
    return words


def open_study(
    name: Callable[[], str],
    overrides: list[str] | None,
    results_dir: Path,
    config_dir: Path | None,
    device: str | None,
    *,
    dry_run: bool = False,
    only_failed: bool = False,
) -> Session:
    """Plan a configuration by its name, with a status line meanwhile."""
    with show_status("starting") as say:
        from adamcmp.execute.session import open_session

        opened = open_session(
            name(),
            overrides or [],
            results_dir=results_dir,
            config_dir=config_dir,
            device=device,
            dry_run=dry_run,
            only_failed=only_failed,
            say=say,
        )
        if opened.plan.config.study.figure is not None:
            from adamcmp.studies import check_study_name

            check_study_name(opened.plan.config.study.figure)  # before anything is trained
        return opened


def _show_plan(opened: Session, limit: int | None, only_failed: bool = False) -> None:
    """Print a plan with its estimated costs; from the cache if it was made before."""
    from adamcmp.execute import dataset_cache, plan_cache
    from adamcmp.execute.study_dir import missing_runs

    runs, config = opened.plan.runs, opened.plan.config
    lacking = missing_runs(runs, opened.study_dir, only_failed=only_failed)
    todo = lacking[:limit]
    judging = [] if only_failed or limit is not None else _judging(opened, is_tuned=not lacking)
    ids = [run.id for run in (*runs, *todo, *judging)]
    key = plan_cache.key_of(
        ids, config.study.name, config.execute, opened.plan.duplicates, opened.study_dir, is_verbose()
    )
    cached = None if opened.datasets else plan_cache.load(key)  # data are loaded if their metadata is not cached
    if cached is None:
        cached = _planned(opened, todo, judging, lacking)
        if all(dataset_cache.load_metadata(data) for data in {run.task.key: run.task.data for run in runs}.values()):
            plan_cache.save(key, cached)
    for text, style in cached["lines"]:
        tell(text, style, err=False, whole=not style)
    answer(**cached["answer"])
    if config.execute.where == "slurm":
        from adamcmp.execute.slurm_jobs import submission_script

        say(f"\n{submission_script(config.execute.slurm, opened.study_dir)}")


def _planned(opened: Session, todo: Sequence[Run], judging: Sequence[Run], lacking: Sequence[Run]) -> dict[str, Any]:
    """Return the lines of a dry run with their styles, and what ``--json`` prints."""
    from adamcmp.cli import plan_view, progress
    from adamcmp.engine.strategy.benchmark import matmul_gflops
    from adamcmp.execute.execution_plan import prepare_execution

    runs, tuned = opened.plan.runs, len({run.seed for run in opened.plan.runs})
    with show_status("planning") as doing, ExitStack() as stack:
        opened.prepare([*todo, *(run for run in judging if run.task.facts.fingerprint not in opened.datasets)], doing)
        how, judged = (
            stack.enter_context(
                prepare_execution(stage, opened.datasets, opened.device, opened.plan.config.execute, dry_run=True)
            )
            for stage in (todo, judging)
        )
        rate = matmul_gflops(opened.device)
    summary = opened.unseen_summaries([*todo, *judging])
    lines = [(header_text(opened, "dry run"), ""), *((line, "") for line in plan_view.summary_lines(summary))]
    lines += [(note, "yellow") for note in opened.notes]
    lines += [("", ""), *((line, "") for line in plan_view.format_plan(runs, todo))]
    lines += [(repeated_text(opened.plan.duplicates), "yellow")] if opened.plan.duplicates else []
    lines.append(("", ""))
    for name, stage, crew_ in (("Tuning", todo, how), ("Held-out", judging, judged)):
        if stage:
            kept = f"{len(runs) - len(lacking):,} stored, " if name == "Tuning" and len(lacking) < len(runs) else ""
            about = f"{kept}{len(stage):,} to train, about {progress.format_duration(crew_.estimate.seconds)}"
            lines.append((plan_view.format_stage(name, stage, about), ""))
    lines += [(line, "") for line in plan_view.format_cost(how, judged, rate)]
    lines += [(line, "") for line in plan_view.format_strategies(how) if is_verbose()]
    warnings = [*how.estimate.notes, plan_view.tuning_warning(len({run.arm for run in judging}), tuned)]
    lines += [(line, "yellow") for line in warnings if line]
    plan = {
        "study": opened.plan.config.study.name, "folder": str(opened.study_dir), "planned": len(runs),
        "missing": len(lacking), "to_train": len(todo), "seconds": how.estimate.seconds, "flops": how.estimate.flops,
        "bytes_a_run": how.estimate.run_bytes, "device": str(opened.device),
    }  # fmt: skip
    summary_lines = [{"heading": heading, "text": text} for heading, text in summary]
    return {"lines": lines, "answer": {"summary": summary_lines, "plans": [plan]}}


def _judging(opened: Session, *, is_tuned: bool) -> list[Run]:
    """Return the runs that are still to judge what tuning chooses; as many of any trials while that is not known."""
    from adamcmp.execute.held_out_seeds import placeholder_runs
    from adamcmp.execute.study_dir import missing_runs
    from adamcmp.plan.runs import has_selection

    runs, seeds = opened.plan.runs, opened.plan.config.study.confirm.seeds
    if not seeds or not has_selection(runs):
        return []
    if not is_tuned:
        return placeholder_runs(runs, seeds)
    from adamcmp.execute.next_runs import held_out_runs
    from adamcmp.storage.records import read_records

    return missing_runs(held_out_runs(runs, read_records(opened.study_dir), seeds), opened.study_dir)


def _sweep(opened: Session, limit: int | None, only_failed: bool = False) -> pd.DataFrame:
    """Train the missing tuning runs, then the held-out runs of selected trials; return the records of all planned
    runs.
    """
    from adamcmp.cli import plan_view
    from adamcmp.storage.records import read_records

    runs = list(opened.plan.runs)
    trained = train(opened, runs, limit, only_failed=only_failed)
    if limit is None and not only_failed:
        runs += _extend(opened, runs) if opened.plan.searching is None else _search(opened)
    judging = [] if only_failed else _judge(opened, runs, None if limit is None else limit - trained)
    records = read_records(opened.study_dir)
    planned = records[records["run_id"].isin({run.id for run in (*runs, *judging)})]
    counts = planned["status"].value_counts().to_dict()
    answer(studies=[{"study": opened.plan.config.study.name, "folder": str(opened.study_dir), "runs": counts}])
    for line in plan_view.format_failures(planned[planned["status"] == "failed"]):
        tell(line, "red")
    return planned


def _extend(opened: Session, runs: Sequence[Run]) -> list[Run]:
    """Extend grids whose selected trial is at a boundary, as often as the study allows; return the added runs."""
    from adamcmp.execute.next_runs import extended_grid_runs
    from adamcmp.storage.records import read_records

    added: list[Run] = []
    most = opened.plan.config.study.extend
    while most and (wider := extended_grid_runs(runs, read_records(opened.study_dir), most)):
        added += wider
        if not train(opened, wider, None, label="Extended"):
            break  # they have failed before, or nothing more can be told of them
    return added


def _search(opened: Session) -> list[Run]:
    """Ask for batch after batch until each optimizer has had its trials; the runs that this took beyond the first
    batch.
    """
    from adamcmp.storage.records import read_records

    searching = opened.plan.searching
    assert searching is not None
    added: list[Run] = []
    most = searching.settings.trials
    while batch := searching.more(read_records(opened.study_dir)):
        added += batch
        tried = max(len(arm.trials) for arm in searching.arms)
        train(opened, batch, None, rest=f"{searching.settings.method}, trial {tried:,} of {most:,}")
    return added


def _judge(opened: Session, runs: Sequence[Run], limit: int | None) -> list[Run]:
    """Train the selected trials on held-out seeds once tuning is complete; return these runs."""
    from adamcmp.execute.next_runs import held_out_runs
    from adamcmp.execute.study_dir import missing_runs
    from adamcmp.plan.runs import has_selection
    from adamcmp.storage.records import read_records

    seeds = opened.plan.config.study.confirm.seeds
    if not seeds or not has_selection(runs):
        return []
    records = read_records(opened.study_dir)
    left = len(missing_runs(runs, opened.study_dir)) - int((records["status"] == "failed").sum())
    if left > 0:
        tell(f"{opened.study_dir}: {left:,} tuning runs are missing; held-out runs follow once they are stored")
        return []
    judging = held_out_runs(runs, records, seeds)
    if limit is None or limit > 0:
        train(opened, judging, limit, label="Held-out")
    return judging


def _execute(opened: Session) -> ExecutionSettings:
    """Return how to train: runs that are compared while they are in training have to be one program."""
    execute = opened.plan.config.execute
    together = opened.plan.config.search.method == "asha" and execute.engine == "auto"
    return execute.model_copy(update={"engine": "vectorised"}) if together else execute


def _exit_code(records: pd.DataFrame) -> int:
    return SOME_FAILED if (records["status"] == "failed").any() else DONE


def show_header(opened: Session) -> None:
    """Print the study, its task and device, once."""
    if is_quiet() or opened.is_announced:
        return
    opened.is_announced = True
    say(header_text(opened))
    if repeated := opened.plan.duplicates:
        tell(repeated_text(repeated))


def repeated_text(count: int) -> str:
    """Return a line on runs of a grid that are equal."""
    runs, are = ("run equals", "is") if count == 1 else ("runs equal", "are")
    return f"{count:,} {runs} another one of the grid (only the label may differ) and {are} left out"


def header_text(opened: Session, more: str = "") -> str:
    """Return the study, its task and device: ``mnist1d · mlp_100_100 · 360 steps × 100 · cpu``."""
    tasks = list(dict.fromkeys(run.task.label for run in opened.plan.runs))
    task = tasks[0] if len(tasks) == 1 else f"{len(tasks)} tasks"
    name = opened.plan.config.study.name
    start = [] if task.startswith(f"{name} · ") else [name]
    return " · ".join([*start, task, str(opened.device), *([more] if more else [])])


def train(
    opened: Session,
    runs: Sequence[Run],
    limit: int | None,
    *,
    only_failed: bool = False,
    label: str = "",
    rest: str = "",
    benchmarks: bool = True,
) -> int:
    """Train the missing runs that no other process trains, with a progress bar; return how many were missing.

    Args:
        opened: the study.
        runs: of one stage.
        limit: train at most this many; None: all.
        only_failed: train only runs that failed before.
        label: the stage; empty: ``Tuning``, or ``Training`` if no optimizer has a second trial.
        rest: more about it.
        benchmarks: benchmark strategies; else rough estimates select them.
    """
    from adamcmp.execute.study_dir import copy_from_siblings, join_as_driver, missing_runs, write_config
    from adamcmp.storage.part_files import part_files

    if opened.plan.config.execute.where == "slurm":
        raise InputError("execute=slurm: jobs train what `adamcmp sweep` plans; this command trains here, or on Ray")
    from adamcmp.plan.runs import has_selection

    study_dir, label = opened.study_dir, label or ("Tuning" if has_selection(runs) else "Training")
    with join_as_driver(study_dir) as leases:
        leases.begin(part_files(study_dir))
        lacking = missing_runs(runs, study_dir, only_failed=only_failed)
        if not only_failed and (adopted := copy_from_siblings(lacking, study_dir, lambda line: tell(line, "yellow"))):
            tell(f"{study_dir}: {adopted:,} runs of other studies in the same folder are reused")
            lacking = missing_runs(runs, study_dir)
        todo = lacking[:limit]
        write_config(study_dir, opened.plan.resolved)
        from adamcmp.cli import plan_view, progress

        if not todo:
            stored = "no run has failed, nothing to train" if only_failed else "all stored, nothing to train"
            show_header(opened)
            if runs and not is_quiet():
                tell(plan_view.format_stage(label, runs, stored), whole=True)
            return 0
        from adamcmp.execute.execution_plan import prepare_execution
        from adamcmp.execute.progress_file import ProgressWriter
        from adamcmp.execute.protocol import StoreTarget
        from adamcmp.execute.run_writer import Provenance
        from adamcmp.execute.scheduler import train_missing_runs

        tunes = opened.plan.searching is not None and all(run.stage == "tune" for run in todo)
        search = opened.plan.config.search if tunes else None
        with ExitStack() as stack:
            with show_status("planning") as doing:
                opened.prepare(todo, doing)
                summaries = {run.task.key: opened.summary(run.task) for run in todo}
                provenance = Provenance.here(opened.plan.config.study.name, opened.words)
                provenance = replace(provenance, summaries=summaries)
                store = StoreTarget(study_dir, provenance)
                how = stack.enter_context(
                    prepare_execution(
                        todo,
                        opened.datasets,
                        opened.device,
                        _execute(opened),
                        store=store,
                        search=search,
                        say=doing,
                        benchmarks=benchmarks,
                    )
                )
            show_header(opened)
            show_summary(opened, todo)
            before = len(runs) - len(lacking)
            _tell_plan(plan_view.format_stage(label, runs, rest), before, len(todo), how, opened.printed)
            importing = Thread(target=import_module, args=("adamcmp.report.preload",), daemon=True)
            if how.executor is not None:  # while others train
                importing.start()
            with progress.ProgressBar(todo, label=label, compiles=how.estimate.compiles) as bar, ExitStack() as inner:
                name = opened.plan.config.study.name
                what = "" if label in ("Tuning", "Training") else f"{label.lower()} runs, "
                listener: Listener = inner.enter_context(ProgressWriter(bar, leases, how, len(runs), what, name))
                if trackers := opened.plan.config.log:
                    from adamcmp.execute.tracker_sync import TrackerListener

                    listener = inner.enter_context(TrackerListener(listener, study_dir, trackers))
                garbage_collection.restore_thresholds()
                train_missing_runs(how, todo, study_dir, provenance, listener, leases)
            if not is_quiet():
                tell(
                    plan_view.format_stage(label, runs, bar.done_text(before) + (f"; {rest}" if rest else "")),
                    whole=True,
                )
            if importing.ident is not None:
                importing.join()  # two threads that import parts of one package may each get half of it
        return len(todo)


LONG = 60.0
"""Seconds of training from which on a line is printed before it, for logs without a progress bar."""


def _tell_plan(line: str, stored: int, todo: int, how: ExecutionPlan, printed: set[str]) -> None:
    """Print a stage before it is trained: in a log if it takes long, and its strategies if details were requested.

    Notes in ``printed`` are left out; the others are added to it.
    """
    from adamcmp.cli import plan_view, progress

    seconds = how.estimate.seconds
    if is_verbose() or (seconds > LONG and not sys.stderr.isatty() and not is_quiet()):
        kept = f"{stored:,} stored, " if stored else ""
        tell(f"{line}  {kept}{todo:,} to train, about {progress.format_duration(seconds)}", whole=True)
    lines = plan_view.format_strategies(how) if is_verbose() else []
    for text in [*lines, *(note for note in how.estimate.notes if note not in printed)]:
        tell(text, "" if text.startswith("  ") else "yellow")
    printed.update(how.estimate.notes)
