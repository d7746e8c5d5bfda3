"""Tables are read as they were meant: numbers in text, delimiters, headers, columns that are no features, labels."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import math
import shlex

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adamcmp.config.overrides import parse_override
from adamcmp.data import make_dataset
from adamcmp.data.numbers_in_text import PLACEHOLDERS, Doubt, Marks, Numbers, numbers_in
from adamcmp.data.read_table import looks_like_data
from adamcmp.data.table import table
from adamcmp.errors import InputError

N = 60
RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=N).round(3)
KIND = ["low", "mid", "high"] * (N // 3)


def stored(folder, delimiter=",", file="t.csv", header=True, **columns):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    if header:
        writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    (folder / file).write_text(text.getvalue(), encoding="utf-8")
    return folder / file


def said(raw, heading):
    return [text for known, text in raw["summary"] if known == heading]


def grouped(value, decimals, thousands, point):
    text = f"{value:,.{decimals}f}"
    return text.replace(",", "\0").replace(".", point).replace("\0", thousands)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(-1e7, 1e7), min_size=3, max_size=40),
    decimals=st.integers(0, 2),
    marks=st.sampled_from([(",", "."), (".", ","), ("'", "."), (" ", ","), ("\u202f", ","), ("_", ".")]),
    dress=st.sampled_from(["{}", "${}", "{} €", "{}%", "{} kg", "USD {}"]),
    placeholder=st.sampled_from(["", *sorted(PLACEHOLDERS)]),
)
def test_numbers_in_any_dress_are_read_or_doubted_but_never_categories(values, decimals, marks, dress, placeholder):
    thousands, point = marks
    texts = [dress.format(grouped(value, decimals, thousands, point)) for value in values]
    unique = list(dict.fromkeys([*texts, *([placeholder] if placeholder else [])]))
    found = numbers_in([text for text in unique if text], Marks(decimal=point, thousands=thousands), ",")
    if len(set(texts)) == 1 and placeholder:
        assert found is None or isinstance(found, Numbers | Doubt)
        return
    assert isinstance(found, Numbers), found
    for text, value in zip(texts, values, strict=True):
        assert math.isclose(found.values[text], round(value, decimals), rel_tol=1e-12, abs_tol=10**-decimals)
    if placeholder:
        assert math.isnan(found.values[placeholder])
    guessed = numbers_in([text for text in unique if text], Marks(), ",")
    assert guessed is not None
    if isinstance(guessed, Numbers) and max(map(abs, values)) >= 1e6:
        assert guessed.values == found.values or any(map(math.isnan, found.values.values()))


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_numbers_as_python_writes_them_are_exact(values):
    texts = list(dict.fromkeys(map(repr, values)))
    found = numbers_in(texts, Marks(), ",")
    assert isinstance(found, Numbers)
    assert [found.values[repr(value)] for value in values] == values


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text("abcdefghij ", min_size=1, max_size=8).map(str.strip).filter(bool), min_size=11, unique=True)
)
def test_texts_are_never_numbers(texts):
    unlike = [text for text in texts if text not in PLACEHOLDERS]
    assert not unlike or numbers_in(unlike, Marks(), ",") is None


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["$5", "€6"], "different units"),
        (["3 kg", "500 g"], "different units"),
        (["1,950", "3,150"], "thousands or decimals"),
        ([*map(str, range(20)), "many"], "but also 'many'"),
        (["1.5 2", "3"], "blanks"),
        (["1,2,3", "4"], "cannot be read in one way"),
    ],
)
def test_doubts_are_named(texts, why):
    found = numbers_in(texts, Marks(), ";")
    assert isinstance(found, Doubt)
    assert why in found.problem


@pytest.mark.parametrize("texts", [["1st", "2nd", "3rd"], ["2", "3", "5more"], ["10-20", "20-30"], ["5A", "5B", "6"]])
def test_categories_with_digits_stay_categories(texts):
    assert numbers_in(texts, Marks(), ",") is None


def test_thousands_in_a_comma_separated_file_are_numbers_and_said_so(tmp_path):
    path = stored(tmp_path, weight=[f"{1000 + 7 * i:,}" for i in range(N)], noise=NOISE, kind=KIND)
    raw = table(path)
    assert raw["train"][0][:, 0].tolist() == [1000 + 7 * i for i in range(N)]
    assert said(raw, "converted") == ["'weight': ',' between thousands"]


def test_placeholders_are_missing_values(tmp_path):
    widths = ["?" if i % 20 == 0 else i / 7 for i in range(N)]
    path = stored(tmp_path, width=widths, noise=NOISE, kind=KIND)
    with pytest.raises(InputError, match=r"'width' has missing values \(3 of 60 rows\)"):
        table(path)
    raw = table(path, missing="median")
    assert np.isnan(raw["train"][0][:, 0]).sum() == 3
    assert any("'?' read as missing" in text for text in said(raw, "converted"))


def test_settings_for_numbers_missing_values_and_text_are_followed(tmp_path):
    path = stored(tmp_path, code=[f"0{i % 3}" for i in range(N)], far=[-999 if i < 5 else i for i in range(N)],
                  dots=[f"1.{i:03d}" for i in range(N)], kind=KIND)  # fmt: skip
    raw = table(path, categorical=["code"], na_values=[-999], missing="median", thousands=".")
    assert raw["train"][0].shape == (N, 5)
    assert np.isnan(raw["train"][0][:, 0]).sum() == 5
    assert raw["train"][0][:, 1].tolist() == [1000 + i for i in range(N)]
    plain = table(path)
    assert "leading zeros" in said(plain, "converted")[0]
    assert any("-999 in 5 rows" in text for text in said(plain, "note"))


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("", range(N), "'Unnamed: 0' numbers the rows"),
        ("index", range(1, N + 1), "numbers the rows"),
        ("customer_id", RNG.permutation(10**5)[:N], "is a different number in every row and named like an identifier"),
        ("constant", ["same"] * N, "is 'same' in every row"),
        ("zero", [0] * N, "is 0 in every row"),
        ("name", [f"person {i}" for i in range(N)], "is a different text in every row"),
        ("nothing", [""] * N, "has no values"),
    ],
)
def test_columns_that_hold_no_feature_are_left_out_and_said_so(tmp_path, name, values, says):
    path = stored(tmp_path, **{name: values, "noise": NOISE, "kind": KIND})
    raw = table(path)
    assert raw["train"][0].shape == (N, 1)
    assert says in said(raw, "left out")[0]
    if name in ("index", "customer_id"):
        assert table(path, columns=[name, "noise"])["train"][0].shape == (N, 2)


def test_a_column_that_rises_by_one_is_kept_where_its_name_says_nothing(tmp_path):
    path = stored(tmp_path, seconds=range(N), noise=NOISE, kind=KIND)
    raw = table(path)
    assert raw["train"][0].shape == (N, 2)
    assert "rises by one from row to row" in said(raw, "note")[0]
    assert table(path, drop=["seconds"])["train"][0].shape == (N, 1)


def test_whole_numbers_as_targets_need_a_word(tmp_path):
    path = stored(tmp_path, noise=NOISE, rent=[400 + 50 * (i % 25) for i in range(N)])
    with pytest.raises(InputError, match=r"25 different whole numbers from 400 to 1,600; set data.targets=quantities"):
        table(path)
    assert table(path, targets="quantities")["targets"] == "quantities"
    assert table(path, targets="classes")["num_classes"] == 25


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_blanks_and_case_never_make_classes(tmp_path_factory, data):
    change = st.sampled_from([str.upper, str.title, lambda text: f" {text}", lambda text: f"{text}  ", str])
    labels = [data.draw(change)(KIND[i]) for i in range(N)]
    path = stored(tmp_path_factory.mktemp("labels"), noise=NOISE, kind=labels)
    assert table(path, similar="merge")["num_classes"] == 3
    kept = len({text.strip() for text in labels})
    if kept > 3:
        with pytest.raises(InputError, match=r"differ only in letter case or blanks.*data.similar=merge"):
            table(path)
        assert table(path, similar="keep")["num_classes"] == kept
    else:
        assert table(path)["num_classes"] == 3


def test_labels_and_categories_of_the_test_file_alone_add_nothing(tmp_path):
    train = stored(tmp_path, colour=["red", "blue"] * (N // 2), noise=NOISE, kind=KIND)
    other = stored(tmp_path, file="u.csv", colour=["green", "red"], noise=[1, 2], kind=["low", "mid"])
    raw = table(train, test_path=other)
    assert raw["test"][0].tolist() == [[1, 0, 0], [2, 0, 1]]
    assert "'colour': 'green'" in said(raw, "note")[0]
    worse = stored(tmp_path, file="v.csv", colour=["red"], noise=[1], kind=["huge"])
    with pytest.raises(InputError, match="label 'huge' occurs in the test file alone"):
        table(train, test_path=worse)


@pytest.mark.parametrize("base", [0, 1.7e9, 1.7e12, -1e15])
@pytest.mark.parametrize("normalize", [True])
def test_large_numbers_are_centred_before_they_are_rounded(tmp_path, base, normalize):
    path = stored(tmp_path, seconds=[f"{base + 3 * i:.0f}" for i in range(N)], noise=NOISE, kind=KIND)
    dataset = make_dataset(table(path), name="t", normalize=normalize)
    near = stored(tmp_path, file="s.csv", seconds=[3 * i for i in range(N)], noise=NOISE, kind=KIND)
    small = make_dataset(table(near), name="t")
    parts = [dataset.train.x, dataset.validation.x, dataset.test.x]
    assert len({float(x) for part in parts for x in part[:, 0]}) == N
    np.testing.assert_allclose(dataset.train.x, small.train.x, atol=1e-5)
    assert not any("occur in training" in note for note in dataset.notes)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_delimiter_is_found_beside_others_in_texts(tmp_path, delimiter):
    remarks = ["wet, windy", "dry; calm", "so | so"] * (N // 3)
    path = stored(tmp_path, delimiter, noise=NOISE, remark=remarks, kind=KIND)
    raw = table(path)
    assert raw["train"][0].shape == (N, 4)
    assert table(path, delimiter=delimiter)["train"][0].tolist() == raw["train"][0].tolist()


def test_decimal_commas_between_semicolons(tmp_path):
    path = stored(tmp_path, ";", noise=[f"{x:.2f}".replace(".", ",") for x in NOISE], kind=KIND)
    np.testing.assert_allclose(table(path)["train"][0][:, 0], NOISE, atol=0.006)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "latin-1", "utf-16"])
def test_encodings(tmp_path, encoding):
    words = ["größer", "façade", "señor"] * (N // 3)
    text = "note,noise,kind\n" + "".join(f"{w},{x},{k}\n" for w, x, k in zip(words, NOISE, KIND, strict=True))
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    raw = table(tmp_path / "t.csv", encoding=None if encoding.startswith("utf") else encoding)
    assert raw["train"][0].shape == (N, 4)
    if encoding == "cp1252":
        assert "by its bytes (else set data.encoding)" in said(table(tmp_path / "t.csv"), "data")[0]


@pytest.mark.parametrize("words", [("nein", "jä"), ("größer", "kleiner"), ("garçon", "élève"), ("señor", "niño")])
def test_western_letters_are_not_read_as_those_of_old_computers(tmp_path, words):
    text = "a,straße\n" + "".join(f"{i % 7},{words[i % 2]}\n" for i in range(60))
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    assert sorted(table(tmp_path / "t.csv", label="straße")["class_names"]) == sorted(words)


def test_a_first_row_of_data_is_no_header(tmp_path):
    path = stored(tmp_path, header=False, a=NOISE, b=NOISE[::-1], c=KIND)
    with pytest.raises(InputError, match=r"the first row looks like data .*set data.header=false"):
        table(path)
    raw = table(path, header=False, label="3")
    assert len(raw["train"][0]) == N
    assert len(table(path, header=True)["train"][0]) == N - 1


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([["1", "2", "3"], *[["0.5", "1.5", "a"]] * 5], False),
        ([["name", "2019", "2020"], *[["x", "5", "6"], ["y", "7", "8"]] * 5], False),
        ([["5.1", "3.5", "setosa"], *[["4.9", "3.0", "setosa"], ["6", "4", "other"]] * 5], True),
        ([["red", "small"], *[["red", "large"], ["blue", "small"]] * 5], True),
        ([["colour", "size"], *[["red", "large"], ["blue", "small"]] * 5], False),
        ([["63", "1", "145"], *[["67", "1", "160"], ["37", "0", "130"]] * 5], True),
    ],
)
def test_headers_are_told_from_data(lines, expected):
    assert looks_like_data(lines) is expected


def test_columns_of_one_name_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("x,y,y\n" + "".join(f"{i / 7},{i % 2},{i % 2}\n" for i in range(N)))
    with pytest.raises(InputError, match="2 columns are called 'y'"):
        table(tmp_path / "t.csv")


def test_a_feature_that_is_the_label_again_is_refused(tmp_path):
    path = stored(tmp_path, noise=NOISE, copy=KIND, kind=KIND)
    with pytest.raises(InputError, match=r"column 'copy' equals the label 'kind': set data.drop=\[copy\]"):
        table(path)
    assert table(path, drop="copy")["train"][0].shape == (N, 1)


TYPED = {
    "decimal": ([decimal.Decimal(i) / 4 for i in range(N)], lambda i: i / 4),
    "duration": ([datetime.timedelta(minutes=i) for i in range(N)], lambda i: 60 * i),
    "time": ([datetime.time(i % 24, 30) for i in range(N)], lambda i: 3600 * (i % 24) + 1800),
    "date": ([datetime.date(2024, 1, 1) + datetime.timedelta(i) for i in range(N)], lambda i: 19723 + i),
    "int64": (np.arange(N) * 3 + 2**52, lambda i: 3 * i + 2**52),
    "float32": (np.arange(N, dtype=np.float32) / 8, lambda i: i / 8),
    "boolean": (pd.array([i % 2 == 0 for i in range(N)], dtype="boolean"), lambda i: i % 2 == 0),
}


@pytest.mark.parametrize("kind", TYPED)
def test_typed_columns_are_one_number_each(tmp_path, kind):
    values, expected = TYPED[kind]
    pd.DataFrame({"a": values, "noise": NOISE, "kind": KIND}).to_parquet(tmp_path / "t.parquet")
    x, _ = table(tmp_path / "t.parquet")["train"]
    assert x.shape == (N, 2)
    assert x[:, 0].tolist() == [expected(i) for i in range(N)]


@pytest.mark.parametrize("values", [[[1.0, 2.0]] * N, [{"a": 1}] * N, [b"x"] * N], ids=["list", "struct", "binary"])
def test_nested_columns_are_refused_in_one_line(tmp_path, values):
    pd.DataFrame({"pair": values, "noise": NOISE, "kind": KIND}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"column 'pair' holds (lists|records|values of type binary)"):
        table(tmp_path / "t.parquet")
    assert table(tmp_path / "t.parquet", drop=["pair"])["train"][0].shape == (N, 1)


def test_categories_with_missing_values(tmp_path):
    shades = pd.Categorical([None if i % 5 == 0 else ("red", "blue")[i % 2] for i in range(N)])
    pd.DataFrame({"shade": shades, "noise": NOISE, "kind": KIND}).to_parquet(tmp_path / "t.parquet")
    x, _ = table(tmp_path / "t.parquet", missing="median")["train"]
    assert x.shape == (N, 4)
    assert x[:, 2].sum() == N / 5  # blue, missing, red


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), groups=st.integers(4, 12))
def test_groups_stay_in_one_part(tmp_path_factory, seed, groups):
    kinds = sorted(KIND)
    path = stored(tmp_path_factory.mktemp("groups"), person=np.arange(N) % groups, noise=np.arange(N) / 7, kind=kinds)
    raw = table(path, group="person", label="kind")
    assert raw["train"][0].shape == (N, 1)
    dataset = make_dataset(
        raw, name="t", normalize=False, split_seed=seed, test_fraction=0.25, validation_fraction=0.25
    )
    parts = (dataset.train, dataset.validation, dataset.test)
    owners = [{round(float(x) * 7) % groups for x in part.x[:, 0]} for part in parts]
    assert sum(map(len, owners)) == groups
    assert len(set.union(*owners)) == groups


def test_a_split_by_time_tests_on_the_last_rows(tmp_path):
    order = RNG.permutation(N)
    days = [(datetime.date(2024, 1, 1) + datetime.timedelta(int(i))).isoformat() for i in order]
    path = stored(tmp_path, day=days, noise=order / 7, kind=KIND)
    dataset = make_dataset(table(path, time="day", label="kind"), name="t", normalize=False, test_fraction=0.25)
    assert sorted((dataset.test.x[:, 0] * 7).round().int().tolist()) == list(range(45, 60))
    assert float(dataset.train.x.max()) < float(dataset.validation.x.min())


def test_rare_classes_stay_in_training(tmp_path):
    path = stored(tmp_path, noise=NOISE, kind=["common"] * (N - 1) + ["rare"])
    fractions = {"test_fraction": 0.3, "validation_fraction": 0.3}
    for seed in range(20):
        dataset = make_dataset(table(path), name="t", split_seed=seed, **fractions)
        assert int((dataset.train.y == 1).sum()) == 1
    few = {"train": (NOISE[:3, None], np.arange(3)), "class_names": ["a", "b", "c"]}
    with pytest.raises(InputError, match=r"class '.' has no example in the training part \(it has 1\)"):
        make_dataset(few, name="t")


def test_stratified_splits_keep_the_shares():
    y = np.repeat([0, 1, 2], [10, 20, 70])
    dataset = make_dataset({"train": (RNG.normal(size=(100, 2)), y)}, name="t", stratify=True, test_fraction=0.2)
    assert dataset.test.y.bincount().tolist() == [2, 4, 14]


def test_row_names_without_a_header_of_their_own(tmp_path):
    (tmp_path / "t.csv").write_text("noise,kind\n" + "".join(f'"{i}",{NOISE[i]},{KIND[i]}\n' for i in range(N)))
    raw = table(tmp_path / "t.csv")
    assert raw["train"][0].shape == (N, 1)
    assert "numbers the rows" in said(raw, "left out")[0]


def test_arrays_under_other_names_and_layouts(tmp_path):
    x, y = RNG.integers(0, 255, (30, 8, 9, 3), dtype=np.uint8), np.arange(30) % 3
    np.savez(tmp_path / "a.npz", X_train=x, Y_train=y, X_test=x[:6], Y_test=y[:6], extra=y)
    raw = table(tmp_path / "a.npz")
    assert raw["train"][0].shape == (30, 3, 8, 9)
    assert np.array_equal(raw["test"][0], x[:6].transpose(0, 3, 1, 2))
    assert said(raw, "left out") == ["arrays extra"]
    assert table(tmp_path / "a.npz", layout="channels_first")["train"][0].shape == (30, 8, 9, 3)


def test_whole_numbers_in_arrays_are_numbers_or_asked_about(tmp_path):
    x, y = RNG.integers(0, 50, (30, 4)), np.arange(30) % 3
    np.savez(tmp_path / "a.npz", x=x, y=y)
    with pytest.raises(InputError, match=r"data.inputs=numbers or data.inputs=tokens"):
        table(tmp_path / "a.npz")
    assert table(tmp_path / "a.npz", inputs="numbers")["train"][0].dtype == np.float64
    assert table(tmp_path / "a.npz", inputs="tokens")["train"][0].dtype == np.int64
    np.savez(tmp_path / "b.npz", x=x - 25, y=np.eye(3)[y])
    raw = table(tmp_path / "b.npz")
    assert raw["train"][0].dtype == np.float64
    assert raw["train"][1].tolist() == y.tolist()


WORDS = st.text(st.characters(codec="latin-1", categories=["Lu", "Ll"]), min_size=2, max_size=6)


@settings(max_examples=40, deadline=None)
@given(
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    end=st.sampled_from(["\n", "\r\n"]),
    words=st.lists(WORDS, min_size=2, max_size=5, unique_by=str.casefold),
    glue=st.sampled_from(["", ", ", "; ", ' "x" ', "\n", " | "]),
    floats=st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)), min_size=12, max_size=12, unique=True),
)
def test_a_table_written_by_csv_is_read_back(tmp_path_factory, delimiter, encoding, end, words, glue, floats):
    assert len({word.casefold() for word in words}) == len(words)
    texts = [f"{words[i % len(words)]}{glue}{words[0]}" for i in range(12)]
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    writer.writerow(["amount", "remark", "kind"])
    writer.writerows(zip(floats, texts, ["u", "v", "w"] * 4, strict=True))
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    raw = table(path, delimiter=delimiter)
    assert raw["train"][0][:, 0].tolist() == floats
    assert raw["train"][1].tolist() == [0, 1, 2] * 4
    names = sorted({" ".join(text.split("\n")) for text in texts})
    assert raw["train"][0].shape == (12, 1 + len(names))


@settings(max_examples=40, deadline=None)
@given(order=st.permutations(range(24)), name=st.sampled_from(["", "id", "Unnamed: 0", "patient_id", "userId"]))
def test_identifiers_in_any_order_never_become_features(tmp_path_factory, order, name):
    path = stored(tmp_path_factory.mktemp("ids"), **{name: order, "noise": NOISE[:24], "kind": KIND[:24]})
    assert table(path)["train"][0].shape == (24, 1)


@settings(max_examples=30, deadline=None)
@given(height=st.integers(5, 9), width=st.integers(5, 9), channels=st.sampled_from([1, 3, 4]), last=st.booleans())
def test_images_in_arrays_have_their_channels_first(tmp_path_factory, height, width, channels, last):
    x = np.arange(12 * channels * height * width, dtype=np.float32).reshape(12, channels, height, width)
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    np.savez(path, x=x.transpose(0, 2, 3, 1) if last else x, y=np.arange(12) % 3)
    assert np.array_equal(table(path)["train"][0], x)


@settings(max_examples=40, deadline=None)
@given(counts=st.lists(st.integers(1, 30), min_size=2, max_size=6), seed=st.integers(0, 10**6))
def test_no_class_vanishes_from_training(counts, seed):
    y = np.repeat(np.arange(len(counts)), counts)
    if round(0.6 * len(y)) < len(counts) + 2:
        return
    dataset = make_dataset({"train": (np.arange(len(y), dtype=np.float64)[:, None], y)}, name="t", split_seed=seed)
    assert set(dataset.train.y.tolist()) == set(range(len(counts)))
    assert len(dataset.train.y) + len(dataset.validation.y) + len(dataset.test.y) == len(y)


@pytest.mark.parametrize(
    ("form", "first"),
    [("%m/%d/%Y", "03/15/2021"), ("%d.%m.%Y", "15.03.2021"), ("%b %d %Y", "Mar 15 2021"), ("%Y/%m/%d", "2021/03/15")],
)
def test_dates_of_one_certain_form_are_days(tmp_path, form, first):
    days = pd.date_range("2021-03-15", periods=N)
    path = stored(tmp_path, day=[day.strftime(form) for day in days], noise=NOISE, kind=KIND)
    raw = table(path)
    assert raw["train"][0][:, 0].tolist() == [18701 + i for i in range(N)]
    assert said(raw, "converted") == [f"'day': dates in the form {form}, as days since 1970"]
    assert first in path.read_text()


def test_dates_that_may_be_read_in_two_ways_are_refused(tmp_path):
    path = stored(tmp_path, day=[f"0{1 + i % 9}/0{1 + i % 7}/2021" for i in range(N)], noise=NOISE, kind=KIND)
    with pytest.raises(InputError, match=r"may be read in several ways: write them as 2024-01-31, or set data.drop"):
        table(path)
    with pytest.raises(InputError, match=r"column 'day' holds dates, such as '01/01/2021'"):
        table(path, time="day", label="kind")
    path = stored(tmp_path, day=[f"day {i}" for i in range(N)], noise=NOISE, kind=KIND)
    with pytest.raises(InputError, match=r"data.time=day: holds text, such as 'day 0'"):
        table(path, time="day", label="kind")


def test_features_that_give_the_label_away_are_named(tmp_path):
    price = np.exp(NOISE)
    path = stored(tmp_path, size=NOISE[::-1], log_price=NOISE, price=price)
    assert "'log_price' orders the rows exactly as the label 'price' does" in said(table(path), "warning")[0]
    path = stored(tmp_path, noise=NOISE, code=["l" if kind == "low" else "other" for kind in KIND], kind=KIND)
    assert not said(table(path), "warning")
    path = stored(tmp_path, noise=NOISE, code=[{"low": 7, "mid": 3, "high": 5}[kind] for kind in KIND], kind=KIND)
    assert said(table(path), "warning") == [
        "'code' determines the label 'kind' in every row; data.drop=[code] leaves it out"
    ]


def test_rows_without_a_label_may_be_dropped(tmp_path):
    path = stored(tmp_path, noise=NOISE, kind=["" if i % 6 == 0 else KIND[i] for i in range(N)])
    with pytest.raises(InputError, match=r"label column 'kind' has missing values \(10 of 60 rows\)"):
        table(path)
    raw = table(path, missing_labels="drop")
    assert len(raw["train"][0]) == N - 10
    assert "10 rows without a label" in said(raw, "left out")


def test_codes_with_a_common_prefix_are_categories(tmp_path):
    path = stored(tmp_path, study=["PAL0708", "PAL0809", "PAL0910"] * (N // 3), noise=NOISE, kind=sorted(KIND))
    assert table(path)["train"][0].shape == (N, 4)


def test_remedies_can_be_typed_as_they_are_printed(tmp_path):
    names = ['Individual "ID"', "Delta 15 N (o/oo)"]
    path = stored(
        tmp_path, **{names[0]: [f"x {i % 40} {i}" for i in range(N)], names[1]: KIND, "noise": NOISE, "kind": KIND}
    )
    with pytest.raises(InputError, match="equals the label") as caught:
        table(path)
    word = shlex.split(str(caught.value).partition("set ")[2].partition(", or name")[0])[0]
    assert table(path, drop=parse_override(word).value())["train"][0].shape == (N, 1)


def test_several_columns_with_missing_values_are_one_problem(tmp_path):
    path = stored(tmp_path, a=["" if i < 3 else i / 7 for i in range(N)], b=["" if i < 9 else i / 3 for i in range(N)],
                  kind=KIND)  # fmt: skip
    with pytest.raises(InputError, match=r"2 columns have missing values \('b' 9, 'a' 3 of 60 rows\): set"):
        table(path)
    assert said(table(path, missing="indicator"), "missing") == ["'b' 9, 'a' 3; filled, with an indicator per column"]
