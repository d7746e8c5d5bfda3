"""The answer of a study in one sentence: from verdicts alone, so that no tie has a winner."""

from __future__ import annotations

from collections.abc import Sequence

from adamcmp.analysis import Verdict
from adamcmp.metrics.spec import MetricSpec
from adamcmp.report.verdict_text import better_first, format_difference, format_lost

MAX_NAMES = 4
"""Optimizers that are listed by name."""


def format_answer(verdicts: Sequence[Verdict], error: MetricSpec) -> str:
    """Return the answer: the optimizers that differ significantly, or that none do.

    Args:
        verdicts: on all pairs of a task, or on all pairs with a reference.
        error: the error that is compared.
    """
    tested = [better_first(verdict, error) for verdict in verdicts if verdict.kind != "none"]
    if not tested:
        return "No pair could be tested." if verdicts else "No pair of optimizers has held-out runs."
    if len(tested) == 1:
        return _of_pair(tested[0], error)
    arms = list(dict.fromkeys(arm for verdict in tested for arm in (verdict.a, verdict.b)))
    wins = [(verdict.a, verdict.b) for verdict in tested if verdict.kind == "apart"]
    if not wins:
        equivalent = sum(verdict.kind == "same" for verdict in tested)
        margin = format_difference(error, max(verdict.margin for verdict in tested))
        if equivalent == len(tested):
            return f"All {len(arms)} optimizers are equivalent within ±{margin}."
        also = f"; {equivalent} of {len(tested)} pairs are equivalent within ±{margin}" if equivalent else ""
        return f"No pair of the {len(arms)} optimizers differs significantly{also}."
    return _of_several(arms, wins, len(tested))


def _of_pair(verdict: Verdict, error: MetricSpec) -> str:
    a, b = verdict.a, verdict.b
    if verdict.kind == "apart":
        return f"{a} is significantly better than {b}, by {format_difference(error, abs(verdict.mean))}."
    if verdict.kind == "same":
        return f"{a} and {b} are equivalent within ±{format_difference(error, verdict.margin)}."
    if verdict.limit == "diverged":
        return f"Not decidable: {format_lost(verdict)}."
    if verdict.limit == "one tuning seed":
        return f"{a} vs. {b}: not decidable with fewer than 2 shared tuning seeds."
    return f"No significant difference between {a} and {b}."


def _of_several(arms: Sequence[str], wins: Sequence[tuple[str, str]], pairs: int) -> str:
    beaten = {arm: {loser for winner, loser in wins if winner == arm} for arm in arms}
    lost = {arm: {winner for winner, loser in wins if loser == arm} for arm in arms}
    best = next((arm for arm in arms if len(beaten[arm]) == len(arms) - 1), None)
    if best is not None:
        return f"{best} is significantly better than {'both' if len(arms) == 3 else f'all {len(arms) - 1}'} others."
    if pairs == len(arms) - 1 and (reference := _shared(arms, wins)):
        groups = ((lost[reference], "better"), (beaten[reference], "worse"))
        parts = [
            f"{_listed(group, arms)} {'is' if len(group) == 1 else 'are'} significantly {word} than {reference}"
            for group, word in groups
            if group
        ]
        return f"{'; '.join(parts)}."
    unbeaten = [arm for arm in arms if not lost[arm]]
    count = f"{len(wins)} of {pairs} pairs {'differs' if len(wins) == 1 else 'differ'} significantly"
    if len(unbeaten) == 1:
        return f"{count}; {unbeaten[0]} is significantly better than {_listed(beaten[unbeaten[0]], arms)}."
    if len(unbeaten) > MAX_NAMES:
        worse = [arm for arm in arms if lost[arm]]
        return f"{count}; {_listed(worse, arms)} {'is' if len(worse) == 1 else 'are'} significantly worse than another."
    return f"{count}; no optimizer is significantly better than {_listed(unbeaten, arms, 'or')}."


def _shared(arms: Sequence[str], wins: Sequence[tuple[str, str]]) -> str:
    """Return the optimizer that takes part in all significant pairs; empty if there is none."""
    return next((arm for arm in arms if all(arm in pair for pair in wins)), "")


def _listed(names: Sequence[str] | set[str], arms: Sequence[str], last: str = "and") -> str:
    ordered = [arm for arm in arms if arm in names]
    if len(ordered) > MAX_NAMES:
        return f"{len(ordered)} optimizers"
    return ordered[0] if len(ordered) == 1 else f"{', '.join(ordered[:-1])} {last} {ordered[-1]}"
