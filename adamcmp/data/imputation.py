"""Imputation of missing numbers of a table by statistics of the training split, with indicator columns on request."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from adamcmp.data.raw import Split

IMPUTATION_MODES = ("refuse", "median", "indicator")


def impute(parts: Mapping[str, Split], mode: str) -> dict[str, Split]:
    """Replace NaN by the training part's median of the feature, or 0 if it has none.

    Args:
        parts: x of shape (N, D); ``train`` among them.
        mode: ``median``, or ``indicator``, which adds a feature for each that lacks values in training: 1 where it
            lacks them.
    """
    train = parts["train"].x
    assert isinstance(train, torch.Tensor)
    median_D = train.nanmedian(dim=0).values.nan_to_num(0.0)
    lacking_D = train.isnan().any(dim=0)
    imputed: dict[str, Split] = {}
    for part, (x, y) in parts.items():
        assert isinstance(x, torch.Tensor)
        full = torch.where(x.isnan(), median_D, x)
        indicators = x.isnan()[:, lacking_D].to(x.dtype)
        imputed[part] = Split(torch.cat([full, indicators], dim=1) if mode == "indicator" else full, y)
    return imputed
