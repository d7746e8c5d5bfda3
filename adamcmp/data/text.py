"""Text: any file or folder, or Python's own standard library, as tokens of which each predicts the next."""

from __future__ import annotations

import hashlib
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from adamcmp.data.raw import RawData
from adamcmp.errors import InputError

LEVELS = ("bytes", "characters")
LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
"""Folders of the standard library's that hold no sources of its own, or tests: machines differ in having them."""


def text(
    path: str | Path | None = None,
    context: int = 128,
    level: str = "bytes",
    max_bytes: int | None = 4_000_000,
) -> RawData:
    """Windows x int64 (N, T) with T = `context`, and y (N, T): for every position the token that follows it.

    Windows do not overlap, and what does not fill one is left out. Validation and test are contiguous: the text's end
    is the test part, what stands before it the validation part.

    Args:
        path: a file, or a folder whose files are joined in the order of their paths; hidden ones are left out. Without
            one, the sources of the running Python's standard library, joined in an order that mixes its packages.
        context: T.
        level: ``bytes``, 256 tokens whatever the text; or ``characters``, a token for each that occurs (UTF-8).
        max_bytes: read no more than so many bytes from the start; all of them without it.

    Raises:
        InputError: no such path, nothing to read, too short a text, or one that is not UTF-8 for characters.
    """
    if type(context) is not int or context < 1:
        raise InputError(f"data.context={context}: must be ≥ 1 and whole")
    if level not in LEVELS:
        raise InputError(f"data.level={level}: not known; give bytes or characters")
    if max_bytes is not None and (type(max_bytes) is not int or max_bytes < 1):
        raise InputError(f"data.max_bytes={max_bytes}: must be ≥ 1 and whole, or null for all")
    where, files = ("the standard library", _standard_library()) if path is None else (str(path), _files(path))
    read = _read(files, max_bytes)
    if level == "bytes":
        tokens, token_bytes = np.frombuffer(read, np.uint8).astype(np.int64), np.ones(256, np.int64)
    else:
        tokens, token_bytes = _characters(read, where, cut=max_bytes is not None)
    windows = (len(tokens) - 1) // context
    if windows < 3:
        raise InputError(
            f"{where}: {len(tokens):,} tokens, too few to cut train, validation and test from in windows of "
            f"data.context={context}; give more text, or a smaller context"
        )
    x_NT, y_NT = (tokens[shift : shift + windows * context].reshape(windows, context) for shift in (0, 1))
    return {
        "train": (x_NT, y_NT),
        "num_classes": max(len(token_bytes), 2),
        "token_bytes": token_bytes,
        "contiguous": True,
    }


def _files(given: str | Path) -> list[Path]:
    path = Path(given).expanduser()
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"data.path={given}: no such file or folder")
    found = sorted(
        each
        for each in path.rglob("*")
        if each.is_file() and not any(part.startswith(".") for part in each.relative_to(path).parts)
    )
    if not found:
        raise InputError(f"data.path={given}: holds no files")
    return found


def _standard_library() -> list[Path]:
    root = Path(sysconfig.get_path("stdlib"))
    found = {
        path.relative_to(root).as_posix(): path
        for path in root.rglob("*.py")
        if not LEFT_OUT & set(path.relative_to(root).parts)
    }
    if not found:
        raise InputError(f"{root}: this Python comes without its sources; set data.path=<a text file or folder>")
    return [found[name] for name in sorted(found, key=lambda name: hashlib.sha256(name.encode()).digest())]


def _read(files: list[Path], max_bytes: int | None) -> bytes:
    def chunks() -> Iterator[bytes]:
        left = max_bytes
        for path in files:
            if left is not None and left <= 0:
                return
            try:
                with path.open("rb") as file:
                    chunk = file.read(-1 if left is None else left)
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror}); mend it, or leave it out") from error
            left = left - len(chunk) if left is not None else None
            yield chunk

    return b"".join(chunks())


def _characters(read: bytes, where: str, *, cut: bool) -> tuple[np.ndarray, np.ndarray]:
    """Tokens in the order of code points, and the UTF-8 bytes of each; a character that the cut splits is left out."""
    try:
        decoded = read.decode("utf-8")
    except UnicodeDecodeError as error:
        if not (cut and error.end == len(read) and error.reason == "unexpected end of data"):
            raise InputError(
                f"{where}: not UTF-8 at byte {error.start:,}; convert it, or set data.level=bytes"
            ) from error
        decoded = read[: error.start].decode("utf-8")
    points = np.frombuffer(decoded.encode("utf-32-le"), np.uint32)
    known, tokens = np.unique(points, return_inverse=True)
    return tokens.astype(np.int64), np.array([len(chr(each).encode("utf-8")) for each in known], np.int64)
