"""The stored tables: what is written is read again, and no damage passes for a result or takes others with it."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from adamcmp import load
from adamcmp.errors import InputError
from adamcmp.storage import merging, part_files
from adamcmp.storage import records as stored_records
from adamcmp.storage.merging import merge_parts
from adamcmp.storage.part_files import append_runs
from adamcmp.storage.records import find_studies, finished_ids, read, read_records
from adamcmp.storage.schema import CURVE, INTEGER, REAL, RECORD, SCHEMA_VERSION, TEXT, TIME, arrow_schema

START = datetime(2025, 1, 1, tzinfo=UTC)
TABLES = ("records", "curves")


def a_record(number: int, status: str = "completed", minute: int | None = None) -> dict[str, object]:
    """A record with a value in every column, as numbers that floating point cannot round to others unseen."""
    values = {TEXT: f"{number:04x}", REAL: 0.1 + number / 3, INTEGER: 2**40 + number, TIME: START}
    row = {column.name: values.get(column.type, number % 2 == 0) for column in RECORD}
    finished_at = START + timedelta(minutes=number if minute is None else minute)
    known = {"status": status, "stage": "tune", "error_better": "lower", "command": f"adamcmp run {number}"}
    texts = {"settings": f'{{"n": {number}}}', "engine_settings": "{}", "metrics": f'{{"m": {number}.5}}'}
    return {**row, **known, **texts, "arm": f"arm {number} λ", "run_id": f"{number:04}", "finished_at": finished_at}


def a_curve(number: int, steps: tuple[int, ...] = (5, 10)) -> list[dict[str, object]]:
    numbers = {column.name: (number + 1) / 3 for column in CURVE if column.type == REAL}
    return [{**numbers, "run_id": f"{number:04}", "step": step} for step in steps]


def store(study_dir: Path, *numbers: int, **how) -> None:
    append_runs(study_dir, [a_record(n, **how) for n in numbers], [row for n in numbers for row in a_curve(n)])


def parts(study_dir: Path, table: str = "records") -> list[Path]:
    return sorted((study_dir / table).iterdir())


def stored_bytes(study_dir: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(study_dir.rglob("*")) if path.is_file()}


def expected_frame(rows, columns=RECORD) -> pd.DataFrame:
    return pa.Table.from_pylist(rows, arrow_schema(columns)).to_pandas()


# what is written is read


def test_appended_rows_are_read_again_bit_for_bit(tmp_path):
    store(tmp_path, 0, 1)
    store(tmp_path, 2)
    records, curves = read(tmp_path)
    assert_frame_equal(records, expected_frame([a_record(n) for n in (0, 1, 2)]), check_exact=True)
    rows = [row for n in (0, 1, 2) for row in a_curve(n)]
    assert_frame_equal(curves, expected_frame(rows, CURVE), check_exact=True)
    assert records["lr"].tolist() == [0.1, 0.1 + 1 / 3, 0.1 + 2 / 3]


def test_what_does_not_apply_is_null_and_stays_null(tmp_path):
    known = {"run_id": "a", "status": "diverged", "diverged_step": 3, "finished_at": START}
    append_runs(tmp_path, [known], [])
    row = read_records(tmp_path).iloc[0]
    assert row.drop(list(known)).isna().all()
    assert row["diverged_step"] == 3


@pytest.mark.parametrize("extreme", [float("inf"), float("nan"), 5e-324, -0.0, 1.7976931348623157e308])
def test_extreme_numbers_survive(tmp_path, extreme):
    append_runs(tmp_path, [{**a_record(0), "final_train_loss": extreme}], [])
    assert repr(read_records(tmp_path)["final_train_loss"][0].item()) == repr(extreme)


def test_every_column_carries_its_unit_and_meaning_and_the_file_its_version(tmp_path):
    store(tmp_path, 0)
    for table, columns in (("records", RECORD), ("curves", CURVE)):
        schema = pq.read_schema(parts(tmp_path, table)[0])
        assert schema.metadata[b"adamcmp_schema"] == str(SCHEMA_VERSION).encode()
        for column in columns:
            field = schema.field(column.name)
            assert field.type == column.type
            assert field.metadata[b"unit"].decode() == column.unit
            assert field.metadata[b"meaning"].decode() == column.meaning


def test_column_names_are_unique_and_all_have_a_meaning():
    for columns in (RECORD, CURVE):
        assert len({column.name for column in columns}) == len(columns)
        assert all(column.meaning for column in columns)


@pytest.mark.parametrize("prepared", [False, True], ids=["no folder", "empty folders"])
def test_nothing_stored_gives_empty_tables_with_all_columns(tmp_path, prepared):
    if prepared:
        for table in TABLES:
            (tmp_path / table).mkdir()
    records, curves = read(tmp_path)
    assert list(records.columns) == [column.name for column in RECORD]
    assert list(curves.columns) == [column.name for column in CURVE]
    assert records.empty
    assert curves.empty
    assert finished_ids(tmp_path) == set()


def test_half_written_and_unrelated_files_are_not_read(tmp_path):
    store(tmp_path, 0)
    (tmp_path / "records" / "part.tmp").write_bytes(b"half")
    (tmp_path / "records" / "notes.txt").write_text("mine")
    assert len(read_records(tmp_path)) == 1


# a run counts once


def test_of_a_failed_run_trained_again_the_later_record_counts(tmp_path):
    store(tmp_path, 0, status="failed", minute=0)
    store(tmp_path, 1)
    assert finished_ids(tmp_path) == {"0001"}
    store(tmp_path, 0, minute=9)
    records = read_records(tmp_path)
    assert dict(zip(records["run_id"], records["status"], strict=True)) == {
        "0000": "completed",
        "0001": "completed",
    }
    assert finished_ids(tmp_path) == {"0000", "0001"}
    assert not read(tmp_path).curves.duplicated(["run_id", "step"]).any()


def test_a_diverged_run_is_finished(tmp_path):
    store(tmp_path, 0, status="diverged")
    assert finished_ids(tmp_path) == {"0000"}


def test_a_curve_without_its_record_does_not_count(tmp_path):
    """What a kill between the two writes of ``append_runs`` leaves."""
    store(tmp_path, 0, 1)
    store(tmp_path, 2)
    parts(tmp_path, "records")[-1].unlink()
    records, curves = read(tmp_path)
    assert set(curves["run_id"]) == set(records["run_id"]) == {"0000", "0001"}
    store(tmp_path, 2)
    assert read(tmp_path).curves.groupby("run_id").size().to_dict() == {"0000": 2, "0001": 2, "0002": 2}


# damage


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def without_its_end(content: bytes) -> bytes:
    return content[:-1]


def noise(content: bytes) -> bytes:
    return random.Random(0).randbytes(len(content))


def empty(content: bytes) -> bytes:
    return b""


def text(content: bytes) -> bytes:
    return b"run_id,lr\n1,2\n"


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("damage", [truncated, without_its_end, noise, empty, text])
def test_a_damaged_part_is_named_and_the_others_are_left_alone(tmp_path, damage, table):
    store(tmp_path, 0)
    store(tmp_path, 1)
    bad = parts(tmp_path, table)[1]
    whole = bad.read_bytes()
    bad.write_bytes(damage(whole))
    before = stored_bytes(tmp_path)
    with pytest.raises(InputError) as caught:
        read(tmp_path)
    assert str(bad) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert stored_bytes(tmp_path) == before
    bad.rename(tmp_path / "set aside")  # what the message advises
    kept = 1 if table == "records" else 2
    assert len(read(tmp_path).records) == kept


def test_flipped_bytes_never_pass_for_other_numbers(tmp_path):
    """Disks and copies do flip bytes: a part then reads as an error or as what was written, never as anything else."""
    store(tmp_path, *range(8))
    part = parts(tmp_path)[0]
    whole, good = part.read_bytes(), read_records(tmp_path)
    rng = random.Random(0)
    unseen = 0
    for _ in range(150):
        flipped = bytearray(whole)
        for _ in range(rng.choice([1, 8])):
            flipped[rng.randrange(len(flipped))] ^= rng.randrange(1, 256)
        part.write_bytes(flipped)
        with contextlib.suppress(InputError):
            unseen += not read_records(tmp_path).equals(good)
    assert unseen == 0


@pytest.mark.parametrize("table", TABLES)
def test_a_parquet_file_of_somebody_else_is_refused(tmp_path, table):
    store(tmp_path, 0)
    foreign = tmp_path / table / "iris.parquet"
    pq.write_table(pa.table({"petal": [1.0]}), foreign)
    with pytest.raises(InputError, match=r"iris\.parquet.*not ours"):
        read(tmp_path)


def test_records_of_another_schema_version_are_refused(tmp_path):
    store(tmp_path, 0)
    part = parts(tmp_path)[0]
    table = pq.read_table(part)
    pq.write_table(table.replace_schema_metadata({"adamcmp_schema": "999"}), part)
    with pytest.raises(InputError, match="schema 999"):
        read(tmp_path)


def test_our_version_with_other_columns_is_refused(tmp_path):
    store(tmp_path, 0)
    part = parts(tmp_path)[0]
    pq.write_table(pq.read_table(part).drop_columns(["lr"]), part)
    with pytest.raises(InputError, match=part.name):
        read(tmp_path)


def test_a_part_from_before_a_column_was_added_is_read_with_nulls(tmp_path):
    store(tmp_path, 0)
    store(tmp_path, 1)
    part = parts(tmp_path)[0]
    pq.write_table(pq.read_table(part).drop_columns(["metrics", "final_test_bits_per_byte"]), part)
    records = read(tmp_path).records
    assert len(records) == 2
    assert records["metrics"].isna().any()
    assert list(records.columns) == [column.name for column in RECORD]


# merging


def many(study_dir: Path, count: int) -> None:
    for number in range(count):
        store(study_dir, number)
    store(study_dir, 0, status="failed", minute=-9)  # stored later, trained earlier
    store(study_dir, 1, minute=99)


def test_merging_changes_the_files_and_not_the_tables(tmp_path):
    many(tmp_path, 6)
    before = read(tmp_path)
    merge_parts(tmp_path, more_than=3)
    assert [len(parts(tmp_path, table)) for table in TABLES] == [1, 1]
    for was, now in zip(before, read(tmp_path), strict=True):
        assert_frame_equal(was, now, check_exact=True)
    store(tmp_path, 7)
    assert len(read_records(tmp_path)) == 7


def test_parts_that_are_merged_as_they_come_stay_few_and_are_not_rewritten_for_ever(tmp_path, monkeypatch):
    """Ten hours leave 18,000 of them; here a merge is due at every eighth."""
    written: list[tuple[int, int]] = []
    write = part_files.write_part

    def noted(path, table):
        write(path, table)
        written.append((len(table), path.stat().st_size))

    for module in (part_files, merging):
        monkeypatch.setattr(module, "write_part", noted)
    most = 0
    for i in range(120):
        store(tmp_path, i)
        merging.merge_parts(tmp_path, more_than=8)
        most = max(most, len(parts(tmp_path)))
    assert most <= 9
    assert len(read(tmp_path).records) == 120
    appended = sum(size for rows, size in written if rows <= 2)
    assert 0 < sum(size for rows, size in written if rows > 2) < 2 * appended  # of bytes, which is what it costs


def test_what_was_stored_last_counts_after_a_merge_too(tmp_path):
    """A failed run, trained again: its later rows stand behind the earlier ones, whatever was merged in between."""
    store(tmp_path, 1, status="failed", minute=0)
    for number in (10, 11, 12):
        store(tmp_path, number)
    append_runs(tmp_path, [a_record(1, minute=30)], [{**row, "train_loss": 99.0} for row in a_curve(1)])
    for number in (20, 21):
        store(tmp_path, number)
    before = read(tmp_path)
    merge_parts(tmp_path, more_than=2)
    for was, now in zip(before, read(tmp_path), strict=True):
        assert_frame_equal(was, now, check_exact=True)
    assert set(before.records["status"]) == {"completed"}
    assert set(before.curves.loc[before.curves["run_id"] == "0001", "train_loss"]) == {99.0}


def test_few_parts_are_left_as_they_are(tmp_path):
    many(tmp_path, 2)
    before = stored_bytes(tmp_path)
    merge_parts(tmp_path, more_than=4)
    assert stored_bytes(tmp_path) == before


class KilledError(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.mark.parametrize("survivors", range(0, 12, 2))
def test_a_kill_while_merging_loses_and_doubles_nothing(tmp_path, monkeypatch, survivors):
    many(tmp_path, 3)
    before = read(tmp_path)
    removed = []
    unlink = Path.unlink

    def unlink_or_die(path, missing_ok=False):
        if path.suffix == ".parquet":
            if len(removed) == survivors:
                raise KilledError
            removed.append(path)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink_or_die)
    with contextlib.suppress(KilledError):
        merge_parts(tmp_path, more_than=3)
    monkeypatch.undo()
    for _ in range(2):  # as the kill left it, and after the next sweep has merged again
        for was, now in zip(before, read(tmp_path), strict=True):
            assert_frame_equal(was, now, check_exact=True)
        merge_parts(tmp_path, more_than=1)


@pytest.mark.parametrize("when", ["before a part is read", "after it was read"])
def test_reading_while_a_sweep_merges_sees_all(tmp_path, monkeypatch, when):
    many(tmp_path, 4)
    before = read(tmp_path)
    part_files._sound_parts.clear()
    read_parquet, merges = part_files._read_parquet, []

    def merged_meanwhile(path, columns=None):
        table = read_parquet(path, columns) if when == "after it was read" else None
        if not merges:
            merges.append(path)
            merge_parts(tmp_path, more_than=1)
            assert not path.exists()
        return read_parquet(path, columns) if table is None else table

    monkeypatch.setattr(part_files, "_read_parquet", merged_meanwhile)
    for was, now in zip(before, read(tmp_path), strict=True):
        assert_frame_equal(was, now, check_exact=True)
    assert merges


def test_merging_refuses_to_swallow_a_damaged_part(tmp_path):
    many(tmp_path, 4)
    bad = parts(tmp_path)[2]
    bad.write_bytes(b"broken")
    others = {path: content for path, content in stored_bytes(tmp_path / "records").items() if path != bad}
    with pytest.raises(InputError, match=bad.name):
        merge_parts(tmp_path, more_than=3)
    assert others.items() <= stored_bytes(tmp_path / "records").items()


# a full or unwritable disk


@pytest.fixture
def small_disk(tmp_path):
    """A real disk of 256 kB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:  # as root in a container without the capability
        pytest.skip("This user is not allowed to mount a tmpfs. To run: use a machine, not a container")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_and_leaves_what_was_stored(small_disk):
    def fill():
        for number in range(100):
            store(small_disk / "study", number)

    with pytest.raises(InputError, match=r"cannot be written: the disk is full; make room"):
        fill()
    kept = read(small_disk / "study")
    assert len(kept.records) >= 1
    expected = expected_frame([a_record(n) for n in range(len(kept.records))])
    assert_frame_equal(kept.records, expected, check_exact=True)
    assert not list(small_disk.rglob("*.tmp"))
    with pytest.raises(InputError, match="the disk is full"):
        fill()


@pytest.mark.parametrize("table", TABLES)
def test_no_space_in_the_middle_of_a_write_leaves_no_trace(tmp_path, monkeypatch, table):
    store(tmp_path, 0)
    good = read(tmp_path)
    write_table = pq.write_table

    def until_full(content, file, **options):
        write_table(content, file, **options)
        if f"{os.sep}{table}{os.sep}" in file.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pq, "write_table", until_full)
    with pytest.raises(InputError, match="the disk is full"):
        store(tmp_path, 1)
    for was, now in zip(good, read(tmp_path), strict=True):
        assert_frame_equal(was, now, check_exact=True)
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("table", TABLES)
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path, table):
    (tmp_path / table).write_text("not a folder")
    with pytest.raises(InputError, match=rf"{table}.*cannot be written"):
        store(tmp_path, 0)


@pytest.mark.skipif(os.geteuid() == 0, reason="Root can write to every folder. To run: use another user")
def test_a_read_only_folder_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written: Permission denied"):
        store(tmp_path / "study", 0)
    tmp_path.chmod(0o700)


# finding studies


def test_studies_are_found_at_a_path_and_right_below_it(tmp_path):
    for name in ("b", "a"):
        store(tmp_path / name, 0)
    (tmp_path / "unrelated").mkdir()
    assert find_studies(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert find_studies(tmp_path / "a") == [tmp_path / "a"]


def test_the_public_load_joins_the_studies_of_a_folder(tmp_path):
    store(tmp_path / "a", 0, 1)
    store(tmp_path / "b", 2)
    records, curves = load(tmp_path)
    assert records["run_id"].tolist() == ["0000", "0001", "0002"]
    assert len(curves) == 6
    assert len(load(str(tmp_path / "b")).records) == 1


def test_no_studies_are_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no stored runs"):
        load(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        load(tmp_path / "nowhere")


# several folders


def test_folders_are_read_as_one_and_of_a_run_in_both_the_later_folder_counts(tmp_path):
    store(tmp_path / "a", 1, 2)
    append_runs(tmp_path / "b", [{**a_record(2), "arm": "later"}], [{**row, "train_loss": 7.0} for row in a_curve(2)])
    store(tmp_path / "b", 3)
    found, curves = stored_records.read_all([tmp_path / "a", tmp_path / "b"])
    assert found["run_id"].tolist() == ["0001", "0002", "0003"]
    assert found.index.tolist() == [0, 1, 2]
    assert found.loc[1, "arm"] == "later"
    assert len(curves) == 6
    assert curves.index.tolist() == list(range(6))
    assert set(curves.loc[curves["run_id"] == "0002", "train_loss"]) == {7.0}


def test_what_a_killed_writer_left_goes_from_every_folder_of_a_study(tmp_path):
    store(tmp_path, 1)
    left = [tmp_path / name / ".x.parquet.0123456789ab.tmp" for name in ("", "curves", "records", "checkpoints")]
    mine = tmp_path / "notes.tmp"
    mine.write_text("of the user")
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    merging.remove_leftovers(tmp_path)
    assert not any(path.exists() for path in left)
    assert mine.exists()
    assert len(read(tmp_path).records) == 1


def test_a_part_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """Else a power cut may leave the name and no content."""
    done = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: (done.append("sync"), fsync(file)))
    monkeypatch.setattr(Path, "replace", lambda self, to: (done.append(to.parent.name), replace(self, to)))
    store(tmp_path, 1)
    assert done == ["sync", "curves", "sync", "records"]


# whatever clocks say, and whatever others have done to the files


def test_a_completed_run_counts_whatever_the_clocks_say(tmp_path):
    """A node whose clock is ahead has failed at what another one completed."""
    store(tmp_path, 1, status="failed", minute=1_000)
    store(tmp_path, 1, status="completed", minute=1)
    store(tmp_path, 1, status="diverged", minute=2_000)
    assert read(tmp_path).records["status"].tolist() == ["completed"]
    assert stored_records.read_all([tmp_path]).records["status"].tolist() == ["completed"]
    assert finished_ids(tmp_path) == {"0001"}
    other = tmp_path / "other"
    store(other, 1, status="failed", minute=5_000)
    for both in ([tmp_path, other], [other, tmp_path]):
        assert stored_records.read_all(both).records["status"].tolist() == ["completed"]


@pytest.mark.parametrize("order", [("failed", "pruned"), ("pruned", "diverged"), ("failed", "diverged")])
def test_of_other_ends_the_more_final_one_counts(tmp_path, order):
    worse, better = order
    store(tmp_path, 1, status=better, minute=0)
    store(tmp_path, 1, status=worse, minute=9)
    assert read(tmp_path).records["status"].tolist() == [better]


def test_completed_records_of_a_run_with_other_numbers_are_found(tmp_path):
    store(tmp_path, 1, 2)
    append_runs(tmp_path, [a_record(1, minute=9), {**a_record(2, minute=9), "final_test_loss": 7.0}], [])
    append_runs(tmp_path, [{**a_record(3), "final_test_loss": None}, a_record(3, status="failed")], [])
    assert set(stored_records.find_disagreements([tmp_path])["run_id"]) == {"0002"}
    merge_parts(tmp_path, more_than=1)
    assert set(stored_records.find_disagreements([tmp_path])["run_id"]) == {"0002"}


def test_a_part_never_changes_under_its_name(tmp_path):
    for number in range(9):
        store(tmp_path, number)
    seen = stored_bytes(tmp_path)
    merge_parts(tmp_path, more_than=4)
    for number in range(9, 20):
        store(tmp_path, number)
        merge_parts(tmp_path, more_than=4)
        for path, content in stored_bytes(tmp_path).items():
            assert seen.setdefault(path, content) == content
    assert len(read(tmp_path).records) == 20


def test_joining_again_brings_what_has_come_since_and_nothing_twice(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b"
    for number in range(6):
        store(source, number)
    merging.merge_study(source, target)
    for number in range(6, 10):
        store(source, number)
        merge_parts(source, more_than=2)
    merging.merge_study(source, target)
    assert len(read(target).records) == 10
    assert len(read(target).curves) == 20
    before = stored_bytes(target)
    merging.merge_study(source, target)
    assert stored_bytes(target) == before


@pytest.mark.parametrize("table", ["records", "curves"])
def test_a_link_to_a_file_that_is_not_here_is_named(tmp_path, table):
    """As git-annex and DVC leave them; reading looked again for ever."""
    store(tmp_path, 1)
    (tmp_path / table / "20990101T000000000000-00000000.parquet").symlink_to(tmp_path / "annex" / "gone")
    with pytest.raises(InputError, match="is a link to a file that is not here; fetch it"):
        read(tmp_path)


@pytest.mark.parametrize("table", ["records", "curves", "outcomes"])
def test_any_damage_is_one_line_with_what_moving_the_file_means(tmp_path, table):
    """Each byte of the footer, flipped."""
    outcome = {"run_id": "0001", "kind": "bits", "length": 3, "values": b"\1"}
    append_runs(tmp_path, [a_record(1)], a_curve(1), [outcome])
    (path,) = parts(tmp_path, table)
    content = path.read_bytes()
    says = {"records": "trained again", "curves": "without their curves", "outcomes": "over seeds alone"}[table]
    met = 0
    for place in range(len(content) - 1, len(content) // 2, -max(1, len(content) // 300)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            read(tmp_path)
            stored_records.read_outcomes([tmp_path])
        except InputError as error:
            met += 1
            text = str(error)
            assert says in text or "foreign Parquet file" in text or "never writes" in text, text
    assert met > 10


def test_runs_without_their_curve_or_outcomes_are_told(tmp_path):
    outcome = {"kind": "bits", "length": 3, "values": b"\1"}
    append_runs(tmp_path, [{**a_record(1), "stage": "confirm"}], a_curve(1), [{**outcome, "run_id": "0001"}])
    append_runs(tmp_path, [{**a_record(2), "stage": "confirm"}], a_curve(2))
    append_runs(tmp_path, [a_record(3), a_record(4, status="failed")], [])
    assert stored_records.find_incomplete(tmp_path) == ({"0003"}, {"0002"})


def test_a_run_that_diverged_before_its_first_evaluation_lacks_nothing(tmp_path):
    settings = {"settings": '{"eval_steps": [10, 20]}'}
    early, late = ({**a_record(i, status="diverged"), **settings, "diverged_step": 4 + 8 * i} for i in (0, 1))
    append_runs(tmp_path, [early, late], [])
    assert stored_records.find_incomplete(tmp_path).curves == {"0001"}


@pytest.mark.parametrize(
    ("column", "text"),
    [("run_id", "../../../victim/x"), ("run_id", "Abc"), ("study", "../up"), ("study", "a/b"), ("study", ".hidden"),
     ("adamcmp_version", "1.0\nimport os"), ("torch_version", "2;x"), ("task", "a b"), ("status", "done"),
     ("stage", "later"), ("rule", "os.system('x')"), ("arm", "a\nb"), ("settings", "{}\x1b[2J"), ("error", "\x00"),
     ("command", "rm -rf ~"), ("command", "adamcmp sweep digits; rm -rf ~"), ("command", "adamcmp 'run"),
     ("git_commit", "$(rm)"), ("device", "cpu\n")],
)  # fmt: skip
def test_texts_that_adamcmp_never_writes_are_refused_where_they_come_in(tmp_path, column, text):
    table = pa.Table.from_pylist([{**a_record(1), column: text}], arrow_schema(RECORD))
    (tmp_path / "records").mkdir()
    pq.write_table(table, tmp_path / "records" / "part.parquet")
    with pytest.raises(InputError, match=f"{column} is .*, which adamcmp never writes"):
        read(tmp_path)


def test_what_own_code_raises_is_stored_so_that_it_can_be_read(tmp_path):
    append_runs(
        tmp_path, [{**a_record(1), "error": "Boom\x1b[2J:\n  no", "arm": "a\nb\u2028c", "hardware": "\x07"}], []
    )
    (row,) = read(tmp_path).records.to_dict("records")
    assert (row["error"], row["arm"], row["hardware"]) == ("Boom\\x1b[2J:\n  no", "a b c", "\\x07")
