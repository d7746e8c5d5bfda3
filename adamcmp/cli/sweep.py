"""The command ``sweep``: train a study, here or by Slurm, and compare its optimizers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from adamcmp.cli.app import (
    DEFAULT_RESULTS,
    ConfigDir,
    Debug,
    Device,
    DryRun,
    Json,
    Limit,
    Overrides,
    Quiet,
    ResultsDir,
    StudyName,
    Verbose,
    add_json,
    print_line,
)
from adamcmp.cli.summary import report_on, show_found, show_next
from adamcmp.cli.sweep_stages import collect_stored, exit_code_of, open_study, run_sweep, show_header, show_plan
from adamcmp.errors import InputError

if TYPE_CHECKING:
    from adamcmp.execute.session import Session


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
    all_overrides = [*(overrides or []), *(["study.extend=5"] if extend else [])]
    opened = open_study(
        lambda: study, all_overrides, results_dir, config_dir, device, dry_run=dry_run, only_failed=only_failed
    )
    if dry_run:
        show_plan(opened, limit, only_failed)
        return
    if collect:
        show_header(opened)
        records = collect_stored(opened)
    elif opened.plan.config.execute.where == "slurm":
        submit_to_slurm(opened)
        return
    else:
        records = run_sweep(opened, limit, only_failed)
    if report:
        report_on([opened.study_dir], None, None, title=False)
        raise typer.Exit(exit_code_of(records))
    from adamcmp.report.report_input import ReportInput
    from adamcmp.report.verdict_text import ComparisonSettings
    from adamcmp.storage.records import read_outcomes

    comparison = ComparisonSettings.of(opened.plan.config.study.model_dump())
    report_input = ReportInput(records, outcomes=read_outcomes([opened.study_dir]), comparison=comparison)
    show_found(report_input)
    show_next(report_input, opened.study_dir)
    raise typer.Exit(exit_code_of(records))


def submit_to_slurm(opened: Session) -> None:
    """Leave the plan in the study's folder, and hand in jobs that work on it."""
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
    print_line(f"{opened.plan.config.study.name}: {len(runs):,} runs, {len(lacking):,} to train, by {len(ids)} jobs:")
    add_json(folder=str(opened.study_dir), planned=len(runs), missing=len(lacking), jobs=ids)
    listed = ", ".join(ids) if len(ids) <= 6 else f"{ids[0]} … {ids[-1]}"
    print_line(f"{listed}; see `adamcmp watch {opened.study_dir}`, and the same command with --collect")
