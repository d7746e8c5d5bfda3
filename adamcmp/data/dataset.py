"""From plain arrays to the train, validation and test parts that a run sees.

Takes the dict that a data function returns (`RawData`), has it checked, cuts the parts that are missing, takes
the fingerprint, normalises, and hands on a `Dataset`. Shapes: N examples, C channels, D features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from adamcmp.data.raw import PARTS, RawData, Split, all_finite, dtype_name, read
from adamcmp.errors import InputError

__all__ = ["Dataset", "RawData", "Split", "prepare"]


@dataclass(frozen=True, eq=False)  # tensors have no single truth value, so == stays identity
class Dataset:
    """A data set as the engine takes it. The fingerprint names its bytes, and enters every run's id."""

    name: str
    train: Split
    validation: Split
    test: Split
    num_classes: int
    fingerprint: str

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example: (1, 8, 8) for the digits."""
        return tuple(self.train.x.shape[1:])

    def to(self, device: torch.device | str) -> Dataset:
        """The same data set with every tensor on `device`."""
        train, validation, test = (
            Split(x.to(device), y.to(device)) for x, y in (self.train, self.validation, self.test)
        )
        return replace(self, train=train, validation=validation, test=test)


def prepare(
    raw: RawData,
    *,
    name: str,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.2,
    split_seed: int = 0,
    normalize: bool = True,
    train_examples: int | None = None,
) -> Dataset:
    """Check `raw`, cut the parts that it lacks, and normalise with the statistics of the training part.

    Both fractions are of the examples given as ``train``, so 0.2 and 0.2 leave 60 % to train on. One
    permutation, drawn from `split_seed` alone, serves both cuts and `train_examples`, which keeps the first n
    of what is left to train on: a smaller n is a subset of a larger one, with the same validation and test.

    Normalisation is (x − mean) / std over the training part, per channel for (N, C, ...) and per feature for
    (N, D), with a std of 0 taken as 1 and 1/N in the variance. Without it pixels become x/255. int64 tokens
    are left alone.

    The fingerprint is the start of a SHA-256 over the parts as cut and before normalisation, so that another
    machine's rounding leaves it unchanged, and over `num_classes` and `normalize`.

    Raises:
        InputError: for data, fractions, a seed or a number of examples that cannot be used.
    """
    _check_options(validation_fraction, test_fraction, split_seed, normalize, train_examples)
    parts, num_classes = read(raw, name)

    cut = {
        "test": 0 if "test" in parts else test_fraction,
        "validation": 0 if "validation" in parts else validation_fraction,
    }
    if any(cut.values()) or train_examples is not None:
        whole = parts["train"]
        generator = torch.Generator().manual_seed(split_seed)
        order_N = torch.randperm(len(whole.y), generator=generator, device="cpu")
        for part, fraction in cut.items():
            if fraction:
                count = max(1, round(fraction * len(whole.y)))
                taken_n, order_N = order_N[:count], order_N[count:]
                parts[part] = Split(whole.x[taken_n], whole.y[taken_n])
        if not len(order_N):
            raise InputError(
                f"data set {name}: {len(whole.y)} examples leave none to train on after the cuts "
                f"(validation_fraction={validation_fraction}, test_fraction={test_fraction}); give more data"
            )
        if train_examples is not None and train_examples > len(order_N):
            raise InputError(
                f"data.train_examples={train_examples}: data set {name} has {len(order_N)} to train on; "
                "give at most that many, or null for all"
            )
        order_N = order_N[:train_examples]
        parts["train"] = Split(whole.x[order_N], whole.y[order_N])

    fingerprint = _fingerprint([parts[part] for part in PARTS], num_classes, normalize)
    xs = [parts[part].x for part in PARTS]
    xs = _normalised(xs) if normalize else [_scaled(x) for x in xs]
    for part, x in zip(PARTS, xs, strict=True):
        if not all_finite(x):
            after = "normalised, " if normalize else ""
            raise InputError(f"data set {name}: {part} x, {after}leaves the range of float32; scale it before")
    train, validation, test = (Split(x, parts[part].y) for part, x in zip(PARTS, xs, strict=True))
    return Dataset(name, train, validation, test, num_classes, fingerprint)


def _check_options(
    validation_fraction: object,
    test_fraction: object,
    split_seed: object,
    normalize: object,
    train_examples: object,
) -> None:
    fractions = {"validation_fraction": validation_fraction, "test_fraction": test_fraction}
    for option, fraction in fractions.items():
        if not isinstance(fraction, float | int) or not 0 < fraction < 1:
            raise InputError(f"data.{option}={fraction}: must be > 0 and < 1, as a share of the train part")
    if type(split_seed) is not int or not 0 <= split_seed < 2**63:
        raise InputError(f"data.split_seed={split_seed}: must be ≥ 0, < 2**63 and whole")
    if not isinstance(normalize, bool):
        raise InputError(f"data.normalize={normalize}: must be true or false")
    if train_examples is not None and not (type(train_examples) is int and train_examples >= 1):
        raise InputError(f"data.train_examples={train_examples}: must be ≥ 1 and whole, or null for all")


def _fingerprint(splits: Iterable[Split], num_classes: int, normalize: bool) -> str:
    digest = hashlib.sha256(f"num_classes={num_classes} normalize={normalize}".encode())
    for split in splits:
        for tensor in split:
            digest.update(f"|{dtype_name(tensor)}{tuple(tensor.shape)}|".encode())
            digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _normalised(xs: Sequence[Tensor]) -> list[Tensor]:
    """Every part by the mean and std of the first, which is the training part."""
    if xs[0].dtype == torch.int64:
        return list(xs)
    xs = [x if x.dtype == torch.float64 else x.float() for x in xs]
    axes = [0, *range(2, xs[0].ndim)]
    std, mean = torch.std_mean(xs[0], dim=axes, correction=0, keepdim=True)
    # An infinite std would turn every value into 0; NaN makes the overflow seen.
    std = torch.where(std > 0, std, 1.0).masked_fill(std.isinf(), torch.nan)
    return [((x - mean) / std).float() for x in xs]


def _scaled(x: Tensor) -> Tensor:
    if x.dtype == torch.int64:
        return x
    return x.float() / 255 if x.dtype == torch.uint8 else x.float()
