"""The data summary: how a data set was understood, as pairs of a short heading and a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from adamcmp.data.multi_input import MultiInput
from adamcmp.data.raw import SPLITS, RawData, Split, dtype_name, inputs_of
from adamcmp.metrics.spec import format_significant, with_minus_sign

LISTED = 10
"""Classes that are listed with their counts."""
KINDS = {torch.uint8: "uint8 pixels", torch.int64: "int64 tokens"}

Line = tuple[str, str]


def summarize(raw: RawData, parts: Mapping[str, Split], kind: str, num_outputs: int) -> Iterator[Line]:
    """Yield the data function's own lines, then examples, splits and targets as they were read."""
    lines = list(raw.get("summary", ()))
    if not any(heading == "data" for heading, _ in lines):
        yield "data", _inputs(parts["train"])
        yield from lines
    else:
        yield lines[0]
        yield "inputs", _inputs(parts["train"])
        yield from lines[1:]
    names = raw.get("target_names")
    called = f"{', '.join(names)}: " if names else ""
    every_y = torch.cat([split.y for split in parts.values()])
    yield "target", called + _targets(every_y, kind, num_outputs, raw.get("class_names"), str(raw.get("unit", "")))
    if kind == "quantities":
        train, test = parts["train"].y.double(), parts["test"].y.double()
        errors = (test - train.mean(0)).square().mean(0).sqrt().tolist()
        yield "baseline", f"always the mean: test RMSE {', '.join(map(format_significant, errors))}"
    if kind == "classes" and every_y.ndim == 1:
        train = parts["train"].y
        common = int(train.bincount().argmax())
        error = float((parts["test"].y != common).double().mean())
        yield "baseline", f"always class {_name(common, raw.get('class_names'))}: test error {100 * error:.3g} %"
        for part, split in parts.items():
            counts = torch.bincount(split.y, minlength=num_outputs)
            absent = [_name(label, raw.get("class_names")) for label in (counts == 0).nonzero().flatten().tolist()]
            if absent:
                more = " …" if len(absent) > 5 else ""
                yield "note", f"{part} has no example of {len(absent)} of the classes: {', '.join(absent[:5])}{more}"
    order = [part for part in ("train", "validation", "test") if part in parts]
    drawn = [part for part in SPLITS if part not in raw and part in parts]
    how = "from the end" if raw.get("contiguous") else "by groups, at random" if "groups" in raw else "at random"
    cut = f"; {' and '.join(drawn)} drawn {how}" if drawn else ""
    yield "splits", ", ".join(f"{len(parts[part].y):,} {part}" for part in order) + cut


def _inputs(split: Split) -> str:
    shapes = []
    for i, x in enumerate(inputs_of(split.x)):
        named = f"{split.x.called(i)} " if isinstance(split.x, MultiInput) else ""
        size = " × ".join(map(str, x.shape[1:]))
        kind = KINDS.get(x.dtype, dtype_name(x))
        what = {2: " numbers", 4: " (channels × height × width)"}.get(x.ndim, "")
        what = " positions" if x.dtype == torch.int64 and x.ndim == 2 else what
        shapes.append(f"{named}{size}{what}, {kind}")
    return "; ".join(shapes)


def _targets(y: Tensor, kind: str, num_outputs: int, names: Sequence[str] | None, unit: str) -> str:
    if kind == "quantities":
        ends = ", ".join(
            with_minus_sign(f"{format_significant(low, 6)} to {format_significant(high, 6)}")
            for low, high in zip(y.amin(0).tolist(), y.amax(0).tolist(), strict=True)
        )
        many = "a quantity" if num_outputs == 1 else f"{num_outputs} quantities"
        return f"{many}{f' in {unit}' if unit else ''}, {ends}"
    if kind == "labels":
        return f"{num_outputs} labels, {y.sum(1).mean():.3g} per example"
    if y.ndim > 1:
        return f"the next of {num_outputs} tokens at each of {y.shape[1]} positions"
    counts = torch.bincount(y, minlength=num_outputs)
    order = (
        range(num_outputs) if num_outputs <= LISTED else counts.argsort(descending=True, stable=True)[:LISTED].tolist()
    )
    label_counts = ", ".join(f"{_name(label, names)} ({int(counts[label]):,})" for label in order)
    more = "" if num_outputs <= LISTED else f", … ({num_outputs - LISTED} more)"
    smallest = int(counts.argmin())
    return (
        f"{num_outputs} classes: {label_counts}{more}; smallest {_name(smallest, names)} with {int(counts[smallest]):,}"
    )


def _name(label: int, names: Sequence[str] | None) -> str:
    return str(label) if names is None else str(names[label])
