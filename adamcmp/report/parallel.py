"""Draw figures in parallel: one forked process each, so that their tables need not be copied."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

import joblib

from adamcmp import signals

T = TypeVar("T")
PRELOAD = "adamcmp.report.preload_figures"
"""Modules that figures import; ``adamcmp sweep`` imports them in a thread while processes train."""


def count_workers() -> int:
    """Return the number of processor cores that this process may use."""
    return int(joblib.cpu_count())


def map_forked(tasks: Mapping[str, Callable[[], T]]) -> dict[str, T | Exception]:
    """Return the result or exception of every task, by name; one after the other if processes cannot be forked."""
    at_once = count_workers()
    if sys.platform != "linux" or at_once < 2 or len(tasks) < 2 or multiprocessing.current_process().daemon:
        return {name: _attempt(task) for name, task in tasks.items()}
    # waits for a thread that is at it: a fork in between would leave its import locks held for ever
    import_module(PRELOAD)
    context = multiprocessing.get_context("fork")
    waiting, results = list(tasks), dict[str, Any]()
    running: dict[Connection, tuple[str, Any]] = {}
    with signals.run_before_exit(lambda: [process.kill() for _, process in running.values()]):
        while waiting or running:
            while waiting and len(running) < at_once:
                name = waiting.pop(0)
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_run_child, args=(ours, theirs, tasks[name]), daemon=True)
                # a signal meets neither a child that answers it as the parent does, nor one that is not known yet
                with signals.block_signals(), warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                    process.start()  # Python 3.12 warns where there are threads; none of theirs is met in a drawing
                    running[ours] = name, process
                theirs.close()
            for pipe in wait(list(running)):
                assert isinstance(pipe, Connection)
                name, process = running.pop(pipe)
                try:
                    results[name] = pipe.recv()
                except EOFError:
                    process.join()
                    raise RuntimeError(f"drawing {name} ended with exit code {process.exitcode}") from None
                process.join()
    return {name: results[name] for name in tasks}


def _run_child(theirs: Connection, pipe: Connection, task: Callable[[], object]) -> None:
    for number in signals.SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.SIGNALS)
    theirs.close()  # held open here, it would let this process wait for ever for a parent that is gone
    with suppress(OSError):  # it is gone
        pipe.send(_attempt(task))


def _attempt(task: Callable[[], T]) -> T | Exception:
    try:
        return task()
    except Exception as error:
        return error
