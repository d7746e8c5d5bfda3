"""Names of metrics as programs report them: their split, direction and unit. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

PREFIXES: Mapping[str, tuple[str, ...]] = {
    "validation": ("validation", "valid", "val", "dev", "eval"),
    "test": ("test", "predict"),
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
    "roc_auc", "average_precision", "map", "map50", "map75", "miou", "iou", "dice", "precision", "recall", "bleu",
    "rouge", "r2", "score", "reward", "return", "top5", "top_5", "acc5", "acc_5",
)  # fmt: skip
"""Metrics of which more is better."""
SHARES = frozenset({"error_rate", "error", "err", "wer", "cer", *HIGHER} - {"r2", "score", "reward", "return"})
"""Metrics that are shares of 1, or percentages."""
ORDER = ("error_rate", "error", "err", *HIGHER, *LOWER[3:])
"""Metrics in the order in which one is taken for the primary one; a loss comes last."""
SYNONYMS = {
    "accuracy": "acc", "err": "error", "error_rate": "error", "ppl": "perplexity", "top1": "acc_1", "top_1": "acc_1",
    "acc1": "acc_1", "top5": "acc_5", "top_5": "acc_5", "acc5": "acc_5",
}  # fmt: skip
"""Names of one metric: ``val_acc`` and ``test_accuracy`` belong together."""
QUALIFIERS = frozenset({
    "best", "final", "last", "mean", "avg", "average", "ema", "total", "set", "metrics", "metric", "results", "result",
})  # fmt: skip
"""Words before a metric that do not make it another one."""


CAMEL = r"([a-z])([A-Z][a-z])"
"""Place in a name such as ``valAcc`` where a word ends."""
PERCENT_WORDS = frozenset({"pct", "percent", "percentage"})


MAX_NAMES = 4096
"""Names whose split, metric and direction are remembered: programs print the same ones on every line."""


def _words(name: str) -> list[str]:
    parts = re.split(r"[^a-z0-9]+", re.sub(CAMEL, r"\1_\2", name).lower())
    return [word for word in parts if word]


def is_percent(name: str) -> bool:
    """Return whether a name says that its values are percentages.

    >>> is_percent("test error (%)"), is_percent("val_acc_pct"), is_percent("val_acc")
    (True, True, False)
    """
    return "%" in name or bool(PERCENT_WORDS & set(_words(name)))


@lru_cache(MAX_NAMES)
def split_of(name: str) -> str | None:
    """Return the split that a name speaks of: ``validation``, ``test`` or ``train``; None if it names none.

    >>> split_of("eval/accuracy"), split_of("lr")
    ('validation', None)
    """
    words = set(_words(name))
    return next((split for split, prefixes in PREFIXES.items() if words & set(prefixes)), None)


@lru_cache(MAX_NAMES)
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


@lru_cache(MAX_NAMES)
def is_higher_better(metric: str) -> bool | None:
    """Return whether more of a metric is better; None if its name does not say so."""
    parts = {metric, *metric.split("_")}
    if parts & set(LOWER):
        return False
    return True if parts & set(HIGHER) else None
