"""The 1,797 handwritten digits of 8×8 pixels that scikit-learn carries: no download, seconds to train."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from adamcmp.data.raw import RawData
from adamcmp.errors import InputError


def digits() -> RawData:
    """Return optical digits: x uint8 (1797, 1, 8, 8) with values 0 to 16, y 0 to 9, no official parts.

    The values are counts of ink, not pixels to 255; keep ``normalize`` on, or they arrive as x/255 ≤ 0.063.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998 (its test part), as in ``sklearn.datasets.load_digits``.

    Raises:
        InputError: scikit-learn is not installed.
    """
    spec = find_spec("sklearn")  # importing it takes a second, and only its file is wanted
    if spec is None or spec.origin is None:
        raise InputError("data=digits: scikit-learn is not installed; pip install scikit-learn")
    table_ND = np.loadtxt(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz", np.uint8, delimiter=",")
    x_N1HW = torch.from_numpy(table_ND[:, :-1].reshape(-1, 1, 8, 8).copy())
    return {"train": (x_N1HW, torch.from_numpy(table_ND[:, -1].astype(np.int64))), "num_classes": 10}
