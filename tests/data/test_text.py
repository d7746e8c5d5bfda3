"""Text files written here: windows of tokens, parts one behind the other, and clear refusals."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys

import numpy as np
import pytest
import torch

from adamcmp.data import make_dataset
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
    data = make_dataset(raw, name="t", validation_fraction=0.1, test_fraction=0.2, split_seed=3)
    parts = torch.cat([data.train.x, data.validation.x, data.test.x])
    assert torch.equal(parts, torch.as_tensor(raw["train"][0]))
    assert len(data.test.y) == round(0.2 * len(parts))
    fewer = make_dataset(raw, name="t", validation_fraction=0.1, test_fraction=0.2, train_examples=5)
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
    data = make_dataset(raw, name="t")
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
    with pytest.raises(InputError, match=r"latin: not UTF-8 at byte 0; set data.encoding"):
        text(tmp_path / "latin", level="characters")
    assert text(tmp_path / "latin")["num_classes"] == 256


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX")
def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch, file):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(InputError, match=r"some.txt: cannot be read \(Permission denied\)"):
        text(file)


LINES = ("größer als zuvor, señor\n" * 400).encode()


def said(raw, heading):
    return [line for known, line in raw["summary"] if known == heading]


def test_the_summary_says_what_is_not_read(tmp_path):
    (tmp_path / "a.txt").write_bytes(LINES)
    raw = text(tmp_path / "a.txt", context=8, max_bytes=1000)
    assert said(raw, "data") == [f"1,000 of {len(LINES):,} bytes of {tmp_path / 'a.txt'}, 1 files"]
    assert said(raw, "note") == [f"{len(LINES) - 1000:,} bytes are not read; data.max_bytes=null takes all"]
    assert not said(text(tmp_path / "a.txt", context=8), "note")


PACKED = {
    "gz": gzip.compress(LINES),
    "bz2": bz2.compress(LINES),
    "xz": lzma.compress(LINES),
    "png": b"\x89PNG\r\n\x1a\n" + LINES,
    "dat": b"text\0" + LINES,
}


@pytest.mark.parametrize("suffix", PACKED)
def test_files_that_hold_no_text_are_refused_or_left_out(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(PACKED[suffix])
    with pytest.raises(InputError, match=r"no text; decompress or convert it, or set data.binary=true"):
        text(path, context=8)
    (tmp_path / "b.txt").write_bytes(LINES)
    raw = text(tmp_path, context=8)
    assert raw["train"][0].size <= len(LINES)
    assert said(raw, "left out") == [f"1 files that hold no text (1 .{suffix})"]
    assert text(tmp_path, context=1, binary=True)["train"][0].size == len(LINES) + len(PACKED[suffix]) - 1


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8-sig"])
@pytest.mark.parametrize("level", ["bytes", "characters"])
def test_other_encodings_become_utf8(tmp_path, encoding, level):
    (tmp_path / "a.txt").write_bytes(LINES.decode().encode(encoding))
    (tmp_path / "b.txt").write_bytes(LINES)
    expected = text(tmp_path / "b.txt", context=8, level=level)["train"][0]
    given = None if encoding == "utf-8-sig" else encoding
    assert text(tmp_path / "a.txt", context=8, level=level, encoding=given)["train"][0].tolist() == expected.tolist()
    if encoding == "utf-16":
        with pytest.raises(InputError, match=r"set data.encoding=utf-16"):
            text(tmp_path / "a.txt", context=8)
    if encoding in ("latin-1", "cp1252") and level == "characters":
        with pytest.raises(InputError, match=r"not UTF-8 at byte 2; set data.encoding=\w+, or data.level=bytes"):
            text(tmp_path / "a.txt", context=8, level="characters")
