"""Where results lie: a local folder, or any URL that fsspec knows, both behind the interface of pathlib.

A file takes its place as a whole in both: by a rename on a disk, by the upload itself in an object store.
"""

from __future__ import annotations

import errno
import io
import os
import random
import re
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from filelock import FileLock, Timeout

from adamcmp.errors import InputError, explain_external, one_line
from adamcmp.extras import check_installed, require_extra

T = TypeVar("T")
STALE_LOCK_SECONDS = 30.0
"""Seconds after which a lock in an object store that did not change is taken for that of a dead process."""
RETRY_SECONDS = 120.0
"""Seconds for which an object store that does not answer is asked again."""
RETRY_INTERVAL_SECONDS = 0.2
"""Seconds between two tries for a lock."""


def open_path(given: str | Path) -> Path:
    """Return a folder by its path, or by its URL, such as ``s3://bucket/results``.

    Raises:
        InputError: nothing here knows such URLs, or where they lead.
    """
    text = str(given)
    if "://" not in text:
        _check_not_half_a_url(text)
        return Path(text)
    with require_extra(text, "upath"):
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


def _check_not_half_a_url(text: str) -> None:
    """Refuse ``s3:/bucket``, which would be a folder here of that name.

    Raises:
        InputError: the text begins as a URL does, and is none.
    """
    scheme = re.match(r"([a-z][a-z0-9+.-]+):", text)
    if scheme is None:
        return
    from fsspec import available_protocols  # type: ignore[import-untyped]  # it has no types

    if scheme[1] in available_protocols():
        rest = text[scheme.end() :].lstrip("/")
        raise InputError(f"{text}: is neither a path nor a URL; for an object store write {scheme[1]}://{rest}")


def is_local(path: Path) -> bool:
    """Return whether it lies on a disk."""
    return isinstance(path, Path)


def open_for_reading(path: Path) -> Any:
    """Return an argument for libraries that read a file: its path, or all of its bytes."""
    return path if is_local(path) else io.BytesIO(path.read_bytes())


@contextmanager
def open_for_writing(path: Path) -> Iterator[None]:
    """Turn the errors of a write into one clear line.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else str(error.strerror or error)
        raise InputError(
            f"{path}: cannot be written: {reason}; make room or choose another folder; stored runs are "
            "intact, and the same command resumes"
        ) from error


@contextmanager
def atomic_write(path: Path, *, sync: bool = False) -> Iterator[IO[bytes]]:
    """Yield a local file of a unique name, which replaces ``path`` when the block ends.

    Raises:
        InputError: it cannot be written.
    """
    with open_for_writing(path):
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
    with atomic_write(path) as file:
        file.write(content)
    return path


class GoneError(InputError):
    """An object store that has not answered for ``RETRY_SECONDS`` seconds."""


def retry_while_away(do: Callable[[], T], path: Path) -> T:
    """Repeat an operation on an object store that cannot be reached, at growing intervals.

    Raises:
        GoneError: it could not be reached for ``RETRY_SECONDS`` seconds.
        InputError: it answers, and refuses.
    """
    if is_local(path):
        return do()
    deadline, pause = time.monotonic() + RETRY_SECONDS, 1.0
    while True:
        try:
            return do()
        except InputError as error:
            if error.__cause__ is None or not explain_external(error.__cause__):
                raise
            reason: BaseException = error.__cause__
        except Exception as error:
            if not explain_external(error):
                raise
            reason = error
        if time.monotonic() >= deadline:
            raise GoneError(
                f"{path}: the store did not answer for {RETRY_SECONDS:.0f} s ({one_line(reason)})"
            ) from reason
        time.sleep(pause)
        pause = min(2 * pause, 20.0)


HeldLock = Callable[[], bool]
"""Whether a lock is still its holder's: one that was stopped for long may have lost it to another process."""


@contextmanager
def lock(path: Path, seconds: float = 60.0) -> Iterator[HeldLock]:
    """Hold the one lock of that name, on whatever machine others ask for it.

    On a disk it is the system's lock of a file, which ends with the process. In an object store see
    ``_ObjectStoreLock``.

    Raises:
        Timeout: others have held it all the time.
        InputError: nothing can be written there.
    """
    if is_local(path):
        with open_for_writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(path)
        try:
            held.acquire(timeout=seconds)
        except Timeout:
            raise
        except OSError as error:
            with open_for_writing(path):
                raise error
        try:
            yield lambda: True
        finally:
            held.release()
        return
    turns = _ObjectStoreLock(path)
    turns.take(time.monotonic() + seconds)
    try:
        yield turns.is_mine
    finally:
        turns.end()


class _ObjectStoreLock:
    """A lock in an object store: numbered turns, each an object that exactly one process can create.

    The turn with the highest number counts. The process that created it holds the lock until its content is
    ``free``. A holder changes the content every few seconds; if it has not changed for ``STALE_LOCK_SECONDS`` seconds
    by the clock of a process that waits, the holder has died, and that process tries to create the next turn. So a dead
    holder's turn is never deleted to be taken, and of all that try one succeeds. The number is the fencing token: a
    holder that was stopped and resumes finds a higher one, and writes nothing.

    Source of the idea of fencing: M. Kleppmann, How to do distributed locking, 2016.
    """

    FREE = b"free"

    def __init__(self, path: Path) -> None:
        store = cast(Any, path)
        self._files, self._folder = store.fs, f"{store.path}.turns"
        self._path, self._token, self._turn = path, uuid.uuid4().hex, 0
        self._over = threading.Event()

    def take(self, deadline: float) -> None:
        """Wait for the lock until a time of the monotonic clock.

        Raises:
            Timeout: others have held it all the time.
        """
        seen: tuple[int, bytes | None] = (0, b"")
        since = time.monotonic()
        while True:
            last = self._last()
            content = self._content(last)
            now = time.monotonic()
            if (last, content) != seen:
                seen, since = (last, content), now
            if (content in (self.FREE, None) or now - since > STALE_LOCK_SECONDS) and self._create(last + 1):
                self._turn = last + 1
                threading.Thread(target=self._stay, daemon=True).start()
                self._remove_before(last)
                return
            if now >= deadline:
                raise Timeout(str(self._path))
            time.sleep(RETRY_INTERVAL_SECONDS * random.uniform(0.5, 1.5))  # so that those who wait do not ask at once

    def is_mine(self) -> bool:
        """Return whether no other process has taken a later turn."""
        return self._last() == self._turn

    def end(self) -> None:
        """Give the lock up."""
        self._over.set()
        self._write(self.FREE)

    def _stay(self) -> None:
        beat = 0
        while not self._over.wait(STALE_LOCK_SECONDS / 6):
            beat += 1
            with suppress(Exception):  # the next beat may come through
                self._write(f"{self._token} {beat}".encode())
        with suppress(Exception):  # a beat may have been on its way when the turn ended
            self._write(self.FREE)

    def _name(self, turn: int) -> str:
        return f"{self._folder}/{turn:012d}"

    def _last(self) -> int:
        return max(self._known(), default=0)

    def _known(self) -> list[int]:
        try:
            names = self._files.ls(self._folder, detail=False, refresh=True)
        except FileNotFoundError:
            return []
        words = [str(name).rpartition("/")[2] for name in names]
        return [int(word) for word in words if word.isdigit()]

    def _content(self, turn: int) -> bytes | None:
        """Return the content of a turn, None if there is none."""
        if turn == 0:
            return None
        try:
            return bytes(self._files.cat_file(self._name(turn)))
        except FileNotFoundError:
            return b""  # removed since it was listed: a later one is there

    def _create(self, turn: int) -> bool:
        with open_for_writing(self._path):
            try:
                self._files.pipe_file(self._name(turn), f"{self._token} 0".encode(), mode="create")
            except FileExistsError:
                return False
        return True

    def _write(self, content: bytes) -> None:
        self._files.pipe_file(self._name(self._turn), content)

    def _remove_before(self, last: int) -> None:
        for turn in self._known():
            if turn <= last:
                with suppress(FileNotFoundError):
                    self._files.rm_file(self._name(turn))
