"""What training processes are given before their first moment, and where their server listens."""

import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from adamcmp.execute.temp_dirs import MARKER_FILE, compiled_programs_folder
from adamcmp.execute.worker import use_compiler_threads

ASK = """
import gc

import adamcmp.execute.preload_training
from torch._inductor.cpu_vec_isa import VecISA, pick_vec_isa

built = []
VecISA.check_build = lambda self, code: built.append(code) or True
print(bool(pick_vec_isa()), VecISA._avx_code in built, gc.get_freeze_count() > 100_000, gc.isenabled())
"""


@pytest.mark.slow
def test_no_program_is_compiled_to_see_what_the_compiler_knows_and_what_was_imported_is_left_alone(tmp_path):
    variables = {k: v for k, v in os.environ.items() if k != "TORCHINDUCTOR_VEC_ISA_OK"}
    asked = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, check=True, env=variables, cwd=tmp_path
    )
    assert asked.stdout.split() == ["True", "False", "True", "True"]


START = """
from multiprocessing import forkserver

from adamcmp.execute.fork_server import start_fork_server

start_fork_server()
print(forkserver._forkserver._forkserver_address)
"""


@pytest.mark.slow
def test_the_server_starts_where_the_temporary_folder_has_a_long_path(tmp_path):
    long = tmp_path / ("x" * 90)
    long.mkdir()
    asked = subprocess.run(
        [sys.executable, "-c", START],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TMPDIR": str(long)},
        cwd=tmp_path,
    )
    assert len(asked.stdout.strip()) < 107
    assert not Path(asked.stdout.strip()).parents[1].exists()
    assert not list(long.glob("adamcmp-*"))


@pytest.mark.slow
def test_compiled_programs_are_kept_in_the_users_cache_and_old_ones_go(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    old, recent = (tmp_path / "adamcmp" / "programs" / name for name in ("2.0", "2.1"))
    for folder, days in ((old, 61), (recent, 1)):
        folder.mkdir(parents=True)
        (folder / MARKER_FILE).write_text(str(folder.resolve()))
        os.utime(folder, (time.time() - 86400 * days,) * 2)
    assert compiled_programs_folder() == recent.parent / version("torch")
    assert recent.exists()
    assert not old.exists()
    asked = subprocess.run(
        [sys.executable, "-c",
         "import os, adamcmp.execute.preload_training; print(os.environ['TORCHINDUCTOR_CACHE_DIR'])"],
        capture_output=True, text=True, check=True,
        env={key: value for key, value in os.environ.items() if key != "TORCHINDUCTOR_CACHE_DIR"},
    )  # fmt: skip
    assert asked.stdout.strip() == str(compiled_programs_folder())


def test_a_cache_that_cannot_be_written_keeps_no_programs(tmp_path, monkeypatch):
    (tmp_path / "adamcmp").write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compiled_programs_folder() is None


def test_the_compiler_has_all_cores_where_an_accelerator_trains(monkeypatch):
    from torch._inductor import config

    monkeypatch.setattr("adamcmp.execute.worker.count_cores", lambda: 16)
    with config.patch(compile_threads=1):
        use_compiler_threads("cpu")
        assert config.compile_threads == 1
        use_compiler_threads("cuda:0")
        assert config.compile_threads == 16


def test_the_fork_server_does_not_ask_cuda_for_devices():
    """Who has asked, as the compiler does when it is imported, forks processes that cannot use CUDA."""
    script = """
import torch
count = []
torch.cuda._device_count_nvml = lambda: 1
torch._C._cuda_getDeviceCount = lambda: count.append(1) or 1
import adamcmp.execute.preload_training
assert torch.cuda.is_available()
print(len(count))
"""
    environment = {key: value for key, value in os.environ.items() if key != "PYTORCH_NVML_BASED_CUDA_CHECK"}
    asked = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert asked.stdout.strip() == "0"
