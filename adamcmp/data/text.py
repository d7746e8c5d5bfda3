"""Text: any file or folder, or Python's own standard library, as tokens of which each predicts the next."""

from __future__ import annotations

import codecs
import hashlib
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from charset_normalizer import from_bytes

from adamcmp.data.raw import RawData
from adamcmp.errors import InputError

LEVELS = ("bytes", "characters")
HEAD = 8192
"""First bytes of a file that are looked at."""
SIGNATURES = {
    b"\x1f\x8b": "a gzip archive", b"BZh": "a bzip2 archive", b"\xfd7zXZ": "an xz archive",
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive", b"7z\xbc\xaf": "a 7z archive", b"Rar!": "a rar archive",
    b"\x89PNG": "a PNG image", b"\xff\xd8\xff": "a JPEG image", b"GIF8": "a GIF image",
    b"RIFF": "a RIFF file", b"%PDF": "a PDF document", b"\x7fELF": "a program", b"PAR1": "a Parquet file",
    b"SQLite format 3": "an SQLite database", b"\x93NUMPY": "a NumPy array", b"\x89HDF": "an HDF5 file",
    b"OggS": "an Ogg file", b"fLaC": "a FLAC file",
}  # fmt: skip
UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
"""Folders of the standard library's that hold no sources of its own, or tests: machines differ in having them."""


def text(
    path: str | Path | None = None,
    context: int = 128,
    level: str = "bytes",
    max_bytes: int | None = 4_000_000,
    encoding: str | None = None,
    binary: bool = False,
) -> RawData:
    """Read windows x int64 (N, T) with T = `context`, and y (N, T): for every position the token that follows it.

    Windows do not overlap, and tokens that do not fill one are left out. Validation and test are contiguous: the text's
    end is the test part, the text in front of it the validation part.

    Args:
        path: a file, or a folder whose files are joined in the order of their paths; hidden files and those that hold
            no text are left out. Without one, the sources of the running Python's standard library, joined in an order
            that mixes its packages.
        context: T.
        level: ``bytes``, 256 tokens whatever the text; or ``characters``, a token for each that occurs.
        max_bytes: read no more than so many bytes from the start; all of them without it.
        encoding: of the files, which are then converted to UTF-8; without it they are taken as UTF-8.
        binary: take files that hold no text, such as images or archives, as bytes.

    Raises:
        InputError: no such path, nothing to read, too short a text, one that is not UTF-8 for characters, or a file
            that holds no text.
    """
    if type(context) is not int or context < 1:
        raise InputError(f"data.context={context}: must be ≥ 1 and whole")
    if level not in LEVELS:
        raise InputError(f"data.level={level}: not known; give bytes or characters")
    if max_bytes is not None and (type(max_bytes) is not int or max_bytes < 1):
        raise InputError(f"data.max_bytes={max_bytes}: must be ≥ 1 and whole, or null for all")
    if encoding is not None:
        _check_encoding(encoding)
    where, files = ("the standard library", _standard_library()) if path is None else (str(path), _files(path))
    left_out: list[Path] = []
    if not binary and path is not None:
        kinds = {file: kind for file in files if (kind := kind_of_binary(file, encoding))}
        left_out = [file for file in files if file in kinds]
        if len(left_out) == len(files):
            raise InputError(
                f"{left_out[0]}: {kinds[left_out[0]]}, no text; decompress or convert it, or set data.binary=true to "
                "take its bytes"
            )
        files = [file for file in files if file not in kinds]
    read = _read(files, max_bytes)
    present = sum(file.stat().st_size for file in files)
    summary = [("data", f"{len(read):,} of {present:,} bytes of {where}, {len(files):,} files")]
    if len(read) < present:
        summary.append(("note", f"{present - len(read):,} bytes are not read; data.max_bytes=null takes all"))
    if left_out:
        summary.append(("left out", f"{len(left_out):,} files that hold no text ({_suffixes(left_out)})"))
    read, notes = _as_utf8(read, encoding, where, cut=max_bytes is not None)
    summary += [("converted", note) for note in notes]
    summary.append(("encoding", encoding or ("UTF-8" if level == "characters" else "bytes as they are")))
    if level == "bytes":
        tokens, token_bytes = np.frombuffer(read, np.uint8).astype(np.int64), np.ones(256, np.int64)
    else:
        tokens, token_bytes = _characters(read, where, cut=max_bytes is not None)
    summary.append(("vocabulary", f"{len(token_bytes):,} {level}, {len(np.unique(tokens)):,} of which occur"))
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
        "summary": summary,
    }


def kind_of_binary(path: Path, encoding: str | None) -> str | None:
    """Return the kind of a file that holds no text, by its first bytes; None for text."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); correct it, or leave it out") from error
    for start, kind in SIGNATURES.items():
        if head.startswith(start):
            return kind
    if encoding is None and head.startswith(UTF32):
        raise InputError(f"{path}: begins as UTF-32; set data.encoding=utf-32")
    if encoding is None and head.startswith(UTF16):
        raise InputError(f"{path}: begins as UTF-16; set data.encoding=utf-16")
    wide = encoding is not None and re.fullmatch(r"utf[-_ ]?(16|32).*", encoding, re.IGNORECASE)
    return "it holds bytes of value 0" if b"\0" in head and not wide else None


def _suffixes(files: list[Path]) -> str:
    return ", ".join(
        f"{count:,} {name or 'without extension'}" for name, count in Counter(f.suffix for f in files).items()
    )


def _check_encoding(encoding: str) -> None:
    try:
        b"a\0\0\0".decode(encoding)  # refuses codecs that are no encodings of text
    except UnicodeDecodeError:
        return
    except LookupError as error:
        raise InputError(f"data.encoding={encoding}: no such encoding; give utf-8, latin-1, cp1252, …") from error


def _as_utf8(read: bytes, encoding: str | None, where: str, *, cut: bool) -> tuple[bytes, list[str]]:
    """Return a text in UTF-8 without a byte-order mark, and how it was converted."""
    if encoding is None:
        mark = read.startswith(codecs.BOM_UTF8)
        return read.removeprefix(codecs.BOM_UTF8), ["byte-order mark removed"] if mark else []
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        decoded = decoder.decode(read, final=not cut)
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: is not {encoding} at byte {error.start:,}; set another data.encoding") from error
    return decoded.encode("utf-8"), [f"from {encoding} to UTF-8"]


def _files(source: str | Path) -> list[Path]:
    path = Path(source).expanduser()
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"data.path={source}: no such file or folder")
    paths = sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not paths:
        raise InputError(f"data.path={source}: holds no files")
    return paths


def _standard_library() -> list[Path]:
    root = Path(sysconfig.get_path("stdlib"))
    paths = {
        path.relative_to(root).as_posix(): path
        for path in root.rglob("*.py")
        if not LEFT_OUT & set(path.relative_to(root).parts)
    }
    if not paths:
        raise InputError(f"{root}: this Python comes without its sources; set data.path=<a text file or folder>")
    return [paths[name] for name in sorted(paths, key=lambda name: hashlib.sha256(name.encode()).digest())]


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
                raise InputError(f"{path}: cannot be read ({error.strerror}); correct it, or leave it out") from error
            left = left - len(chunk) if left is not None else None
            yield chunk

    return b"".join(chunks())


def _guess(read: bytes, start: int) -> str:
    best = from_bytes(read[max(0, start - HEAD) : start + HEAD]).best()
    return f"={best.encoding}" if best is not None else ""


def _characters(read: bytes, where: str, *, cut: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens in the order of code points, and the UTF-8 bytes of each; a character that the cut splits is left
    out.
    """
    try:
        decoded = read.decode("utf-8")
    except UnicodeDecodeError as error:
        if not (cut and error.end == len(read) and error.reason == "unexpected end of data"):
            raise InputError(
                f"{where}: not UTF-8 at byte {error.start:,}; set data.encoding{_guess(read, error.start)}, or "
                "data.level=bytes"
            ) from error
        decoded = read[: error.start].decode("utf-8")
    points = np.frombuffer(decoded.encode("utf-32-le"), np.uint32)
    code_points, tokens = np.unique(points, return_inverse=True)
    return tokens.astype(np.int64), np.array([len(chr(code).encode("utf-8")) for code in code_points], np.int64)
