"""``MANIFEST.json`` next to a report: its sources, and the SHA-256 of each of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from adamcmp.errors import InputError
from adamcmp.report.formatting import describe_mixed_origins, format_seeds, runs_hash, wall_seconds
from adamcmp.storage.backend import write_file
from adamcmp.untrusted import load_json

MANIFEST_NAME = "MANIFEST.json"
FIGURE_PACKAGES = ("adamcmp", "matplotlib", "numpy", "pandas")


def write_manifest(records: pd.DataFrame, files: Sequence[Path], folder: Path) -> Path:
    """Write the manifest of a report of these runs, which consists of these files; its path."""
    data = records.drop_duplicates("data_fingerprint").sort_values("data_fingerprint")
    values = {
        "studies": _values(records, "study"),
        "commands": dict(sorted(records["command"].fillna("unknown").value_counts().items())),
        "git_commits": _values(records, "git_commit"),
        "versions": {name: _values(records, f"{name}_version") for name in ("adamcmp", "torch", "python")},
        "hardware": _values(records, "hardware"),
        "devices": _values(records, "device"),
        "engines": dict(sorted(records["engine"].dropna().astype(str).value_counts().items())),
        "trained_in_several_ways": describe_mixed_origins(records),
        "training_seconds": round(float(records["seconds"].sum()), 1),
        "wall_seconds": round(wall_seconds(records), 1),
        "runs": len(records),
        "runs_hash": runs_hash(records),
        "seeds": format_seeds(records["seed"].dropna().astype(int)),
        "data": dict(zip(data["data_fingerprint"].astype(str), data["data"].astype(str), strict=True)),
    }
    return write_listing(values, files, folder)


def write_listing(values: Mapping[str, Any], files: Sequence[Path], folder: Path) -> Path:
    """Write a manifest with some values and a list of files with the packages that drew them; return its path."""
    values = {
        **values,
        "drawn_with": {name: version(name) for name in FIGURE_PACKAGES},
        "files": {path.relative_to(folder).as_posix(): _sha256(path) for path in sorted(files)},
    }
    text = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
    return write_file(folder / MANIFEST_NAME, text.encode())


def _values(records: pd.DataFrame, column: str) -> list[str]:
    return sorted(records[column].dropna().astype(str).unique()) if column in records else []


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


WRITTEN = (".md", ".csv", ".tex", ".png", ".svg", ".pdf", ".html", ".py", ".json")
"""Suffixes of a report's files."""


def listed_files(folder: Path) -> list[str]:
    """Return the files of a report that its manifest lists; none if there is no readable one.

    A name that leads out of the folder, or to a file of another kind, is left out: the listed files may be removed.
    """
    try:
        names = [str(name) for name in load_json((folder / MANIFEST_NAME).read_text(encoding="utf-8"))["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    root = folder.resolve()
    return [name for name in names if name.endswith(WRITTEN) and (folder / name).resolve().is_relative_to(root)]


class VerifyResult(NamedTuple):
    """State of a report's files."""

    folder: Path
    files: int
    changed: list[str]
    missing: list[str]
    others: list[str]
    """Files in the same folder that the manifest does not list."""

    @property
    def is_whole(self) -> bool:
        """All files are there, as they were written."""
        return not self.changed and not self.missing


def verify_report(folder: Path) -> VerifyResult:
    """Compare the files of a report with its manifest.

    Args:
        folder: of the report, or of its study.

    Raises:
        InputError: there is no manifest, or one that cannot be read.
    """
    place_ = next((place for place in (folder, folder / "report") if (place / MANIFEST_NAME).is_file()), None)
    if place_ is None:
        raise InputError(f"{folder}: no {MANIFEST_NAME} here; `adamcmp report` writes one beside a report")
    try:
        files: dict[str, Any] = load_json((place_ / MANIFEST_NAME).read_text(encoding="utf-8"))["files"]
        listed = listed_files(place_)
        expected = {str(name): str(digest) for name, digest in files.items() if name in listed}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{place_ / MANIFEST_NAME}: cannot be read; write the report again") from error
    missing = [name for name in expected if not (place_ / name).is_file()]
    changed = [name for name, digest in expected.items() if name not in missing and _sha256(place_ / name) != digest]
    present = {path.relative_to(place_).as_posix() for path in place_.rglob("*") if path.is_file()}
    return VerifyResult(
        place_, len(expected), changed, missing, sorted(present - expected.keys() - {MANIFEST_NAME, "bundle.zip"})
    )
