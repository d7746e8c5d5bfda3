"""Standard output and error that may go away: a reader that has seen enough, a full disk, a closed descriptor.

A stream that fails is dropped and the command continues, since finished runs are worth more than output. A reader
that leaves (``adamcmp list | head -1``) is no error; any other failure of standard output is reported at the end.
"""

from __future__ import annotations

import io
import os
import select
import sys
from contextlib import suppress
from typing import TextIO, cast

_failure: OSError | None = None


class GuardedStream(io.RawIOBase):
    """A file descriptor to write to, which is replaced by ``os.devnull`` at its first error."""

    def __init__(self, descriptor: int, *, is_output: bool) -> None:
        super().__init__()
        self._descriptor, self._is_output = descriptor, is_output

    def writable(self) -> bool:
        """Return whether it can be written to: always."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]  # of any buffer
        """Write some bytes and return how many; after an error all of them count as written."""
        global _failure
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # a pipe that another program has made non-blocking
                select.select((), (self._descriptor,), ())
            except OSError as error:
                if self._is_output and not isinstance(error, BrokenPipeError):
                    _failure = error
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self._descriptor)
                os.close(null)
                return len(data)


def guard_streams() -> None:
    """Put guarded streams in the place of this process's standard output and error."""
    sys.stdout = _guarded_stream(sys.stdout, 1)
    sys.stderr = _guarded_stream(sys.stderr, 2)


def _guarded_stream(stream: TextIO | None, descriptor: int) -> TextIO:
    if stream is None:  # closed by who started this process
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123  # for as long as the process
    with suppress(OSError):
        stream.flush()
    raw = io.BufferedWriter(cast(io.RawIOBase, GuardedStream(descriptor, is_output=descriptor == 1)))
    return io.TextIOWrapper(
        raw, encoding=stream.encoding, errors=stream.errors, line_buffering=descriptor == 2 or raw.isatty()
    )


def output_failure() -> OSError | None:
    """Return the error at which standard output was dropped, None if it was not, or if only its reader has left."""
    sys.stdout.flush()
    sys.stderr.flush()
    return _failure
