"""Odd columns and files that a hostile trial found misread: each is converted with a line, or refused in one line."""

from __future__ import annotations

import csv
import io
import math
import warnings
from contextlib import suppress

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adamcmp.data import make_dataset
from adamcmp.data.dates_in_text import Dates, dates_in
from adamcmp.data.image_folder import image_folder
from adamcmp.data.numbers_in_text import Doubt
from adamcmp.data.table import table
from adamcmp.data.text import text
from adamcmp.errors import InputError

from .test_read_table import KIND, NOISE, N, said, stored

X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))


def test_huge_labels_are_one_line():
    y = torch.tensor([1, 2**40] * 20)
    with pytest.raises(InputError, match=r"0, 2, 3, 4, 5, … never occurs"):
        make_dataset({"train": (X, y)}, name="mine")


def test_targets_of_several_types_are_not_cut():
    class Mixed(torch.utils.data.Dataset):
        def __len__(self):
            return len(X)

        def __getitem__(self, i):
            return X[i], i % 2 if i < 30 else 0.7

    with pytest.raises(InputError, match=r"example 30 has .* y float64 \(\), the first one .* int64"):
        make_dataset(Mixed(), name="mine")


@pytest.mark.parametrize("row", ["{i}.5,{k},x{r},", "{i}.5,'p,q',x{r}"])
def test_rows_with_a_field_more_than_the_header_do_not_move_columns(tmp_path, row):
    rows = [row.format(i=i, k=i * 2, r=i % 2) for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,y", *rows]) + "\n")
    with pytest.raises(InputError, match=r"its first row has 3 fields, others have 4"):
        table(tmp_path / "t.csv")


@pytest.mark.parametrize("option", ["group", "time", "drop", "columns", "na_values", "categorical"])
def test_settings_of_columns_are_refused_for_arrays(tmp_path, option):
    np.savez(tmp_path / "a.npz", x=X.numpy(), y=np.arange(40) % 2)
    with pytest.raises(InputError, match=rf"data.{option}=.*an .npz has no columns"):
        table(tmp_path / "a.npz", **{option: ["a"]})


@pytest.mark.parametrize("base", [2**53 + 1, 10**20, 1_700_000_000_000_000_000, -(10**18)])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_whole_numbers_beyond_float64_keep_their_differences(tmp_path, base, kind):
    values = [base + 3 * (i % 50) for i in range(N)]
    if kind == "csv" or abs(base) > 2**63:
        path = stored(tmp_path, v=values, noise=NOISE, kind=KIND)
    else:
        path = tmp_path / "t.parquet"
        pd.DataFrame({"v": values, "noise": NOISE, "kind": KIND}).to_parquet(path)
    raw = table(path)
    assert raw["train"][0][:, 0].tolist() == [3.0 * (i % 50) for i in range(N)]
    assert "float64 would round" in said(raw, "converted")[0]


@pytest.mark.parametrize("shape", [(40,), (40, 1)])
def test_whole_floats_as_targets_need_a_word_in_any_shape(shape):
    with pytest.raises(InputError, match=r"y holds 2 different whole numbers as float32"):
        make_dataset({"train": (X, (torch.arange(40) % 2).float().reshape(shape))}, name="mine")


DATES = [f"2024-02-{1 + i:02d}" for i in range(20)]


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        ([*DATES, "2024-02-30"], "'2024-02-30'"),
        ([*DATES, "soon"], "'soon'"),
        ([f"{day}T10:00:00+02:00" for day in DATES] + ["2024-03-01T10:00:00"], "with and without an offset"),
        (["01/02/2024", "03/04/2024"], "several ways"),
        (["1:30", "2:45", "4:00", "later"], "'later'"),
    ],
)
def test_dates_with_doubts(texts, why):
    found = dates_in(texts)
    assert isinstance(found, Doubt)
    assert why in found.problem


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["2024-01-01", "9999-12-31", "0001-01-01"], [19723, 2932896, -719162]),
        (["2024-01-01", "0000-00-00", "2024-01-03"], [19723, math.nan, 19725]),
        (["5 Jan 2024", "31 Dec 2023"], [19727, 19722]),
        (["2024-01", "2024-02"], [19723, 19754]),
        (["1:30 PM", "12:00 AM", "12:15 pm"], [48600, 0, 44100]),
        (["1:30:00", "100:00:00"], [5400, 360000]),
        (["2024-01-01T00:00:00Z", "2024-01-01T06:00:00+06:00"], [19723, 19723]),
    ],
)
def test_dates_in_other_forms(texts, values):
    found = dates_in(texts)
    assert isinstance(found, Dates)
    np.testing.assert_array_equal([found.values[each] for each in texts], values)


def test_numbers_that_look_like_days_are_noted(tmp_path):
    path = stored(tmp_path, day=[20240101 + i % 28 for i in range(N)], noise=NOISE, kind=KIND)
    assert "write dates as 2024-01-31" in said(table(path), "converted")[0]


def test_mixed_truth_values_are_one_kind(tmp_path):
    path = stored(tmp_path, wild=["True", "false", "1", "0"] * (N // 4), noise=NOISE, kind=KIND)
    raw = table(path)
    assert raw["train"][0][:4, 0].tolist() == [1, 0, 1, 0]
    assert "read alike" in said(raw, "converted")[0]
    assert table(path, label="wild")["num_classes"] == 2


def test_the_index_of_a_dataframe_is_kept_or_said():
    frame = pd.DataFrame({"a": NOISE, "b": NOISE[::-1], "kind": KIND})
    assert make_dataset(frame.set_index("b"), name="mine").input_shape == (2,)
    assert "without its index" in make_dataset(frame.iloc[::-1], name="mine").summary[0][1]


def test_pairs_with_other_indices_are_refused():
    frame = pd.DataFrame({"a": NOISE, "b": NOISE[::-1], "kind": KIND})
    shuffled = frame[["a", "b"]].iloc[np.random.default_rng(0).permutation(N)]
    with pytest.raises(InputError, match="have other indices"):
        make_dataset({"train": (shuffled, frame["kind"])}, name="mine")


@pytest.mark.parametrize("values", [["10", "20", "30"], [1, 2, 3]])
def test_declared_categories_stay_categories(tmp_path, values):
    frame = pd.DataFrame({"c": pd.Categorical(values * (N // 3)), "noise": NOISE, "kind": sorted(KIND)})
    frame.to_parquet(tmp_path / "t.parquet")
    assert table(tmp_path / "t.parquet")["train"][0].shape == (N, 4)
    assert make_dataset(frame, name="mine").input_shape == (4,)


def test_intervals_are_categories():
    frame = pd.DataFrame({"noise": NOISE, "bin": pd.cut(NOISE, 3), "kind": KIND})
    assert make_dataset(frame, name="mine").input_shape == (4,)


@pytest.mark.parametrize("encoding", ["utf-32", "utf-16"])
def test_wide_encodings_are_told_apart(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes(("some text\n" * 300).encode(encoding))
    with pytest.raises(InputError, match=f"set data.encoding={encoding}"):
        text(tmp_path / "a.txt", context=8)
    assert text(tmp_path / "a.txt", context=8, encoding=encoding)["train"][0].max() < 128
    with pytest.raises(InputError, match=r"data.encoding=rot13: no such encoding"):
        text(tmp_path / "a.txt", context=8, encoding="rot13")


@pytest.mark.parametrize("written", ["-999", "-999.0", "-9.99e2"])
def test_numbers_for_missing_values_are_compared_as_numbers(tmp_path, written):
    path = stored(tmp_path, v=[written if i < 5 else i / 2 for i in range(N)], noise=NOISE, kind=KIND)
    raw = table(path, na_values=[-999], missing="median")
    assert np.isnan(raw["train"][0][:, 0]).sum() == 5


@pytest.mark.parametrize("given", ["tab", "\\t", "\t"])
def test_a_tab_can_be_typed(tmp_path, given):
    assert table(stored(tmp_path, "\t", noise=NOISE, kind=KIND), delimiter=given)["train"][0].shape == (N, 1)


@pytest.mark.parametrize(("name", "given"), [("true", True), ("1.50", 1.5), ("3", 3), ("null", None)])
def test_columns_whose_names_are_other_values_for_hydra(tmp_path, name, given):
    path = stored(tmp_path, noise=NOISE, **{name: KIND, "last": [i % 2 for i in range(N)]})
    assert table(path, label=[given])["num_classes"] == 3


def test_a_class_may_be_called_x(tmp_path):
    path = stored(tmp_path, noise=NOISE, kind=["1", "2", "x"] * (N // 3))
    assert table(path)["num_classes"] == 3


def test_infinite_values_name_their_column(tmp_path):
    path = stored(tmp_path, v=["inf" if i == 3 else i for i in range(N)], noise=NOISE, kind=KIND)
    with pytest.raises(InputError, match=r"column 'v' is infinite in 1 rows: set data.na_values=\[inf,-inf\]"):
        table(path)
    assert np.isnan(table(path, na_values=["inf", "-inf"], missing="median")["train"][0]).sum() == 1


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_moments_of_any_unit_and_age(tmp_path, unit):
    years = ["1969-12-31", "2024-01-01", "2261-01-01"] if unit == "ns" else ["1000-01-01", "2024-01-01", "9999-01-01"]
    moments = pa.array(np.array(years * (N // 3), f"datetime64[{unit}]"))
    pq.write_table(pa.table({"m": moments, "noise": NOISE, "kind": sorted(KIND)}), tmp_path / "t.parquet")
    days = [int(np.datetime64(year, "D").astype(int)) for year in years]
    assert table(tmp_path / "t.parquet")["train"][0][:3, 0].tolist() == days


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"a,b\n1\0,2\n3,4\n", "cannot be read as .csv"), (b"Title\n\na,b,c\n1,2,3\n4,5,6\n", "first lines are no table")],
)
def test_files_that_are_no_table(tmp_path, content, says):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=says):
        table(tmp_path / "t.csv")


def test_numbers_in_brackets_are_said(tmp_path):
    path = stored(
        tmp_path, v=[f"({i + 0.5})" if i % 3 == 0 else f"{i + 0.5}" for i in range(N)], noise=NOISE, kind=KIND
    )
    raw = table(path)
    assert (raw["train"][0][::3, 0] < 0).all()
    assert "numbers in brackets read as negative" in said(raw, "converted")[0]


def test_classes_of_the_test_part_alone_are_refused_in_arrays(tmp_path):
    y = np.arange(40) % 2
    np.savez(tmp_path / "a.npz", x=X.numpy(), y=y, x_test=X.numpy(), y_test=y + 1)
    with pytest.raises(InputError, match="class 2 occurs in the test part alone"):
        table(tmp_path / "a.npz")


def test_class_folders_that_differ_in_case_and_a_lone_test_folder(tmp_path):
    from PIL import Image

    for name in ("cat", "Cat", "dog"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        Image.fromarray(np.full((4, 4), len(name), np.uint8)).save(tmp_path / "mine" / name / "a.png")
    with pytest.raises(InputError, match="'Cat' and 'cat' differ only in letter case"):
        image_folder(tmp_path / "mine")
    (tmp_path / "lone" / "test" / "p").mkdir(parents=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "lone" / "test" / "p" / "a.png")
    with pytest.raises(InputError, match="needs two class folders"):
        image_folder(tmp_path / "lone")


def test_rows_without_a_feature_or_a_choice_of_split_are_refused(tmp_path):
    path = stored(tmp_path, a=[1] * N, day=[f"2024-01-{1 + i % 28:02d}" for i in range(N)], kind=KIND)
    with pytest.raises(
        InputError, match=r"no features are left \('a' is 1 in every row; 'kind' is the label; 'day' spl"
    ):
        table(path, label="kind", time="day")
    with pytest.raises(InputError, match="rows are split by one of them"):
        table(path, label="kind", time="day", group="a")
    with pytest.raises(InputError, match="is the label; leave it out"):
        table(path, label="kind", drop=["kind"])
    with pytest.raises(InputError, match=r"data.decimal='12': must be one character"):
        table(path, decimal="12")
    with pytest.raises(InputError, match="must be one character, such as ';', or tab"):
        table(path, delimiter="::")


def test_train_and_test_files_of_other_kinds(tmp_path):
    frame = pd.DataFrame({"a": np.arange(N) / 7, "c": pd.Categorical(KIND), "kind": sorted(KIND)})
    frame.to_parquet(tmp_path / "train.parquet")
    frame[:9].astype({"c": str}).to_parquet(tmp_path / "test.parquet")
    frame[:9].to_csv(tmp_path / "test.csv", index=False)
    for name in ("test.parquet", "test.csv"):
        raw = table(tmp_path / "train.parquet", test_path=tmp_path / name)
        assert raw["train"][0].shape == (N, 4)
        assert raw["test"][0].tolist() == raw["train"][0][:9].tolist()


@pytest.mark.parametrize("kind", ["zip", "bz2", "xz", "gz"])
def test_packed_tables(tmp_path, kind):
    frame = pd.DataFrame({"a": NOISE, "kind": KIND})
    frame.to_csv(tmp_path / f"t.csv.{kind}", index=False)
    assert table(tmp_path / f"t.csv.{kind}")["train"][0][:, 0].tolist() == NOISE.tolist()


def test_a_separator_that_the_file_declares(tmp_path):
    rows = "".join(f"{x};{k}\n" for x, k in zip(NOISE, KIND, strict=True))
    (tmp_path / "t.csv").write_text(f"sep=;\na;kind\n{rows}")
    assert table(tmp_path / "t.csv")["train"][0][:, 0].tolist() == NOISE.tolist()


def test_encodings_that_do_not_fit_are_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes("größe,kind\n1,a\n".encode("cp1252"))
    with pytest.raises(InputError, match=r"is not utf-8 at byte 2; set another data\.encoding"):
        table(tmp_path / "t.csv", encoding="utf-8")
    with pytest.raises(InputError, match=r"data\.encoding=klingon: no such encoding"):
        table(tmp_path / "t.csv", encoding="klingon")


def test_arrays_that_may_mean_two_things(tmp_path):
    np.savez(tmp_path / "t.npz", x=X.numpy(), y=np.array(["a", "b"] * 20))
    with pytest.raises(InputError, match=r"y holds texts; give classes counted from 0"):
        table(tmp_path / "t.npz")
    np.savez(tmp_path / "m.npz", x=X.numpy(), y=np.arange(80).reshape(40, 2))
    with pytest.raises(InputError, match=r"y has 2 whole numbers per example; set data.targets=quantities"):
        table(tmp_path / "m.npz")
    np.savez(tmp_path / "l.npz", x=X.numpy(), y=np.ones((40, 3), int))
    assert "taken as 3 labels" in said(table(tmp_path / "l.npz"), "converted")[0]
    np.savez(tmp_path / "p.npz", x=X.numpy(), y=np.arange(40) % 2, x_test=X.numpy())
    with pytest.raises(InputError, match="the test part has no array 'y'"):
        table(tmp_path / "p.npz")
    np.savez(tmp_path / "b.npz", x=X.numpy() > 0, y=np.arange(40) % 2)
    assert table(tmp_path / "b.npz")["train"][0].dtype == np.float64
    with pytest.raises(InputError, match=r"data\.inputs=words: not known"):
        table(tmp_path / "b.npz", inputs="words")
    with pytest.raises(InputError, match="channels_last is for images"):
        table(tmp_path / "b.npz", layout="channels_last")


def test_dataframes_whose_parts_do_not_fit():
    frame = pd.DataFrame({"a": NOISE, "kind": KIND})
    with pytest.raises(InputError, match="the parts' DataFrames have other columns"):
        make_dataset({"train": frame, "test": frame.rename(columns={"a": "b"})}, name="mine")
    with pytest.raises(InputError, match="test is tuple; give a DataFrame"):
        make_dataset({"train": frame, "test": (X, X)}, name="mine")
    with pytest.raises(InputError, match="column 'kind' is a feature and the target"):
        make_dataset({"train": (frame, frame["kind"])}, name="mine")
    with pytest.raises(InputError, match=r"beside DataFrames give settings of data=table"):
        make_dataset({"train": frame, "colour": 1}, name="mine")
    with pytest.raises(InputError, match="2 columns are called 'a'"):
        make_dataset(pd.concat([frame, frame[["a"]]], axis=1), name="mine")
    with pytest.raises(InputError, match=r"equals the label 'kind'.*return \{'train': frame, 'label'"):
        make_dataset(frame.assign(copy=frame["kind"])[["a", "copy", "kind"]], name="mine")
    assert make_dataset((frame[["a"]], frame["kind"]), name="mine").input_shape == (1,)


WORDS = "1 2.5 1,950 $4 5% ? a B true False 2024-01-31 31/12/2023 12:30 1e400 inf 007 x;y (5) ² ½ 1.2.3 2024-13-45 NA"
FRAGMENTS = [*WORDS.split(), "9" * 20, "", "b ", 'q"r', "3 kg", "a\nb"]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_file_is_read_or_refused_in_one_line(tmp_path_factory, data):
    width = data.draw(st.integers(1, 4))
    kinds = [data.draw(st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=4)) for _ in range(width)]
    rows = [[data.draw(st.sampled_from(kind)) for kind in kinds] for _ in range(data.draw(st.integers(0, 12)))]
    written = io.StringIO()
    writer = csv.writer(written, delimiter=data.draw(st.sampled_from(",;\t| ")))
    writer.writerows([[f"c{i}" for i in range(width)], *rows])
    content = written.getvalue().encode(data.draw(st.sampled_from(["utf-8", "utf-16", "utf-8-sig"])))
    path = tmp_path_factory.mktemp("any") / "t.csv"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    choices = {
        "missing": ["median", "indicator"], "targets": ["classes", "quantities", "labels"], "header": [True, False],
        "similar": ["merge", "keep"], "missing_labels": ["drop"], "na_values": [["?"], [1], "a"], "thousands": [","],
        "decimal": [","], "group": ["c0"], "time": ["c0"], "categorical": [["c0"]], "columns": [["c0"]],
    }  # fmt: skip
    given_ = {key: data.draw(st.sampled_from(values)) for key, values in choices.items() if data.draw(st.booleans())}
    with warnings.catch_warnings(action="error"), suppress(InputError):
        make_dataset(table(path, **given_), name="any")
