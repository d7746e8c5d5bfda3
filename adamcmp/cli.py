"""The command line: parse, call, print. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from adamcmp.errors import InputError, one_line

if TYPE_CHECKING:
    import pandas as pd

    from adamcmp.execute.session import Session

STOPPED = "interrupted; what had finished is stored, and the same command goes on from there"
DONE, SOME_FAILED, BAD_INPUT, OUR_FAULT, INTERRUPTED = 0, 1, 2, 3, 130

USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""Click's UsageError, of whichever click Typer has: newer versions bring their own."""

app = typer.Typer(
    name="adamcmp",
    help="Compare Adam, AdamW, SGD and SGDW on your model and data, with evidence.",
    epilog="Exit codes: 0 done, 1 some run failed, 2 bad input, 3 a defect in adamcmp, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Format(StrEnum):
    """A file format of reports."""

    md = "md"
    csv = "csv"
    tex = "tex"
    png = "png"
    svg = "svg"
    pdf = "pdf"


class Group(StrEnum):
    """What ``adamcmp list`` lists."""

    configs = "configs"
    optimizers = "optimizers"
    models = "models"
    data = "data"
    schedules = "schedules"
    studies = "studies"


FOLDERS = {"configs": "", "optimizers": "optimizer", "models": "model", "schedules": "schedule", "studies": "study"}


def main() -> None:
    """Entry point: exit codes, and one clear line in place of a traceback."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # finished runs are stored before we go
    try:
        code = app(standalone_mode=False)
    except InputError as error:
        _fail(str(error), BAD_INPUT, error)
    except USAGE_ERROR as error:
        _fail(f"{getattr(error, 'format_message', error.__str__)()} See adamcmp --help.", BAD_INPUT, error)
    except Exception as error:  # a defect of ours: still one line, and how to see more
        _fail(f"{type(error).__name__}: {one_line(error)} (a defect in adamcmp; --debug shows where)", OUR_FAULT, error)
    if code == INTERRUPTED:  # what click makes of a KeyboardInterrupt
        typer.secho(f"adamcmp: {STOPPED}", err=True, fg=typer.colors.RED)
    sys.exit(code or DONE)


def _fail(text: str, code: int, error: BaseException) -> NoReturn:
    if "--debug" in sys.argv:
        raise error
    typer.secho(f"adamcmp: {one_line(InputError(text))}", err=True, fg=typer.colors.RED)
    sys.exit(code)


def _complete(*groups: str) -> Callable[[str], list[str]]:
    def names(incomplete: str) -> list[str]:
        from adamcmp.config.compose import options

        return [name for group in groups for name in options(group) if name.startswith(incomplete)]

    return names


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"adamcmp {version('adamcmp')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


ConfigName = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A configuration's name or YAML file.", autocompletion=_complete(""))
]
StudyName = Annotated[
    str,
    typer.Argument(metavar="STUDY", help="A study's name or YAML file.", autocompletion=_complete("study", "")),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Hydra overrides, such as optimizer=adamw optimizer.lr=3e-3."),
]
ResultsDir = Annotated[Path, typer.Option(help="Where studies are stored.", envvar="ADAMCMP_RESULTS_DIR")]
ConfigDir = Annotated[Path | None, typer.Option(help="A folder of own YAML files (model/, data/, optimizer/, …).")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; auto takes an accelerator if there is one.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost; train nothing.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Train at most so many of the missing runs.")]
Formats = Annotated[list[Format] | None, typer.Option("--format", help="Write only these; may be repeated.")]
# read from sys.argv by _fail, which may run before anything is parsed
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback where something goes wrong.")]
DEFAULT_RESULTS = Path("results")


@app.command()
def run(
    config: ConfigName,
    overrides: Overrides = None,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    config_dir: ConfigDir = None,
    device: Device = None,
    debug: Debug = False,
) -> None:
    """Train one run and store its record."""
    from adamcmp import console
    from adamcmp.config.sweeps import single
    from adamcmp.execute.session import open_session
    from adamcmp.records import read_records

    single(config, overrides or [])
    opened = open_session(config, overrides or [], results_dir=results_dir, config_dir=config_dir, device=device)
    if len(opened.plan.runs) > 1:
        raise InputError(f"{config}: is a study of {len(opened.plan.runs)} runs; use `adamcmp sweep {config}`")
    _train(opened, limit=None)
    records = read_records(opened.study_dir)
    record = records[records["run_id"] == opened.plan.runs[0].id].iloc[0]
    _print(console.run_table(record))
    typer.echo(f"run {record['run_id']} is stored in {opened.study_dir}")
    raise typer.Exit(SOME_FAILED if record["status"] == "failed" else DONE)


@app.command()
def sweep(
    study: StudyName,
    overrides: Overrides = None,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    config_dir: ConfigDir = None,
    device: Device = None,
    dry_run: DryRun = False,
    limit: Limit = None,
    report: Annotated[bool, typer.Option("--report", help="Write tables and figures too.")] = False,
    debug: Debug = False,
) -> None:
    """Train all missing runs of a study; end with the leaderboard."""
    from adamcmp.analysis import by_task, leaderboard
    from adamcmp.execute.session import open_session
    from adamcmp.report import tables

    opened = open_session(
        study, overrides or [], results_dir=results_dir, config_dir=config_dir, device=device, dry_run=dry_run
    )
    if dry_run:
        _show_plan(opened, limit)
        return
    records = _sweep(opened, limit)
    if report:
        _report(opened.study_dir, None, None)
        raise typer.Exit(_exit_code(records))
    for task in by_task(records):
        _print(tables.terminal(leaderboard(task.records), f"{opened.study_dir.name}: {task.label}"))
    typer.echo(f"\ntables and figures: adamcmp report {opened.study_dir}")
    raise typer.Exit(_exit_code(records))


@app.command()
def report(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="results/STUDY, or the folder above it.")],
    formats: Formats = None,
    out: Annotated[Path | None, typer.Option(help="Write here instead of into RESULTS/report.")] = None,
    target_error: Annotated[
        float | None, typer.Option(min=0, max=1, help="Tell how soon a validation error is reached, as 0.1.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Write tables and figures of stored runs."""
    from adamcmp.records import studies

    found = studies(results)
    for study_dir in found:
        if target_error is not None:
            _show_time_to_error(study_dir, target_error)
        _report(study_dir, formats, out / study_dir.name if out and len(found) > 1 else out, target_error)


@app.command()
def reproduce(
    figure: Annotated[str, typer.Argument(help="What to reproduce, such as figure2.")],
    overrides: Overrides = None,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    config_dir: ConfigDir = None,
    device: Device = None,
    dry_run: DryRun = False,
    limit: Limit = None,
    formats: Formats = None,
    debug: Debug = False,
) -> None:
    """Train a study of the paper's kind and report on it."""
    from adamcmp.execute.session import open_session
    from adamcmp.studies import reproduction

    chosen = reproduction(figure)
    opened = open_session(
        chosen.study, overrides or [], results_dir=results_dir, config_dir=config_dir, device=device, dry_run=dry_run
    )
    if dry_run:
        _show_plan(opened, limit)
        return
    records = _sweep(opened, limit)
    _report(opened.study_dir, formats, None)
    raise typer.Exit(_exit_code(records))


@app.command("list")
def list_(
    group: Annotated[Group | None, typer.Argument(help="What to list; all without it.")] = None,
    config_dir: ConfigDir = None,
    debug: Debug = False,
) -> None:
    """List what there is to choose from."""
    from adamcmp import console
    from adamcmp.config.compose import options

    for each in [group] if group else list(Group):
        _print(console.options_table(each.value, options(FOLDERS.get(each.value, each.value), config_dir)))


@app.command()
def show(
    config: Annotated[
        str,
        typer.Argument(metavar="CONFIG", help="A name or YAML file.", autocompletion=_complete("", "study")),
    ],
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    debug: Debug = False,
) -> None:
    """Show a resolved configuration, and where each value comes from."""
    from adamcmp import console
    from adamcmp.config import compose
    from adamcmp.config.build import typed
    from adamcmp.config.sweeps import single

    single(config, overrides or [])
    source = compose.locate(config, config_dir)
    composed = compose.compose(source, overrides or [])
    typed(composed, source)
    origins = compose.origins(source, overrides or [])
    _print(console.settings_table(source.name, list(compose.leaves(composed.values)), origins))


def _print(renderable: Any) -> None:
    from rich.console import Console

    Console(highlight=False).print(renderable)


def _show_plan(opened: Session, limit: int | None) -> None:
    from adamcmp import console
    from adamcmp.engine.timing import product_rate
    from adamcmp.execute.crew import crew
    from adamcmp.execute.local import missing

    lacking = missing(opened.plan.runs, opened.study_dir)
    todo = lacking[:limit]
    with crew(todo, opened.datasets, opened.device, opened.plan.config.execute, dry_run=True) as how:
        _print(console.plan_table(opened.plan.runs, todo))
        typer.echo(console.plan_line(opened.plan, len(lacking), len(todo), how.seconds, opened.device))
        bill = console.bill_lines(how, product_rate(opened.device)) if todo else []
        for line in [*console.choice_lines(how), *bill, *opened.notes]:
            typer.echo(line)


def _sweep(opened: Session, limit: int | None) -> pd.DataFrame:
    """Train what is missing; the records of all planned runs."""
    from adamcmp import console
    from adamcmp.records import read_records

    _train(opened, limit)
    records = read_records(opened.study_dir)
    planned = records[records["run_id"].isin({run.id for run in opened.plan.runs})]
    for line in console.failure_lines(planned[planned["status"] == "failed"]):
        typer.secho(line, err=True, fg=typer.colors.RED)
    return planned


def _exit_code(records: pd.DataFrame) -> int:
    return SOME_FAILED if (records["status"] == "failed").any() else DONE


def _train(opened: Session, limit: int | None) -> None:
    """Train what is missing, under the study's lock, with a progress bar."""
    from adamcmp import console
    from adamcmp.execute import local
    from adamcmp.execute.crew import crew, train_all
    from adamcmp.execute.rows import Provenance

    runs, study_dir = opened.plan.runs, opened.study_dir
    with local.driving(study_dir):
        lacking = local.missing(runs, study_dir)
        todo = lacking[:limit]
        local.describe(study_dir, opened.plan.resolved)
        if not todo:
            typer.echo(f"{study_dir}: all {len(runs):,} runs are stored; nothing to train", err=True)
            return
        provenance = Provenance.here(opened.plan.config.study.name)
        with crew(todo, opened.datasets, opened.device, opened.plan.config.execute) as how:
            if len(runs) > 1:
                line = console.plan_line(opened.plan, len(lacking), len(todo), how.seconds, opened.device)
                typer.echo("\n".join([line, *console.choice_lines(how)]), err=True)
            with console.SweepProgress(todo) as progress:
                train_all(how, todo, study_dir, provenance, progress)


def _show_time_to_error(study_dir: Path, target: float) -> None:
    from adamcmp import console
    from adamcmp.analysis import best_cells, by_task, cells, time_to_error
    from adamcmp.records import read

    records, curves = read(study_dir)
    for task in by_task(records):
        found = time_to_error(curves, task.records, best_cells(cells(task.records)), target)
        _print(console.time_table(found, f"{study_dir.name}: {task.label}", target))


def _report(study_dir: Path, formats: list[Format] | None, out: Path | None, target_error: float | None = None) -> None:
    from adamcmp.analysis import by_task, leaderboard
    from adamcmp.records import read_records
    from adamcmp.report import tables
    from adamcmp.report.document import write_report
    from adamcmp.studies import verdict_of

    verdict = verdict_of(study_dir.name)
    for task in by_task(read_records(study_dir)):
        _print(tables.terminal(leaderboard(task.records), f"{study_dir.name}: {task.label}"))
        for line in verdict(task.records) if verdict else ():
            typer.echo(f"- {line}")
    chosen = [each.value for each in formats or Format]
    files = write_report(study_dir, formats=chosen, out=out, verdict=verdict, target_error=target_error)
    pages = [path for path in files if path.name == "report.md"]
    others = f" and {len(files) - 1} tables and figures beside it" if len(files) > 1 else ""
    typer.echo(f"\nwritten: {pages[-1]}{others}" if pages else "\n".join(["\nwritten:", *map(str, files)]))
