"""Read stored runs: records and curves of studies as pandas frames.

A study's folder holds ``records/*.parquet`` (one row per run), ``curves/*.parquet`` (one row per evaluation) and
``outcomes/*.parquet`` (the per-example test errors of held-out runs).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from adamcmp.errors import InputError
from adamcmp.lazy_imports import LazyModule
from adamcmp.storage.part_files import read_frame, read_table
from adamcmp.storage.schema import CURVE, OUTCOMES, RECORD
from adamcmp.untrusted import load_object

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
else:
    np, pd = (LazyModule("numpy"), LazyModule("pandas"))


class Results(NamedTuple):
    """Stored runs of a study, as ``adamcmp.load`` returns them.

    >>> from pandas import DataFrame
    >>> records, curves = Results(DataFrame({"run_id": ["a"]}), DataFrame({"run_id": ["a", "a"], "step": [1, 2]}))
    >>> len(records), len(curves)
    (1, 2)
    """

    records: pd.DataFrame
    """One row per run, columns ``RECORD``."""
    curves: pd.DataFrame
    """One row per evaluation, columns ``CURVE``."""


def weights_path(folder: Path, run_id: str, kept: str) -> Path:
    """Return where a run's ``best`` or ``last`` weights lie."""
    return folder / f"{run_id}-{kept}.safetensors"


def read(study_dir: Path) -> Results:
    """Return all stored runs of a study; of a run stored twice (a failed one, trained again) the last counts.

    Raises:
        InputError: there is no such study, or a part is damaged or not ours.
    """
    records = read_records(study_dir)
    curves = read_frame(study_dir / "curves", CURVE)
    curves = curves[curves["run_id"].isin(records["run_id"])]
    curves = curves.drop_duplicates(["run_id", "step"], keep="last").sort_values(["run_id", "step"], kind="stable")
    return Results(records, curves.reset_index(drop=True))


def read_records(study_dir: Path) -> pd.DataFrame:
    """Return the records alone; empty where nothing is stored yet.

    Raises:
        InputError: a part is damaged or not ours.
    """
    return drop_superseded(read_frame(study_dir / "records", RECORD))


STATUS_RANKS: Mapping[str, int] = {"failed": 0, "pruned": 1, "diverged": 2, "completed": 3}
"""Ranks of ends: of several records of one run the highest counts, whatever the clocks of their machines said."""


def drop_superseded(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run, ordered by the time of its end; of several the one with the highest of ``STATUS_RANKS``.

    Among equal ranks the last counts.
    """
    ordered = records.sort_values("finished_at", kind="stable")
    repeated = ordered["run_id"].duplicated(keep=False)
    if repeated.any():
        by_rank = ordered[repeated].assign(rank=ordered["status"].map(STATUS_RANKS)).sort_values("rank", kind="stable")
        dropped = by_rank.index[by_rank["run_id"].duplicated(keep="last")]
        ordered = ordered.drop(index=dropped)
    return ordered.reset_index(drop=True)


def find_disagreements(study_dirs: Sequence[Path]) -> pd.DataFrame:
    """Return the completed records of runs that stand several times with other numbers, ordered by run and time.

    Two trainings of one run may differ by rounding (docs/reference/records.md). Which of them counts
    then depends on clocks.

    Raises:
        InputError: a part is damaged or not ours.
    """
    every = pd.concat([read_frame(folder / "records", RECORD) for folder in study_dirs], ignore_index=True)
    done = every[every["status"] == "completed"].sort_values(["run_id", "finished_at"], kind="stable")
    done = done[done["run_id"].duplicated(keep=False)]
    measured = [column.name for column in RECORD if column.name.startswith(("final_", "best_"))]
    values = done[measured].astype(float).fillna(math.inf)  # of both, what is missing is the same
    differs = (values.groupby(done["run_id"]).transform("nunique") > 1).any(axis=1)
    return done[differs].reset_index(drop=True)


def read_outcomes(study_dirs: Sequence[Path]) -> dict[str, NDArray[np.float64]]:
    """Return the per-example test errors of held-out runs by run ID, (N,): of examples, or of blocks of them.

    Raises:
        InputError: a part is damaged or not ours.
    """
    errors_by_run: dict[str, NDArray[np.float64]] = {}
    for study_dir in study_dirs:
        for row in read_frame(study_dir / "outcomes", OUTCOMES).to_dict("records"):
            raw = np.frombuffer(row["values"], np.uint8 if row["kind"] == "bits" else "<f4")
            values = np.unpackbits(raw, count=row["length"]) if row["kind"] == "bits" else raw
            errors_by_run[row["run_id"]] = values.astype(np.float64)
    return errors_by_run


class IncompleteRuns(NamedTuple):
    """Runs that count but lack something, since a part of its table was lost."""

    curves: set[str]
    """Ids of runs without their curve."""
    outcomes: set[str]
    """Ids of held-out runs without what each test example says, where others of the study have it."""


def find_incomplete(study_dir: Path) -> IncompleteRuns:
    """Return the runs that lack their curve, or their results; `adamcmp remove --incomplete` removes them.

    Raises:
        InputError: a part is damaged or not ours.
    """
    records = read_records(study_dir)
    curves, outcomes = (
        set(read_table(study_dir / table, columns)["run_id"].to_pylist())
        for table, columns in (("curves", CURVE), ("outcomes", OUTCOMES))
    )
    records = records[records["engine"] != "imported"]  # other programs may have stored no curve
    ended = records[(records["status"] == "completed") | _has_evaluation(records)]
    judging = records[records["stage"].isin(["confirm", "settle"]) & (records["status"] == "completed")]
    lacking = set(judging["run_id"]) - outcomes if outcomes else set[str]()
    return IncompleteRuns(set(ended["run_id"]) - curves, lacking)


def _has_evaluation(records: pd.DataFrame) -> pd.Series:
    """Return which runs diverged after their first evaluation: those before it have no curve."""
    diverged = records["status"] == "diverged"
    first = [load_object(text).get("eval_steps", [0])[0] for text in records.loc[diverged, "settings"]]
    later = pd.Series(data=False, index=records.index)
    later[diverged] = records.loc[diverged, "diverged_step"].to_numpy(float) > np.array(first, float)
    return later


def finished_ids(study_dir: Path) -> set[str]:
    """Return ids of the runs that need no training: completed or diverged, as both are final.

    Raises:
        InputError: as ``read_records``.
    """
    records = read_records(study_dir)
    return set(records.loc[records["status"] != "failed", "run_id"])


def read_all(study_dirs: Sequence[Path]) -> Results:
    """Return the runs of several folders together; of a run that is stored in more than one, the last counts.

    Raises:
        InputError: as ``read``.
    """
    results = [read(folder) for folder in study_dirs]
    records, curves = (pd.concat(frames, ignore_index=True) for frames in zip(*results, strict=True))
    return Results(
        drop_superseded(records),
        curves.drop_duplicates(["run_id", "step"], keep="last").reset_index(drop=True),
    )


def find_studies(path: Path) -> list[Path]:
    """Return the study folders at a path: itself, or those right below it.

    Raises:
        InputError: there is none.
    """
    if not path.is_dir():
        stored = Path("results") / str(path)
        if stored.is_dir():
            raise InputError(f"{path}: no such folder; did you mean {stored}?")
        raise InputError(f"{path}: no such folder; give results/<study>, or the folder that holds studies")
    study_dirs = [folder for folder in (path, *sorted(path.iterdir())) if (folder / "records").is_dir()]
    if not study_dirs:
        raise InputError(f"{path}: no stored runs here; `adamcmp sweep` and `adamcmp run` make some")
    return study_dirs
