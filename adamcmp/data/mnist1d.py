"""MNIST-1D: digits as noisy curves of 40 points, made on the spot; tells models apart in seconds."""

from __future__ import annotations

import random

import numpy as np

from adamcmp.data.raw import Array, RawData
from adamcmp.errors import InputError
from adamcmp.lazy_imports import defer_imports


def mnist1d(
    seed: int = 42,
    num_samples: int = 5000,
    train_split: float = 0.8,
    corr_noise_scale: float = 0.25,
    iid_noise_scale: float = 0.02,
    shuffle_seq: bool = False,
) -> RawData:
    """Return curves x float32 (N, 1, 40), y 0 to 9; of N = `num_samples` the share `train_split` is to train on.

    The defaults are those of the published data set. `corr_noise_scale` and `iid_noise_scale` are standard
    deviations in units of the templates; `shuffle_seq` applies one fixed permutation to the 40 points.

    Source: S. Greydanus and D. Kobak, Scaling down Deep Learning with MNIST-1D, arXiv 2011.14439, in the
    authors' package ``mnist1d``.

    Raises:
        InputError: if the package is missing, or for a size, share or seed that cannot be used.
    """
    if not 0 <= seed < 2**32:
        raise InputError(f"data.seed={seed}: must be ≥ 0 and < 2**32")
    if num_samples < 10 or num_samples % 10:
        raise InputError(f"data.num_samples={num_samples}: must be a multiple of 10, one share for each digit")
    if not 0 < int(num_samples * train_split) < num_samples:
        raise InputError(f"data.train_split={train_split}: must be > 0 and < 1, and leave both parts an example")
    if corr_noise_scale < 0 or iid_noise_scale < 0:
        raise InputError(
            f"data.corr_noise_scale={corr_noise_scale}, data.iid_noise_scale={iid_noise_scale}: must be ≥ 0"
        )
    try:
        with defer_imports("matplotlib.pyplot", "requests"):
            from mnist1d.data import get_dataset_args, make_dataset
    except ImportError as error:
        raise InputError(f"data set mnist1d needs a package ({error}); run: pip install mnist1d") from error

    args = get_dataset_args()
    args.seed, args.num_samples, args.train_split = seed, num_samples, train_split
    args.corr_noise_scale, args.iid_noise_scale = corr_noise_scale, iid_noise_scale
    args.shuffle_seq = shuffle_seq

    # The package seeds the global streams; whoever called us keeps theirs.
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        made = make_dataset(args)
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)

    def curves(name: str) -> Array:
        array: Array = made[name].astype(np.float32)[:, None, :]
        return array

    return {
        "train": (curves("x"), made["y"]),
        "test": (curves("x_test"), made["y_test"]),
        "num_classes": 10,
    }
