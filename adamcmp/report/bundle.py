"""``bundle.zip``: everything that a reviewer needs to check a study, and to train it again.

It holds the records, curves and per-example errors, the configuration, the user's code and configuration files, the
versions of all installed dependencies, the report with its plot scripts, the commands, and a README.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from adamcmp.config.source_hash import add_cwd_to_path, files_with_imports, is_installed
from adamcmp.errors import InputError
from adamcmp.storage.backend import write_file

NAME = "bundle.zip"
STORED = ("records", "curves", "outcomes")
"""Folders of a study that a bundle holds, next to ``study.yaml``."""
DATE = (1980, 1, 1, 0, 0, 0)
"""Date of every file, so that the same study gives the same bytes."""
README = """# {studies}: a bundle of adamcmp

- `results/`: one row per run, learning curves and per-example test errors (Parquet), the configuration, and the report.
- `code/`: the author's own Python and YAML files that the study uses.
- `requirements.txt`: the versions of adamcmp and all its dependencies.
- `commands.sh`: the commands that trained the runs.

Install the environment (Python {python}) and check the report:

```sh
python -m venv .venv
.venv/bin/pip install -r requirements.txt
{verify}
```

Compute leaderboard, verdicts, tables and figures again from the stored runs; no training:

```sh
{report}
```

Train everything again. Runs that are stored are not repeated, so train into another folder:

```sh
{train}
```

{code}
"""


def write_bundle(study_dirs: Sequence[Path], records: pd.DataFrame, folder: Path) -> Path:
    """Write the bundle of some studies into the folder of their report; return its path.

    Args:
        study_dirs: folders of the studies.
        records: their stored runs.
        folder: the report.

    Raises:
        InputError: the folder cannot be written.
    """
    commands = records["command"].dropna().drop_duplicates().tolist()
    code = dict(_code(records, commands))
    names = [study_dir.name for study_dir in study_dirs]
    files: dict[str, bytes] = {}
    for study_dir in study_dirs:
        for path in _stored(study_dir):
            files[f"results/{study_dir.name}/{path.relative_to(study_dir).as_posix()}"] = path.read_bytes()
    report = f"results/{names[0]}/report" if len(names) == 1 else "results/report"
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != NAME:
            files[f"{report}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    files |= {f"code/{name}": content for name, content in code.items()}
    files["requirements.txt"] = "".join(f"{line}\n" for line in requirements()).encode()
    files["commands.sh"] = "".join(f"{command}\n" for command in map(_elsewhere, commands)).encode()
    studies = " ".join(f"results/{name}" for name in names)
    out = "" if len(names) == 1 else " --out results/report-again"
    files["README.md"] = README.format(
        studies=", ".join(names),
        python=", ".join(sorted(records["python_version"].dropna().astype(str).unique())),
        verify=f".venv/bin/adamcmp verify {report}",
        report=f".venv/bin/adamcmp report {studies}{out}",
        train="cd code && PATH=../.venv/bin:$PATH sh ../commands.sh" if code else "PATH=.venv/bin:$PATH sh commands.sh",
        code="" if code else "The study uses no code but adamcmp's.",
    ).encode()
    return write_file(folder / NAME, _zipped(files))


def _stored(study_dir: Path) -> Iterator[Path]:
    """Yield the files of a study that a bundle holds."""
    for name in STORED:
        yield from sorted((study_dir / name).glob("*.parquet"))
    if (study_dir / "study.yaml").is_file():
        yield study_dir / "study.yaml"


def _elsewhere(command: str) -> str:
    """Return a command that stores its runs in another results folder than the bundle's."""
    words = shlex.split(command)
    if "--results-dir" in words[:-1]:
        words[words.index("--results-dir") + 1] = "results-again"
    else:
        words += ["--results-dir", "results-again"]
    return shlex.join(words)


def _code(records: pd.DataFrame, commands: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the user's modules and YAML files by their path relative to the working folder."""
    cwd = Path.cwd().resolve()
    paths = set(_modules(records))
    for command in commands:
        words = shlex.split(command)
        paths |= {Path(word).resolve() for word in words if word.endswith((".yaml", ".yml")) and Path(word).is_file()}
        for option, value in pairwise(words):
            if option == "--config-dir" and Path(value).is_dir():
                paths |= {path.resolve() for path in Path(value).rglob("*.yaml")}
    for path in sorted(paths):
        name = path.relative_to(cwd).as_posix() if path.is_relative_to(cwd) else path.name
        yield name, path.read_bytes()


def _modules(records: pd.DataFrame) -> Iterator[Path]:
    """Yield the files of modules that settings name, and the modules of the same folder that they import."""
    add_cwd_to_path()
    names = {
        name.partition(".")[0] for text in records["settings"].dropna().unique() for name in _dotted(json.loads(text))
    }
    for name in sorted(names):
        try:
            spec = find_spec(name)
        except (ImportError, ValueError):
            continue
        if spec is None or not spec.origin or name in ("adamcmp", "torch"):
            continue
        if Path(spec.origin).is_file() and not is_installed(Path(spec.origin)):
            yield from (path.resolve() for path in files_with_imports(spec))


def _dotted(value: Any) -> Iterator[str]:
    """Yield texts inside settings that may be the path of a class or function."""
    if isinstance(value, str):
        if re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", value):
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _dotted(item)
    elif isinstance(value, list):
        for item in value:
            yield from _dotted(item)


def requirements() -> list[str]:
    """Return ``name==version`` of adamcmp and of every installed package that it needs, directly or not."""
    requirements_: dict[str, str] = {}
    left = ["adamcmp"]
    while left:
        name = left.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in requirements_:
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # of another platform, or an extra that is not installed
        requirements_[key] = f"{key}=={version(name)}"
        texts = [text for text in package.requires or [] if "extra ==" not in text]
        left += [match[0] for text in texts if (match := re.match(r"[\w.-]+", text))]
    if "adamcmp" not in requirements_:
        raise InputError("report --bundle: adamcmp is not installed as a package; run `pip install .`")
    return sorted(requirements_.values())


def _zipped(files: dict[str, bytes]) -> bytes:
    """Return an archive with these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, DATE), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
