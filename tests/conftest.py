"""Shared by all tests: optional programs and packages, fixed Hypothesis examples, and the closing lines."""

from __future__ import annotations

import gc
import os
import pickle
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings

ALL_EXAMPLES = os.environ.get("ADAMCMP_TEST_EXAMPLES") == "all"
"""Whether property tests draw all their examples, at random: ``scripts/slow properties``."""
settings.register_profile("fast", derandomize=True)
if not ALL_EXAMPLES:
    settings.load_profile("fast")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # each worker has a core; threads of all on each cost a third more


class Need(NamedTuple):
    """A program or package that some tests need and a fresh machine lacks."""

    title: str
    is_there: Callable[[], bool]
    remedy: str


def _programs(*names: str) -> Callable[[], bool]:
    return lambda: all(map(shutil.which, names))


def _modules(*names: str) -> Callable[[], bool]:
    return lambda: all(find_spec(name) is not None for name in names)


def _compiles() -> bool:
    from adamcmp.engine.hardware import why_not_compile
    from adamcmp.engine.loading import choose_device

    return why_not_compile(choose_device(os.environ.get("ADAMCMP_TEST_DEVICE", "cpu"))) is None


NEEDS = {
    "chromium": Need(
        "Chromium",
        lambda: any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
        "apt-get install chromium",
    ),
    "latex": Need("LaTeX", _programs("pdflatex"), "apt-get install texlive-latex-recommended"),
    "compiler": Need("A C++ compiler (with torch 2.12 or newer)", _compiles, "apt-get install g++"),
    "slurm": Need(
        "Slurm (as root)",
        lambda: os.geteuid() == 0 and _programs("slurmctld", "slurmd", "munged", "sbatch", "srun")(),
        "apt-get install slurm-wlm munge",
    ),
    "mounts": Need("Permission to mount a tmpfs (root)", lambda: _programs("mount")() and os.geteuid() == 0, "sudo"),
    "mlflow": Need("MLflow", _modules("mlflow"), "pip install 'adamcmp[mlflow]'"),
    "wandb": Need("Weights & Biases", _modules("wandb"), "pip install 'adamcmp[wandb]'"),
    "ray": Need("Ray", _modules("ray"), "pip install 'adamcmp[ray]'"),
    "tensorflow": Need("TensorFlow with Keras", _modules("tensorflow", "keras"), "pip install 'adamcmp[conformance]'"),
}
"""What ``@pytest.mark.needs`` may name."""


def _parse_each_file_once() -> None:
    """Have Hydra parse a YAML file once per worker, and again when it has changed: a third of a composition."""
    from hydra._internal.core_plugins.file_config_source import FileConfigSource
    from hydra._internal.core_plugins.importlib_resources_config_source import ImportlibResourcesConfigSource

    parsed: dict[tuple[object, ...], bytes] = {}

    def remembered(source):
        load = source.load_config

        def load_config(self, config_path):
            try:
                file = Path(self.path) / f"{config_path.removesuffix('.yaml')}.yaml"
                stamp = (file.stat().st_mtime_ns, file.stat().st_size) if source is FileConfigSource else ()
            except OSError:
                return load(self, config_path)
            key = (source, self.path, self.provider, config_path, *stamp)
            if key not in parsed:
                parsed[key] = pickle.dumps(load(self, config_path))
            return pickle.loads(parsed[key])

        source.load_config = load_config

    remembered(FileConfigSource)
    remembered(ImportlibResourcesConfigSource)


def pytest_configure(config):
    programs = config.rootpath / ".pytest_cache" / "programs"  # compiled ones: for all workers, and the next run
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(programs))
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # a pool of compilers would import torch in each
    _parse_each_file_once()
    config.addinivalue_line("markers", "draws_in_processes: figures are drawn in forked processes, as outside tests")
    config.addinivalue_line("markers", "property: drawn by Hypothesis; scripts/slow properties draws all examples")
    config.addinivalue_line("markers", f"needs(name): skipped without an optional program: {', '.join(NEEDS)}")


@pytest.fixture(scope="session")
def strict_site(tmp_path_factory):
    """The documentation site, built in strict mode."""
    root = Path(__file__).parent.parent
    folder = tmp_path_factory.mktemp("documentation") / "site"
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    ended = subprocess.run(build, cwd=root, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return folder


def pytest_collection_finish():
    """Take what is imported out of the garbage collector's rounds: they cost an eighth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def pytest_collection_modifyitems(items):
    """Start the longest tests first, so that no worker is left alone with one at the end; skip what lacks its need."""
    items.sort(key=lambda item: "/execute/" not in str(item.path))
    absent = {name for name, need in NEEDS.items() if not need.is_there()}
    for item in items:
        drawn = getattr(getattr(item, "obj", None), "_hypothesis_internal_use_settings", None)
        if drawn is not None:
            item.add_marker("property")
            if not ALL_EXAMPLES and not hasattr(item.obj, "has_fewer_examples"):
                fewer = settings(drawn, max_examples=max(10, drawn.max_examples // 3), derandomize=True)
                item.obj._hypothesis_internal_use_settings = fewer
                item.obj.has_fewer_examples = True  # parametrized tests share the function
        for marker in item.iter_markers("needs"):
            for name in marker.args:
                if name not in NEEDS:
                    raise pytest.UsageError(f"{item.nodeid}: needs({name!r}) is not in tests/conftest.py")
                if name in absent:
                    item.add_marker(pytest.mark.skip(reason=reason(name)))


@pytest.fixture(autouse=True, scope="module")
def drawn_here(request):
    """Draw figures in this process: forking a process for each costs more than drawing while all cores are busy."""
    from adamcmp.report import parallel

    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("draws_in_processes") is None:
            patch.setattr(parallel, "count_workers", lambda: 1)
        yield


def reason(name: str) -> str:
    """Return why a test that needs an optional program or package is skipped, and how to have it run."""
    return f"{NEEDS[name].title} is not available. To run: {NEEDS[name].remedy}"


def closing_lines(reasons: Iterable[str], *, are_slow_left_out: bool) -> list[str]:
    """Return one line per reason for which tests were skipped, with the number of tests."""
    lines = [f"{count:5} skipped: {text}" for text, count in Counter(reasons).most_common()]
    return [*lines, *(["The slow tests were left out. To run them: scripts/slow"] if are_slow_left_out else [])]


def pytest_terminal_summary(terminalreporter, config):
    reasons = [
        report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)
        for report in terminalreporter.stats.get("skipped", [])
    ]
    lines = closing_lines(reasons, are_slow_left_out="not slow" in config.getoption("markexpr"))
    if lines:
        terminalreporter.section("tests that were not run")
        for line in lines:
            terminalreporter.line(line)
