"""Evaluation schedule: the steps of evaluations and their numbers of examples, from a share of the training's
arithmetic.

A forward pass of one example counts 1, a training step of B examples 3 B (backward is twice forward), so that T steps
count 3 B T. The last evaluation uses all of validation and test, and up to ``MAX_TRAIN_EXAMPLES`` training examples.
The rest of the share goes to earlier evaluations, evenly spread: up to nine that show as many; where it is not enough
for four of them, four that show fewer, evenly spread over each part, and at least ``MIN_EXAMPLES`` of each. A short
training may so spend more than the share.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from adamcmp.config.schema import Train

MAX_TRAIN_EXAMPLES = 10_000
"""Training examples that an evaluation shows."""
MIN_TRAIN_EXAMPLES = 2_000
"""Training examples that the last evaluation shows however large the other parts are."""
MAX_EARLIER_EVALUATIONS, MIN_EARLIER_EVALUATIONS = 9, 4
"""Evaluations before the last: as many where the share allows, and from which on they show fewer examples instead."""
MIN_EXAMPLES = 100
"""Examples of a part that an evaluation shows, where it has so many."""

SplitSizes = tuple[int, int, int]
"""Examples of the training, validation and test part."""


@dataclass(frozen=True)
class EvaluationSchedule:
    """The evaluations of one training."""

    steps: tuple[int, ...]
    """After how many steps; the last after the last one."""
    before: SplitSizes
    """Examples per split of each evaluation before the last."""
    last: SplitSizes
    """Examples per split of the last evaluation."""
    share: float
    """Share of the training's arithmetic that they take together."""

    def shown(self, step: int) -> SplitSizes:
        """Return the examples per split of the evaluation after ``step`` steps."""
        return self.last if step == self.steps[-1] else self.before

    @property
    def full(self) -> float:
        """How many evaluations like the last one cost as much as all of them."""
        return 1 + (len(self.steps) - 1) * sum(self.before) / sum(self.last)


@lru_cache(maxsize=256)
def schedule_evaluations(train: Train, parts: SplitSizes, batch_size: int, steps: int) -> EvaluationSchedule:
    """Return the evaluations of a training of ``steps`` steps on data of such parts.

    >>> train = Train(batch_size=100, steps=500, evaluations="auto", eval_examples="auto", precision="fp32")
    >>> found = schedule_evaluations(train, (1079, 359, 359), 100, 500)
    >>> len(found.steps), found.before, found.last, round(found.share, 4)
    (10, (359, 359, 359), (1079, 359, 359), 0.0766)
    """
    training = 3 * batch_size * steps
    budget = train.evaluation_share * training
    trained, *held_out = parts
    if train.eval_examples == "auto":
        left = int(budget / 2) - sum(held_out)
        last: SplitSizes = (min(trained, MAX_TRAIN_EXAMPLES, max(left, MIN_TRAIN_EXAMPLES)), held_out[0], held_out[1])
        largest: SplitSizes = (min(last[0], max(held_out[0], MIN_EXAMPLES)), held_out[0], held_out[1])
    else:
        last = (min(trained, train.eval_examples), held_out[0], held_out[1])
        largest = (last[0], *(min(size, train.eval_examples) for size in held_out))  # type: ignore[assignment]
    rest = max(budget - sum(last), 0.0)
    if train.evaluations == "auto":
        count = min(MAX_EARLIER_EVALUATIONS, int(rest // sum(largest)))
        count = max(count, MIN_EARLIER_EVALUATIONS)
    else:
        count = train.evaluations - 1
    count = min(count, steps - 1)
    share = min(1.0, rest / (count * sum(largest))) if count and train.eval_examples == "auto" else 1.0
    before: SplitSizes = tuple(min(size, max(MIN_EXAMPLES, int(share * size))) for size in largest)  # type: ignore[assignment]
    at = tuple(round(steps * (i + 1) / (count + 1)) for i in range(count + 1))
    taken = (sum(last) + count * sum(before)) / training
    return EvaluationSchedule(at, before, last, taken)
