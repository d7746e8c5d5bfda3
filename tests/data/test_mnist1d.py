from __future__ import annotations

import inspect
import random
import sys

import numpy as np
import pytest

from adamcmp.data.mnist1d import mnist1d
from adamcmp.errors import InputError


def test_shapes_parts_and_dtype():
    raw = mnist1d(num_samples=100)
    (x, y), (x_test, y_test) = raw["train"], raw["test"]
    assert x.shape == (80, 1, 40)
    assert x_test.shape == (20, 1, 40)
    assert x.dtype == np.float32
    assert np.bincount(np.concatenate([y, y_test])).tolist() == [10] * 10
    assert raw["num_classes"] == 10


def test_same_seed_same_curves_and_the_callers_random_streams_go_on_untouched():
    random.seed(5)
    np.random.seed(5)
    expected = [random.random(), np.random.rand(), random.random(), np.random.rand()]
    random.seed(5)
    np.random.seed(5)
    found = [random.random(), np.random.rand()]
    first = mnist1d(num_samples=50)
    found += [random.random(), np.random.rand()]
    assert found == expected
    np.random.seed(99)
    again, other = mnist1d(num_samples=50), mnist1d(num_samples=50, seed=43)
    assert np.array_equal(first["train"][0], again["train"][0])
    assert not np.array_equal(first["train"][0], other["train"][0])


def test_streams_are_restored_when_the_package_fails(monkeypatch):
    from mnist1d import data as package

    def fail(args):
        np.random.seed(0)
        raise RuntimeError("boom")

    monkeypatch.setattr(package, "make_dataset", fail)
    np.random.seed(5)
    expected = np.random.rand()
    np.random.seed(5)
    with pytest.raises(RuntimeError, match="boom"):
        mnist1d(num_samples=50)
    assert np.random.rand() == expected


def test_defaults_are_those_of_the_published_set():
    from mnist1d.data import get_dataset_args

    published = get_dataset_args(as_dict=True)
    for name, parameter in inspect.signature(mnist1d).parameters.items():
        assert parameter.default == published[name], name


def test_every_keyword_reaches_the_package():
    base = mnist1d(num_samples=50)["train"][0]
    for change in ({"corr_noise_scale": 0.5}, {"iid_noise_scale": 0.2}, {"shuffle_seq": True}):
        assert not np.array_equal(base, mnist1d(num_samples=50, **change)["train"][0]), change
    assert len(mnist1d(num_samples=50, train_split=0.6)["train"][0]) == 30


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mnist1d", None)
    monkeypatch.delitem(sys.modules, "mnist1d.data", raising=False)
    with pytest.raises(InputError, match=r"pip install mnist1d"):
        mnist1d(num_samples=50)


@pytest.mark.parametrize(
    "bad",
    [
        {"num_samples": 0},
        {"num_samples": 55},
        {"seed": -1},
        {"seed": 2**32},
        {"train_split": 1.0},
        {"train_split": 0.001, "num_samples": 50},
        {"corr_noise_scale": -1},
    ],
)
def test_bad_keywords_are_named(bad):
    name, value = next(iter(bad.items()))
    with pytest.raises(InputError, match=f"data.{name}={value}"):
        mnist1d(**bad)
