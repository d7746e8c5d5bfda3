"""`prepare`: what is cut, what is normalised by what, what enters the fingerprint, what is refused."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adamcmp.data import Dataset, RawData, make_dataset
from adamcmp.errors import InputError


def numbered(n: int, start: int = 0, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Examples that can be told apart: feature 0 is the example's number, which also gives its label."""
    number_N = torch.arange(start, start + n)
    x_ND = torch.stack([number_N.double(), (number_N**2).double()], dim=1)
    return x_ND, number_N % classes


def numbers(dataset: Dataset, part: str) -> list[int]:
    return [int(v) for v in getattr(dataset, part).x[:, 0]]


def as_given(raw: RawData, **options: object) -> Dataset:
    return make_dataset(raw, name="own", normalize=False, **options)  # type: ignore[arg-type]  # options of many types


@settings(max_examples=50, deadline=None)
@given(
    n=st.integers(3, 80),
    fractions=st.tuples(st.floats(0.01, 0.45), st.floats(0.01, 0.45)),
    seed=st.integers(0, 2**32 - 1),
    given_test=st.booleans(),
    given_validation=st.booleans(),
)
def test_parts_are_disjoint_exhaustive_and_keep_their_labels(n, fractions, seed, given_test, given_validation):
    raw: RawData = {"train": numbered(n, classes=1), "num_classes": 2}
    if given_test:
        raw["test"] = numbered(5, start=1000, classes=1)
    if given_validation:
        raw["validation"] = numbered(4, start=2000, classes=1)
    options = {"validation_fraction": fractions[0], "test_fraction": fractions[1], "split_seed": seed}
    cut = zip(fractions, (given_validation, given_test), strict=True)
    if sum(max(1, round(fraction * n)) for fraction, given in cut if not given) >= n:
        with pytest.raises(InputError, match="leave none to train on"):
            as_given(raw, **options)
        return
    dataset = as_given(raw, **options)

    everything = [numbers(dataset, part) for part in ("train", "validation", "test")]
    expected = [*range(n), *(range(1000, 1005) if given_test else ()), *(range(2000, 2004) if given_validation else ())]
    assert sorted(chain.from_iterable(everything)) == expected
    for part, found in zip(("train", "validation", "test"), everything, strict=True):
        assert found
        assert getattr(dataset, part).y.tolist() == [0 for _ in found]
    if given_test:
        assert everything[2] == list(range(1000, 1005))
    else:
        assert len(everything[2]) == max(1, round(n * fractions[1]))
    if given_validation:
        assert everything[1] == list(range(2000, 2004))
    else:
        assert len(everything[1]) == max(1, round(n * fractions[0]))


def test_both_fractions_are_of_what_was_given():
    dataset = as_given({"train": numbered(100)}, validation_fraction=0.2, test_fraction=0.3)
    assert [len(numbers(dataset, part)) for part in ("train", "validation", "test")] == [50, 20, 30]


def test_cuts_follow_the_split_seed_and_nothing_else():
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state()
    first = as_given({"train": numbered(60)}, split_seed=7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = as_given({"train": numbered(60)}, split_seed=7)
    other = as_given({"train": numbered(60)}, split_seed=8)
    assert numbers(first, "test") == numbers(again, "test")
    assert numbers(first, "train") == numbers(again, "train")
    assert first.fingerprint == again.fingerprint
    assert set(numbers(first, "test")) != set(numbers(other, "test"))


def test_parts_that_are_all_given_keep_their_order():
    raw: RawData = {"train": numbered(9), "validation": numbered(3, 100), "test": numbered(3, 200)}
    assert numbers(as_given(raw), "train") == list(range(9))


@pytest.mark.parametrize("all_given", [False, True])
def test_fewer_training_examples_are_a_subset_with_the_same_other_parts(all_given):
    raw: RawData = {"train": numbered(60)}
    if all_given:
        raw |= {"validation": numbered(3, 100), "test": numbered(3, 200)}
    small, larger = as_given(raw, train_examples=5), as_given(raw, train_examples=20)
    assert len(numbers(small, "train")) == 5
    assert numbers(larger, "train")[:5] == numbers(small, "train")
    assert numbers(small, "train") != list(range(5))  # a random choice, not the head of a sorted file
    for part in ("validation", "test"):
        assert numbers(small, part) == numbers(larger, part) == numbers(as_given(raw), part)


def test_train_examples_may_take_all_but_not_more():
    raw: RawData = {"train": numbered(60)}
    assert len(as_given(raw, train_examples=42).train.y) == 42
    with pytest.raises(InputError, match=r"data\.train_examples=43: data set own has 42 to train on"):
        as_given(raw, train_examples=43)


def test_normalisation_takes_training_statistics_only():
    train = (torch.randn(50, 3, dtype=torch.float64) * 5 + 2, torch.arange(50) % 2)
    held_out = (torch.randn(20, 3), torch.arange(20) % 2)
    plain: RawData = {"train": (train[0].float(), train[1]), "validation": held_out, "test": held_out}
    shifted = plain | {"validation": (held_out[0] * 9 + 4, held_out[1]), "test": (held_out[0] - 50, held_out[1])}
    one, two = make_dataset(plain, name="own"), make_dataset(shifted, name="own")
    assert torch.equal(one.train.x, two.train.x)
    assert not torch.equal(one.test.x, two.test.x)
    mean_D, std_D = plain["train"][0].mean(0), plain["train"][0].std(0, correction=0)
    torch.testing.assert_close(one.train.x.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(one.train.x.std(0, correction=0), torch.ones(3))
    torch.testing.assert_close(two.test.x, (shifted["test"][0] - mean_D) / std_D)


def test_statistics_are_taken_after_the_cut():
    x_N1, y_N = torch.randn(40, 1), torch.arange(40) % 2
    cut = as_given({"train": (x_N1, y_N)}, train_examples=10)
    normal = make_dataset({"train": (x_N1, y_N)}, name="own", train_examples=10)
    mean, std = cut.train.x.mean(), cut.train.x.std(correction=0)
    for part in ("train", "validation", "test"):
        torch.testing.assert_close(getattr(normal, part).x, (getattr(cut, part).x - mean) / std)


def test_pictures_are_normalised_by_channel_and_constant_features_stay_finite():
    x_NCHW = torch.randint(0, 256, (30, 3, 4, 5), dtype=torch.uint8)
    x_NCHW[:, 2] = 200
    raw: RawData = {"train": (x_NCHW, torch.arange(30) % 2)}
    x = make_dataset(raw, name="own").train.x
    assert x.dtype == torch.float32
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3), correction=0), torch.tensor([1.0, 1.0, 0.0]))
    assert not x[:, 2].any()
    # One mean and one std for a whole channel, not one for each of its places.
    pixels = as_given(raw).train.x[:, 0].double()
    expected = (pixels - pixels.mean()) / pixels.std(correction=0)
    torch.testing.assert_close(x[:, 0], expected.float())


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_features_in_any_unit_are_normalised(scale):
    x_ND = torch.randn(30, 2)
    y_N = torch.arange(30) % 2
    units = make_dataset({"train": (x_ND * scale, y_N)}, name="own")
    torch.testing.assert_close(units.train.x, make_dataset({"train": (x_ND, y_N)}, name="own").train.x)


def test_what_is_left_unnormalised():
    y_N = torch.arange(10) % 2
    pixels = torch.arange(0, 250, 25, dtype=torch.uint8).reshape(10, 1)
    raw: RawData = {"train": (pixels, y_N), "validation": (pixels, y_N), "test": (pixels, y_N)}
    torch.testing.assert_close(as_given(raw).train.x, pixels.float() / 255)
    tokens = torch.arange(20).reshape(10, 2)
    for normalize in (True, False):
        dataset = make_dataset({"train": (tokens, y_N)}, name="own", normalize=normalize)
        assert dataset.train.x.dtype == torch.int64
        assert sorted(torch.cat([dataset.train.x, dataset.validation.x, dataset.test.x])[:, 0].tolist()) == list(
            range(0, 20, 2)
        )


def test_numpy_in_any_layout_gives_what_torch_gives():
    x_ND, y_N = numbered(20)
    expected = as_given({"train": (x_ND, y_N)})
    swapped = x_ND.numpy().astype(">f8")
    backwards = np.ascontiguousarray(x_ND.numpy()[::-1])[::-1]
    frozen = x_ND.numpy().copy()
    frozen.flags.writeable = False
    for array in (swapped, backwards, frozen, np.asfortranarray(x_ND.numpy())):
        dataset = as_given({"train": (array, y_N.numpy().astype(np.uint8))})
        assert torch.equal(dataset.train.x, expected.train.x)
        assert dataset.train.y.dtype == torch.int64
        assert dataset.fingerprint == expected.fingerprint


def bases(x: torch.Tensor, y: torch.Tensor) -> RawData:
    return {"train": (x, y), "validation": (x + 1, y), "test": (x + 2, y), "num_classes": 4}


@settings(max_examples=40, deadline=None)
@given(
    part=st.sampled_from(["train", "validation", "test"]),
    letter=st.integers(0, 1),
    row=st.integers(0, 7),
    column=st.integers(0, 2),
    bit=st.integers(0, 7),
)
def test_any_changed_bit_changes_the_fingerprint(part, letter, row, column, bit):
    x_ND = torch.arange(24, dtype=torch.uint8).reshape(8, 3)
    raw = bases(x_ND, torch.arange(8) % 2)
    before = make_dataset(raw, name="own").fingerprint
    x, y = (tensor.clone() for tensor in raw[part])
    if letter:
        y[row] ^= 1 << (bit % 2)
    else:
        x[row, column] ^= 1 << bit
    after = make_dataset(raw | {part: (x, y)}, name="own").fingerprint
    assert before != after
    assert len(before) == 16
    int(before, 16)


def test_the_fingerprint_names_shape_dtype_classes_and_normalisation_but_not_the_name():
    x_ND = torch.arange(24, dtype=torch.uint8).reshape(8, 3)
    y_N = torch.arange(8) % 2
    raw = bases(x_ND, y_N)
    variants: list[RawData] = [
        raw,
        raw | {"num_classes": 5},
        bases(x_ND.reshape(8, 1, 3), y_N),
        bases(x_ND.long(), y_N),
        raw | {"test": raw["validation"], "validation": raw["test"]},
    ]
    prints = [make_dataset(variant, name="own", normalize=n).fingerprint for variant in variants for n in (True, False)]
    assert len(set(prints)) == len(prints)
    assert make_dataset(raw, name="other").fingerprint == prints[0]


def test_rounding_in_the_normalisation_leaves_the_fingerprint(monkeypatch):
    raw: RawData = {"train": numbered(30)}
    before = make_dataset(raw, name="own")
    exact = torch.std_mean
    monkeypatch.setattr(torch, "std_mean", lambda *a, **k: tuple(t * (1 + 1e-6) for t in exact(*a, **k)))
    rounded = make_dataset(raw, name="own")
    assert not torch.equal(before.train.x, rounded.train.x)
    assert before.fingerprint == rounded.fingerprint


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=2),
        min_size=5,
        max_size=20,
    )
)
def test_finite_features_come_out_finite_or_are_refused(rows):
    raw: RawData = {"train": (torch.tensor(rows), torch.arange(len(rows)) % 2), "num_classes": 2}
    try:
        dataset = make_dataset(raw, name="own")
    except InputError:
        sizes = [abs(v) for row in rows for v in row if v]
        assert max(sizes) > 1e30 or min(sizes) < 1e-30 or max(sizes) / min(sizes) > 1e30
        return
    assert all(torch.isfinite(getattr(dataset, part).x).all() for part in ("train", "validation", "test"))


def test_a_std_beyond_its_type_is_refused_and_not_turned_into_zeros():
    x_N1 = torch.tensor([[1e200], [-1e200], [3e200], [2e200], [0.0]], dtype=torch.float64)
    with pytest.raises(InputError, match="leaves the range of float32"):
        make_dataset({"train": (x_N1, torch.tensor([0, 1, 0, 1, 0]))}, name="own")


def test_num_classes_defaults_to_the_largest_label_of_all_parts():
    x, y = torch.zeros(4, 1), torch.tensor([0, 1, 0, 1])
    assert make_dataset({"train": (x, y), "test": (x, y + 2)}, name="own").num_outputs == 4
    assert make_dataset({"train": (x, y), "num_classes": np.int64(7)}, name="own").num_outputs == 7  # type: ignore[typeddict-item]  # what NumPy gives


def test_input_shape_and_moving():
    dataset = make_dataset({"train": (torch.zeros(10, 3, 4, 5), torch.arange(10) % 2)}, name="own")
    assert dataset.input_shape == (3, 4, 5)
    moved = dataset.to("meta")
    assert {t.device.type for part in (moved.train, moved.validation, moved.test) for t in part} == {"meta"}
    assert moved.fingerprint == dataset.fingerprint
    assert dataset.train.x.device.type == "cpu"


def test_sequence_targets_are_allowed():
    tokens = torch.randint(0, 7, (20, 6))
    dataset = make_dataset({"train": (tokens, tokens), "num_classes": 7}, name="own")
    assert dataset.train.y.shape == (14, 6)


X, Y = torch.zeros(6, 2), torch.tensor([0, 1, 2, 0, 1, 2])
REFUSED = {
    "no mapping": ([X, Y], "the data function returned list; return a dict"),
    "no train": ({"test": (X, Y)}, "no train part"),
    "typo": ({"train": (X, Y), "tset": (X, Y)}, "unknown key 'tset'; did you mean test?"),
    "no pair": ({"train": X}, r"train is Tensor; give a pair \(x, y\)"),
    "three": ({"train": (X, Y, Y)}, r"train is tuple; give a pair"),
    "a list": ({"train": ([[1.0]], Y)}, r"train x\[0\] is list; give a torch tensor or a numpy array"),
    "strings": ({"train": (np.array([["a"]]), Y)}, "train x is an array of <U1"),
    "lengths": ({"train": (X, Y[:5])}, r"x has shape \(6, 2\) and y has shape \(5,\); give one target"),
    "scalar y": ({"train": (X, torch.tensor(1))}, r"y has shape \(\); give one target"),
    "empty": ({"train": (X[:0], Y[:0])}, r"train x has shape \(0, 2\)"),
    "no feature": ({"train": (torch.zeros(6), Y)}, r"train x has shape \(6,\)"),
    "column of labels": ({"train": (X, Y[:, None])}, r"y has shape \(6, 1\); give labels of shape \(6,\)"),
    "x bool": ({"train": (X.bool(), Y)}, "train x is bool; give uint8"),
    "x int32": ({"train": (X.int(), Y)}, "train x is int32; give uint8"),
    "x complex": ({"train": (X.to(torch.complex64), Y)}, "train x is complex64"),
    "x long double": ({"train": (X.numpy().astype(np.longdouble), Y)}, "which torch lacks"),
    "y float": ({"train": (X, Y.float())}, "y holds 3 different whole numbers as float32; give integers for classes"),
    "y float as classes": ({"train": (X, Y + 0.5), "targets": "classes"}, "train y is float32; give integer labels"),
    "no kind of targets": (
        {"train": (X, Y), "targets": "ranks"},
        "targets='ranks'; known: classes, labels, quantities",
    ),
    "labels of 2": ({"train": (X, X + 2), "targets": "labels"}, "train y holds other values than 0 and 1"),
    "label in one row": ({"train": (X, Y), "targets": "labels"}, r"int64 of shape \(6,\); labels have shape \(N, L\)"),
    "quantity not finite": ({"train": (X, X[:, 0] / 0)}, "train y holds values that are not finite"),
    "classes of quantities": (
        {"train": (X, X + 0.5), "num_classes": 3},
        "num_classes and token_bytes are of classes",
    ),
    "nothing in x": ({"train": ((), Y)}, "train x is empty; give an array, or a tuple or dict of arrays"),
    "one of several": (
        {"train": ({"a": X, "b": X[:5]}, Y)},
        r'train x\["b"\] has shape \(5, 2\) and y has shape \(6,\)',
    ),
    "other names": (
        {"train": ({"a": X, "b": X}, Y), "test": ({"a": X, "c": X}, Y)},
        "x holds other inputs in test than in train",
    ),
    "more inputs": ({"train": ((X, X), Y), "test": ((X,), Y)}, "x holds more inputs in one of test and train"),
    "y bool": ({"train": (X, Y.bool())}, "train y is bool"),
    "nan": ({"train": (X / 0, Y)}, "train x holds values that are not finite"),
    "nan in test": ({"train": (X, Y), "test": (X + torch.inf, Y)}, "test x holds values that are not finite"),
    "negative label": ({"train": (X, Y - 1)}, "train labels run from -1 to 1, allowed are 0 to 1"),
    "label too large": ({"train": (X, Y), "num_classes": 2}, "train labels run from 0 to 2, allowed are 0 to 1"),
    "test label": ({"train": (X, Y), "test": (X, Y + 1), "num_classes": 3}, "test labels run from 1 to 3"),
    "one class": ({"train": (X, Y * 0)}, "num_classes=1; a classifier needs at least 2"),
    "classes as text": ({"train": (X, Y), "num_classes": "3"}, "num_classes='3'; give a whole number"),
    "shapes": ({"train": (X, Y), "test": (X[:, :1], Y)}, r"shape \(1,\) in test but float32 of shape \(2,\) in train"),
    "dtypes": ({"train": (X, Y), "validation": (X.double(), Y)}, "x is float64 of shape .* in validation but float32"),
    "too few": ({"train": (X[:2], Y[:2])}, "2 examples leave none to train on"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_data_is_refused_in_one_line_that_names_the_data_set(case):
    raw, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as caught:
        make_dataset(raw, name="mine")
    assert str(caught.value).startswith("data set mine: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((f"{part}_fraction", v) for part in ("validation", "test") for v in (0, 1, -0.1, 1.5, float("nan"), "0.1")),
        *(("split_seed", v) for v in (-1, 2**32, 5 + 2**32, 0.5, True)),
        *(("train_examples", v) for v in (0, -3, 2.5, True)),
        ("normalize", "false"),
    ],
)
def test_bad_options_are_refused_with_key_and_value(option, value):
    with pytest.raises(InputError, match=rf"^data\.{option}={value}: must be "):
        make_dataset({"train": (X, Y)}, name="mine", **{option: value})


def test_a_setting_has_the_last_word_on_what_targets_are():
    x, y = torch.arange(60.0).view(30, 2), torch.arange(30) % 3
    raw = {"train": (x, y), "num_classes": 3}
    assert make_dataset(raw, name="mine").targets == "classes"
    quantities = make_dataset(raw, name="mine", targets="quantities", normalize_targets=False)
    assert (quantities.targets, quantities.num_outputs, quantities.train.y.shape) == ("quantities", 1, (21, 1))
    assert quantities.fingerprint != make_dataset(raw, name="mine").fingerprint


def test_several_inputs_are_cut_and_normalised_together():
    a, b = torch.arange(60.0).view(30, 2), torch.arange(90).view(30, 3)
    dataset = make_dataset({"train": ({"a": a, "b": b}, torch.arange(30) % 3)}, name="mine")
    own = dataset.train.x.parts
    scale = torch.std_mean(own[0], dim=0, correction=0)
    torch.testing.assert_close(scale[0], torch.ones(2))
    assert own[1].dtype == torch.int64
    rows = own[1][:, 0] // 3  # which example each was
    assert torch.equal(dataset.train.y, rows % 3)
    parts = [dataset.train, dataset.validation, dataset.test]
    assert sorted(torch.cat([part.x.parts[1][:, 0] // 3 for part in parts]).tolist()) == list(range(30))
    swapped = make_dataset({"train": ({"b": b, "a": a}, torch.arange(30) % 3)}, name="mine")
    assert swapped.fingerprint != dataset.fingerprint
    twice = make_dataset({"train": ((a, a), torch.arange(30) % 3)}, name="mine", duplicates="drop")
    assert len(twice.train.y) + len(twice.validation.y) + len(twice.test.y) == 30
