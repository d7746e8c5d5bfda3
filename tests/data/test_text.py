"""Text files written here: windows of tokens, parts one behind the other, and clear refusals."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from adamcmp.data import prepare
from adamcmp.data.text import text
from adamcmp.errors import InputError

LONG = "The quick brown fox. " * 50


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "some.txt"
    path.write_text(LONG)
    return path


def test_y_is_the_byte_that_follows(file):
    raw = text(file, context=16)
    x_NT, y_NT = raw["train"]
    written = np.frombuffer(LONG.encode(), np.uint8)
    windows = (len(written) - 1) // 16
    assert raw["num_classes"] == 256
    assert np.array_equal(x_NT.ravel(), written[: windows * 16])
    assert np.array_equal(y_NT.ravel(), written[1 : 1 + windows * 16])


def test_parts_follow_each_other_whatever_the_seed(file):
    raw = text(file, context=10)
    data = prepare(raw, name="t", validation_fraction=0.1, test_fraction=0.2, split_seed=3)
    parts = torch.cat([data.train.x, data.validation.x, data.test.x])
    assert torch.equal(parts, torch.as_tensor(raw["train"][0]))
    assert len(data.test.y) == round(0.2 * len(parts))
    fewer = prepare(raw, name="t", validation_fraction=0.1, test_fraction=0.2, train_examples=5)
    assert torch.equal(fewer.train.x, data.train.x[-5:])
    assert torch.equal(fewer.test.x, data.test.x)


def test_characters_are_tokens_and_know_their_bytes(tmp_path):
    written = "aé€😀" * 40
    (tmp_path / "t").write_text(written, encoding="utf-8")
    raw = text(tmp_path / "t", context=4, level="characters")
    alphabet = sorted(set(written))
    assert raw["num_classes"] == 4
    assert "".join(alphabet[i] for i in raw["train"][0].ravel()) == written[: raw["train"][0].size]
    assert raw["token_bytes"].tolist() == [len(c.encode()) for c in alphabet]
    data = prepare(raw, name="t")
    for part in ("train", "validation", "test"):
        bytes_of = [len(alphabet[i].encode()) for i in getattr(data, part).y.ravel().tolist()]
        assert data.bytes_per_label[part] == pytest.approx(np.mean(bytes_of))


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path):
    for name, letter in (("b/2.txt", "c"), ("a.txt", "a"), ("b/1.txt", "b"), (".git/x", "!")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(letter * 20)
    raw = text(tmp_path, context=5)
    assert bytes(raw["train"][0].astype(np.uint8).ravel()) == b"a" * 20 + b"b" * 20 + b"c" * 15


@pytest.mark.parametrize("level", ["bytes", "characters"])
def test_max_bytes_is_a_bound_that_may_split_a_character(tmp_path, level):
    (tmp_path / "t").write_text("é" * 100, encoding="utf-8")
    (tmp_path / "u").write_text("unread", encoding="utf-8")
    raw = text(tmp_path, context=3, level=level, max_bytes=31)
    assert raw["train"][0].size == {"bytes": 30, "characters": 12}[level]


def test_the_standard_library_is_the_default_and_its_order_is_fixed():
    raw, again = text(context=64, max_bytes=200_000), text(context=64, max_bytes=100_000)
    x_NT = raw["train"][0]
    assert x_NT.shape == (3124, 64)
    assert np.array_equal(x_NT[: len(again["train"][0])], again["train"][0])
    assert b"def " in bytes(x_NT.astype(np.uint8).ravel())


REFUSED = {
    "no path": ({"path": "nowhere"}, r"^data\.path=nowhere: no such file or folder"),
    "context": ({"context": 0}, r"^data\.context=0: must be ≥ 1"),
    "level": ({"level": "words"}, r"^data\.level=words: not known; give bytes or characters"),
    "max_bytes": ({"max_bytes": 0}, r"^data\.max_bytes=0: must be ≥ 1"),
    "short": ({"context": 600}, r"1,050 tokens, too few .*data.context=600; give more text, or a smaller context"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_line(file, case):
    arguments, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        text(**{"path": file} | arguments)


def test_an_empty_folder_an_empty_file_and_other_encodings_are_refused(tmp_path):
    with pytest.raises(InputError, match="holds no files"):
        text(tmp_path)
    (tmp_path / "empty").touch()
    with pytest.raises(InputError, match="0 tokens, too few"):
        text(tmp_path / "empty")
    (tmp_path / "latin").write_bytes("é".encode("latin-1") * 1000)
    with pytest.raises(InputError, match=r"latin: not UTF-8 at byte 0; convert it, or set data.level=bytes"):
        text(tmp_path / "latin", level="characters")
    assert text(tmp_path / "latin")["num_classes"] == 256


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX")
def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch, file):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(InputError, match=r"some.txt: cannot be read \(Permission denied\)"):
        text(file)
