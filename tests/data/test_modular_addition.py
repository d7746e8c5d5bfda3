from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adamcmp.data import make_dataset
from adamcmp.data.modular_addition import modular_addition
from adamcmp.errors import InputError

PARTS = ("train", "validation", "test")


@settings(max_examples=30, deadline=None)
@given(p=st.integers(3, 25), fraction=st.floats(0.1, 0.7), seed=st.integers(0, 1000))
def test_every_pair_is_in_one_part_with_its_sum(p, fraction, seed):
    raw = modular_addition(p=p, train_fraction=fraction, seed=seed)
    pairs = []
    for part in PARTS:
        x, y = raw[part]
        assert x.dtype == y.dtype == torch.int64
        for (a, b), total in zip(x.tolist(), y.tolist(), strict=True):
            pairs.append((a, b))
            assert total == (a + b) % p
    assert sorted(pairs) == [(a, b) for a in range(p) for b in range(p)]
    n_train, n_validation, n_test = (len(raw[part][1]) for part in PARTS)
    assert n_train == round(fraction * p * p)
    assert 0 <= n_test - n_validation <= 1
    assert raw["num_classes"] == p


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_of_more_bits_than_the_generator_takes_is_refused(seed):
    with pytest.raises(InputError, match=f"^data.seed={seed}: must be"):
        modular_addition(seed=seed)


def test_the_seed_alone_decides_who_goes_where():
    torch.manual_seed(0)
    first = modular_addition(seed=3)
    torch.manual_seed(1)
    assert torch.equal(first["train"][0], modular_addition(seed=3)["train"][0])
    assert not torch.equal(first["train"][0], modular_addition(seed=4)["train"][0])
    assert [len(first[part][1]) for part in PARTS] == [1740, 870, 871]


def test_tokens_pass_prepare_unchanged():
    raw = modular_addition(p=7)
    dataset = make_dataset(raw, name="modular_addition")
    for part in PARTS:
        assert torch.equal(getattr(dataset, part).x, raw[part][0])
    assert dataset.input_shape == (2,)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"p": 1}, r"data\.p=1: must be ≥ 2"),
        ({"p": 7.5}, r"data\.p=7\.5: must be ≥ 2 and whole"),
        ({"seed": -1}, r"data\.seed=-1"),
        ({"train_fraction": 0.0}, r"data\.train_fraction=0\.0: must be > 0"),
        ({"train_fraction": 1}, r"data\.train_fraction=1: must be > 0"),
        ({"train_fraction": 0.9, "p": 2}, "is empty; take a larger p"),
        ({"train_fraction": 0.1, "p": 2}, "is empty; take a larger p"),
    ],
)
def test_bad_keywords_are_named(bad, message):
    with pytest.raises(InputError, match=message):
        modular_addition(**bad)
