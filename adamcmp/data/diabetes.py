"""442 diabetes patients that scikit-learn carries: a measure of progression, no download, seconds to train."""

from __future__ import annotations

from adamcmp.data.raw import RawData
from adamcmp.errors import InputError


def diabetes() -> RawData:
    """Return ten baseline variables x float64 (442, 10); y, a measure of disease progression after one year, 25 to 346.

    Source: B. Efron, T. Hastie, I. Johnstone and R. Tibshirani, Least Angle Regression, Annals of Statistics 32(2),
    2004, as in ``sklearn.datasets.load_diabetes``.

    Raises:
        InputError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_diabetes
    except ImportError as error:
        raise InputError("data=diabetes: scikit-learn is not installed; pip install scikit-learn") from error
    x_ND, y_N = load_diabetes(return_X_y=True)
    return {"train": (x_ND, y_N), "targets": "quantities"}
