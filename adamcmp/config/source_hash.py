"""Hashes of users' source files, which identify custom models, data, rules and optimizers."""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Sequence
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

from adamcmp.errors import InputError
from adamcmp.extras import EXTRAS, missing_extra

OUR_PACKAGES = ("adamcmp", "torch", "torchvision")
"""Packages whose version is on record; targets elsewhere are identified by their source file, where they have one."""


def combined_source_hash(target: str, nested: Sequence[str]) -> str | None:
    """Return the hash of a target's source, and of those of its arguments if they have targets of their own."""
    hashes = [digest for dotted in (target, *nested) if (digest := source_hash(dotted)) is not None]
    if not nested or len(hashes) < 2:
        return hashes[0] if hashes else None
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:12]


@cache
def source_hash(target: str) -> str | None:
    """Return the hash of the source that defines a target outside ``OUR_PACKAGES``; None without a source file.

    That is its module, or all modules of its package, and what these import from the same folder, directly or through
    others. Imports from installed packages, and those that run code names at run time, are not followed.

    Raises:
        InputError: no module of that name can be found.
    """
    if target.partition(".")[0] in OUR_PACKAGES:
        return None
    add_cwd_to_path()
    top = target.partition(".")[0]
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None and top in EXTRAS:
        raise missing_extra(f"_target_={target}", top)
    if spec is None:
        raise InputError(
            f"_target_={target}: there is no module {top!r}. Run the command in the folder that holds {top}.py, add "
            "that folder to PYTHONPATH, or install the package"
        )
    origin = spec.origin or next(iter(spec.submodule_search_locations or ()), "")
    return _installed_hash(top) if origin and is_installed(Path(origin)) else _hash_of(files_with_imports(spec))


@cache
def _installed_hash(top: str) -> str | None:
    """Return the hash of an installed package's files, which stay as they are while a command runs."""
    spec = find_spec(top)
    return None if spec is None else _hash_of(_files_of(spec))


def _hash_of(files: Sequence[Path]) -> str | None:
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12] if files else None


def _files_of(spec: ModuleSpec) -> list[Path]:
    """Return the source files of a module, or of all modules of a package."""
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    files = sorted(path for folder in folders for path in folder.rglob("*.py"))
    return files or [path for path in [Path(spec.origin or "")] if path.suffix == ".py" and path.is_file()]


def files_with_imports(spec: ModuleSpec) -> list[Path]:
    """Return the source files of a module or package, and the modules of the same folder that they import."""
    files = _files_of(spec)
    collected, waiting = dict.fromkeys(files), list(files)
    while waiting:
        path = waiting.pop()
        for name in _imported_names(path):
            try:
                imported_spec = find_spec(name)
            except (ImportError, ValueError):
                continue
            imported = [] if imported_spec is None else _files_of(imported_spec)
            beside = [other for other in imported if _is_user_file(other, path)]
            waiting += [path for path in beside if path not in collected]
            collected |= dict.fromkeys(beside)
    return [*files, *sorted(set(collected) - set(files))]


def imported_user_files(script: Path, folders: Sequence[Path]) -> list[Path]:
    """Return a script, and the user's modules that it imports, directly or through others.

    Args:
        script: a file that is run, not imported.
        folders: where Python looks for its modules first.
    """
    files, waiting = {script.resolve(): None}, [script.resolve()] if script.suffix == ".py" else []
    while waiting:
        path = waiting.pop()
        for name in sorted(_imported_names(path)):
            candidates = [folder / name for folder in (*folders, path.parent)]
            modules = [base.with_suffix(".py") for base in candidates if base.with_suffix(".py").is_file()][:1]
            packages = [base for base in candidates if base.is_dir() and any(base.glob("*.py"))][:1]
            found = [*modules, *(file for base in packages for file in sorted(base.rglob("*.py")))]
            new = [file.resolve() for file in found if file.resolve() not in files and not is_installed(file)]
            files |= dict.fromkeys(new)
            waiting += new
    return list(files)


def _imported_names(path: Path) -> set[str]:
    """Return the top-level names that a file imports."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # its import will say so
        return set()
    names = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - set(OUR_PACKAGES)


def _is_user_file(path: Path, importer: Path) -> bool:
    """Return whether a file is the user's, in the folder of the file that imports it, above or below: not an installed
    one.
    """
    path, importer = path.resolve(), importer.resolve()
    if is_installed(path):
        return False
    return path.is_relative_to(importer.parent) or any(
        path.is_relative_to(entry) for entry in _path_entries_of(importer)
    )


@cache
def _installed_folders() -> tuple[Path, ...]:
    """Return the folders of Python's own modules and of installed packages."""
    return tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def is_installed(path: Path) -> bool:
    """Return whether a file is one of Python's own, or of an installed package."""
    return any(path.resolve().is_relative_to(folder) for folder in _installed_folders())


def _path_entries_of(importer: Path) -> list[Path]:
    """Return the entries of ``sys.path`` that contain a file."""
    entries = [Path(entry or ".").resolve() for entry in sys.path]
    return [entry for entry in entries if importer.is_relative_to(entry)]


def add_cwd_to_path() -> None:
    """Let ``_target_: my_model.Net`` find ``my_model.py`` in the working folder: last, so that it shadows nothing."""
    cwd = str(Path.cwd())
    if cwd not in sys.path:
        sys.path.append(cwd)
