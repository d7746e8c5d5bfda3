"""Where results lie: a local folder, or any URL that fsspec knows, both behind the interface of pathlib.

A file takes its place as a whole in both: by a rename on a disk, by the upload itself in an object store.
"""

from __future__ import annotations

import errno
import io
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from filelock import FileLock, Timeout

from adamcmp.errors import InputError, one_line
from adamcmp.extras import check_installed, needs

STALE = 30.0
"""Seconds after which a lock in an object store that did not change is taken for that of a dead process."""
EVERY = 0.2
"""Seconds between two tries for a lock."""


def at(given: str | Path) -> Path:
    """A folder by its path, or by its URL, such as ``s3://bucket/results``.

    Raises:
        InputError: nothing here knows such URLs, or where they lead.
    """
    text = str(given)
    if "://" not in text:
        return Path(text)
    with needs(text, "upath"):
        from upath import UPath
    if text.startswith(("s3://", "s3a://")):
        check_installed(text, "s3fs")
    try:
        path = cast(Path, UPath(text, use_listings_cache=False))  # other processes write there too
        path.exists()
        return path
    except Exception as error:  # whatever a library of a store says where it is not there
        raise InputError(
            f"{text}: {one_line(error)}; a results folder is a path, or a URL that fsspec knows, such as s3://…"
        ) from error


def is_local(path: Path) -> bool:
    """Whether it lies on a disk."""
    return isinstance(path, Path)


def readable(path: Path) -> Any:
    """What libraries take that read a file: its path, or all of its bytes."""
    return path if is_local(path) else io.BytesIO(path.read_bytes())


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the errors of a write into one clear line.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else str(error.strerror or error)
        raise InputError(
            f"{path}: cannot be written: {reason}; make room or choose another folder; what was stored before is "
            "whole, and the same command goes on from there"
        ) from error


@contextmanager
def replacing(path: Path, *, sync: bool = False) -> Iterator[IO[bytes]]:
    """A local file to write, of a name that no other process has, that takes the place of ``path`` when the block ends.

    Raises:
        InputError: it cannot be written.
    """
    with writing(path):
        if not is_local(path):
            with tempfile.NamedTemporaryFile() as file:
                yield file
                file.flush()
                path.write_bytes(Path(file.name).read_bytes())
            return
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                yield file
                if sync:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_file(path: Path, content: bytes) -> Path:
    """Replace a file as a whole: a reader sees the old one or the new one, never a part.

    Raises:
        InputError: it cannot be written.
    """
    with replacing(path) as file:
        file.write(content)
    return path


@contextmanager
def lock(path: Path, seconds: float = 60.0) -> Iterator[None]:
    """Hold the one lock of that name, on whatever machine others ask for it.

    On a disk it is the system's lock of a file, which ends with the process. In an object store it is an object that
    only one process can create; one that ``STALE`` seconds have not changed is removed, since its process has died:
    what is done under a lock takes no longer than a few of them.

    Raises:
        Timeout: others have held it all the time.
        InputError: nothing can be written there.
    """
    if is_local(path):
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(path)
        try:
            held.acquire(timeout=seconds)
        except Timeout:
            raise
        except OSError as error:
            with writing(path):
                raise error
        try:
            yield
        finally:
            held.release()
        return
    token = uuid.uuid4().hex.encode()
    _create(path, token, time.monotonic() + seconds)
    try:
        yield
    finally:
        if _content(path) == token:
            path.unlink(missing_ok=True)


def _create(path: Path, token: bytes, deadline: float) -> None:
    """Create an object that is not there, once it is not."""
    store = cast(Any, path)
    seen, since = b"", 0.0
    while True:
        try:
            with writing(path):
                try:
                    store.fs.pipe_file(store.path, token, mode="create")
                    return
                except FileExistsError:
                    pass
        finally:
            held = _content(path)
        now = time.monotonic()
        if held != seen:
            seen, since = held, now
        elif held and now - since > STALE:
            path.unlink(missing_ok=True)
        if now >= deadline:
            raise Timeout(str(path))
        time.sleep(EVERY)


def _content(path: Path) -> bytes:
    """Return the bytes of an object, by one request: two of them could meet two versions of it."""
    store = cast(Any, path)
    try:
        return bytes(store.fs.cat_file(store.path))
    except FileNotFoundError:
        return b""
