"""Pooling over tasks against statsmodels' meta-analysis, and against made-up effects."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from adamcmp.analysis.across_tasks import TaskResult, pool_tasks, random_effects, to_frame
from adamcmp.analysis.difference import Difference
from adamcmp.analysis.selection_uncertainty import VarianceComponent
from adamcmp.analysis.verdicts import decide
from adamcmp.report.verdict_text import format_pooled


def test_the_mean_over_tasks_is_that_of_statsmodels():
    draw = np.random.default_rng(0)
    for spread in (0.0, 0.05, 0.3):
        effect, se = draw.normal(0.1, 0.02 + spread, 9), draw.uniform(0.01, 0.05, 9)
        mean, variance, tau = random_effects(effect, se)
        known = combine_effects(effect, se**2, method_re="iterated", use_t=True)
        assert mean == pytest.approx(known.mean_effect_re, rel=1e-4)
        assert tau**2 == pytest.approx(max(known.tau2, 0), abs=1e-6)
        plain = 1 / (1 / (se**2 + tau**2)).sum()
        assert variance == pytest.approx(plain * max(1.0, known.scale_hksj_re), rel=1e-3)


def task(label, errors, se, sign=1.0, seeds=8):
    """Results of a task with the given errors, in any unit, and standard errors of the differences."""
    names = sorted(errors)
    compared = [
        Difference(
            a, b, seeds, sign * (errors[a] - errors[b]), VarianceComponent(se**2, 50), VarianceComponent(0.0, 9), []
        )
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]
    return TaskResult(label, errors, decide(compared, has_power=False), sign)


def test_errors_of_different_units_are_comparable():
    small = [task(f"t{i}", {"A": 0.10, "B": 0.11}, 0.001) for i in range(3)]
    large = [task(f"t{i}", {"A": 100.0, "B": 110.0}, 1.0) for i in range(3)]
    ((one,), (other,)) = pool_tasks(small), pool_tasks([small[0], large[1], small[2]])
    assert one.verdict.mean == pytest.approx(-0.01 / 0.105)
    assert other.verdict[4:8] == pytest.approx(one.verdict[4:8])
    assert (one.verdict.kind, one.wins, one.ties, one.losses) == ("apart", 3, 0, 0)
    assert one.spread == 0
    assert one.verdict.high - one.verdict.mean == pytest.approx(
        stats.t.ppf(0.975, 2) * 0.001 / 0.105 / math.sqrt(3), rel=1e-3
    )


def test_where_higher_is_better_the_rest_counts():
    tasks = [task(f"t{i}", {"A": 0.10, "B": 0.11}, 0.001, sign=-1.0) for i in range(3)]
    assert pool_tasks(tasks)[0].verdict.mean == pytest.approx(-0.01 / 0.105)
    assert pool_tasks(tasks)[0].wins == 3


def test_tasks_that_disagree_give_no_statement():
    tasks = [task(f"t{i}", {"A": 0.1, "B": 0.1 + 0.05 * (-1) ** i}, 0.001) for i in range(4)]
    (found,) = pool_tasks(tasks)
    assert (found.verdict.kind, found.wins, found.losses) == ("open", 2, 2)
    assert found.spread > 0.3
    assert "SD between tasks" in format_pooled(found)


def test_false_statements_over_tasks_are_rare():
    draw, wrong, trials = np.random.default_rng(1), 0, 400
    for _ in range(trials):
        tasks = []
        for i in range(5):
            base = draw.uniform(0.05, 50)
            errors = {arm: base * (1 + draw.normal(0, 0.05) / math.sqrt(2)) for arm in "ABC"}
            tasks.append(task(f"t{i}", errors, base * 0.01))
        wrong += any(each.verdict.kind == "apart" for each in pool_tasks(tasks))
    assert wrong / trials <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / trials)


def test_two_tasks_have_no_interval_and_one_has_no_statement():
    tasks = [task(f"t{i}", {"A": 0.1, "B": 0.2}, 0.001) for i in range(2)]
    assert pool_tasks(tasks[:1]) == []
    (found,) = pool_tasks(tasks)
    assert found.verdict.kind == "none"
    assert "3 tasks or more are needed for an interval; A wins 2, ties 0, loses 0" in format_pooled(found)
    assert to_frame([found])["wins"].tolist() == [2]
    assert to_frame([]).empty


def test_an_optimizer_that_a_task_lacks_is_left_out_there():
    tasks = [task(f"t{i}", {"A": 0.1, "B": 0.2, **({"C": 0.3} if i < 3 else {})}, 0.001) for i in range(4)]
    counts = {(each.verdict.a, each.verdict.b): each.verdict.n for each in pool_tasks(tasks)}
    assert counts == {("A", "B"): 4, ("A", "C"): 3, ("B", "C"): 3}
