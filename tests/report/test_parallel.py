"""Drawing in forked processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from importlib import import_module
from threading import Event, Thread

import pytest

from adamcmp.report import parallel

pytestmark = pytest.mark.draws_in_processes
SLOW = "import time\nimport {0}\n{0}.begun.set()\ntime.sleep(0.5)\n"


@pytest.fixture
def in_time():
    """A deadlock is a failure after twenty seconds, and not a test without an end."""

    def give_up(*_):
        raise TimeoutError("a forked process waits for ever")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_a_thread_that_imports_what_is_drawn_with_is_waited_for(tmp_path, monkeypatch, in_time):
    """Else its import lock is held for ever in the processes that draw."""
    (tmp_path / "told_here.py").write_text("from threading import Event\nbegun = Event()\n")
    (tmp_path / "slow_to_import.py").write_text(SLOW.format("told_here"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(parallel, "PRELOAD", "slow_to_import")
    monkeypatch.setattr(parallel, "count_workers", lambda: 2)
    begun: Event = import_module("told_here").begun
    thread = Thread(target=import_module, args=("slow_to_import",))
    thread.start()
    assert begun.wait(5)

    def draw():
        return import_module("slow_to_import").__name__, time.monotonic()

    found = parallel.map_forked({"a": draw, "b": draw})
    thread.join()
    assert [name for name, _ in found.values()] == ["slow_to_import"] * 2


LARGE = """
import time
from adamcmp.report.parallel import map_forked

def draw():
    print('begun', flush=True)
    time.sleep(1)
    return bytes(10**7)

map_forked({"a": draw, "b": draw})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_a_process_whose_parent_is_gone_ends(in_time):
    """Its drawing is larger than a pipe holds, and nobody reads it."""
    parent = subprocess.Popen([sys.executable, "-c", LARGE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    for _ in range(2):
        parent.stdout.readline()
    parent.kill()
    _, err = parent.communicate()  # returns when the children, who share the pipes, have ended
    assert "Traceback" not in err


def test_what_a_task_raises_is_its_result():
    found = parallel.map_forked({"a": lambda: 1, "b": lambda: 1 // 0})
    assert found["a"] == 1
    assert isinstance(found["b"], ZeroDivisionError)
