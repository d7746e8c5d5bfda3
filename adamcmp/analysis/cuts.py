r"""The cut of the data as a block: tasks that differ in ``data.split_seed`` alone, each tuned and judged for itself.

A cell that is chosen on one cut has seen some of another's test part, so nothing is chosen on several together. Of each
of J cuts the difference of two arms is the mean over its fresh seeds of a_i − b_i, each at its own best cell: seeds,
test examples, the choice of cells and the cut are all drawn anew. These J numbers are judged as seeds are
(``verdicts``). But cuts share training examples, so the interval is

.. math:: \bar d ± t_{J−1}(0.975)\, s_d \sqrt{1/J + n_{test}/n_{train}}.

Source: C. Nadeau and Y. Bengio, Inference for the Generalization Error, Machine Learning 52, 2003.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from adamcmp.analysis.selection import Task, best_cells, cells, judged
from adamcmp.analysis.verdicts import Verdict, alone, decided, differences, tolerance
from adamcmp.criteria import criteria_of

APART = ("data", "data_settings", "optimizer", "schedule", "seed")
"""Settings that cuts and arms may differ in; of ``data_settings`` only the seed of the cut."""


class OverCuts(NamedTuple):
    """What several cuts of one data set say together."""

    label: str
    tasks: list[Task]
    found: list[Verdict]
    """Their ``n`` counts cuts, their interval over examples is the one that is widened for overlap."""


def over_cuts(tasks: Sequence[Task], margin: float | None = None) -> list[OverCuts]:
    """Of each data set that was cut in two ways or more, for arms that all cuts have; ``margin`` as ``verdicts``'."""
    families: dict[str, list[Task]] = {}
    for task in tasks:
        families.setdefault(_family(task.records), []).append(task)
    return [
        OverCuts(str(members[0].records["task_label"].iloc[-1]), members, found)
        for members in families.values()
        if len(members) > 1 and (found := _judged(members, margin))
    ]


def _family(records: pd.DataFrame) -> str:
    """What cuts of one data set share; records from before settings were stored are a family of their own."""
    if not isinstance(text := records["settings"].iloc[-1], str):
        return str(records["task"].iloc[-1])
    settings = json.loads(text)
    if "data_settings" not in settings:
        return str(records["task"].iloc[-1])
    data = {key: value for key, value in settings["data_settings"].items() if key != "split_seed"}
    shared = {key: value for key, value in settings.items() if key not in APART}
    return json.dumps({**shared, "data_settings": data}, sort_keys=True)


def _judged(tasks: Sequence[Task], margin: float | None) -> list[Verdict]:
    rows = [judged(task.records, best_cells(cells(task.records))) for task in tasks]
    arms = sorted(set.intersection(*({str(arm) for arm in each["arm"]} for each in rows)))
    error = criteria_of(tasks[0].records).error
    means = {arm: np.mean([each.loc[each["arm"] == arm, "final_test_error"].mean() for each in rows]) for arm in arms}
    arms.sort(key=lambda arm: float(error.sign * means[arm]))
    pairs = list(combinations(arms, 2))
    overlap = _overlap(tasks[0].records)
    single = []
    for a, b in pairs:
        d = np.array([each.mean() for part in rows if len(each := differences(part, a, b))])
        found = alone(a, b, d, tolerance(margin, error), len(pairs))
        if found.kind != "none":
            wide = math.sqrt(1 + len(d) * overlap)
            low, high = (found.mean + wide * (end - found.mean) for end in (found.low, found.high))
            found = found._replace(low_examples=low, high_examples=high)
        single.append(found)
    return decided(single)


def _overlap(records: pd.DataFrame) -> float:
    """n_test/n_train."""
    last = records.iloc[-1]
    *_, tested = json.loads(last["settings"])["eval_examples"][1]
    return float(tested) / float(last["train_examples"])
