"""Labels that do not count from 0, the majority's error, and values that a table lacks."""

import numpy as np
import pandas as pd
import pytest
import torch

from adamcmp.data import make_dataset
from adamcmp.data.table import table
from adamcmp.engine.loading import dataset_metadata
from adamcmp.errors import InputError

X = torch.arange(24, dtype=torch.float32).view(12, 2)


@pytest.mark.parametrize(
    ("labels", "says"), [([1, 2, 3] * 4, "from 1 to 3, and 0 never"), ([0, 2, 5] * 4, "from 0 to 5, and 1, 3, 4 never")]
)
def test_labels_with_a_gap_are_one_clear_line(labels, says):
    with pytest.raises(InputError, match=says):
        make_dataset({"train": (X, torch.tensor(labels))}, name="mine")
    dataset = make_dataset({"train": (X, torch.tensor(labels)), "num_classes": 6}, name="mine")
    assert dataset.num_outputs == 6


def test_the_error_of_the_majority_is_that_of_trainings_most_common_class():
    parts = {
        "train": (X[:6], torch.tensor([0, 1, 1, 1, 2, 0])),
        "validation": (X[6:8], torch.tensor([1, 2])),
        "test": (X[8:12], torch.tensor([1, 0, 0, 0])),
    }
    assert dataset_metadata(make_dataset(parts, name="mine")).baselines == {
        "error_rate": {"validation": 0.5, "test": 0.75}
    }


def frame(**columns):
    count = 40
    rng = np.random.default_rng(0)
    base = {"a": rng.normal(size=count), "b": rng.normal(size=count), **columns, "y": np.arange(count) % 2}
    return pd.DataFrame(base)


def test_all_problems_come_in_one_line(tmp_path):
    holes = frame(c=[None, *range(39)], day=["01/02/2024"] * 40, city=[f"town {i}" for i in range(40)] * 1)
    holes = pd.concat([holes] * 3, ignore_index=True).assign(city=[f"town {i % 110}" for i in range(120)])
    holes.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError) as caught:
        table(tmp_path / "t.csv")
    text = str(caught.value)
    for says in (
        "'c' has missing values (3 of 120 rows)",
        "data.missing=median",
        "'day' holds dates, such as '01/02/2024'",
        "'city' holds",
    ):
        assert says in text
    assert "\n" not in text


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_dates_are_days(tmp_path, kind):
    days = pd.date_range("2024-01-01", periods=40, freq="12h")
    dated = frame(day=days if kind == "parquet" else days.strftime("%Y-%m-%dT%H:%M"))
    path = tmp_path / f"t.{kind}"
    dated.to_parquet(path) if kind == "parquet" else dated.to_csv(path, index=False)
    x, _ = table(path)["train"]
    np.testing.assert_allclose(x[:, 2], 19723 + np.arange(40) / 2)


def test_missing_values_are_filled_from_the_training_part_alone(tmp_path):
    holes = frame(c=[1000.0] * 40)
    holes.loc[::4, "c"] = None
    holes.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError, match=r"'c' has missing values \(10 of 40 rows\).*data.missing=median .*=indicator"):
        table(tmp_path / "t.csv")
    with pytest.raises(InputError, match=r"data.missing=mean: not known"):
        table(tmp_path / "t.csv", missing="mean")
    plain = make_dataset(table(tmp_path / "t.csv", missing="median"), name="t", normalize=False)
    told = make_dataset(table(tmp_path / "t.csv", missing="indicator"), name="t", normalize=False)
    assert plain.input_shape == (3,)
    assert told.input_shape == (4,)
    assert plain.fingerprint != told.fingerprint
    for part in ("train", "validation", "test"):
        x = getattr(plain, part).x
        assert (x[:, 2] == 1000).all()
        assert set(getattr(told, part).x[:, 3].tolist()) <= {0.0, 1.0}
    assert sum(getattr(told, part).x[:, 3].sum() for part in ("train", "validation", "test")) == 10


def test_the_median_is_not_that_of_the_test_part():
    nan = float("nan")
    raw = {
        "train": (torch.tensor([[1.0], [3.0], [nan], [2.0]]), torch.tensor([0, 1, 0, 1])),
        "validation": (torch.tensor([[nan], [900.0]]), torch.tensor([0, 1])),
        "test": (torch.tensor([[nan], [900.0]]), torch.tensor([0, 1])),
        "missing": "median",
    }
    dataset = make_dataset(raw, name="mine", normalize=False)
    assert dataset.train.x.flatten().tolist() == [1, 3, 2, 2]
    assert dataset.test.x.flatten().tolist() == [2, 900]


def test_missing_text_is_a_category_and_a_missing_label_is_refused(tmp_path):
    texts = frame(kind=["a", "b", None, "a"] * 10)
    texts.to_csv(tmp_path / "t.csv", index=False)
    x, _ = table(tmp_path / "t.csv", missing="median")["train"]
    assert x.shape == (40, 5)
    assert (x[:, 2:].sum(1) == 1).all()
    texts.assign(y=texts["y"].where(texts.index > 0)).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError, match=r"label column 'y' has missing values \(1 of 40 rows\)"):
        table(tmp_path / "t.csv", missing="median")
