"""Units of metrics that programs of the user report: shares, percentages or others. No torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from adamcmp.errors import InputError
from adamcmp.metrics.names import is_percent, is_share, metric_of

UNIT_GAP = 10.0
"""Ratio of errors beyond which the smaller are taken for shares and the larger for percentages."""
CLEAR_PERCENTAGE = 5.0
"""Error rates above 1 up to which values may be shares, such as a word error rate of 102 %, or percentages."""


def unit_and_factors(
    names: Mapping[str, str],
    values: Mapping[str, Sequence[float]],
    results: Mapping[str, Sequence[float]],
    unit: str,
    setting: str,
    *,
    higher: bool,
) -> tuple[str, dict[str, float]]:
    """Return the unit in which a metric is shown, and the factor from reported to stored values of each split.

    Args:
        names: name of the metric by split.
        values: all finite values by split, of every evaluation.
        results: values that count by split, one per run.
        unit: ``share``, ``percent``, ``none``, ``auto`` (by name and values), or a unit to show.
        setting: how the user gives the unit, for errors.
        higher: more is better.

    Raises:
        InputError: it is not clear whether values are shares or percentages.

    >>> unit_and_factors({"test": "test_acc"}, {"test": [93.1]}, {"test": [93.1]}, "auto", "unit", higher=True)
    ('%', {'test': 0.01})
    """
    match unit:
        case "share" | "percent":
            return "%", dict.fromkeys(names, 1.0 if unit == "share" else 0.01)
        case "none":
            return "", dict.fromkeys(names, 1.0)
        case "auto":
            pass
        case _:
            return unit, dict.fromkeys(names, 1.0)
    every = [value for split in names for value in values[split]]
    in_percent = {split: is_percent(name) for split, name in names.items()}
    if any(in_percent.values()):
        return "%", {split: 0.01 if in_percent[split] else _share_factor(values[split]) for split in names}
    if (
        not is_share(metric_of(next(iter(names.values()))))
        or max(every, default=0.0) > 100
        or min(every, default=0.0) < 0
    ):
        return "", dict.fromkeys(names, 1.0)
    train = {"train": _share_factor(values["train"])} if "train" in names else {}
    names = {split: name for split, name in names.items() if split != "train"}
    for split, name in names.items():
        if mixed := mixed_units(results[split], higher=higher):
            raise InputError(
                f"{name}: some runs have shares ({mixed[0]:g}), others percentages ({mixed[1]:g}); let all have one "
                f"unit, or give {setting}"
            )
    largest = {split: max(values[split], default=0.0) for split in names}
    if not higher and 1 < max(largest.values()) <= CLEAR_PERCENTAGE:
        split = max(largest, key=lambda split: largest[split])
        raise InputError(
            f"{names[split]}: is {largest[split]:g} a percentage, a share above 1, or neither? Give {setting}: "
            "percent, share or none"
        )
    factors = {split: _share_factor(values[split]) for split in names}
    positive = [split for split in names if largest[split] > 0]
    if len({factors[split] for split in positive}) > 1:
        shares, percentages = ([s for s in positive if (factors[s] == 1.0) == is_first] for is_first in (True, False))
        if min(largest[s] for s in percentages) < UNIT_GAP * max(largest[s] for s in shares):
            both = " and ".join(f"{names[s]} ({largest[s]:g})" for s in (shares[0], percentages[0]))
            raise InputError(f"{both}: are both shares or percentages? Give {setting}, such as percent or share")
    if positive:  # a split of zeros shows no unit
        factors |= {split: factors[positive[0]] for split in names if split not in positive}
    if train and not higher and positive:  # few errors on training data may be less than 1 %
        train = {"train": factors[positive[0]]}
    return "%", factors | train


def _share_factor(values: Collection[float]) -> float:
    return 1.0 if max(values, default=0.0) <= 1 else 0.01


def mixed_units(values: Collection[float], *, higher: bool) -> tuple[float, float] | None:
    """Return a share and a percentage if some results look like shares and others like percentages, else None.

    Accuracies of 1 % and less are taken for shares; errors, if there is a large gap between small and large ones.

    >>> mixed_units([0.91, 91.0], higher=True), mixed_units([0.8, 1.2], higher=False)
    ((0.91, 91.0), None)
    """
    shares, percentages = [v for v in values if 0 < v <= 1], [v for v in values if v > 1]
    if not shares or not percentages:
        return None
    has_gap = min(percentages) >= UNIT_GAP * max(shares)
    return (max(shares), max(percentages)) if higher or has_gap else None
