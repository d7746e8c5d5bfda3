r"""Per-example values of an error: N numbers whose mean, or the root of whose mean, is the error of a run.

Of an error that is a mean over examples, these are the examples' own errors. Of any other error T(w) of weights w on
the examples, they are the pseudo-values of the infinitesimal jackknife, T + N ∂T/∂w_i at w = 1: their variance over N
is the variance of T over test examples, and those of two runs on the same examples are subtracted.

- R² = 1 − A/B with A = mean r², B = mean (y − ȳ)²: ∂ gives −(r_i² − A)/B + A ((y_i − ȳ)² − B)/B²
- F1 = a/d with a = mean 2 TP, d = mean (2 TP + FP + FN): (a_i − F1 d_i)/d
- average precision of P positives with precision p_k among n_k examples that score s_k or more:
  N/P · (y_i p_i + Σ_{positive k: s_k ≤ s_i} (y_i − p_k)/n_k − AP y_i)
- a mean of RMSEs over outputs: mean of (q_i − m)/(2 √m) over outputs with mean square m

Source: L. A. Jaeckel, The Infinitesimal Jackknife, Bell Laboratories MM 72-1215-11, 1972; B. Efron, The Jackknife, the
Bootstrap and Other Resampling Plans, 1982, chapter 6.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def per_example(name: str, statistics_NK: Array, y_N: Array, predictions: int = 1) -> Array:
    """Return the per-example values of an error.

    Args:
        name: of the error, as in ``metrics.spec.METRIC_SPECS``.
        statistics_NK: the statistics of every example, as ``metrics.functions.MetricFunction.statistics`` returns them.
        y_N: targets, (N, …), in the unit of the statistics.
        predictions: predictions per example, of errors that count wrong ones.

    Returns:
        (N,). Their mean is the error; of ``rmse`` the root of their mean.
    """
    match name:
        case "error_rate" | "hamming_loss":
            return np.asarray(statistics_NK[:, 0] / predictions)
        case "mae":
            return np.asarray(statistics_NK.mean(1))
        case "rmse":
            return _root_mean_squares(statistics_NK)
        case "r2":
            return _r2(statistics_NK, y_N)
        case "f1":
            return _f1(statistics_NK)
        case _:
            return _average_precision(statistics_NK, y_N)


def _root_mean_squares(squares_ND: Array) -> Array:
    """Return values whose root mean is the mean RMSE over outputs, with the same influence; the squares of one
    output.
    """
    if squares_ND.shape[1] == 1:
        return squares_ND[:, 0]
    mean_D = squares_ND.mean(0)
    root_D = np.sqrt(mean_D)
    error = float(root_D.mean())
    influence_N = ((squares_ND - mean_D) / np.where(root_D > 0, 2 * root_D, np.inf)).mean(1)
    return np.asarray(error**2 + 2 * error * influence_N)


def _r2(squares_ND: Array, y_ND: Array) -> Array:
    y_ND = y_ND.reshape(len(squares_ND), -1)
    spread_ND = (y_ND - y_ND.mean(0)) ** 2
    residual_D, total_D = squares_ND.mean(0), spread_ND.mean(0)
    safe_D = np.where(total_D > 0, total_D, 1.0)
    value_D = np.where(total_D > 0, 1 - residual_D / safe_D, 1 - (residual_D > 0))
    influence_ND = -(squares_ND - residual_D) / safe_D + residual_D * (spread_ND - total_D) / safe_D**2
    return np.asarray((value_D + np.where(total_D > 0, influence_ND, 0.0)).mean(1))


def _f1(confusion_NK: Array) -> Array:
    true_positive, false_positive, false_negative = np.split(confusion_NK, 3, axis=1)
    part_NL, whole_NL = 2 * true_positive, 2 * true_positive + false_positive + false_negative
    whole_L = whole_NL.mean(0)
    safe_L = np.where(whole_L > 0, whole_L, 1.0)
    value_L = part_NL.mean(0) / safe_L
    return np.asarray((value_L + (part_NL - value_L * whole_NL) / safe_L).mean(1))


def _average_precision(score_NL: Array, y_NL: Array) -> Array:
    columns = [_average_precision_of(score_NL[:, label], y_NL[:, label]) for label in np.flatnonzero(y_NL.sum(0) > 0)]
    return np.asarray(np.mean(columns, axis=0)) if columns else np.zeros(len(score_NL))


def _average_precision_of(score_N: Array, y_N: Array) -> Array:
    """Return the values of one label that occurs."""
    count, positives = len(score_N), float(y_N.sum())
    order = np.argsort(-score_N, kind="stable")
    score, y = score_N[order], y_N[order]
    starts = np.flatnonzero(np.concatenate([[True], score[1:] != score[:-1]]))  # of equal scores: one threshold
    group = np.cumsum(np.concatenate([[0], (score[1:] != score[:-1]).astype(int)]))
    above = np.concatenate([starts[1:], [count]])[group].astype(float)
    precision = np.cumsum(y)[above.astype(int) - 1] / above
    value = float((y * precision).sum()) / positives

    def from_start_of_group(values: Array) -> Array:
        reversed_sum = np.cumsum(values[::-1])[::-1]
        return np.asarray(reversed_sum[starts][group])

    one, weighted = from_start_of_group(y / above), from_start_of_group(y * precision / above)
    derivative = (y * precision + y * one - weighted - value * y) / positives
    result = np.empty(count)
    result[order] = value + count * derivative
    return result
