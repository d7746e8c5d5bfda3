"""A study on a terminal: leaderboard, verdicts, claims and warnings as lines of styled text.

The same lines go into a pipe, without colors. Tables keep to the width by leaving out their least important columns.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from adamcmp.analysis import BASELINE, Verdict, task_metrics
from adamcmp.analysis.across_tasks import PooledVerdict
from adamcmp.analysis.claim import VERDICTS, Claim, lost_after_correction
from adamcmp.analysis.split_blocks import SplitBlocks
from adamcmp.figures.axis_labels import display_unit, format_tick
from adamcmp.metrics.spec import MetricSpec, TaskMetrics, format_significant
from adamcmp.report.answer import format_answer
from adamcmp.report.findings import FALSE_DISCOVERY_MARK, format_claim
from adamcmp.report.formatting import NO_VALUE, format_claim_value, format_mean_ci
from adamcmp.report.verdict_text import (
    better_first,
    format_difference,
    format_headline,
    format_limit,
    format_lost,
    format_pooled,
    format_sources,
    format_split_verdicts,
    format_verdict,
    rank_verdicts,
)
from adamcmp.report.warnings import ReportWarning, selection_stability
from adamcmp.text_safety import to_one_line

WIDTH = 100
"""Columns of a pipe."""
MAX_LISTED, MAX_MATRIX = 3, 8
"""Optimizers whose pairs are listed one below the other, and whose pairs have room in a matrix."""
MAX_PAIRS = 10
"""Pairs that are listed of more optimizers."""
MAX_WARNINGS = 5
MAX_LABEL = 28
"""Characters of an optimizer's label in a table."""
SYMBOLS = {"better": "▲", "worse": "▼", "same": "≈", "open": "·", "none": "–"}
STYLES = {"better": "green", "worse": "red", "same": "cyan", "open": "", "none": "dim"}
CLAIM_SYMBOLS = {"supported": "✓", "refuted": "✗", "inconclusive": "?", "none": "–"}
CLAIM_STYLES = {"supported": "green", "refuted": "red"}

Line = list[tuple[str, str]]
"""Texts with their styles."""


def line(text: str = "", style: str = "") -> Line:
    """Return a line of one style."""
    return [(text, style)]


def heading(title: str, text: str = "") -> Line:
    """Return the title of a section, and what follows it."""
    return [(title, "bold"), (f"   {text}" if text else "", "")]


def leaderboard_lines(board: pd.DataFrame, width: int = WIDTH) -> list[Line]:
    """Return the leaderboard: selected trial, errors and stability of every optimizer.

    Args:
        board: ``analysis.leaderboard``.
        width: columns.
    """
    criteria = task_metrics(board)
    rows = [_board_row(i, row, criteria) for i, row in enumerate(board.to_dict("records"), start=1)]
    if baseline_row := _baseline_row(board, criteria):
        rows.append(baseline_row)
    lines = [heading("Leaderboard", _board_caption(board)), *_table(rows, ("gap", "selection"), width, criteria)]
    if ((board["stage"] == "confirm") & (board["near_ties"] > 0)).any():
        lines.append(
            line("    errors are averages over the trials that tuning may select; lr and λ are the best one's", "dim")
        )
    return lines


def _board_caption(board: pd.DataFrame) -> str:
    trials = sorted(set(board["trials"]))
    validation = f"validation {task_metrics(board).error.label}"
    best = (
        "one trial per optimizer"
        if trials[-1] == 1
        else f"best of {trials[0]:,} trials per optimizer by {validation}"
        if len(trials) == 1
        else f"best of {trials[0]:,} to {trials[-1]:,} trials by {validation}"
    )
    counts = sorted(set(board.loc[board["n"] > 0, "n"]))
    if not counts:
        return best
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    held_out = (board["stage"] == "confirm").all() or trials[-1] == 1
    seeds = f"{number} {'held-out' if (board['stage'] == 'confirm').all() else '' if held_out else 'tuning'} seed"
    spread = "mean ± 95 % CI, " if counts[-1] > 1 else ""
    return f"{best}; {spread}{' '.join(seeds.split())}{'' if counts == [1] else 's'}"


def _board_row(place: int, row: Mapping[Any, Any], criteria: TaskMetrics) -> dict[str, str]:
    has_error = row["final_test_error"] == row["final_test_error"]
    texts = {"#": str(place) if has_error else NO_VALUE, "optimizer": _label(str(row["arm"]))}
    for name, column in (("lr", "lr"), ("λ", "weight_decay")):
        texts[name] = format_tick(row[column], 3) if row[column] == row[column] else NO_VALUE
    for name, metric in _metrics(criteria).items():
        unit = display_unit(metric, criteria)[1]
        texts[name] = format_mean_ci(row[metric], row[f"{metric}_half_width"], metric, criteria).removesuffix(
            f" {unit}"
        )
    return {**texts, "selection": selection_stability(dict(row))}


def _metrics(criteria: TaskMetrics) -> dict[str, str]:
    """Return the metric of each measured column, by the column's head."""
    error = criteria.error
    unit = f" ({error.unit})" if error.unit and error.unit != "%" else " %" if error.unit else ""
    label = "" if error.label == "error" else f" {error.label}"
    gap = f"gap ({error.gap_unit})" if error.gap_unit else "gap"
    test = f"test {error.label}"
    return {
        f"validation{label}{unit}": "final_validation_error",
        f"{test}{unit}": "final_test_error",
        gap: "final_gap",
    }


def _baseline_row(board: pd.DataFrame, criteria: TaskMetrics) -> dict[str, str]:
    """Return the errors of the best constant prediction."""
    values = board[list(BASELINE)].iloc[0] if len(board) else pd.Series(dtype=float)
    if not len(values) or values.isna().any():
        return {}
    heads = list(_metrics(criteria))
    texts = (format_significant(criteria.error.factor * value) for value in values)
    return {"optimizer": f"always {criteria.error.baseline}", **dict(zip(heads, texts, strict=False))}


def _table(rows: Sequence[Mapping[str, str]], optional: Sequence[str], width: int, criteria: TaskMetrics) -> list[Line]:
    """Return head and rows; optional columns are left out, the last one first, until the table fits."""
    heads = ["#", "optimizer", "lr", "λ", *_metrics(criteria), "selection"]
    heads = [head for head in heads if any(row.get(head, NO_VALUE) != NO_VALUE for row in rows)]
    validation, test = list(_metrics(criteria))[:2]
    if test in heads and all(row.get(validation) == row.get(test) for row in rows):  # there is one metric only
        merged = test.removeprefix("test ")
        rows = [{**row, merged: row.get(test, "")} for row in rows]
        heads = [merged if head == validation else head for head in heads if head != test]
    sizes = {head: max(len(head), *(len(row.get(head, "")) for row in rows)) for head in heads}
    dropped = [next((head for head in heads if head.startswith(name)), "") for name in optional]
    while sum(sizes[head] + 2 for head in heads) > width and (name := next((x for x in dropped if x in heads), "")):
        heads.remove(name)
    gaps = {"optimizer", "lr", "λ"}  # texts and settings from the left, measurements from the right

    def aligned(head: str, text: str) -> str:
        if head == "#" or not (head in gaps or head == "selection"):
            return f"{text:>{sizes[head]}}"
        return f"{text:<{sizes[head]}}"

    lines = [[("  ".join(aligned(head, head) for head in heads).rstrip(), "dim")]]
    for row in rows:
        text = "  ".join(aligned(head, row.get(head, "")) for head in heads).rstrip()
        lines.append([(text, "" if "#" in row else "dim")])
    return [[(f" {text}", style) for text, style in line] for line in lines]


def _label(text: str, longest: int = MAX_LABEL) -> str:
    """Return an optimizer's label, shortened in its middle: labels of variants differ at their ends."""
    safe = to_one_line(text)
    half = (longest - 1) // 2
    return safe if len(safe) <= longest else f"{safe[:half]}…{safe[-half:]}"


def verdict_lines(
    verdicts: Sequence[Verdict], error: MetricSpec, width: int = WIDTH, *, verbose: bool = False
) -> list[Line]:
    """Return the answer, and the verdicts that it follows from: a list, a matrix, or the pairs with the leader."""
    if not verdicts:
        return []
    title = "Verdict" if len(verdicts) == 1 else "Verdicts"
    lines = [*_wrapped(f"{format_answer(verdicts, error)}", width, (f"{title}   ", "bold"), "   ", "bold")]
    arms = list(dict.fromkeys(arm for verdict in verdicts for arm in (verdict.a, verdict.b)))
    if verbose:
        for verdict in rank_verdicts(verdicts):
            sources = format_sources(verdict, error)
            text = format_verdict(verdict, error) + (f" ({sources})" if sources else "")
            lines += _wrapped(text, width, _symbol(verdict), "     ")
    elif len(arms) <= MAX_LISTED:
        for verdict in rank_verdicts(verdicts):
            lines += _list_pairs(verdict, error, width, is_alone=len(verdicts) == 1)
    elif matrix := _matrix(verdicts, arms, error, width):
        lines += matrix
    else:
        for verdict in rank_verdicts(verdicts)[:MAX_PAIRS]:
            lines += _wrapped(format_headline(verdict, error), width, _symbol(verdict), "     ")
        if len(verdicts) > MAX_PAIRS:
            lines.append(line(f"     {len(verdicts) - MAX_PAIRS} more pairs: -v, and in the report", "dim"))
    return lines


def _symbol(verdict: Verdict) -> tuple[str, str]:
    kind = "better" if verdict.kind == "apart" else verdict.kind
    return f"  {SYMBOLS[kind]}  ", STYLES[kind]


def _list_pairs(verdict: Verdict, error: MetricSpec, width: int, *, is_alone: bool) -> list[Line]:
    """Return one verdict: the pair, then numbers and the limiting factor."""
    verdict = better_first(verdict, error)
    statement, _, numbers = format_headline(verdict, error).partition(": ")
    if verdict.kind == "open" and verdict.has_interval and verdict.limit != "diverged":
        statement, numbers = f"{statement}: no significant difference", numbers.partition(": ")[2]
    is_said = is_alone and verdict.kind != "none"  # by the answer
    lines = [] if is_said else _wrapped(statement, width, _symbol(verdict), "     ")
    if is_said and verdict.limit == "one tuning seed":
        numbers = f"{numbers.partition('; ')[2].capitalize()}."  # the remedy
    if verdict.kind == "none" or not verdict.has_interval:
        return [*lines, *(_wrapped(numbers, width, ("     ", ""), "     ") if numbers else [])]
    parts = [numbers, *([f"p = {verdict.p_value:.2g}{_holm(verdict)}"] if verdict.kind != "same" else [])]
    parts.append(f"{verdict.n} seeds" if verdict.paired else f"{verdict.runs_a} and {verdict.runs_b} seeds, unpaired")
    text = ", ".join(parts)
    if not math.isnan(verdict.budget):
        text += f", at equal tuning budgets ({verdict.budget:,.0f} runs)"
    if lost := format_lost(verdict):
        text += f". {lost}"
    elif verdict.kind == "open":
        text += f". {format_limit(verdict, error)}"
    first = _symbol(verdict) if is_said else ("     ", "")
    return [*lines, *_wrapped(text if ". " in text else text.rstrip("."), width, first, "     ")]


def _holm(verdict: Verdict) -> str:
    return f" (Holm, {verdict.pairs} pairs)" if verdict.pairs > 1 else ""


def _matrix(verdicts: Sequence[Verdict], arms: Sequence[str], error: MetricSpec, width: int) -> list[Line]:
    """Return the differences of all pairs, row − column, with a symbol each; nothing if it is too wide."""
    if len(arms) > MAX_MATRIX or len(verdicts) < len(arms) * (len(arms) - 1) // 2:
        return []
    entries: dict[tuple[str, str], tuple[str, str]] = {}
    for verdict in verdicts:
        for row, column, mean in ((verdict.a, verdict.b, verdict.mean), (verdict.b, verdict.a, -verdict.mean)):
            kind = verdict.kind
            symbol = ("better" if error.sign * mean < 0 else "worse") if kind == "apart" else kind
            number = format_difference(error, mean, sign=True).removesuffix(f" {error.gap_unit}")
            entries[row, column] = (f"{NO_VALUE if math.isnan(mean) else number} {SYMBOLS[symbol]}", STYLES[symbol])
    labels = [_label(arm, 20) for arm in arms]
    longest = max(map(len, labels))
    cell = max(len(text) for text, _ in entries.values())
    heads = labels if (max(cell, longest) + 2) * len(arms) + longest + 6 <= width else None
    size = max(cell, longest if heads else 3)
    heads = heads or [f"#{i}" for i in range(1, len(arms) + 1)]
    unit = f" in {error.gap_unit}" if error.gap_unit else ""
    pairs, margin = verdicts[0].pairs, format_difference(error, verdicts[0].margin)
    what = f"  Δ test {error.label}{unit}, row − column; Holm-corrected over {pairs} pairs; -v shows intervals"
    lines = [
        *_wrapped(what.strip(), width, ("  ", ""), "  ", "dim"),
        line("  " + " " * (longest + (0 if heads == labels else 3)) + "".join(f"{head:>{size + 2}}" for head in heads)),
    ]
    for i, (arm, label) in enumerate(zip(arms, labels, strict=True)):
        number = "" if heads == labels else f"#{i + 1} "
        cells: Line = [(f"  {number}{label:<{longest}}", "")]
        for column in arms:
            text, style = entries.get((arm, column), (f"{NO_VALUE}  ", "dim"))
            cells.append((f"{text:>{size + 2}}", style))
        lines.append([*cells[:-1], (cells[-1][0].rstrip(), cells[-1][1])])
    key = (
        "▲ row significantly better", "▼ row significantly worse", f"≈ equivalent within ±{margin}",
        "· no significant difference", "– not tested",
    )  # fmt: skip
    used = {text[-1] for text, _ in entries.values()}
    if max(sum(len(text) for text, _ in row) for row in lines) > width:
        return []
    legend = "   ".join(text for text in key if text[0] in used)
    lines += _wrapped(legend, width, ("  ", ""), "  ", "dim")
    widths = [verdict.high - verdict.low for verdict in verdicts if verdict.has_interval]
    if widths and not any(verdict.kind == "apart" for verdict in verdicts):
        largest = max(abs(verdict.mean) for verdict in verdicts if not math.isnan(verdict.mean))
        low, high = (format_difference(error, value) for value in (min(widths), max(widths)))
        spread = low if low == high else f"{low.removesuffix(f' {error.gap_unit}')} to {high}"
        text = f"The 95 % CIs are {spread} wide; the largest difference is {format_difference(error, largest)}."
        lines += _wrapped(text, width, ("  ", ""), "  ")
    return lines


def claim_lines(claims: Sequence[Claim], width: int = WIDTH, *, verbose: bool = False) -> list[Line]:
    """Return one line per claim: symbol, statement, estimate with interval, verdict; a whole sentence if verbose."""
    if not claims:
        return []
    if verbose:
        title = heading("Paper claims")
        firsts = [(f" {CLAIM_SYMBOLS[claim.verdict]}  ", CLAIM_STYLES.get(claim.verdict, "")) for claim in claims]
        pairs = zip(claims, firsts, strict=True)
        return [
            title,
            *(row for claim, first in pairs for row in _wrapped(format_claim(claim), width, first, "    ")),
        ]
    decided = dict(zip(map(id, claims), lost_after_correction(claims), strict=True))
    numbers = [format_claim_value(claim.estimate, claim.form, f" {claim.unit}".rstrip()) for claim in claims]
    words = [f"{VERDICTS[claim.verdict]}{'*' if decided[id(claim)] else ''}" for claim in claims]
    room = max(width - max(map(len, numbers)) - max(map(len, words)) - 9, 24)
    statements = [textwrap.shorten(to_one_line(claim.statement), room, placeholder=" …") for claim in claims]
    longest = max(map(len, statements))
    lines = [heading("Paper claims", "estimate [95 % CI]; sources and definitions are in the report")]
    for claim, statement, number, word in zip(claims, statements, numbers, words, strict=True):
        text = f" {CLAIM_SYMBOLS[claim.verdict]}  {statement:<{longest}}  {number:>{max(map(len, numbers))}}  {word}"
        lines.append(line(text, CLAIM_STYLES.get(claim.verdict, "")))
    if any(decided.values()):
        lines.append(line(f"    * {FALSE_DISCOVERY_MARK} for all claims of the page (false discovery rate 5 %)", "dim"))
    return lines


def warning_lines(warnings: Sequence[ReportWarning], width: int = WIDTH, *, verbose: bool = False) -> list[Line]:
    """Return the warnings, at most five; all if verbose."""
    if not warnings:
        return []
    listed = warnings if verbose else warnings[:MAX_WARNINGS]
    lines = [heading(f"Warnings ({len(warnings)})")]
    for warned in listed:
        lines += _wrapped(warned.text, width, (" !  ", "yellow"), "    ")
    if len(listed) < len(warnings):
        lines.append(line(f"    {len(warnings) - len(listed)} more: -v, and in the report", "dim"))
    return lines


def finding_lines(texts: Sequence[str], width: int = WIDTH) -> list[Line]:
    """Return sentences of a study on its own measurements."""
    lines = [row for text in texts for row in _wrapped(text, width, (" ·  ", ""), "    ")]
    return [heading("Findings"), *lines] if lines else []


def splits_lines(blocks: Sequence[SplitBlocks], width: int = WIDTH) -> list[Line]:
    """Return the verdicts over several data splits."""
    texts = [text for block in blocks for text in format_split_verdicts(block)]
    lines = [row for text in texts for row in _wrapped(text, width, (" ·  ", ""), "    ")]
    return [heading("Across data splits"), *lines] if lines else []


def pooled_lines(pooled: Sequence[PooledVerdict], width: int = WIDTH) -> list[Line]:
    """Return the statements over several tasks."""
    lines = [row for entry in pooled[:MAX_PAIRS]
             for row in _wrapped(format_pooled(entry), width, _symbol(entry.verdict), "     ")]  # fmt: skip
    return [heading("Across tasks"), *lines] if lines else []


def _wrapped(text: str, width: int, first: tuple[str, str], rest: str, style: str = "") -> list[Line]:
    """Return a paragraph that starts with a styled text and continues indented."""
    start, start_style = first
    rows = textwrap.wrap(
        to_one_line(text), width, initial_indent=" " * len(start), subsequent_indent=rest, break_long_words=False,
        break_on_hyphens=False,
    ) or [""]  # fmt: skip
    return [[(start, start_style), (rows[0][len(start) :], style)], *([(row, style)] for row in rows[1:])]
