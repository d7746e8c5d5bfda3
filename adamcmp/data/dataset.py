"""From plain arrays to the train, validation and test parts that a run sees.

Takes the dict that a data function returns (`RawData`), has it checked, cuts the parts that are missing, takes
the fingerprint, normalizes, and hands on a `Dataset`. Shapes: N examples, C channels, D features.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from adamcmp.data.duplicates import drop_duplicates, duplicate_warning, group_duplicates, split_boundary
from adamcmp.data.imputation import impute
from adamcmp.data.multi_input import MultiInput, Plain
from adamcmp.data.normalization import Normalization, measure_scale, measure_target_scale, normalize_input
from adamcmp.data.objects import plain_arrays
from adamcmp.data.on_disk import DiskRows, to_memory
from adamcmp.data.raw import (
    LARGE_BYTES,
    SPLITS,
    RawData,
    Split,
    X,
    all_finite,
    check_raw_data,
    chunks,
    count_numbers,
    dtype_name,
    inputs_of,
    token_bytes,
)
from adamcmp.data.splitting import (
    example_groups,
    loses_class,
    lost_classes,
    split_order,
    spread_by_class,
    take_examples,
)
from adamcmp.data.summary import summarize
from adamcmp.errors import InputError
from adamcmp.metrics.spec import Targets

__all__ = ["Dataset", "RawData", "Split", "make_dataset"]
Shape = tuple[int, ...] | tuple[tuple[int, ...], ...] | dict[str, tuple[int, ...]]
"""Shape of an example: of its only input, or of each of several, by position or by name."""


@dataclass(frozen=True, eq=False)  # tensors have no single truth value, so == stays identity
class Dataset:
    """A data set as the engine takes it. The fingerprint names its bytes, and enters every run's id."""

    name: str
    train: Split
    validation: Split
    test: Split
    num_outputs: int
    """Number of classes, quantities or labels: the outputs of a model."""
    fingerprint: str
    targets: Targets = "classes"
    unit: str = ""
    """Unit of quantities."""
    target_scale: Normalization | None = None
    """Mean and standard deviation of quantities, (D,), where ``y`` is (quantity − mean) / std."""
    num_tokens: int = 0
    """One more than the largest token of any part; 0 for inputs that are not tokens."""
    bytes_per_label: Mapping[str, float] = field(default_factory=dict)
    """Mean number of bytes per label of text, by split."""
    scale: Normalization | None = None
    """Normalization that `inputs` applies, of examples too large to be normalized beforehand; float64 for float64."""
    input_dtype: torch.dtype = torch.float32
    """Dtype of the result of `inputs` there."""
    notes: tuple[str, ...] = ()
    """Notes for the user."""
    summary: tuple[tuple[str, str], ...] = ()
    """Data summary: pairs of a heading and a text."""

    @property
    def input_shape(self) -> Shape:
        """The shape of one example: (1, 8, 8) for the digits."""
        x = self.train.x
        if not isinstance(x, MultiInput):
            return tuple(x.shape[1:])
        shapes = tuple(tuple(part.shape[1:]) for part in x.parts)
        return shapes if x.names is None else dict(zip(x.names, shapes, strict=True))

    @property
    def example_numbers(self) -> int:
        """How many numbers an example's inputs hold."""
        return sum(math.prod(part.shape[1:]) for part in inputs_of(self.train.x))

    def inputs(self, x: X, *, copy: bool = True) -> Plain:
        """Return examples of any split as a model takes them, in memory that the model may overwrite.

        Args:
            x: examples.
            copy: False if ``x`` was gathered for this call, so that nothing else reads it.
        """
        if isinstance(x, MultiInput):
            return (x.each(torch.clone) if copy else x).plain()
        fresh = to_memory(x)
        if self.scale is not None:
            return ((fresh - self.scale.mean) / self.scale.std).to(self.input_dtype)
        return fresh.clone() if copy and fresh is x else fresh

    @property
    def memory_bytes(self) -> int:
        """Bytes of its examples and labels in memory."""
        parts = (self.train, self.validation, self.test)
        held = [input_ for x, y in parts for input_ in (*inputs_of(x), y) if isinstance(input_, Tensor)]
        return sum(tensor.numel() * tensor.element_size() for tensor in held)

    @property
    def disk_bytes(self) -> int:
        """Bytes of its examples that stay on disk."""
        xs = (self.train.x, self.validation.x, self.test.x)
        return sum(count_numbers(x) * x.dtype.itemsize for x in xs if isinstance(x, DiskRows))

    def to(self, device: torch.device | str) -> Dataset:
        """Return the data set with every tensor on `device`; examples on disk are read to there."""
        train, validation, test = (
            Split(x.to(device), y.to(device)) for x, y in (self.train, self.validation, self.test)
        )
        narrow = torch.device(device).type == "mps"  # it has no float64
        scale = (
            None
            if self.scale is None
            else Normalization(*((tensor.float() if narrow else tensor).to(device) for tensor in self.scale))
        )
        # quantities' scale stays here: what is known of a task says it
        return replace(self, train=train, validation=validation, test=test, scale=scale)


def make_dataset(
    raw: RawData,
    *,
    name: str,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.2,
    split_seed: int = 0,
    normalize: bool = True,
    train_examples: int | None = None,
    memory: float = float("inf"),
    duplicates: str = "warn",
    targets: str = "auto",
    normalize_targets: bool = True,
    stratify: bool | None = None,
) -> Dataset:
    """Check `raw`, split off missing splits, and normalize with the statistics of the training split.

    Both fractions are of the examples given as ``train``, so 0.2 and 0.2 leave 60 % to train on. One permutation, drawn
    from `split_seed` alone, serves both cuts and `train_examples`, which keeps the first n of the remaining examples: a
    smaller n is a subset of a larger one, with the same validation and test. Contiguous examples are not permuted: the
    last ones are the test part, those in front of it the validation part. Equal groups stay in one part. With
    `stratify` each class is cut in the same shares; without a choice of the user's that is done where the cut would
    leave a class without an example to train on.

    Normalisation is (x − mean) / std over the training part, per channel for (N, C, ...) and per feature for
    (N, D), with a std of 0 taken as 1 and 1/N in the variance. Without it pixels become x/255. int64 tokens
    are left alone. Examples of more than `LARGE` bytes as float32 stay as they are, images uint8: `Dataset.inputs`
    scales them. Where they are memory-mapped and take more than `memory` bytes, they stay on disk, and are read batch
    by batch; that changes no number. Quantities are standardized so too, unless `normalize_targets` is off: errors are
    in their original unit.

    Equal examples that stand in several parts make a note (`duplicates` is ``warn``), are kept in one part by the cut
    or left out of the later ones of test, validation and train (``group``), or stand once in all (``drop``).

    The fingerprint is the start of a SHA-256 over the parts as cut and before normalization, so that another
    machine's rounding leaves it unchanged, and over the number of outputs, `normalize` and what targets are.

    Raises:
        InputError: for data, fractions, a seed or a number of examples that cannot be used.
    """
    raw = plain_arrays(raw, name)
    _check_options(validation_fraction, test_fraction, split_seed, normalize, train_examples)
    parts, kind, num_outputs = check_raw_data(raw, name, memory, targets)
    several = isinstance(parts["train"].x, MultiInput)
    notes: list[str] = []
    if duplicates == "drop":
        parts = drop_duplicates(parts, within=True)

    cut = {
        "test": 0 if "test" in parts else test_fraction,
        "validation": 0 if "validation" in parts else validation_fraction,
    }
    if any(cut.values()) or train_examples is not None:
        whole = parts["train"]
        contiguous = bool(raw.get("contiguous", False))
        order_N = split_order(len(whole.y), split_seed, contiguous)
        own_N = example_groups(raw, whole, name, by_content=duplicates == "group" and not contiguous)
        keeps = own_N is not None and not contiguous
        if own_N is None:
            own_N = torch.arange(len(whole.y))
        order_N = group_duplicates(order_N, own_N) if keeps else order_N
        by_class = kind == "classes" and whole.y.ndim == 1 and not contiguous and not keeps
        if stratify and not by_class:
            raise InputError(
                f"data.stratify=true: data set {name} has no classes to keep the shares of, or is cut by groups or time"
            )
        if by_class and stratify is None and loses_class(whole.y, order_N, cut):
            stratify = True
            notes.append(
                f"{name}: a random cut leaves a class without training examples; the cut is stratified instead "
                "(data.stratify=true)"
            )
        if by_class and stratify:
            order_N = spread_by_class(order_N, whole.y)
        for part, fraction in cut.items():
            if fraction:
                count = split_boundary(max(1, round(fraction * len(whole.y))), order_N, own_N)
                taken_n, order_N = order_N[:count], order_N[count:]
                parts[part] = take_examples(whole, taken_n, contiguous)
        if not len(order_N):
            raise InputError(
                f"data set {name}: {len(whole.y)} examples leave none to train on after the cuts "
                f"(validation_fraction={validation_fraction}, test_fraction={test_fraction}); give more data"
            )
        if kind == "classes" and whole.y.ndim == 1 and len(lost := lost_classes(whole.y, order_N)):
            names = raw.get("class_names")
            class_name = names[lost[0]] if names else lost[0]
            raise InputError(
                f"data set {name}: class {class_name!r} has no example in the training part (it has "
                f"{int((whole.y == lost[0]).sum())}); give more of it, drop it, or lower the fractions"
            )
        if train_examples is not None and train_examples > len(order_N):
            raise InputError(
                f"data.train_examples={train_examples}: data set {name} has {len(order_N)} to train on; "
                "give at most that many, or null for all"
            )
        parts["train"] = take_examples(whole, order_N[:train_examples], contiguous)

    if duplicates == "group":
        parts = drop_duplicates(parts, within=False)
        if not len(parts["train"].y):
            raise InputError(f"data set {name}: all training examples are copies of others; set data.duplicates=warn")
    elif duplicates == "warn":
        repeated = duplicate_warning(name, parts)
        notes += [repeated] if repeated else []
    identity = f"num_classes={num_outputs} normalize={normalize}"
    if kind != "classes":
        identity = f"{kind}={num_outputs} normalize={normalize} normalize_targets={normalize_targets}"
    fingerprint = _fingerprint(identity, [parts[part] for part in SPLITS], raw.get("missing", ""))
    if "missing" in raw:
        parts = impute(parts, raw["missing"])
    xs = [parts[part].x for part in SPLITS]
    columns = list(zip(*map(inputs_of, xs), strict=True))  # the three parts of each input
    tokens = [column for column in columns if column[0].dtype == torch.int64]
    large = not several and 4 * sum(map(count_numbers, columns[0])) > LARGE_BYTES
    scale = measure_scale(columns[0][0], normalize) if large and not tokens else None
    if scale is None:
        columns = [normalize_input(column, normalize) for column in columns]
        xs = [_with(x, inputs) for x, inputs in zip(xs, zip(*columns, strict=True), strict=True)]
    ys = [parts[part].y for part in SPLITS]
    target_scale = measure_target_scale(ys[0], name) if kind == "quantities" and normalize_targets else None
    if target_scale is not None:
        ys = [(y - target_scale.mean) / target_scale.std for y in ys]
    ys = [y if kind == "classes" else y.float() for y in ys]
    train, validation, test = (Split(x, y) for x, y in zip(xs, ys, strict=True))
    num_tokens = max((1 + int(chunk.max()) for column in tokens for x in column for chunk in chunks(x)), default=0)
    lengths = token_bytes(raw, num_outputs, name) if kind == "classes" else None
    per_label = {} if lengths is None else {part: lengths[parts[part].y].double().mean().item() for part in SPLITS}
    dataset = Dataset(
        name=name,
        train=train,
        validation=validation,
        test=test,
        num_outputs=num_outputs,
        fingerprint=fingerprint,
        targets=kind,
        unit=str(raw.get("unit", "")),
        target_scale=target_scale,
        num_tokens=num_tokens,
        bytes_per_label=per_label,
        scale=scale,
        notes=tuple(notes),
        summary=tuple(summarize(raw, parts, kind, num_outputs)),
    )
    _check_range(dataset, xs, normalize)
    return dataset


def _with(x: X, columns: Sequence[Tensor | DiskRows]) -> X:
    """Return the examples with other inputs."""
    if isinstance(x, MultiInput):
        return replace(x, parts=tuple(to_memory(column) for column in columns))
    return columns[0]


def _check_range(dataset: Dataset, xs: Iterable[X], normalize: bool) -> None:
    for part, x in zip(SPLITS, xs, strict=True):
        after = "normalized, " if normalize else ""
        error = InputError(f"data set {dataset.name}: {part} x, {after}leaves the range of float32; scale it before")
        for input_ in inputs_of(x):
            scaled = (dataset.inputs(rows) if dataset.scale else rows for rows in chunks(input_))
            if input_.dtype.is_floating_point and not all(all_finite(rows) for rows in scaled):  # type: ignore[arg-type]
                raise error
        if not bool(torch.isfinite(getattr(dataset, part).y).all()):
            raise InputError(f"data set {dataset.name}: {part} y leaves the range of float32; scale it before")


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
    if type(split_seed) is not int or not 0 <= split_seed < 2**32:  # torch's generator takes no more bits
        raise InputError(f"data.split_seed={split_seed}: must be ≥ 0, < 2**32 and whole")
    if not isinstance(normalize, bool):
        raise InputError(f"data.normalize={normalize}: must be true or false")
    if train_examples is not None and not (type(train_examples) is int and train_examples >= 1):
        raise InputError(f"data.train_examples={train_examples}: must be ≥ 1 and whole, or null for all")


def _fingerprint(identity: str, splits: Iterable[Split], missing: str) -> str:
    lacking = f" missing={missing}" if missing else ""
    digest = hashlib.sha256(f"{identity}{lacking}".encode())
    for x, y in splits:
        if isinstance(x, MultiInput):
            digest.update(f"|inputs={x.names or len(x.parts)}".encode())
        for tensor in (*inputs_of(x), y):
            digest.update(f"|{dtype_name(tensor)}{tuple(tensor.shape)}|".encode())
            for chunk in chunks(tensor):
                digest.update(chunk.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
