"""What is stored, shown: leaderboards, verdicts and findings on the terminal, reports in files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from adamcmp.cli.app import Format, Width, answer, as_typed, present, say, tell, wants_json
from adamcmp.errors import InputError
from adamcmp.status import status

if TYPE_CHECKING:
    import pandas as pd

    from adamcmp.analysis import Task, Verdict
    from adamcmp.analysis.claims import Claim
    from adamcmp.execute.session import Session
    from adamcmp.plan.runs import Run
    from adamcmp.report.reported import Reported
    from adamcmp.report.told import Told
    from adamcmp.studies.claims import Statement


def report_on(
    study_dirs: Sequence[Path],
    formats: list[Format] | None,
    out: Path | None,
    target_error: float | None = None,
    width: Width | None = None,
) -> Reported:
    """Write the report of what is stored in some folders, and show the heart of it; what it was made of."""
    with status("reading"):
        from adamcmp.records import read_all, read_outcomes
        from adamcmp.report.reported import Reported
        from adamcmp.studies import figure_of, judging_of, reproduction, width_of

        stored = read_all(study_dirs)
        figures = {figure_of(study_dir) for study_dir in study_dirs}
        (figure,) = figures if len(figures) == 1 else (None,)
        found = Reported(
            *stored,
            read_outcomes(study_dirs),
            judging_of(study_dirs),
            target_error=target_error,
            name=" + ".join(folder.name for folder in study_dirs),
            width=width_of(study_dirs) if width is None else width.value,
        )
        if figure is not None:
            found = replace(found, told=reproduction(figure).told(found))
    tell_damage(study_dirs)
    _tell_orphans(found)
    show_found(found, found.title)
    show_hints(found, study_dirs[0].name)
    write_files(found, formats, out or study_dirs[0] / "report")
    return found


def show_summary(opened: Session, runs: Sequence[Run], *, err: bool = True) -> None:
    """Print the data and model summaries and the warnings about data, each once."""
    from adamcmp import console

    lines = opened.unseen_summaries(runs)
    for line in console.summary_lines(lines):
        tell(line, err=err)
    answer(summary=[{"heading": heading, "text": text} for heading, text in lines])
    for note in opened.notes:
        tell(note, "yellow", err=err)
    opened.notes.clear()


def _tell_orphans(found: Reported) -> None:
    """Say how many held-out runs have lost the tuning runs that chose them.

    Raises:
        InputError: no tuning run is left.
    """
    shown = {run for task in found.tasks for run in task.records["run_id"]}
    lost = len(found.records) - len(shown & set(found.records["run_id"]))
    told = f"{lost:,} held-out runs are stored without the tuning runs that chose their hyperparameters"
    if len(found.records) and not shown:
        raise InputError(f"{found.title}: {told}; run the sweep again, which trains missing runs alone")
    if lost:
        tell(f"{told}: they are left out; run the sweep again, which trains missing runs alone", "yellow")


def tell_damage(study_dirs: Sequence[Path]) -> None:
    """Say which runs stand several times with other numbers, and which have lost their curves or outcomes."""
    from adamcmp.records import disagreeing, incomplete

    differing = disagreeing(study_dirs)
    if len(differing):
        ids = list(differing["run_id"].unique())
        values = differing.loc[differing["run_id"] == ids[0], "final_validation_error"].tolist()
        tell(
            f"{_runs(ids)} stored several times with different numbers, such as {ids[0]} with final_validation_error "
            f"{' and '.join(f'{value:.6g}' for value in values)}; the one that ended last counts",
            "yellow",
        )
    for folder in study_dirs:
        lacking = incomplete(folder)
        for runs, what, then in (
            (lacking.curves, "curve", "they are missing from learning curves"),
            (lacking.outcomes, "outcome on each test example", "intervals are over seeds alone where they take part"),
        ):
            if runs:
                tell(
                    f"{folder}: {_runs(runs)} stored without the {what}: {then}; `adamcmp remove {quote(str(folder))} "
                    "--incomplete` removes them, and the next sweep trains them again",
                    "yellow",
                )


def _runs(ids: Collection[str]) -> str:
    return f"{len(ids):,} run{'' if len(ids) == 1 else 's'} {'is' if len(ids) == 1 else 'are'}"


def show_found(found: Reported, title: str) -> None:
    """Print leaderboards, verdicts and findings."""
    from adamcmp import console
    from adamcmp.analysis import across_tasks, best_cells, criteria_of, leaderboard, time_to_error
    from adamcmp.report import tables
    from adamcmp.report.verdict_text import MOST_TOLD, format_pooled, sentences, split_sentences

    tasks = found.tasks
    answer(tasks=[_answered(found, task) for task in tasks] if wants_json() else [])
    for task in tasks:
        table = found.cells(task)
        present(tables.terminal(leaderboard(task.records, table=table), f"{title}: {task.label}"))
        for line in sentences(task, found.verdicts(task)):
            tell(f"- {line}", err=False)
        if found.target_error is not None:
            soon = time_to_error(found.curves, task.records, best_cells(table), found.target_error)
            error = criteria_of(task.records).error
            present(console.time_table(soon, f"{title}: {task.label}", found.target_error, error))
        about = {task.task, None} if len(tasks) == 1 else {task.task}
        _show_told(found.told.about(about))
    if len(tasks) > 1:
        _show_told(found.told.about({None}))
    for splits in found.over_splits(tasks):
        for line in split_sentences(splits):
            tell(f"- {line}", err=False)
    answer(across_tasks=across_tasks.frame(found.pooled).to_dict("records"))
    for pooled in found.pooled[:MOST_TOLD]:
        tell(f"- {format_pooled(pooled)}", err=False)


BOARD = ("arm", "optimizer", "schedule", "lr", "weight_decay", "decay", "stage", "n", "trials", "edge",
         "final_validation_error", "final_validation_error_half_width", "final_test_error",
         "final_test_error_half_width", "final_gap")  # fmt: skip
"""Columns of a leaderboard that ``--json`` prints; one that a leaderboard lacks is a KeyError."""


def _answered(found: Reported, task: Task) -> dict[str, Any]:
    """A task as ``--json`` prints it."""
    from adamcmp.analysis import criteria_of, leaderboard
    from adamcmp.report.verdict_text import format_verdict

    error, table = criteria_of(task.records).error, found.cells(task)
    names = table.groupby("arm")[["optimizer", "schedule"]].first()  # an arm has one of each
    board = leaderboard(task.records, table=table).join(names, on="arm")
    verdicts = found.verdicts(task)
    return {
        "task": task.task,
        "label": task.label,
        "error": {"name": error.name, "unit": error.stored_unit, "better": error.better},
        "runs": task.records["status"].value_counts().to_dict(),
        "leaderboard": board[list(BOARD)].to_dict("records"),
        "verdicts": [verdict_answer(each, format_verdict(each, error)) for each in verdicts],
    }


def verdict_answer(verdict: Verdict, text: str) -> dict[str, Any]:
    """Return what ``--json`` prints of every verdict."""
    from adamcmp.report.verdict_text import NAMES

    numbers = {"n": verdict.n, "difference": verdict.mean, "low": verdict.low, "high": verdict.high}
    kinds = {"kind": verdict.kind, "verdict": NAMES[verdict.kind]}
    more = {
        name: getattr(verdict, name) for name in ("p_value", "margin", "seeds_needed", "detectable", "limit", "pairs")
    }
    return {"a": verdict.a, "b": verdict.b, **kinds, **numbers, **more, "text": text}


def _claimed(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """Claims as ``--json`` prints them."""
    return [
        {
            "statement": each.statement, "measured": each.measured, "on": each.on, "unit": each.unit,
            "value": each.estimate.value, "low": each.estimate.low, "high": each.estimate.high,
            "predicted": list(each.predicted), "verdict": each.verdict,
        }
        for each in claims
    ]  # fmt: skip


def _show_told(told: Told) -> None:
    """Print what a study says."""
    answer(claims=_claimed(told.claims))
    from adamcmp.report.told import claim_sentence

    for text in [*map(claim_sentence, told.claims), *(each.text for each in told.findings)]:
        tell(f"- {text}", err=False)


def show_hints(found: Reported, study: str) -> None:
    """Print the commands that resolve the leaderboard's notes on grid boundaries and missing intervals."""
    from adamcmp.report.hints import hints

    lines = hints([(task, found.cells(task)) for task in found.tasks], study)
    answer(hints=lines)
    for line in lines:
        say(line)


def write_files(found: Reported, formats: list[Format] | None, folder: Path) -> None:
    """Write the report, and say where."""
    with status("drawing"):
        from adamcmp.report.document import write_report

        files = write_report(found, folder, formats=_values(formats))
    answer(files=[str(path) for path in files])
    pages = [path for path in files if path.name == "report.html"]
    pages = pages or [path for path in files if path.name == "report.md"]
    if not pages:
        _show_files(files)
        return
    more = len(files) - 1
    others = f" and {more} file{'' if more == 1 else 's'} beside it" if more else ""
    say(f"\nwritten: {pages[-1]}{others}")


def reported(study_dir: Path, records: pd.DataFrame) -> Reported:
    """Some runs of a stored study, with their curves, as reports take them."""
    from adamcmp.records import read_all, read_outcomes
    from adamcmp.report.reported import Reported
    from adamcmp.studies import judging_of

    stored = read_all([study_dir])
    ids = set(records["run_id"])
    return Reported(
        stored.records[stored.records["run_id"].isin(ids)],
        stored.curves[stored.curves["run_id"].isin(ids)],
        read_outcomes([study_dir]),
        judging_of([study_dir]),
        name=study_dir.name,
    )


def show_statements(
    statements: Sequence[Statement], found: Mapping[str, Reported], folder: Path, formats: list[Format] | None
) -> None:
    """Test statements, print what was found, and write their page."""
    from adamcmp import console
    from adamcmp.report.article import write_article
    from adamcmp.report.tables import terminal_claims
    from adamcmp.studies.claims._page import article, tested

    every = []
    with console.counting(len(statements), "statements") as bar:
        for each in statements:
            bar(each.text)
            every.append(tested(each, found))
    present(terminal_claims([claim for each in every for claim in each.claims]))
    answer(claims=_claimed([claim for each in every for claim in each.claims]))
    with status("drawing"):
        files = write_article(article(every, found, as_typed()), folder, _values(formats))
    say(f"\nwritten: {folder} ({len(files)} files)")


def show_claims(claims: Sequence[Claim], folder: Path, formats: list[Format] | None) -> None:
    """Print what was found of each statement, and write it into a folder."""
    from adamcmp.report.document import write_claims
    from adamcmp.report.tables import terminal_claims

    present(terminal_claims(claims))
    _show_files(write_claims(claims, folder, formats=_values(formats)))


def _values(formats: list[Format] | None) -> list[str]:
    """What was asked for; all of them where nothing was."""
    return [each.value for each in formats or Format]


def _show_files(files: Sequence[Path]) -> None:
    say("\n".join(["\nwritten:", *map(str, files)]))
