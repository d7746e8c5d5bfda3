"""Sections of a task's page as data: results, warnings, selection, protocol, provenance.

``report_sections`` says what stands on it, block by block; ``to_markdown`` renders that as ``report.md``. Strings are
text: what looks like Markdown in them is escaped, since they hold names that users gave; ``Bold``, ``Code``, ``Link``
make it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from adamcmp.analysis import TaskRecords
from adamcmp.analysis.selection import is_foreign
from adamcmp.figures.axis_labels import decay_name, metric_name
from adamcmp.metrics.spec import TaskMetrics
from adamcmp.report.answer import format_answer
from adamcmp.report.formatting import describe_mixed_origins, format_seeds, join_unique, runs_hash, wall_seconds
from adamcmp.report.report_input import TaskReport
from adamcmp.report.tables import baseline, leaderboard_display
from adamcmp.report.warnings import collect_warnings


class Bold(NamedTuple):
    """Emphasised."""

    text: str


class Code(NamedTuple):
    """A name or a command."""

    text: str


class Link(NamedTuple):
    """Link to a file next to the page."""

    text: str
    to: str


Inline = str | Bold | Code | Link
Line = str | tuple[Inline, ...]
"""Text, or parts of it."""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: Line


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: Sequence[Line]


@dataclass(frozen=True)
class Table:
    """A table for readers."""

    shown: pd.DataFrame


@dataclass(frozen=True)
class FigureBlock:
    """A figure, and its files next to the page."""

    name: str
    files: Sequence[str]
    caption: str


@dataclass(frozen=True)
class CodeBlock:
    """Commands."""

    lines: Sequence[str]


Block = Text | Bullets | Table | FigureBlock | CodeBlock


@dataclass(frozen=True)
class Section:
    """A title and its blocks."""

    title: str
    blocks: Sequence[Block]


SELECTION = "final_validation_error"
"""The metric that selects trials."""
CAPTIONS = {
    "verdicts": "Difference of the final test {error} of each pair, a − b, with simultaneous 95 % confidence "
    "intervals; thick: ±1.96 standard errors over seeds alone; shaded: the equivalence margin.",
    "heatmap": "Mean final test {error} over learning rate × weight decay. Color is test {error}; star and circles "
    "mark the best trials by mean validation {error}. Values beyond the end of the color scale have its last color.",
    "learning_curves": "Learning curves of each optimizer's best trial: mean over seeds and 95 % confidence band. The "
    "last evaluation uses all examples; earlier ones may use fewer.",
    "error_vs_decay": "Test {error} against λ, at the best learning rate by validation; bars: 95 % CI.",
    "error_vs_lr": "Test {error} against the learning rate, at the best λ by validation; bars: 95 % CI.",
    "error_vs_train_loss": "Test {error} against training loss, one point per trial; selected trials are outlined.",
    "basin": "The basin of each optimizer, with 95 % confidence intervals over tuning seeds: slope of the best λ over "
    "lr (−1: only their product matters; 0: each can be tuned alone), coupling of lr and λ, share "
    "of trials near the best, and average loss by an untuned learning rate.",
    "budget": "Expected {error} of the best of k trials by validation, drawn without replacement; band: the middle "
    "80 % of such searches. From the tuning runs.",
    "ranks": "Mean rank by test {error} at every evaluation, over seeds, and the share of pairs in final order.",
    "profiles": "Performance profiles: share of tasks on which an optimizer reaches the target within a multiple of "
    "the fastest optimizer's steps or seconds.",
    "metrics": "Extra metrics during the training of each optimizer's best trial: mean over seeds and 95 % band.",
    "layers": "Per layer, during the training of each optimizer's best trial: mean over seeds and 95 % band.",
}
"""Caption by figure; ``{error}`` is the name of the task's metric."""
CLAIM_LEGEND = Text(
    "A claim predicts a range of values. It is supported if the 95 % confidence interval is inside the range, refuted "
    "if it is outside, and inconclusive otherwise. Claims on two optimizers use the interval of their verdict. "
    "A false discovery rate of 5 % is controlled over all claims of the page (Benjamini–Hochberg). A claim is marked "
    '"not after correction" if its own interval decides it, but the corrected p-value does not.'
)


def report_sections(
    report: TaskReport,
    figures: Mapping[str, Sequence[str]],
    skipped: Mapping[str, str],
    target_error: float | None = None,
) -> list[Section]:
    """Return the sections of the page; the first section's title is the page's.

    Args:
        report: Report of the task.
        figures: Figure name → its files, next to the page.
        skipped: Figure name → reason for skipping it.
        target_error: Target of the table ``time_to_error``.
    """
    records, board, tables, criteria = report.task.records, report.board, report.shown, report.criteria
    error = criteria.error
    sections = [Section(f"{report.study}: {report.task.label}", ())]
    if report.findings:
        names = [name for name in ("claims", "verdicts", "effects") if name in tables]
        of_pairs: list[Block] = [Table(tables[name]) for name in names]
        if "claims" in names:
            of_pairs.insert(1, CLAIM_LEGEND)
        answer = [Text(format_answer(report.verdicts, error))] if report.verdicts else []
        sections.append(Section("Verdict", [*answer, Bullets(report.findings), *of_pairs]))
    sections.append(Section("Leaderboard", [Table(leaderboard_display(board)), leaderboard_legend(report)]))
    if report.check is not None:
        noise: list[Block] = [Table(tables["noise_floor"])] if "noise_floor" in tables else []
        notes = [Bullets(report.check.notes)] if report.check.notes else []
        sections.append(Section("Noise floor", [Text(report.check.text), *noise, *notes]))
    if "time_to_error" in tables:
        reached = f"to the first evaluation with that {error.label} or a better one"
        medians = Text(f"Medians over the runs of each optimizer's best trial, {reached}.")
        title = f"Steps and time to a validation {error.label} of {target_error:.3g}"
        sections.append(Section(title, [Table(tables["time_to_error"]), medians]))
    if "metrics" in tables:
        sections.append(Section("Extra metrics", _shorten_table(tables["metrics"])))
    sections += _search_section(tables)
    warnings = format_warnings(report)
    if warnings:
        sections.append(Section("Warnings", [Bullets(warnings)]))
    if figures or skipped:
        captions = figure_captions(report)
        pictures = [FigureBlock(name, files, captions[name]) for name, files in figures.items()]
        lacking = [(Code(name), f" was not drawn: {why}.") for name, why in skipped.items()]
        sections.append(Section("Figures", [*pictures, *([Bullets(lacking)] if lacking else [])]))
    sections.append(Section("Runs", _runs_section(records)))
    sections.append(Section("Protocol", [Bullets(protocol_text(report))]))
    sections.append(Section("Provenance", provenance_section(report.task)))
    return sections


def figure_captions(report: TaskReport) -> dict[str, str]:
    """Return the captions of all figures of a report."""
    exhibit_captions = {exhibit.name: exhibit.caption for exhibit in report.study_findings.exhibits}
    return {
        name: text.format(error=report.criteria.error.label) for name, text in (CAPTIONS | exhibit_captions).items()
    }


def leaderboard_legend(report: TaskReport) -> Text:
    """Return how the leaderboard is read."""
    has_gap = bool(report.board["final_gap"].notna().any())
    return Text(_baseline(report.board) + _legend(SELECTION, report.criteria, has_gap=has_gap))


def _search_section(tables: Mapping[str, pd.DataFrame]) -> list[Section]:
    """Return basin, sensitivity and best of k, as far as they can be estimated."""
    blocks: list[Block] = []
    if "basin" in tables:
        what = Text(
            "Slope of the best λ over lr, from the optimum of each row and from a quadratic surface: −1 if "
            "only their product matters, 0 if each can be tuned alone. Separability is the correlation of the "
            "level ellipse of the surface. In brackets: 95 % confidence intervals over tuning seeds; –: no valley."
        )
        blocks += [Table(tables["basin"]), what]
    if "sensitivity" in tables:
        what = Text(
            "Average loss by an untuned learning rate of the grid, at its best λ; and the share of the variance of "
            "validation errors that each hyperparameter explains alone, that all explain together, and that seeds make."
        )
        blocks += [Table(tables["sensitivity"]), what]
    return [Section("Search", blocks)] if blocks else []


def _shorten_table(table: pd.DataFrame, most: int = 30) -> list[Block]:
    """Return the table's first rows, and where all of them are; what ± means."""
    text = (
        "After the last step of each optimizer's best trial; a ± b is the mean over seeds and the half "
        "width of its 95 % confidence interval."
    )
    more = (f"{text} {len(table) - most} more are in ", Link("metrics.md", "metrics.md"), ".")
    return [Table(table.head(most)), Text(more if len(table) > most else text)]


def _baseline(board: pd.DataFrame) -> str:
    text = baseline(board)
    return f"{text[0].upper()}{text[1:]}. " if text else ""


def _legend(selection: str, criteria: TaskMetrics, *, has_gap: bool) -> str:
    error = criteria.error
    unit = {"%": " in percentage points (pp)", "": ""}.get(error.unit, f" in {error.unit}")
    which = "train {0} − test {0}" if error.higher_is_better else "test {0} − train {0}"
    gap = f"gap is {which.format(error.label)}{unit}. " if has_gap else ""
    return (
        "Each row is the optimizer's best trial (lr, λ) by mean "
        f"{metric_name(selection, criteria)}{' (higher is better)' if error.higher_is_better else ''}; a ± b is "
        "the mean over n seeds and the half width of its two-sided 95 % Student t interval. "
        f"{gap}trials is the number of trials; diverged "
        "and failed count runs over all of them. Numbers of held-out seeds are averages over the trials that win in "
        "5 % of the bootstrap resamples of the tuning seeds or more, weighted by their win shares. A held-out run that "
        "diverged or failed counts with the error of the best constant prediction. The interval covers seeds only. "
        "Without held-out runs the numbers come from the tuning runs, which are "
        f"{'too high' if error.higher_is_better else 'too low'} for a selected trial. Optimism "
        "is the validation {0} in tuning minus that on held-out seeds."
    ).replace("{0}", error.label)


def format_warnings(report: TaskReport) -> list[Line]:
    """Return the warnings of a task, the optimizers that they are about emphasized."""
    warned = collect_warnings(report.board, report.table, report.task.records, report.verdicts)
    return [
        (Bold(warning.about), warning.text.removeprefix(warning.about)) if warning.about else warning.text
        for warning in warned
    ]


def _runs_section(records: pd.DataFrame) -> list[Block]:
    counts = records.groupby(["arm", "status"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=["completed", "diverged", "failed"], fill_value=0)
    table = counts.reset_index().rename(columns={"arm": "optimizer"}).astype(str)
    blocks: list[Block] = [Table(table)]
    failed = records[records["status"] == "failed"]
    if len(failed):
        errors = (
            failed["error"].fillna("no error text").astype(str).str.strip().str.replace(r"(?s).*\n", "", regex=True)
        )
        groups = failed.assign(error=errors.str.slice(0, 300)).groupby("error", sort=True)
        several = groups.agg(runs=("run_id", "size"), first=("run_id", "min"), optimizers=("arm", join_unique))
        several = several.sort_values("runs", ascending=False, kind="stable").reset_index()
        listed = ", the ten most common:" if len(several) > 10 else ":"
        blocks.append(Text(f"Errors of the {len(failed)} failed run{'s' if len(failed) > 1 else ''}{listed}"))
        blocks.append(Table(several.head(10).rename(columns={"first": "such as run"}).astype(str)))
    return blocks


def selection_data(records: pd.DataFrame) -> str:
    """Return whether test data select trials."""
    shared = set(records["compared_on"]) - {""} if "compared_on" in records else set()
    if not shared:
        return "Test data are never used for selection."
    return f"There is no other metric than on {shared.pop()} data, which select trials and compare them."


def protocol_text(report: TaskReport) -> list[str]:
    """Return how trials were selected and compared."""
    records, board, criteria = report.task.records, report.board, report.criteria
    conventions = ", ".join(
        f"{arm} ({decay_name(decay)})" for arm, decay in sorted(zip(board["arm"], board["decay"], strict=True))
    )
    return [
        (
            f"Selection: {'highest' if criteria.error.higher_is_better else 'lowest'} mean "
            f"{metric_name(SELECTION, criteria)}, then mean validation loss, then the smaller lr, then "
            f"the smaller λ. {selection_data(records)}"
        ),
        (
            "A trial is eligible if none of its runs diverged or failed and it has as many seeds as most trials of its "
            "optimizer."
        ),
        (
            f"Seeds: {format_seeds(records['seed'].dropna().astype(int))}; "
            + (
                "the program decides what depends on them."
                if is_foreign(records)
                else "the same seed gives every optimizer the same initial weights and batch order."
            )
        ),
        "Intervals of errors: two-sided 95 % Student t over seeds; none for a single seed.",
        (
            "Verdicts: t-test at 0.05 with the variance over held-out seeds, test examples and selection by tuning "
            "seeds. Holm's correction covers the pairs of this task, but not other tasks, metrics or repeated looks. "
            "Intervals are simultaneous over these pairs. A difference is significant exactly when its interval "
            "excludes 0, and equivalent when its interval is within the margin."
        ),
        (
            f'Decay conventions: {conventions}. η is the schedule\'s factor, α the learning rate. After "decoupled": '
            "the share of each weight that one step removes. λ values of different conventions are not comparable."
        ),
        f"Data: {join_unique(records['data'])} (fingerprint {join_unique(records['data_fingerprint'])}).",
        (
            "Loss, model and precision: those of the program."
            if is_foreign(records)
            else f"Loss: {criteria.loss_text}. Model: {join_unique(records['model'])}; "
            f"schedule: {join_unique(records['schedule'], 6)}; precision: {join_unique(records['precision'])}."
        ),
    ]


def provenance_section(task: TaskRecords) -> tuple[CodeBlock, Bullets]:
    """Return the commands that made its runs, and the hardware."""
    records = task.records
    commands = (
        records["command"]
        .fillna("unknown")
        .value_counts()
        .reset_index()
        .sort_values(["count", "command"], ascending=[False, True])
    )
    lines = [
        f"{command}  # {count:,} runs" for command, count in zip(commands["command"], commands["count"], strict=True)
    ]
    more = [f"# and {len(lines) - 5} other commands"] if len(lines) > 5 else []
    hardware = records["hardware"] if "hardware" in records else pd.Series(dtype=str)
    facts: list[Line] = [
        (
            "Task ",
            Code(task.task),
            f"; {len(records):,} runs, hash of their ids ",
            Code(runs_hash(records)),
            f"; {records['seconds'].sum():,.0f} s of training, {wall_seconds(records):,.0f} s of wall time.",
        ),
        (
            f"adamcmp {join_unique(records['adamcmp_version'])}, torch {join_unique(records['torch_version'])}, "
            f"Python {join_unique(records['python_version'])}; engine {join_unique(records['engine'])}; "
            f"device {join_unique(records['device'])} ({join_unique(hardware)}); "
            f"git commit {join_unique(records['git_commit'])}."
        ),
    ]
    if "data_summary" in records and len(summaries := records["data_summary"].dropna().unique()):
        lines_ = dict.fromkeys(line for text in summaries for line in str(text).splitlines())
        facts += [f"Data and model as they were read. {line}" if i == 0 else line for i, line in enumerate(lines_)]
    if mixed := describe_mixed_origins(records):
        facts.append(
            f"The runs were trained in several ways ({mixed}). A run ID fixes settings and random streams, not the "
            "order of sums: the same run differs between these by rounding, which training can amplify."
        )
    return CodeBlock([*lines[:5], *more]), Bullets(facts)
