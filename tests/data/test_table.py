"""Tables as a user would have them, written here: what becomes a feature, what a label, and what is refused."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
import torch

from adamcmp.data import make_dataset
from adamcmp.data.table import table
from adamcmp.errors import InputError

FRAME = pd.DataFrame(
    {
        "size": [1, 2, 3, 4, 5, 6],
        "weight": [0.5, 1.5, 2.5, 3.5, 4.5, 5.5],
        "colour": ["red", "blue", "red", "green", "blue", "red"],
        "wild": [True, False, True, False, True, False],
        "kind": ["cat", "dog", "cat", "dog", "cat", "dog"],
    }
)


def write(path, frame=FRAME):
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_columns_become_features_and_labels(tmp_path, name):
    raw = table(write(tmp_path / name))
    x_ND, y_N = raw["train"]
    assert raw["num_classes"] == 2
    assert y_N.tolist() == [0, 1, 0, 1, 0, 1]
    expected = [
        [1, 0.5, 1, 0, 0, 1],
        [2, 1.5, 0, 1, 0, 0],
        [3, 2.5, 1, 0, 0, 1],
    ]  # size, weight, wild, blue, green, red
    assert x_ND.dtype == np.float64
    assert x_ND[:3].tolist() == expected
    assert make_dataset(raw, name="t", validation_fraction=0.2).input_shape == (6,)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_semicolons_and_tabs_separate_too(tmp_path, separator):
    rows = ["a,b,kind", *(f"{i},{i * i},{'yes' if i % 2 else 'no'}" for i in range(6))]
    (tmp_path / "t.csv").write_text("\ufeff" + "\n".join(rows).replace(",", separator), encoding="utf-8")
    x, y = table(tmp_path / "t.csv")["train"]
    assert x.tolist() == [[i, i * i] for i in range(6)]
    assert y.tolist() == [0, 1, 0, 1, 0, 1]


def test_a_label_may_be_any_column_of_classes(tmp_path):
    raw = table(write(tmp_path / "t.csv"), label="colour")
    assert raw["train"][1].tolist() == [2, 0, 2, 1, 0, 2]
    assert raw["train"][0].shape == (6, 5)


def test_a_test_file_is_the_test_part_and_shares_its_categories(tmp_path):
    write(tmp_path / "train.csv")
    write(tmp_path / "test.csv", FRAME[FRAME["colour"] == "green"])
    raw = table(tmp_path / "train.csv", test_path=tmp_path / "test.csv")
    assert raw["train"][0].shape == (6, 6)
    assert raw["test"][0].tolist() == [[4, 3.5, 0, 0, 1, 0]]
    assert raw["test"][1].tolist() == [1]


def test_arrays_are_taken_as_they_are(tmp_path):
    x, y = np.arange(24, dtype=np.float64).reshape(6, 4), np.array([0, 1, 2, 0, 1, 2])
    np.savez(tmp_path / "a.npz", x=x, y=y, x_test=x[:2], y_test=y[:2])
    raw = table(tmp_path / "a.npz")
    assert np.array_equal(raw["train"][0], x)
    assert np.array_equal(raw["test"][1], y[:2])


REFUSED = {
    "no path": ({"path": None}, r"^data\.path is not set; give a table: data\.path=my\.csv"),
    "no file": ({"path": "nowhere.csv"}, r"^data\.path=nowhere\.csv: no such file"),
    "no array": ({"path": "nowhere.npz"}, r"^data\.path=nowhere\.npz: no such file"),
    "kind": ({"path": "t.xlsx"}, r"^data\.path=t\.xlsx: must end in \.csv"),
    "label": ({"label": "kid"}, r"^data\.label=kid: .*t\.csv has no such column; did you mean kind\?"),
    "text as quantity": ({"label": "kind", "targets": "quantities"}, r"data\.label=kind: holds text, such as"),
    "names": ({"label": "size"}, r"data\.label=size: 6 different labels in 6 rows"),
    "test file": ({"test_path": "nowhere.csv"}, r"^data\.test_path=nowhere\.csv: no such file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_settings_are_refused_in_one_line(tmp_path, case):
    arguments, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        table(**{"path": write(tmp_path / "t.csv")} | arguments)


BROKEN = {
    "empty": ("", "cannot be read as .csv"),
    "header only": ("a,b\n", "0 rows and 2 columns"),
    "one column": ("a\n1\n2\n", "2 rows and 1 columns"),
    "ragged": ("a,b\n1,2\n3,4,5,6\n", "cannot be read as .csv"),
    "missing": ("a,b\n1,x\n,y\n3,x\n4,y\n", r"column 'a' has missing values \(1 of 4 rows\): set data.missing=median"),
    "one class": ("a,b\n1,x\n2,x\n", "all rows have the label 'x'"),
    "names": ("a,b\n" + "".join(f"name{i},{i % 2}\n" for i in range(300)), "300 different values, more than 100"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_tables_are_refused_in_one_line(tmp_path, case):
    written, message = BROKEN[case]
    (tmp_path / "t.csv").write_text(written)
    with pytest.raises(InputError, match=message) as caught:
        table(tmp_path / "t.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["t.csv.gz", "t.parquet", "t.npz"])
def test_truncated_files_are_refused_in_one_line(tmp_path, name):
    np.savez(tmp_path / "t.npz", x=np.zeros((100, 9)), y=np.arange(100) % 2)
    write(tmp_path / "t.parquet")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(FRAME.to_csv().encode()))
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cannot be read as"):
        table(tmp_path / name)


def test_other_columns_in_the_test_file_and_arrays_of_other_names_are_refused(tmp_path):
    write(tmp_path / "train.csv")
    write(tmp_path / "test.csv", FRAME.drop(columns="size"))
    with pytest.raises(InputError, match=r"test.csv: other columns than .*train.csv"):
        table(tmp_path / "train.csv", test_path=tmp_path / "test.csv")
    np.savez(tmp_path / "a.npz", features=np.zeros((4, 2)))
    with pytest.raises(InputError, match="has no array 'x' but features; save it as"):
        table(tmp_path / "a.npz")
    with pytest.raises(InputError, match="leave them out"):
        table(tmp_path / "a.npz", label="y")


HOUSES = pd.DataFrame({
    "area": [50.5, 80.0, 120.0, 65.0, 33.0, 90.0] * 4,
    "garden": [0, 1, 1, 0, 0, 1] * 4,
    "balcony": [1, 1, 0, 0, 1, 0] * 4,
    "rooms": list(range(1, 25)),
    "price": [100.5, 200.0, 350.25, 120.0, 80.0, 210.0] * 4,
})  # fmt: skip


@pytest.fixture(params=["csv", "parquet"])
def houses(request, tmp_path):
    path = tmp_path / f"houses.{request.param}"
    HOUSES.to_csv(path, index=False) if request.param == "csv" else HOUSES.to_parquet(path)
    return path


def test_fractions_are_quantities_and_whole_numbers_where_that_is_said(houses):
    raw = table(houses, unit="k€")
    dataset = make_dataset(raw, name="houses")
    assert (dataset.targets, dataset.num_outputs, dataset.unit) == ("quantities", 1, "k€")
    mean, std = dataset.target_scale
    told = torch.cat([dataset.train.y, dataset.validation.y, dataset.test.y]) * std + mean
    assert sorted(told.flatten().tolist()) == pytest.approx(sorted(HOUSES["price"]))
    assert abs(dataset.train.y.mean()) < 1e-6
    plain = make_dataset(raw, name="houses", normalize_targets=False)
    assert plain.target_scale is None
    assert plain.fingerprint != dataset.fingerprint
    with pytest.raises(InputError, match=r"24 different labels in 24 rows.*or set data\.targets=quantities"):
        table(houses, label="rooms")
    assert table(houses, label="rooms", targets="quantities")["train"][1].tolist() == [[each] for each in range(1, 25)]


def test_several_columns_are_labels_or_quantities(houses):
    labels = table(houses, label=["garden", "balcony"])
    assert labels["targets"] == "labels"
    assert labels["train"][1][:3].tolist() == [[0, 1], [1, 1], [1, 0]]
    dataset = make_dataset(labels, name="houses")
    assert (dataset.targets, dataset.num_outputs, dataset.target_scale) == ("labels", 2, None)
    both = table(houses, label=["price", "area"])
    assert both["targets"] == "quantities"
    assert make_dataset(both, name="houses").num_outputs == 2
    with pytest.raises(InputError, match=r"data\.label=price: holds other values than 0 and 1"):
        table(houses, label=["garden", "price"], targets="labels")
    with pytest.raises(InputError, match=r"data\.label=garden: one of 2 columns; classes stand in one column"):
        table(houses, label=["garden", "balcony"], targets="classes")


def test_a_column_of_text_names_labels(tmp_path, houses):
    tagged = HOUSES.assign(tags=["red; round", "red", "", "round ;blue", "blue", "red"] * 4)
    path = tmp_path / f"tagged{houses.suffix}"
    tagged.to_csv(path, index=False) if houses.suffix == ".csv" else tagged.to_parquet(path)
    raw = table(path, label="tags", targets="labels")
    assert raw["train"][1][:4].tolist() == [[0, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 1]]  # blue, red, round


def test_arrays_hold_quantities_and_labels(tmp_path):
    x = np.arange(80.0).reshape(20, 4)
    np.savez(tmp_path / "q.npz", x=x, y=x[:, 0] / 7)
    np.savez(tmp_path / "l.npz", x=x, y=x[:, :3] % 2 > 0)
    np.savez(tmp_path / "i.npz", x=x, y=(x[:, :3] % 2).astype(int))
    assert make_dataset(table(tmp_path / "q.npz", unit="s"), name="q").unit == "s"
    assert make_dataset(table(tmp_path / "q.npz"), name="q").targets == "quantities"
    assert make_dataset(table(tmp_path / "l.npz"), name="l").targets == "labels"
    assert make_dataset(table(tmp_path / "i.npz", targets="labels"), name="i", targets="labels").targets == "labels"
    one_hot = table(tmp_path / "i.npz")
    assert one_hot["train"][1].tolist() == [1] * 20
    assert ("converted", "one-hot y (20, 3) taken as 3 classes (else data.targets=labels)") in one_hot["summary"]
