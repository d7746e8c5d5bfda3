"""Names of metrics as programs report them: their split, direction and unit. No torch."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from adamcmp.errors import InputError

PREFIXES: Mapping[str, tuple[str, ...]] = {
    "validation": ("validation", "valid", "val", "dev", "eval"),
    "test": ("test",),
    "train": ("train", "training", "tr"),
}
"""Words of a name by split."""
LOWER = (
    "error_rate", "error", "err", "rmse", "mae", "mse", "perplexity", "ppl", "wer", "cer", "nll", "bpc", "bits",
    "deviance", "loss",
)  # fmt: skip
"""Metrics of which less is better."""
HIGHER = (
    "accuracy", "acc", "top1", "top_1", "acc1", "acc_1", "balanced_accuracy", "f1", "macro_f1", "auc", "auroc",
    "roc_auc", "average_precision", "map", "miou", "iou", "dice", "precision", "recall", "bleu", "rouge", "r2", "score",
    "reward", "return", "top5", "top_5", "acc5", "acc_5",
)  # fmt: skip
"""Metrics of which more is better."""
SHARES = frozenset({"error_rate", "error", "err", "wer", "cer", *HIGHER} - {"r2", "score", "reward", "return"})
"""Metrics that are shares of 1, or percentages."""
ORDER = ("error_rate", "error", "err", *HIGHER, *LOWER[3:])
"""Metrics in the order in which one is taken for the primary one; a loss comes last."""
UNIT_GAP = 10.0
"""Ratio of errors beyond which the smaller are taken for shares and the larger for percentages."""
SYNONYMS = {
    "accuracy": "acc", "err": "error", "error_rate": "error", "ppl": "perplexity", "top1": "acc_1", "top_1": "acc_1",
    "acc1": "acc_1", "top5": "acc_5", "top_5": "acc_5", "acc5": "acc_5",
}  # fmt: skip
"""Names of one metric: ``val_acc`` and ``test_accuracy`` belong together."""
CLEAR_PERCENTAGE = 5.0
"""Error rates above 1 up to which values may be shares, such as a word error rate of 102 %, or percentages."""
QUALIFIERS = frozenset({"best", "final", "last", "mean", "avg", "average", "ema", "total"})
"""Words before a metric that do not make it another one."""


CAMEL = r"([a-z])([A-Z][a-z])"
"""Place in a name such as ``valAcc`` where a word ends."""
PERCENT_WORDS = frozenset({"pct", "percent", "percentage"})


def _words(name: str) -> list[str]:
    parts = re.split(r"[^a-z0-9]+", re.sub(CAMEL, r"\1_\2", name).lower())
    return [word for word in parts if word]


def is_percent(name: str) -> bool:
    """Return whether a name says that its values are percentages.

    >>> is_percent("test error (%)"), is_percent("val_acc_pct"), is_percent("val_acc")
    (True, True, False)
    """
    return "%" in name or bool(PERCENT_WORDS & set(_words(name)))


def split_of(name: str) -> str | None:
    """Return the split that a name speaks of: ``validation``, ``test`` or ``train``; None if it names none.

    >>> split_of("eval/accuracy"), split_of("lr")
    ('validation', None)
    """
    words = set(_words(name))
    return next((split for split, prefixes in PREFIXES.items() if words & set(prefixes)), None)


def metric_of(name: str) -> str:
    """Return the name of a metric without its split.

    >>> metric_of("val/acc")
    'acc'
    """
    every = {prefix for prefixes in PREFIXES.values() for prefix in prefixes}
    return "_".join(word for word in _words(name) if word not in every | PERCENT_WORDS)


def base_metric(name: str) -> str:
    """Return the name of a metric without its split and without words such as ``best``; of synonyms always one.

    >>> base_metric("best_val_acc"), base_metric("test/avg_loss"), base_metric("test_accuracy")
    ('acc', 'loss', 'acc')
    """
    metric = metric_of(name)
    if metric not in {*LOWER, *HIGHER}:  # average_precision stays
        metric = "_".join(word for word in metric.split("_") if word not in QUALIFIERS) or metric
    return SYNONYMS.get(metric, metric)


def is_metric(name: str) -> bool:
    """Return whether a name is of a metric: of a split, or of a quantity whose direction is known.

    >>> is_metric("loss"), is_metric("test_zorp"), is_metric("img/s")
    (True, True, False)
    """
    return split_of(name) is not None or is_higher_better(metric_of(name)) is not None


def is_share(metric: str) -> bool:
    """Return whether a metric is a share of 1 or a percentage, by its name without a split."""
    return bool({metric, *metric.split("_")} & SHARES)


def is_higher_better(metric: str) -> bool | None:
    """Return whether more of a metric is better; None if its name does not say so."""
    parts = {metric, *metric.split("_")}
    if parts & set(LOWER):
        return False
    return True if parts & set(HIGHER) else None


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
    known = [split for split in names if largest[split] > 0]
    if len({factors[split] for split in known}) > 1:
        shares, percentages = ([s for s in known if (factors[s] == 1.0) == is_first] for is_first in (True, False))
        if min(largest[s] for s in percentages) < UNIT_GAP * max(largest[s] for s in shares):
            both = " and ".join(f"{names[s]} ({largest[s]:g})" for s in (shares[0], percentages[0]))
            raise InputError(f"{both}: are both shares or percentages? Give {setting}, such as percent or share")
    if known:  # a split of zeros shows no unit
        factors |= {split: factors[known[0]] for split in names if split not in known}
    if train and not higher and known:  # few errors on training data may be less than 1 %
        train = {"train": factors[known[0]]}
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
