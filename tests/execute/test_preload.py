"""What training processes are given before their first moment, and where their server listens."""

import os
import subprocess
import sys
from pathlib import Path

ASK = """
import gc

import adamcmp.execute.preload
from torch._inductor.cpu_vec_isa import VecISA, pick_vec_isa

built = []
VecISA.check_build = lambda self, code: built.append(code) or True
print(bool(pick_vec_isa()), VecISA._avx_code in built, gc.get_freeze_count() > 100_000, gc.isenabled())
"""


def test_no_program_is_compiled_to_see_what_the_compiler_knows_and_what_was_imported_is_left_alone(tmp_path):
    variables = {k: v for k, v in os.environ.items() if k != "TORCHINDUCTOR_VEC_ISA_OK"}
    asked = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, check=True, env=variables, cwd=tmp_path
    )
    assert asked.stdout.split() == ["True", "False", "True", "True"]


START = """
from multiprocessing import forkserver

from adamcmp.execute.server import start_processes

start_processes()
print(forkserver._forkserver._forkserver_address)
"""


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
