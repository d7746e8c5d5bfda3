r"""Several data splits of one data set: tasks that differ in ``data.split_seed`` alone, each tuned for itself.

A trial that is selected on one split has seen part of the test split of another, so nothing is selected on several
splits together. On each of J splits, the difference of two optimizers is that of ``difference.compare``: held-out
seeds, test examples, selection and the split itself vary. Splits share training examples, so the variance of the mean
is

.. math:: s_d^2 (1/J + n_{test}/n_{train}), \quad J − 1 degrees of freedom.

Splits of a data set with an official test split also share all test examples. Then the variance of a two-way model over
splits × test examples is added; where splits have test examples of their own, that part is estimated as about 0.

Source: C. Nadeau and Y. Bengio, Inference for the Generalization Error, Machine Learning 52, 2003.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from adamcmp.analysis.difference import Difference, Examples, compare, two_way, unseen_variance
from adamcmp.analysis.held_out import HeldOut, held_out_of
from adamcmp.analysis.intervals import Array
from adamcmp.analysis.selection import TaskRecords
from adamcmp.analysis.selection_uncertainty import Selection, VarianceComponent
from adamcmp.analysis.verdicts import Verdict, decide, example_count, margin_or_default
from adamcmp.metrics.spec import task_metrics

IGNORED_SETTINGS = ("data", "data_settings", "optimizer", "schedule", "seed")
"""Settings that splits and optimizers may differ in; of ``data_settings`` only ``split_seed``."""


class SplitBlocks(NamedTuple):
    """The verdicts over several splits of one data set."""

    label: str
    tasks: list[TaskRecords]
    verdicts: list[Verdict]
    """Their ``n`` counts splits."""


def compare_over_splits(
    tasks: Sequence[TaskRecords], margin: float | None = None, outcomes: Mapping[str, Array] | None = None
) -> list[SplitBlocks]:
    """Compare the optimizers that all splits of a data set have, for every data set with two splits or more.

    Args:
        tasks: all tasks of a study.
        margin: in the unit of stored errors; None: as in ``verdicts``.
        outcomes: per-example errors of a run by its ID.
    """
    families: dict[str, list[TaskRecords]] = {}
    for task in tasks:
        families.setdefault(_family(task.records), []).append(task)
    return [
        SplitBlocks(str(members[0].records["task_label"].iloc[-1]), members, blocks)
        for members in families.values()
        if len(members) > 1 and (blocks := _compare_blocks(members, margin, outcomes or {}))
    ]


def _family(records: pd.DataFrame) -> str:
    """Return a key that all splits of one data set share; records without stored settings get a key of their own."""
    if not isinstance(text := records["settings"].iloc[-1], str):
        return str(records["task"].iloc[-1])
    settings = json.loads(text)
    if "data_settings" not in settings:
        return str(records["task"].iloc[-1])
    data = {key: value for key, value in settings["data_settings"].items() if key != "split_seed"}
    shared = {key: value for key, value in settings.items() if key not in IGNORED_SETTINGS}
    return json.dumps({**shared, "data_settings": data}, sort_keys=True)


class _Split(NamedTuple):
    """One split: its held-out errors and selections by optimizer."""

    tested: dict[str, HeldOut]
    choices: dict[str, Selection]
    size: int


def _compare_blocks(tasks: Sequence[TaskRecords], margin: float | None, outcomes: Mapping[str, Array]) -> list[Verdict]:
    error, splits = task_metrics(tasks[0].records).error, []
    for task in tasks:
        tested, choices = held_out_of(task.records, outcomes)
        splits.append(_Split(tested, choices, example_count(task.records)))
    arms = sorted(set.intersection(*(set(split.tested) for split in splits)))
    arms.sort(key=lambda arm: error.sign * float(np.mean([split.tested[arm].error_S.mean() for split in splits])))
    overlap = _shared_examples(tasks[0].records)
    compared = [_difference(splits, a, b, overlap, is_share=error.unit == "%") for a, b in combinations(arms, 2)]
    return decide(compared, margin_or_default(margin, error))


def _difference(splits: Sequence[_Split], a: str, b: str, overlap: float, *, is_share: bool) -> Difference:
    by_split = [
        compare(
            split.tested[a], split.tested[b], split.choices.get(a), split.choices.get(b), is_share=is_share,
            count=split.size,
        )
        for split in splits
    ]  # fmt: skip
    pairs = [(split.tested[a], split.tested[b], estimate.mean) for split, estimate in zip(splits, by_split, strict=True)
             if estimate.n and math.isfinite(estimate.mean)]  # fmt: skip
    d_J = np.array([mean for *_, mean in pairs])
    count, lost = len(d_J), (sum(x.lost for x, _, _ in pairs), sum(y.lost for _, y, _ in pairs))
    variance = float(d_J.var(ddof=1)) * (1 / count + overlap) if count > 1 else math.nan
    examples, variance_of_examples, size = _examples(pairs, by_split, is_share=is_share)
    mean = float(d_J.mean()) if count else math.nan
    return Difference(
        a, b, count, mean, VarianceComponent(variance, count - 1), examples, [], size, variance_of_examples,
        lost=lost, runs=(sum(len(x.seeds) for x, _, _ in pairs), sum(len(y.seeds) for _, y, _ in pairs)),
    )  # fmt: skip


def _examples(
    pairs: Sequence[tuple[HeldOut, HeldOut, float]], differences: Sequence[Difference], *, is_share: bool
) -> tuple[VarianceComponent, Examples, int]:
    """Return the variance over test examples that the splits share."""
    means = [x.examples_SN.mean(0) - y.examples_SN.mean(0) for x, y, _ in pairs
             if x.examples_SN is not None and y.examples_SN is not None
             and x.examples_SN.shape[1] == y.examples_SN.shape[1]]  # fmt: skip
    if len(means) == len(pairs) > 1 and len({len(mean) for mean in means}) == 1:
        stacked_JN = np.stack(means)
        differs_JN = (stacked_JN != 0).astype(float)  # averages over seeds
        floor = unseen_variance(differs_JN, np.zeros_like(differs_JN), is_paired=True) if is_share else 0.0
        _, examples = two_way([stacked_JN])
        return examples._replace(variance=max(examples.variance, floor)), "stored", stacked_JN.shape[1]
    widest = max(differences, key=lambda estimate: estimate.examples.variance)
    return widest.examples, widest.known if widest.known != "stored" else "bounded", widest.size


def _shared_examples(records: pd.DataFrame) -> float:
    """Return n_test/n_train."""
    last = records.iloc[-1]
    *_, tested = json.loads(last["settings"])["eval_examples"][1]
    return float(tested) / float(last["train_examples"])
