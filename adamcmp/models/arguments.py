"""The checks that every model makes of its keywords: numbers in, `InputError` out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from adamcmp.errors import InputError, suggest_names


def sizes(option: str, given: Iterable[int] | str | float | None) -> tuple[int, ...]:
    """Return `given` as a tuple of whole numbers ≥ 1; it may be empty."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InputError(f"model.{option}={given}: must be a list of sizes, such as [{given}]")
    values = tuple(given)
    if not all(_is_size(value) for value in values):
        raise InputError(f"model.{option}={list(values)}: sizes must be ≥ 1 and whole")
    return values


def size(option: str, value: int) -> int:
    """Return `given`, if it is a whole number ≥ 1."""
    if not _is_size(value):
        raise InputError(f"model.{option}={value}: must be ≥ 1 and whole")
    return value


def choice(option: str, value: str, allowed: Iterable[str]) -> str:
    """Return `given`, if it is one of `allowed`."""
    names = tuple(allowed)
    if value not in names:
        raise InputError(f"model.{option}={value}: not known; {suggest_names(str(value), names)}")
    return value


def probability(option: str, value: object) -> float:
    """Return `given`, if it is a number ≥ 0 and < 1."""
    if isinstance(value, bool) or not isinstance(value, float | int) or not 0 <= value < 1:
        raise InputError(f"model.{option}={value}: must be ≥ 0 and < 1")
    return value


def data_shape(input_shape: Sequence[int] | Mapping[str, Sequence[int]], num_classes: int) -> tuple[int, ...]:
    """Return `input_shape` as a tuple of at least one size; `num_classes` is checked on the way."""
    size("num_classes", num_classes)
    if isinstance(input_shape, Mapping) or any(isinstance(number, Sequence) for number in input_shape):
        several = input_shape if isinstance(input_shape, Mapping) else map(str, range(len(input_shape)))
        raise InputError(
            f"model.input_shape: the model takes one input, the data have several: {', '.join(several)}; name a model "
            "of your own that takes them (model._target_=my_module.MyModel)"
        )
    shape = sizes("input_shape", input_shape)
    if not shape:
        raise InputError("model.input_shape=[]: must hold at least one size; give each example a feature axis")
    return shape


def picture_shape(model: str, input_shape: Sequence[int], num_classes: int) -> tuple[int, int, int]:
    """Return `input_shape` as (C, H, W), for a model of images."""
    shape = data_shape(input_shape, num_classes)
    if len(shape) != 3:
        raise InputError(
            f"model {model} takes images of shape (C, H, W), but the data have {shape}; "
            f"take model={'modular_mlp or model=mlp' if shape == (2,) else 'mlp'}"
        )
    return shape[0], shape[1], shape[2]


def channels_first(model: str, input_shape: Sequence[int], num_classes: int) -> tuple[int, ...]:
    """Return `input_shape` as (C, H, W) or (C, L), for a model of images and signals."""
    shape = data_shape(input_shape, num_classes)
    if len(shape) == 2:
        return shape
    return picture_shape(model, input_shape, num_classes)


def floating(x: Tensor, model: str) -> Tensor:
    """Return `x` if it is floating: tokens in a model of images or features are a mistake in the study."""
    if not x.is_floating_point():
        raise InputError(
            f"model {model} takes floating inputs, the data gives {x.dtype}; take model=modular_mlp for pairs, gpt for "
            "text, bag_of_words for words"
        )
    return x


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
