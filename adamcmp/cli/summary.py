"""Print stored studies: leaderboards, verdicts, claims and warnings; write their reports."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from adamcmp.cli.app import (
    DEFAULT_RESULTS,
    Format,
    Width,
    add_json,
    current_command,
    is_quiet,
    is_verbose,
    print_line,
    print_lines,
    print_note,
    print_table,
    terminal_width,
    wants_json,
)
from adamcmp.cli.json_values import claims_as_json, leaderboard_as_json, warnings_of_task
from adamcmp.cli.spinner import show_status
from adamcmp.errors import InputError, command_text

if TYPE_CHECKING:
    import pandas as pd

    from adamcmp.analysis.claim import Claim
    from adamcmp.claims import ClaimTest
    from adamcmp.execute.session import Session
    from adamcmp.plan.runs import Run
    from adamcmp.report.report_input import ReportInput


def report_on(
    study_dirs: Sequence[Path],
    formats: list[Format] | None,
    out: Path | None,
    target_error: float | None = None,
    width: Width | None = None,
    *,
    title: bool = True,
    plot_script: bool = False,
    bundle: bool = False,
) -> ReportInput:
    """Write the report of stored studies, and print leaderboards and verdicts; return its contents.

    ``title`` prints the study's name first; ``plot_script`` writes a script that redraws the figures; ``bundle`` writes
    an archive of everything.
    """
    with show_status("reading"):
        from adamcmp.report.check_table import first_check
        from adamcmp.report.report_input import ReportInput
        from adamcmp.storage.records import read_all, read_outcomes
        from adamcmp.studies import comparison_settings, figure_width, find_study, stored_figure

        stored = read_all(study_dirs)
        figures = {stored_figure(study_dir) for study_dir in study_dirs}
        (figure,) = figures if len(figures) == 1 else (None,)
        report = ReportInput(
            *stored,
            read_outcomes(study_dirs),
            comparison_settings(study_dirs),
            target_error=target_error,
            name=" + ".join(folder.name for folder in study_dirs),
            width=figure_width(study_dirs) if width is None else width.value,
            has_plot_script=plot_script or bundle,
            check=first_check(study_dirs),
        )
        if figure is not None:
            report = replace(report, study_findings=find_study(figure).findings(report))
    print_damage(study_dirs)
    print_orphans(report)
    show_found(report, report.title if title else None)
    folder = out or study_dirs[0] / "report"
    write_files(report, formats, folder)
    if bundle:
        from adamcmp.report.bundle import write_bundle

        path = write_bundle(study_dirs, report.records, folder)
        add_json(bundle=str(path))
        print_line(f"Bundle   {path}")
    return report


def show_summary(opened: Session, runs: Sequence[Run], *, err: bool = True, always: bool = False) -> None:
    """Print the warnings about data, and how the user's data and model are read, each once.

    Args:
        opened: the study.
        runs: whose data and models to describe.
        err: on standard error.
        always: also of data and models that come with adamcmp.
    """
    from adamcmp.cli import plan_view

    lines = opened.unseen_summaries(runs)
    data, model = opened.plan.config.data, opened.plan.config.model
    is_ours = (data.embedded or data.official is not None) and model.target.startswith("adamcmp.")
    if always or is_verbose() or not (is_ours or is_quiet()):
        for line in plan_view.summary_lines(lines):
            print_note(line, err=err)
    add_json(summary=[{"heading": heading, "text": text} for heading, text in lines])
    for note in opened.notes:
        print_note(note, "yellow", err=err)
    opened.notes.clear()


def print_orphans(report: ReportInput) -> None:
    """Print how many held-out runs have lost the tuning runs that selected them.

    Raises:
        InputError: no tuning run is left.
    """
    reported = {run for task in report.tasks for run in task.records["run_id"]}
    lost = len(report.records) - len(reported & set(report.records["run_id"]))
    text = f"{lost:,} held-out runs are stored without the tuning runs that chose their hyperparameters"
    if len(report.records) and not reported:
        raise InputError(f"{report.title}: {text}; run the sweep again, which trains missing runs alone")
    if lost:
        print_note(f"{text}: they are left out; run the sweep again, which trains missing runs alone", "yellow")


def print_damage(study_dirs: Sequence[Path]) -> None:
    """Print which runs are stored several times with other numbers, and which have lost their curves or per-example
    errors.
    """
    from adamcmp.storage.records import find_disagreements, find_incomplete

    differing = find_disagreements(study_dirs)
    if len(differing):
        ids = list(differing["run_id"].unique())
        values = differing.loc[differing["run_id"] == ids[0], "final_validation_error"].tolist()
        print_note(
            f"{count_runs_text(ids)} stored several times with different numbers, such as {ids[0]} with "
            "final_validation_error "
            f"{' and '.join(f'{value:.6g}' for value in values)}; the one that ended last counts",
            "yellow",
        )
    for folder in study_dirs:
        lacking = find_incomplete(folder)
        for runs, what, then in (
            (lacking.curves, "curve", "they are missing from learning curves"),
            (lacking.outcomes, "outcome on each test example", "intervals are over seeds alone where they take part"),
        ):
            if runs:
                print_note(
                    f"{folder}: {count_runs_text(runs)} stored without the {what}: {then}; `adamcmp remove "
                    f"{quote(str(folder))} --incomplete` removes them, and the next sweep trains them again",
                    "yellow",
                )


def count_runs_text(ids: Collection[str]) -> str:
    """Return a count of runs with its verb: ``3 runs are``."""
    return f"{len(ids):,} run{'' if len(ids) == 1 else 's'} {'is' if len(ids) == 1 else 'are'}"


def show_found(report: ReportInput, title: str | None = None) -> None:
    """Print leaderboards, verdicts, claims and warnings.

    Args:
        report: what to show.
        title: printed above each task; None: it stands above already.
    """
    from adamcmp.analysis import across_tasks, best_trials, task_metrics, time_to_target_table
    from adamcmp.report import terminal

    tasks = report.tasks
    if title is None and not is_quiet():
        print_line("")
    add_json(tasks=[leaderboard_as_json(report, task) for task in tasks] if wants_json() else [])
    width, verbose = terminal_width(), is_verbose()
    for task in tasks:
        error, verdicts = task_metrics(task.records).error, report.verdicts(task)
        about = {task.task, None} if len(tasks) == 1 else {task.task}
        findings = report.study_findings.about(about)
        sections = [terminal.verdict_lines(verdicts, error, width, verbose=verbose)]
        if not is_quiet():
            if title is not None or len(tasks) > 1:
                print_lines([terminal.heading(title, task.label) if title else terminal.heading(task.label)])
            warned = warnings_of_task(report, task)
            sections.insert(0, terminal.leaderboard_lines(report.board(task), width))
            sections.append(terminal.claim_lines(findings.claims, width, verbose=verbose))
            if verbose:
                sections.append(terminal.finding_lines([finding.text for finding in findings.findings], width))
            sections.append(terminal.warning_lines(warned, width, verbose=verbose))
        _print_sections(sections)
        add_json(
            claims=claims_as_json(findings.claims),
            hints=[warning.text for warning in warnings_of_task(report, task) if warning.fix],
        )
        if report.target_error is not None:
            from adamcmp.cli import plan_view

            soon = time_to_target_table(
                report.curves, task.records, best_trials(report.trials(task)), report.target_error
            )
            print_table(plan_view.time_to_target_table(soon, task.label, report.target_error, error))
    add_json(across_tasks=across_tasks.to_frame(report.pooled).to_dict("records"))
    if len(tasks) > 1:
        findings = report.study_findings.about({None})
        add_json(claims=claims_as_json(findings.claims))
        _print_sections([
            terminal.splits_lines(report.over_splits(tasks), width),
            terminal.pooled_lines(report.pooled, width),
            terminal.claim_lines(findings.claims, width, verbose=verbose),
            terminal.finding_lines([finding.text for finding in findings.findings], width) if verbose else [],
        ])  # fmt: skip


def _print_sections(sections: Sequence[Sequence[Any]]) -> None:
    """Print sections that have lines, with an empty line between."""
    for lines in filter(None, sections):
        print_lines([*lines, [("", "")]])


def show_next(report: ReportInput, study_dir: Path) -> None:
    """Print the commands that usually follow a sweep."""
    if is_quiet():
        return
    from adamcmp.report.check_table import is_of_program

    steps = [(command_text("report", str(study_dir)), "write report.html, tables and figures")]
    pairs = [verdict for task in report.tasks for verdict in report.verdicts(task)]
    if len(pairs) == 1 and pairs[0].kind == "open" and pairs[0].limit == "seeds":
        folder = [] if study_dir.parent == DEFAULT_RESULTS else ["--results-dir", str(study_dir.parent)]
        if is_of_program(report.records):
            folder.append("--trust")
        steps.append((command_text("settle", pairs[0].a, pairs[0].b, *folder), "add held-out seeds until decided"))
    longest = max(len(words) for words, _ in steps) - 2
    for i, (words, what) in enumerate(steps):
        print_line(f"{'Next' if i == 0 else '':<9}{words.strip('`'):<{longest}}   {what}")


def write_files(report: ReportInput, formats: list[Format] | None, folder: Path) -> None:
    """Write the report, and say where."""
    with show_status("drawing"):
        from adamcmp.report.report_writer import write_report

        files = write_report(report, folder, formats=requested_values(formats))
    add_json(files=[str(path) for path in files])
    pages = [path for path in files if path.name == "report.html"]
    pages = pages or [path for path in files if path.name == "report.md"]
    if not pages:
        print_line(f"Report   {folder}  ({len(files)} files)")
        return
    more = len(files) - 1
    other_files = f"  (+ {more} file{'' if more == 1 else 's'}: tables and figures)" if more else ""
    if not is_quiet():
        print_line(f"Report   {pages[-1]}{other_files}")


def load_report_input(study_dir: Path, records: pd.DataFrame) -> ReportInput:
    """Return some runs of a stored study, with their curves, as reports take them."""
    from adamcmp.report.report_input import ReportInput
    from adamcmp.storage.records import read_all, read_outcomes
    from adamcmp.studies import comparison_settings

    stored = read_all([study_dir])
    ids = set(records["run_id"])
    return ReportInput(
        stored.records[stored.records["run_id"].isin(ids)],
        stored.curves[stored.curves["run_id"].isin(ids)],
        read_outcomes([study_dir]),
        comparison_settings([study_dir]),
        name=study_dir.name,
    )


def show_claim_tests(
    statements: Sequence[ClaimTest], reports: Mapping[str, ReportInput], folder: Path, formats: list[Format] | None
) -> None:
    """Test claims, print the results, and write their report."""
    from adamcmp.claims.claims_report import claims_article, run_claim_tests
    from adamcmp.cli import progress
    from adamcmp.report import terminal
    from adamcmp.report.article import write_article

    every = []
    with progress.item_progress(len(statements), "statements") as bar:
        for statement in statements:
            bar(statement.text)
            every.append(run_claim_tests(statement, reports))
    claims = [claim for test in every for claim in test.claims]
    print_lines(terminal.claim_lines(claims, terminal_width(), verbose=is_verbose()))
    add_json(claims=claims_as_json(claims))
    with show_status("drawing"):
        files = write_article(claims_article(every, reports, current_command()), folder, requested_values(formats))
    print_line(f"\nReport   {files[-2]}  (+ {len(files) - 1} files)")


def show_claims(claims: Sequence[Claim], folder: Path, formats: list[Format] | None) -> None:
    """Print the results of claims, and write them into a folder as one table."""
    from adamcmp.report import terminal
    from adamcmp.report.report_input import claims_report_table
    from adamcmp.report.report_writer import write_tables

    print_lines(terminal.claim_lines(claims, terminal_width(), verbose=is_verbose()))
    files = write_tables([claims_report_table(claims)], folder, requested_values(formats))
    print_line("\n".join(["\nwritten:", *map(str, files)]))


def requested_values(formats: list[Format] | None) -> list[str]:
    """Return the requested formats; all if none was requested."""
    return [format_.value for format_ in formats or Format]
