"""Reading the output of a script."""

import io

import pytest

from adamcmp.engine import script_process
from adamcmp.engine.script_process import CappedLog, _Reader


def lines_of(data, tmp_path):
    lines = []
    reader = _Reader(io.BufferedReader(io.BytesIO(data), 1 << 10), CappedLog(tmp_path / "log"), lines.append)
    reader.join()
    return lines


def test_lines_end_with_line_feeds_carriage_returns_or_the_output(tmp_path):
    assert lines_of(b"a\nb\rc\r\nd", tmp_path) == ["a", "b", "c", "d"]
    assert lines_of(b"x" * 200_000 + b"\nb\n", tmp_path) == ["x" * 200_000, "b"]


@pytest.mark.parametrize("extra", [0, 1, 100, 5000, 120_000])
def test_of_a_long_output_the_beginning_and_the_end_are_read(tmp_path, monkeypatch, extra):
    monkeypatch.setattr(script_process, "MAX_PARSED_BYTES", 200_000)
    monkeypatch.setattr(script_process, "MAX_LOG_BYTES", 70_000)
    written = [f"{i:09d}" for i in range(20_000 + extra // 10)]
    lines = lines_of("\n".join([*written, "val_acc: 0.9"]).encode(), tmp_path)
    read = lines[:-1]
    assert lines[-1] == "val_acc: 0.9"
    assert set(read) <= set(written)  # no part of a line
    assert read == sorted(set(read))
    if extra <= 5000:
        assert read == written
    else:
        assert read[:6_500] == written[:6_500]
        assert read[-6_900:] == written[-6_900:]
        assert len(read) < len(written)
