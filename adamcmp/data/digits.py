"""The 1,797 handwritten digits of 8×8 pixels that scikit-learn carries: no download, seconds to train."""

from __future__ import annotations

import torch

from adamcmp.data.raw import RawData


def digits() -> RawData:
    """Optical digits: x uint8 (1797, 1, 8, 8) with values 0 to 16, y 0 to 9, no official parts.

    The values are counts of ink, not pixels to 255; keep ``normalize`` on, or they arrive as x/255 ≤ 0.063.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998 (its test part), as in ``sklearn.datasets.load_digits``.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x_N1HW = torch.from_numpy(bunch.images.astype("uint8")).unsqueeze(1)
    return {"train": (x_N1HW, torch.from_numpy(bunch.target)), "num_classes": 10}
