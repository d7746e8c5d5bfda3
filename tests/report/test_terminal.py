"""A study on a terminal: one answer, aligned tables that keep to the width, and warnings with what helps."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from adamcmp.analysis import Verdict, leaderboard, trials_table
from adamcmp.analysis.claim import ABOVE_RANGE, BELOW_RANGE, Claim
from adamcmp.analysis.intervals import Estimate
from adamcmp.metrics.spec import CLASSIFICATION, metric_spec
from adamcmp.report.answer import format_answer
from adamcmp.report.terminal import claim_lines, leaderboard_lines, verdict_lines, warning_lines
from adamcmp.report.warnings import ReportWarning, collect_warnings

ERROR = CLASSIFICATION.error


def verdict(a, b, mean, kind="apart", pairs=1, **fields):
    nan = math.nan
    found = Verdict(a, b, kind, 8, mean, mean - 0.005, mean + 0.005, 0.01, 0.005, 1.0, 0.01, 20.0)
    if kind == "none":
        found = found._replace(n=1, mean=nan, low=nan, high=nan)
    limit = "seeds" if kind == "open" else ""
    return found._replace(pairs=pairs, limit=limit, se_seeds=0.002, se_examples=0.0, se_selection=0.0)._replace(
        **fields
    )


def plain(lines) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


ANSWERS = [
    ([("A", "B", -0.01, "apart")], "A is significantly better than B, by 1.00 pp."),
    ([("A", "B", 0.01, "apart")], "B is significantly better than A, by 1.00 pp."),
    ([("A", "B", -0.001, "open")], "No significant difference between A and B."),
    ([("A", "B", -0.001, "same")], "A and B are equivalent within ±0.50 pp."),
    ([("A", "B", math.nan, "none")], "No pair could be tested."),
    ([("A", "B", -0.01, "apart"), ("A", "C", -0.01, "apart"), ("B", "C", 0.001, "open")],
     "A is significantly better than both others."),
    ([("A", "B", -0.001, "open"), ("A", "C", -0.01, "open"), ("B", "C", 0.001, "open")],
     "No pair of the 3 optimizers differs significantly."),
    ([("A", "B", -0.001, "same"), ("A", "C", -0.01, "open"), ("B", "C", 0.001, "open")],
     "No pair of the 3 optimizers differs significantly; 1 of 3 pairs are equivalent within ±0.50 pp."),
    ([("A", "B", -0.001, "same"), ("A", "C", -0.001, "same"), ("B", "C", 0.001, "same")],
     "All 3 optimizers are equivalent within ±0.50 pp."),
    ([("A", "B", -0.001, "open"), ("A", "C", -0.01, "apart"), ("B", "C", -0.01, "open")],
     "1 of 3 pairs differs significantly; no optimizer is significantly better than A or B."),
    ([("A", "B", -0.001, "open"), ("A", "C", -0.01, "apart"), ("B", "C", -0.01, "apart")],
     "2 of 3 pairs differ significantly; no optimizer is significantly better than A or B."),
    # each against the reference R alone
    ([("A", "R", -0.01, "apart"), ("R", "B", -0.01, "apart"), ("C", "R", -0.001, "open")],
     "A is significantly better than R; B is significantly worse than R."),
]  # fmt: skip


@pytest.mark.parametrize(("pairs", "says"), ANSWERS)
def test_the_answer_follows_from_the_verdicts_and_never_names_the_winner_of_a_tie(pairs, says):
    verdicts = [verdict(*pair, pairs=len(pairs)) for pair in pairs]
    assert format_answer(verdicts, ERROR) == says
    shown = plain(verdict_lines(verdicts, ERROR))
    assert " ".join(" ".join(shown).split()).startswith(f"Verdict{'s' if len(pairs) > 1 else ''} {says}")


def test_an_answer_on_any_verdicts_agrees_with_them():
    draw, arms = np.random.default_rng(0), ["A", "B", "C", "D", "E", "F"]
    for _ in range(300):
        count = int(draw.integers(2, 7))
        pairs = [(a, b) for i, a in enumerate(arms[:count]) for b in arms[i + 1 : count]]
        verdicts = [verdict(a, b, -0.01, str(draw.choice(["apart", "open", "same"])), len(pairs)) for a, b in pairs]
        text = format_answer(verdicts, ERROR)
        apart = [each for each in verdicts if each.kind == "apart"]
        assert text.endswith(".")
        assert ("significantly better" in text or "significantly worse" in text) == bool(apart)
        if match := re.match(r"(\w) is significantly better than (?:both|all \d) others\.", text):
            assert sum(match[1] == each.a for each in apart) == count - 1


def test_higher_is_better_turns_the_symbols():
    f1 = metric_spec("f1")
    verdicts = [verdict(a, b, 0.02, pairs=6) for a, b in ("AB", "AC", "AD", "BC", "BD", "CD")]
    assert format_answer(verdicts, f1) == "A is significantly better than all 3 others."
    rows = [row for row in plain(verdict_lines(verdicts, f1)) if row.startswith("  A ")]
    assert rows[0].count("▲") == 3
    rows = [row for row in plain(verdict_lines(verdicts, ERROR)) if row.startswith("  A ")]
    assert rows[0].count("▼") == 3


@pytest.mark.parametrize("width", [60, 80, 100, 120])
@pytest.mark.parametrize("count", [2, 3, 4, 8, 12])
def test_lines_keep_to_the_width(width, count):
    arms = [f"AdamW with a label of some length, variant {i}" if i % 2 else f"Adam {i}" for i in range(count)]
    pairs = [(a, b) for i, a in enumerate(arms) for b in arms[i + 1 :]]
    for kind in ("apart", "open", "same", "none"):
        lines = plain(verdict_lines([verdict(a, b, -0.01, kind, len(pairs)) for a, b in pairs], ERROR, width))
        assert max(map(len, lines)) <= width, lines
        assert len(lines) <= 4 + 3 * max(count, 4) + 10
    verbose = plain(
        verdict_lines([verdict(a, b, -0.01, "apart", len(pairs)) for a, b in pairs], ERROR, width, verbose=True)
    )
    assert sum("▲" in row for row in verbose) == len(pairs)


def test_a_leaderboard_is_aligned_and_reads_no_markup(synthetic):
    records = synthetic.make_records({"[bold]Adam": "l2", "AdamW": "lr_scaled"}, best_lr=10.0)
    board = leaderboard(records)
    lines = plain(leaderboard_lines(board))
    assert "best of 42 trials per optimizer by validation error; mean ± 95 % CI, 3 tuning seeds" in lines[0]
    assert {"[bold]Adam", "AdamW"} <= {line.split()[1] for line in lines[2:4]}
    column = lines[1].index("test error %") + len("test error %")
    assert all(line[column - 1].isdigit() and line[column] == " " for line in lines[2:4])
    narrow = plain(leaderboard_lines(board, 70))
    assert "gap" not in narrow[1]
    assert "test error" in narrow[1]


def test_a_leaderboard_of_nothing_completed(synthetic):
    records = synthetic.make_records()
    records = synthetic.end(records, records["lr"] > 0, "diverged")
    lines = plain(leaderboard_lines(leaderboard(records)))
    assert len(lines) >= 6


def test_claims_have_one_line_each():
    claims = [
        Claim("AdamW is better than Adam", "x", "y", Estimate(-2.0, -3.0, -1.0), BELOW_RANGE, unit="%"),
        Claim("A sentence that goes on " * 9, "x", "y", Estimate(-2.0, -3.0, 1.0), ABOVE_RANGE, unit="pp"),
        Claim("Nothing is known", "x", "y", Estimate(math.nan), ABOVE_RANGE),
    ]
    lines = plain(claim_lines(claims))
    assert len(lines) == 4
    assert lines[1].split()[0] == "✓"
    assert "−2.00 [−3.00, −1.00] %  supported" in lines[1]
    assert lines[2].split()[0] == "?"
    assert max(map(len, lines)) <= 100


def test_every_warning_names_what_helps_and_at_most_five_are_shown(synthetic):
    records = synthetic.make_records(best_lr=10.0)
    records = synthetic.end(records, (records["lr"] > 0.05) & (records["seed"] == 0), "failed")
    warned = collect_warnings(leaderboard(records), trials_table(records), records, [])
    texts = " ".join(each.text for each in warned)
    assert "tuning runs failed. Run the same sweep again" in texts
    assert "at the boundary of the grid (" in texts
    assert "study.extend=5" in texts
    assert "study.confirm.seeds=8" in texts
    assert all(each.fix for each in warned)
    many = [ReportWarning("", f"problem {i}", "Fix it") for i in range(9)]
    lines = plain(warning_lines(many))
    assert lines[0] == "Warnings (9)"
    assert len(lines) == 1 + 5 + 1
    assert lines[-1].strip() == "4 more: -v, and in the report"
    assert len(plain(warning_lines(many, verbose=True))) == 1 + 9
