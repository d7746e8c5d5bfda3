"""Names of metrics as programs report them: their split, direction and unit. No torch."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

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
QUALIFIERS = frozenset({"best", "final", "last", "mean", "avg", "average", "ema", "total"})
"""Words before a metric that do not make it another one."""


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]


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
    return "_".join(word for word in _words(name) if word not in every)


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


def unit_and_factor(metric: str, unit: str, values: Collection[float]) -> tuple[str, float]:
    """Return the unit in which a metric is shown, and the factor from reported to stored values.

    Args:
        metric: its name without a split.
        unit: ``share``, ``percent``, ``none``, ``auto`` (by name and values), or a unit to show.
        values: its finite values.

    >>> unit_and_factor("acc", "auto", [93.1]), unit_and_factor("loss", "auto", [0.4])
    (('%', 0.01), ('', 1.0))
    """
    match unit:
        case "share":
            return "%", 1.0
        case "percent":
            return "%", 0.01
        case "none":
            return "", 1.0
        case "auto":
            largest = max(values, default=0.0)
            if not is_share(metric) or largest > 100 or min(values, default=0.0) < 0:
                return "", 1.0
            return "%", 1.0 if largest <= 1 else 0.01
    return unit, 1.0


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
