"""The command line: parse, call, print. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, NoReturn

import typer

from adamcmp import interrupts
from adamcmp.errors import InputError, closest, command, one_line, told
from adamcmp.status import status

if TYPE_CHECKING:
    import pandas as pd

    from adamcmp.analysis.claims import Claim
    from adamcmp.execute.session import Session
    from adamcmp.plan.runs import Run
    from adamcmp.report.document import Reported
    from adamcmp.report.told import Told

DONE, SOME_FAILED, BAD_INPUT, OUR_FAULT = 0, 1, 2, 3

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


class Status(StrEnum):
    """How a run ended."""

    completed = "completed"
    diverged = "diverged"
    failed = "failed"


class Width(StrEnum):
    """What figures are drawn for: columns of a journal."""

    single = "single"
    double = "double"


class Framework(StrEnum):
    """What a recipe is written for."""

    torch = "torch"
    optax = "optax"
    keras = "keras"


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
    code = OUR_FAULT
    try:
        code = app(standalone_mode=False) or DONE
    except InputError as error:
        _fail(str(error), BAD_INPUT, error)
    except USAGE_ERROR as error:
        _fail(f"{getattr(error, 'format_message', error.__str__)()} See adamcmp --help.", BAD_INPUT, error)
    except Exception as error:  # a defect of ours: still one line, and how to see more
        if not interrupts.asked():
            _fail(f"{told(error)} (a defect in adamcmp; --debug shows where)", OUR_FAULT, error)
    if interrupts.asked():
        interrupts.leave()
    sys.exit(code)


def _fail(text: str, code: int, error: BaseException) -> NoReturn:
    if "--debug" in sys.argv:
        raise error
    _tell(f"adamcmp: {one_line(InputError(text))}", "red", whole=True)
    sys.exit(code)


def _tell(text: str, style: str = "", *, err: bool = True, whole: bool = False) -> None:
    """Say something, in colour where a terminal shows it and NO_COLOR is not set.

    Lines break between words on a terminal, unless they are to stay ``whole``, since commands in them may be pasted.
    """
    from rich.console import Console

    console = Console(stderr=err, highlight=False)
    console.print(text, style=style, markup=False, soft_wrap=whole or not console.is_terminal)


def _complete(*groups: str) -> Callable[[str], list[str]]:
    def names(incomplete: str) -> list[str]:
        from adamcmp.config.sources import options

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
SEEDS_A_LOOK = 8
"""Seeds that ``settle`` adds before it looks again."""


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

    def alone() -> str:
        from adamcmp.config.sweeps import single

        single(config, overrides or [])
        return config

    opened = _open(alone, overrides, results_dir, config_dir, device)
    if len(opened.plan.runs) > 1:
        raise InputError(f"{config}: is a study of {len(opened.plan.runs)} runs; use {command('sweep', config)}")
    _train(opened, opened.plan.runs, limit=None)
    from adamcmp import console
    from adamcmp.records import read_records

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
    only_failed: Annotated[bool, typer.Option("--only-failed", help="Train only what has failed before.")] = False,
    extend: Annotated[
        bool, typer.Option("--extend", help="Widen grids whose best cell lies on the edge, up to five times.")
    ] = False,
    report: Annotated[bool, typer.Option("--report", help="Write tables and figures too.")] = False,
    debug: Debug = False,
) -> None:
    """Train all missing runs of a study; end with the leaderboard."""
    given = [*(overrides or []), *(["study.extend=5"] if extend else [])]
    opened = _open(lambda: study, given, results_dir, config_dir, device, dry_run=dry_run, only_failed=only_failed)
    if dry_run:
        _show_plan(opened, limit, only_failed)
        return
    records = _sweep(opened, limit, only_failed)
    if report:
        _report([opened.study_dir], None, None)
        raise typer.Exit(_exit_code(records))
    from adamcmp.records import read_outcomes
    from adamcmp.report.document import Reported
    from adamcmp.report.judging import Judging

    judging = Judging.of(opened.plan.config.study.model_dump())
    _show(Reported(records, outcomes=read_outcomes([opened.study_dir]), judging=judging), opened.study_dir.name)
    _hints(records, opened.plan.config.study.name)
    typer.echo(f"\ntables and figures: {command('report', str(opened.study_dir)).strip('`')}")
    raise typer.Exit(_exit_code(records))


@app.command()
def report(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS…", help="results/STUDY, or the folder above it; several make one report."),
    ],
    formats: Formats = None,
    out: Annotated[Path | None, typer.Option(help="Write here instead of into RESULTS/report.")] = None,
    target_error: Annotated[
        float | None,
        typer.Option(help="Tell how soon a validation error is reached; 0.1 is 10 %."),
    ] = None,
    width: Annotated[Width | None, typer.Option(help="Draw for one column of a journal or two.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Write nothing; tell whether reports are as they were written.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Write tables and figures of stored runs."""
    if verify:
        _verify(results)
        return
    with status("reading"):
        from adamcmp.records import studies

        found = [study_dir for path in results for study_dir in studies(path)]
    if len(results) > 1:
        if out is None:
            raise InputError(f"report {' '.join(map(str, results))}: several folders make one report; add --out FOLDER")
        _report(found, formats, out, target_error, width)
        return
    for study_dir in found:
        _report([study_dir], formats, out / study_dir.name if out and len(found) > 1 else out, target_error, width)


def _verify(folders: Sequence[Path]) -> None:
    """Tell of each report whether its files are as its manifest has them.

    Raises:
        typer.Exit: some are not.
    """
    from adamcmp.report.manifest import verify

    verified = [verify(folder) for folder in folders]
    for each in verified:
        for text, names in (("changed", each.changed), ("missing", each.missing), ("not of it", each.others)):
            for name in names:
                typer.echo(f"{each.folder / name}: {text}")
        state = f"all {each.files} files are as they were written" if each.is_whole else "not as it was written"
        typer.echo(f"{each.folder}: {state}")
    raise typer.Exit(DONE if all(each.is_whole for each in verified) else SOME_FAILED)


@app.command()
def compare(
    sides: Annotated[
        list[str],
        typer.Argument(metavar="A B…", help="Arms, studies, results folders, or FOLDER:ARM."),
    ],
    margin: Annotated[
        float | None, typer.Option(min=0, help="What differences count as none, as the error is shown.")
    ] = None,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    out: Annotated[Path | None, typer.Option(help="Write tables and figures of the comparison here.")] = None,
    formats: Formats = None,
    debug: Debug = False,
) -> None:
    """Compare stored runs across folders: paired where they share seeds, else by Welch's test."""
    with status("reading"):
        from adamcmp.analysis import by_task
        from adamcmp.analysis.comparing import compared, left_out
        from adamcmp.records import read_all, read_outcomes
        from adamcmp.report.document import Reported
        from adamcmp.report.judging import Judging
        from adamcmp.report.sides import find
        from adamcmp.studies import judging_of

        asked = find(sides, results_dir)
        records = compared(asked.sides)
        judging = judging_of(asked.study_dirs) if margin is None else Judging(margin)
        curves = read_all(asked.study_dirs).curves
        found = Reported(records, curves, read_outcomes(asked.study_dirs), judging)
    _show(found, " against ".join(sides))
    for line in left_out(asked.sides, records):
        _tell(line, err=False)
    if not any(found.verdicts(task) for task in by_task(records)):
        _tell(
            "no verdict: none of these pairs was confirmed on fresh seeds; sweep with study.confirm.seeds=8", err=False
        )
    if out is not None:
        _write(found, formats, out)


@app.command()
def remove(
    results: Annotated[list[Path], typer.Argument(metavar="RESULTS…", help="results/STUDY, or the folder above it.")],
    status_: Annotated[
        Status | None, typer.Option("--status", help="Runs that ended so: completed, diverged or failed.")
    ] = None,
    arm: Annotated[str | None, typer.Option(help="Runs of this optimizer, by its label or its configuration.")] = None,
    study: Annotated[str | None, typer.Option(help="Runs that this study trained first.")] = None,
    id_: Annotated[
        list[str] | None, typer.Option("--id", help="A run's id, or its beginning; may be repeated.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    debug: Debug = False,
) -> None:
    """Remove stored runs; the next sweep trains them again."""
    from adamcmp.execute.stored import chosen, remove_runs
    from adamcmp.records import read_records, studies

    if not any((status_, arm, study, id_)):
        raise InputError("remove: names no runs; give --status, --arm, --study or --id")
    found = {
        folder: chosen(read_records(folder), status=status_, arm=arm, study=study, ids=id_ or ())
        for path in results
        for folder in studies(path)
    }
    found = {folder: ids for folder, ids in found.items() if ids}
    for folder, ids in found.items():
        typer.echo(f"{folder}: {len(ids):,} run{'' if len(ids) == 1 else 's'}")
    if not found:
        typer.echo("no stored run is like that; nothing is removed")
        return
    if not yes and not typer.confirm("remove them?"):
        typer.echo("nothing is removed")
        return
    for folder, ids in found.items():
        remove_runs(folder, ids)
    typer.echo("removed")


@app.command()
def settle(
    a: Annotated[str, typer.Argument(metavar="A", help="An arm, by its label or its optimizer's configuration.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="STUDY",
            help="A study's name or YAML file; without it the stored study that has both arms.",
            autocompletion=_complete("study", ""),
        ),
    ] = None,
    overrides: Overrides = None,
    margin: Annotated[
        float | None, typer.Option(min=0, help="What differences count as none, as the error is shown.")
    ] = None,
    max_runs: Annotated[int, typer.Option(min=2, help="Runs of both arms, at most.")] = 400,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    config_dir: ConfigDir = None,
    device: Device = None,
    debug: Debug = False,
) -> None:
    """Add fresh seeds to two tuned arms until one is better, both are the same, or the runs are used up."""
    from adamcmp.analysis import best_cells, by_task, cells, criteria_of
    from adamcmp.analysis.anytime import is_stuck, settled
    from adamcmp.execute.confirming import SETTLING, match, on_fresh_seeds
    from adamcmp.records import read_outcomes, read_records
    from adamcmp.report.judging import settled_sentence

    if study is None:
        study, overrides, config_dir = _stored_with(a, b, results_dir, config_dir)
    named = study
    opened = _open(lambda: named, overrides, results_dir, config_dir, device)
    records = read_records(opened.study_dir)
    found = match(opened.plan.runs, records, (a, b))
    error = criteria_of(found.task.records).error
    given = margin if margin is not None else opened.plan.config.study.margin
    tolerated = None if given is None else given / error.factor
    while True:
        (task,) = (each for each in by_task(records) if each.task == found.task.task)
        try:
            outcomes = read_outcomes([opened.study_dir])
            verdict = settled(task.records, best_cells(cells(task.records)), found.arms, tolerated, outcomes)
        except ValueError as reason:
            raise InputError(f"settle {a} {b}: {reason}; sweep with study.confirm.seeds=8 first") from reason
        _tell(settled_sentence(verdict, error), err=False)
        used = 2 * verdict.n
        seeds = range(SETTLING + verdict.n, SETTLING + verdict.n + min(SEEDS_A_LOOK, (max_runs - used) // 2))
        if verdict.kind != "open" or is_stuck(verdict) or not seeds:
            return
        added = [run for winner in found.winners for run in on_fresh_seeds(winner, seeds, "settle")]
        _train(opened, added, None, what="settling, ")
        records = read_records(opened.study_dir)
        lost = records[records["run_id"].isin([run.id for run in added]) & (records["status"] != "completed")]
        if len(lost):
            raise InputError(f"settle {a} {b}: {len(lost)} of the added runs did not complete; there is no verdict")


def _stored_with(
    a: str, b: str, results_dir: Path, config_dir: Path | None
) -> tuple[str, list[str] | None, Path | None]:
    """The study that has both arms, as it was trained."""
    from adamcmp.records import read_records, studies
    from adamcmp.report.hints import trained_with

    found = {
        study_dir: trained
        for study_dir in studies(results_dir)
        if (trained := trained_with(read_records(study_dir), (a, b)))
    }
    if len(found) != 1:
        which = (
            f"{len(found)} studies have both arms: {', '.join(path.name for path in found)}"
            if found
            else "no study has both"
        )
        raise InputError(f"settle {a} {b}: in {results_dir} {which}; name one, with the words it was swept with")
    (trained,) = found.values()
    return trained.study, trained.overrides, config_dir or trained.config_dir


@app.command()
def merge(
    results: Annotated[list[Path], typer.Argument(metavar="RESULTS…", help="results/STUDY, or folders above some.")],
    out: Annotated[Path, typer.Option(help="The folder above the joined studies.")],
    debug: Debug = False,
) -> None:
    """Join stored studies by their names, as those of two machines; no run is lost or counted twice."""
    from adamcmp.execute.stored import merge_into
    from adamcmp.records import read_records, studies

    by_name: dict[str, list[Path]] = {}
    for path in results:
        for folder in studies(path):
            by_name.setdefault(folder.resolve().name, []).append(folder)
    for name, folders in by_name.items():
        merge_into(out / name, [folder for folder in folders if folder.resolve() != (out / name).resolve()])
        typer.echo(f"{out / name}: {len(read_records(out / name)):,} runs")


@app.command()
def reproduce(
    figure: Annotated[
        str,
        typer.Argument(help="What to reproduce, such as figure2, or a YAML file that starts from it; all: everything."),
    ],
    overrides: Overrides = None,
    scale: Annotated[
        str | None, typer.Option(help="smoke: seconds; laptop: minutes; paper: as published, for --dry-run.")
    ] = None,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    config_dir: ConfigDir = None,
    device: Device = None,
    dry_run: DryRun = False,
    limit: Limit = None,
    formats: Formats = None,
    debug: Debug = False,
) -> None:
    """Train a study of the paper's kind and report on it; or all of them, which ends with a table of what was found."""
    given = [*(overrides or []), *([f"scale={scale}"] if scale is not None else [])]
    names, codes, claims = [figure], list[int](), list[Any]()
    if figure == "all":
        from adamcmp.studies import in_order

        names = [each.name for each in in_order()]
    for i, name in enumerate(names):
        if len(names) > 1:
            _tell(f"{'' if i == 0 else chr(10)}{name} ({i + 1} of {len(names)})", "bold")
        found = _reproduce(name, given, results_dir, config_dir, device, dry_run, limit, formats)
        codes.append(found.code)
        claims += found.told.claims
    if len(names) > 1 and not dry_run:
        _show_claims(claims, results_dir, formats)
    raise typer.Exit(max(codes))


class Reproduced(NamedTuple):
    """One study that was reproduced."""

    code: int
    told: Told


def _reproduce(
    name: str,
    overrides: list[str],
    results_dir: Path,
    config_dir: Path | None,
    device: str | None,
    dry_run: bool,
    limit: int | None,
    formats: list[Format] | None,
) -> Reproduced:
    def named() -> str:
        from adamcmp.studies import reproduction

        # study.figure brings what it tells, in a file that starts from one of ours too
        return name if name.endswith((".yaml", ".yml")) else reproduction(name).study

    opened = _open(named, overrides, results_dir, config_dir, device, dry_run=dry_run)
    opened.words = _words_for(name, sys.argv[1:])
    from adamcmp.report.told import Told

    if dry_run:
        _show_plan(opened, limit)
        return Reproduced(DONE, Told())
    records = _sweep(opened, limit)
    return Reproduced(_exit_code(records), _report([opened.study_dir], formats, None))


def _words_for(name: str, typed: Sequence[str]) -> list[str]:
    """A command that reproduces this study alone, with its scale among the overrides, as a sweep of it takes it."""
    words = list(typed)
    for i, word in enumerate(words):
        if word == "--scale" and i + 1 < len(words):
            words[i : i + 2] = [f"scale={words[i + 1]}"]
        elif word.startswith("--scale="):
            words[i] = word.removeprefix("--")
    return [name if word == "all" else word for word in words]


def _show_claims(claims: Sequence[Claim], folder: Path, formats: list[Format] | None) -> None:
    """Print what was found of each statement, and write it beside the studies."""
    from adamcmp.report.document import write_claims
    from adamcmp.report.tables import terminal_claims

    _print(terminal_claims(claims))
    files = write_claims(claims, folder, formats=[each.value for each in formats or Format])
    typer.echo("\n".join(["", "written:", *map(str, files)]))


@app.command("list")
def list_(
    group: Annotated[
        str | None,
        typer.Argument(help=f"{', '.join(Group)}; all without it.", autocompletion=lambda: list(Group)),
    ] = None,
    config_dir: ConfigDir = None,
    debug: Debug = False,
) -> None:
    """List what there is to choose from."""
    from adamcmp import console
    from adamcmp.config.sources import options

    if group is not None and group not in set(Group):
        raise InputError(f"list {group}: there is no such list; {closest(group, Group)}")
    for each in [group] if group else list(Group):
        _print(console.options_table(each, options(FOLDERS.get(each, each), config_dir)))


@app.command()
def show(
    config: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG",
            help="A name or YAML file; with --best results/STUDY.",
            autocompletion=_complete("", "study"),
        ),
    ],
    overrides: Overrides = None,
    best: Annotated[
        str | None, typer.Option("--best", metavar="ARM", help="The code of this optimizer's best cell in RESULTS.")
    ] = None,
    framework: Annotated[
        list[Framework] | None, typer.Option(help="Of --best: only in this one; may be repeated.")
    ] = None,
    config_dir: ConfigDir = None,
    debug: Debug = False,
) -> None:
    """Show a resolved configuration and where each value comes from; or, with --best, how to train as the best did."""
    if best is not None:
        _show_recipe(Path(config), best, framework or list(Framework))
        return
    from adamcmp import console
    from adamcmp.config import compose
    from adamcmp.config.build import typed
    from adamcmp.config.sources import locate
    from adamcmp.config.sweeps import single

    single(config, overrides or [])
    source = locate(config, config_dir)
    composed = compose.compose(source, overrides or [])
    typed(composed, source)
    origins = compose.origins(source, overrides or [])
    _print(console.settings_table(source.name, list(compose.leaves(composed.values)), origins))


def _show_recipe(results: Path, arm: str, frameworks: Sequence[Framework]) -> None:
    """Print how an arm's best cell is trained, as code."""
    from adamcmp.records import read_records, studies
    from adamcmp.report.recipe import best_recipes

    for study_dir in studies(results):
        for text in best_recipes(read_records(study_dir), arm, frameworks):
            typer.echo(text)


def _open(
    name: Callable[[], str],
    overrides: list[str] | None,
    results_dir: Path,
    config_dir: Path | None,
    device: str | None,
    *,
    dry_run: bool = False,
    only_failed: bool = False,
) -> Session:
    """Plan the configuration that ``name`` gives, looked up and imported for while a line tells what is being done."""
    with status("starting") as say:
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
            from adamcmp.studies import reproduction

            reproduction(opened.plan.config.study.figure)  # a name that is none is told before anything is trained
        return opened


def _print(renderable: Any) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if console.is_terminal:
        console.print(renderable)
        return
    with console.capture() as captured:
        console.print(renderable)
    typer.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _show_plan(opened: Session, limit: int | None, only_failed: bool = False) -> None:
    from adamcmp import console
    from adamcmp.engine.timing import product_rate
    from adamcmp.execute.confirming import is_chosen, stand_ins
    from adamcmp.execute.crew import crew
    from adamcmp.execute.study import missing

    runs = opened.plan.runs
    lacking = missing(runs, opened.study_dir, only_failed=only_failed)
    todo = lacking[:limit]
    seeds = opened.plan.config.study.confirm.seeds
    judging = stand_ins(runs, seeds) if seeds and is_chosen(runs) and not only_failed and limit is None else []
    tuned = len({run.seed for run in runs})
    with status("planning"), ExitStack() as stack:
        how, judged = (
            stack.enter_context(crew(each, opened.datasets, opened.device, opened.plan.config.execute, dry_run=True))
            for each in (todo, judging)
        )
        rate = product_rate(opened.device) if todo else 0.0
    _print(console.plan_table(runs, todo))
    seconds = how.estimate.seconds
    _tell(console.plan_line(opened.plan, len(runs), len(lacking), len(todo), seconds, opened.device), err=False)
    bill = console.bill_lines(how, rate) if todo else []
    for line in [*console.choice_lines(how), *bill, *opened.notes, *console.judging_lines(judging, judged, tuned)]:
        _tell(line, err=False)


def _sweep(opened: Session, limit: int | None, only_failed: bool = False) -> pd.DataFrame:
    """Tune what is missing, and judge what was chosen on fresh seeds; the records of all planned runs."""
    from adamcmp import console
    from adamcmp.records import read_records

    runs = list(opened.plan.runs)
    trained = _train(opened, runs, limit, only_failed=only_failed)
    if limit is None and not only_failed:
        runs += _extend(opened, runs)
    judging = [] if only_failed else _judge(opened, runs, None if limit is None else limit - trained)
    records = read_records(opened.study_dir)
    planned = records[records["run_id"].isin({run.id for run in (*runs, *judging)})]
    for line in console.failure_lines(planned[planned["status"] == "failed"]):
        _tell(line, "red")
    return planned


def _extend(opened: Session, runs: Sequence[Run]) -> list[Run]:
    """Widen grids whose best cell lies on the edge, as often as the study allows; the runs that this took."""
    from adamcmp.execute.extending import extending
    from adamcmp.records import read_records

    added: list[Run] = []
    most = opened.plan.config.study.extend
    while most and (wider := extending(runs, read_records(opened.study_dir), most)):
        added += wider
        if not _train(opened, wider, None, what="wider grids, "):
            break  # they have failed before, or nothing more can be told of them
    return added


def _judge(opened: Session, runs: Sequence[Run], limit: int | None) -> list[Run]:
    """Train each arm's best cell on fresh seeds, once tuning is complete; the runs that this takes."""
    from adamcmp.execute.confirming import confirming, is_chosen
    from adamcmp.execute.study import missing
    from adamcmp.records import read_records

    seeds = opened.plan.config.study.confirm.seeds
    if not seeds or not is_chosen(runs):
        return []
    records = read_records(opened.study_dir)
    left = len(missing(runs, opened.study_dir)) - int((records["status"] == "failed").sum())
    if left > 0:
        _tell(f"{opened.study_dir}: {left:,} runs are still to be tuned; what they choose is confirmed after that")
        return []
    judging = confirming(runs, records, seeds)
    if limit is None or limit > 0:
        _train(opened, judging, limit, what="the best cells on fresh seeds, ")
    return judging


def _exit_code(records: pd.DataFrame) -> int:
    return SOME_FAILED if (records["status"] == "failed").any() else DONE


def _train(
    opened: Session, runs: Sequence[Run], limit: int | None, *, only_failed: bool = False, what: str = ""
) -> int:
    """Train what is missing, under the study's lock, with a progress bar; how many runs that were.

    ``what`` says what they are, where they are not those that were asked for.
    """
    from adamcmp.execute import study

    study_dir = opened.study_dir
    with study.driving(study_dir):
        lacking = study.missing(runs, study_dir, only_failed=only_failed)
        if not only_failed and (adopted := study.adopted(lacking, study_dir)):
            _tell(f"{study_dir}: {adopted:,} runs were found in other studies beside it, and are not trained again")
            lacking = study.missing(runs, study_dir)
        todo = lacking[:limit]
        study.describe(study_dir, opened.plan.resolved)
        if not todo:
            stored = "no run has failed" if only_failed else f"all {len(runs):,} runs are stored"
            if not what:
                _tell(f"{study_dir}: {stored}; nothing to train")
            return 0
        from adamcmp import console
        from adamcmp.execute.crew import crew
        from adamcmp.execute.recording import Provenance
        from adamcmp.execute.training import train_all

        for note in opened.notes:
            _tell(note, "yellow")
        provenance = Provenance.here(opened.plan.config.study.name, opened.words)
        with ExitStack() as stack:
            with status("planning") as say:
                opened.prepare(todo, say)
                how = stack.enter_context(
                    crew(todo, opened.datasets, opened.device, opened.plan.config.execute, say=say)
                )
            if len(runs) > 1:
                line = console.plan_line(
                    opened.plan, len(runs), len(lacking), len(todo), how.estimate.seconds, opened.device, what
                )
                _tell("\n".join([line, *console.choice_lines(how)]))
            if how.executor is not None:  # while others train
                Thread(target=import_module, args=("adamcmp.report.preload",), daemon=True).start()
            with console.SweepProgress(todo, compiles=how.estimate.compiles) as progress:
                train_all(how, todo, study_dir, provenance, progress)
        return len(todo)


def _hints(records: pd.DataFrame, study: str) -> None:
    """The commands that would mend what the leaderboard says of edges and intervals."""
    from adamcmp.report.hints import hints

    for line in hints(records, study):
        typer.echo(line)


def _report(
    study_dirs: Sequence[Path],
    formats: list[Format] | None,
    out: Path | None,
    target_error: float | None = None,
    width: Width | None = None,
) -> Told:
    """Write the report of what is stored in some folders, and show the heart of it."""
    with status("reading"):
        from adamcmp.records import read_all, read_outcomes
        from adamcmp.report.document import Reported
        from adamcmp.studies import figure_of, judging_of, reproduction, width_of

        stored = read_all(study_dirs)
        figures = {figure_of(study_dir) for study_dir in study_dirs}
        (figure,) = figures if len(figures) == 1 else (None,)
        found = Reported(
            *stored,
            read_outcomes(study_dirs),
            judging_of(study_dirs),
            target_error=target_error,
            width=width_of(study_dirs) if width is None else width.value,
        )
        if figure is not None:
            found = replace(found, told=reproduction(figure).told(found))
    _show(found, " + ".join(folder.name for folder in study_dirs))
    _hints(stored.records, study_dirs[0].name)
    _write(found, formats, out or study_dirs[0] / "report")
    return found.told


def _show(found: Reported, title: str) -> None:
    """Print leaderboards, verdicts and findings."""
    from adamcmp import console
    from adamcmp.analysis import best_cells, by_task, cells, criteria_of, leaderboard, time_to_error
    from adamcmp.report import tables
    from adamcmp.report.judging import cuts_sentences, sentences

    tasks = by_task(found.records)
    for task in tasks:
        _print(tables.terminal(leaderboard(task.records), f"{title}: {task.label}"))
        for line in sentences(task, found.verdicts(task)):
            _tell(f"- {line}", err=False)
        if found.target_error is not None:
            soon = time_to_error(found.curves, task.records, best_cells(cells(task.records)), found.target_error)
            error = criteria_of(task.records).error
            _print(console.time_table(soon, f"{title}: {task.label}", found.target_error, error))
        about = {task.task, None} if len(tasks) == 1 else {task.task}
        _show_told(found.told.about(about))
    if len(tasks) > 1:
        _show_told(found.told.about({None}))
    for cuts in found.over_cuts(tasks):
        for line in cuts_sentences(cuts):
            _tell(f"- {line}", err=False)


def _show_told(told: Told) -> None:
    """Print what a study says."""
    from adamcmp.report.told import claim_sentence

    for text in [*map(claim_sentence, told.claims), *(each.text for each in told.findings)]:
        _tell(f"- {text}", err=False)


def _write(found: Reported, formats: list[Format] | None, folder: Path) -> None:
    """Write the report, and say where."""
    with status("drawing"):
        from adamcmp.report.document import write_report

        files = write_report(found, folder, formats=[each.value for each in formats or Format])
    pages = [path for path in files if path.name == "report.md"]
    others = f" and {len(files) - 1} files beside it" if len(files) > 1 else ""
    typer.echo(f"\nwritten: {pages[-1]}{others}" if pages else "\n".join(["\nwritten:", *map(str, files)]))
