"""One process of a user's script: its output, its limits, and its end with all processes that it started."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import psutil

from adamcmp.signals import SIGNALS

POLL_SECONDS = 0.05
"""Seconds between two looks at whether a script is to stop."""
GRACE_SECONDS = 5.0
"""Seconds that a script has to end after SIGTERM."""
MEASURE_SECONDS = 0.5
"""Seconds between two measurements of memory."""
CLOSE_SECONDS = 1.0
"""Seconds that an output may stay open after all processes have ended that are known to hold it."""
MAX_LOG_BYTES = 2 * 2**20
"""Bytes that are kept of the beginning of an output, and as many of its end."""
MAX_PARSED_BYTES = 64 * 2**20
"""Bytes of an output that are parsed while it is written; of later output only the end is, which the log keeps."""
MAX_LINE_BYTES = 2**24
"""Bytes of a line that are parsed, such as an object with a value per test example."""
PROCESS_FILE = ".process.json"
"""File with the process of a run, by which it is found after a crash."""
PR_SET_CHILD_SUBREAPER = 36
End = Literal["exited", "stopped", "time limit", "pruned"]


@dataclass
class ScriptEnd:
    """How a script ended."""

    how: End
    exit_code: int
    last_error_line: str
    """Last line of standard error that is not empty."""
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    output_bytes: int


class CappedLog:
    """Writes an output to a file: its first and last ``MAX_LOG_BYTES``."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, path.open("wb")
        self._written, self._tail, self._dropped = 0, bytearray(), 0
        self.size = 0
        """Bytes that were written to it."""

    def write(self, data: bytes) -> None:
        """Take a part of the output."""
        self.size += len(data)
        room = MAX_LOG_BYTES - self._written
        if room > 0:
            self._file.write(data[:room])
            self._file.flush()
            self._written += len(data[:room])
        if rest := data[max(room, 0) :]:
            self._tail += rest
            if (surplus := len(self._tail) - MAX_LOG_BYTES) > MAX_LOG_BYTES:
                self._dropped += surplus
                del self._tail[:surplus]

    def newest(self, count: int) -> bytes:
        """Return the newest bytes, at most ``count``, of those behind the first ``MAX_LOG_BYTES``."""
        return bytes(self._tail[-count:]) if count > 0 else b""

    def close(self) -> None:
        """Write the end of the output."""
        with suppress(OSError), self._file:
            if self._dropped:
                self._file.write(f"\n… {self._dropped:,} bytes are left out …\n".encode())
            self._file.write(self._tail)


class _Reader(threading.Thread):
    """Reads one output of a process."""

    def __init__(self, stream: IO[bytes], log: CappedLog, on_line: Callable[[str], None]) -> None:
        super().__init__(daemon=True)
        self._stream, self._log, self._on_line = stream, log, on_line
        self._partial = bytearray()
        self.closed = threading.Event()
        """Set when no process can write to the output any more."""
        self.start()

    def run(self) -> None:
        unparsed = 0
        with suppress(OSError, ValueError):
            while data := self._stream.read1(65536):  # type: ignore[attr-defined]  # a buffered pipe has it
                self._log.write(data)
                if self._log.size > MAX_PARSED_BYTES:
                    unparsed += len(data)
                else:
                    self._parse(data)
        self.closed.set()
        rest = self._log.newest(min(unparsed, MAX_LOG_BYTES))
        if len(rest) < unparsed:  # it begins within a line
            self._partial.clear()
            rest = rest.partition(b"\n")[2]
        self._parse(rest + b"\n")
        self._log.close()

    def _parse(self, data: bytes) -> None:
        """Hand whole lines on; keep the beginning of the next one."""
        *lines, rest = data.replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._pass_on(bytes(self._partial) + line)
            self._partial.clear()
        if len(self._partial) <= MAX_LINE_BYTES:
            self._partial += rest

    def _pass_on(self, line: bytes) -> None:
        """Hand a line on; one that is too long has no metrics."""
        if line and len(line) <= MAX_LINE_BYTES:
            with suppress(Exception):  # the output must be read on, whatever a line holds
                self._on_line(line.decode("utf-8", "replace"))


def adopt_orphans() -> None:
    """Let processes whose parents have ended become children of this one, so that they can be found and killed."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run_script(
    words: Sequence[str],
    *,
    folder: Path,
    working_folder: Path,
    environment: Mapping[str, str],
    on_line: Callable[[str], None],
    on_error_line: Callable[[str], None],
    ending: Callable[[], End | None],
    shell: bool = False,
) -> ScriptEnd:
    """Run a script to its end, and kill all processes that it leaves.

    Args:
        words: the program and its arguments; the whole line for a shell.
        folder: where its output is logged.
        working_folder: where it runs.
        environment: its environment variables.
        on_line: receives each line of standard output.
        on_error_line: receives each line of standard error.
        ending: returns why the script is to end, None while it may run.
        shell: run the line by ``/bin/sh``.

    Raises:
        OSError: the program cannot be started.
    """
    last_error_line = ""

    def take_error(line: str) -> None:
        nonlocal last_error_line
        last_error_line = line.strip() or last_error_line
        on_error_line(line)

    logs = [CappedLog(folder / name) for name in ("stdout.log", "stderr.log")]
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # a script inherits the mask of this thread
    try:
        process = subprocess.Popen(
            words[0] if shell else list(words),
            shell=shell,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=working_folder,
            env=dict(environment),
            start_new_session=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    assert process.stdout is not None
    assert process.stderr is not None
    _write_process(folder, process.pid)
    readers = [_Reader(process.stdout, logs[0], on_line), _Reader(process.stderr, logs[1], take_error)]
    ended = threading.Event()

    def wait() -> None:
        process.wait()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    how: End = "exited"
    peak, measure_at, kill_at = 0, start, float("inf")
    while not ended.wait(POLL_SECONDS):
        now = time.monotonic()
        if how == "exited" and (why := ending()) is not None:
            how, kill_at = why, now + GRACE_SECONDS
            _signal_group(process.pid, signal.SIGTERM)
        if now >= kill_at:
            kill_tree(process.pid)
            kill_at = float("inf")
        if now >= measure_at:
            peak, measure_at = max(peak, _tree_bytes(process.pid)), now + MEASURE_SECONDS
    _signal_group(process.pid, signal.SIGKILL)
    kill_descendants()
    for reader in readers:
        if reader.closed.wait(CLOSE_SECONDS):
            reader.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    (folder / PROCESS_FILE).unlink(missing_ok=True)
    seconds, output = time.monotonic() - start, sum(log.size for log in logs)
    return ScriptEnd(how, process.returncode, last_error_line, seconds, cpu, peak, output)


def _write_process(folder: Path, pid: int) -> None:
    with suppress(psutil.Error, OSError):
        born = psutil.Process(pid).create_time()
        (folder / PROCESS_FILE).write_text(json.dumps({"pid": pid, "born": born}), encoding="utf-8")


def kill_left_process(folder: Path) -> None:
    """Kill the script that a process which has crashed left running in a run's folder."""
    path = folder / PROCESS_FILE
    try:
        left = json.loads(path.read_text(encoding="utf-8"))
        process = psutil.Process(int(left["pid"]))
        if process.create_time() == left["born"]:
            kill_tree(process.pid)
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        pass
    path.unlink(missing_ok=True)


def kill_tree(pid: int) -> None:
    """Kill a process, its group, and all its descendants."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for child in process.children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
    _signal_group(pid, signal.SIGKILL)


def kill_descendants() -> None:
    """Kill all processes that this one has started, directly or through others; wait for them."""
    if not _has_children():
        return
    with suppress(psutil.Error):
        children = [child for child in psutil.Process().children(recursive=True) if not _is_of_python(child)]
        for child in children:
            with suppress(psutil.Error):
                child.kill()
        psutil.wait_procs(children, timeout=1.0)


def _is_of_python(process: psutil.Process) -> bool:
    """Return whether a process is a helper of multiprocessing, which a function that uses it needs again."""
    with suppress(psutil.Error):
        return any(name in " ".join(process.cmdline()) for name in ("resource_tracker", "multiprocessing.forkserver"))
    return False


@contextmanager
def unblocked_signals() -> Iterator[None]:
    """Let programs that are started inside the block receive signals; this process does nothing on them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, handler in before.items():
            signal.signal(number, handler)


def _has_children() -> bool:
    """Return whether this process may have children: all processes are looked at only then, which takes 10 ms."""
    try:
        return any(path.read_bytes().strip() for path in Path("/proc/self/task").glob("*/children"))
    except OSError:
        return True


def _signal_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _tree_bytes(pid: int) -> int:
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for member in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += member.memory_info().rss
    return total
