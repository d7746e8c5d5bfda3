"""When and on how much a training is evaluated: within its share, and never less than the last evaluation."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adamcmp.config.schema import Train
from adamcmp.plan.evaluation_schedule import (
    MAX_EARLIER_EVALUATIONS,
    MIN_EARLIER_EVALUATIONS,
    MIN_EXAMPLES,
    schedule_evaluations,
)


def train(**given_):
    return Train(batch_size=100, steps=500, precision="fp32", **given_)


def test_small_data_are_shown_whole_ten_times():
    found = schedule_evaluations(train(), (1079, 359, 359), 100, 500)
    assert len(found.steps) == MAX_EARLIER_EVALUATIONS + 1
    assert found.before == (359, 359, 359)
    assert found.last == (1079, 359, 359)
    assert found.share < 0.08


def test_large_data_are_shown_in_part_before_the_last_evaluation():
    found = schedule_evaluations(train(), (54_000, 6_000, 10_000), 128, 2105)
    assert len(found.steps) == MIN_EARLIER_EVALUATIONS + 1
    assert found.last == (10_000, 6_000, 10_000)
    assert all(few < all_of for few, all_of in zip(found.before, (6_000, 6_000, 10_000), strict=True))
    assert found.share <= 0.08


@pytest.mark.parametrize(("parts", "batch", "steps"), [((54_000, 6_000, 10_000), 10, 20), ((1079, 359, 359), 100, 60)])
def test_a_short_training_is_evaluated_four_times_on_a_few_examples_before_its_end(parts, batch, steps):
    found = schedule_evaluations(train(), parts, batch, steps)
    assert len(found.steps) == MIN_EARLIER_EVALUATIONS + 1
    assert found.before == (MIN_EXAMPLES, MIN_EXAMPLES, MIN_EXAMPLES)
    assert found.last[1:] == parts[1:]
    assert len(schedule_evaluations(train(), parts, batch, 3).steps) == 3


def test_what_is_set_is_kept():
    found = schedule_evaluations(train(evaluations=7, eval_examples=200), (54_000, 6_000, 150), 128, 100)
    assert len(found.steps) == 7
    assert found.before == (200, 200, 150)
    assert found.last == (200, 6_000, 150)
    assert schedule_evaluations(train(evaluations=1), (54_000, 6_000, 10_000), 128, 2105).steps == (2105,)
    assert schedule_evaluations(train(evaluation_share=0.5), (54_000, 6_000, 10_000), 128, 2105).before == (
        6_000,
        6_000,
        10_000,
    )


counts = st.integers(1, 100_000)


@given(counts, counts, counts, st.integers(1, 512), st.integers(1, 100_000), st.floats(0.001, 0.5))
def test_the_share_is_kept_but_for_the_last_evaluation(trained, validation, test, batch, steps, share):
    found = schedule_evaluations(train(evaluation_share=share), (trained, validation, test), batch, steps)
    assert found.steps[-1] == steps
    assert sorted(set(found.steps)) == list(found.steps)
    assert found.last[1:] == (validation, test)
    assert all(1 <= few <= all_of for few, all_of in zip(found.before, (trained, validation, test), strict=True))
    before = (len(found.steps) - 1) * sum(found.before)
    assume(before)
    least = 3 * MIN_EXAMPLES * (len(found.steps) - 1)
    assert before <= max(share * 3 * batch * steps - sum(found.last), 0) + least
    assert found.full <= len(found.steps)
