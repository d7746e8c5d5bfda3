"""An array of Slurm jobs, each a driver of its own that trains until nothing is left; submitit hands them in.

Jobs need the results folder and the package. They share the study by leases, so that none waits for another, and one
that is preempted or out of time writes checkpoints and is queued again.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from adamcmp.config.schema import SlurmSettings
from adamcmp.errors import InputError, one_line
from adamcmp.extras import check_installed, require_extra
from adamcmp.storage.backend import is_local

SLURM_PROGRAMS = ("sbatch", "srun")
"""Programs of Slurm that submitit calls to submit jobs."""
PLAN_FILE = "plan.parquet"
"""In the study's folder: what workers train."""
WRITE_SECONDS = 80
"""Seconds that a driver has to write its checkpoints: Slurm sends its signal 90 seconds before the end of a job."""


class SlurmJob:
    """Work of a Slurm job; submitit stores it, and calls it on a node."""

    def __init__(self, study_dir: str, folder: str, plan: str) -> None:
        self._study_dir, self._folder, self._plan = study_dir, folder, plan

    def __call__(self) -> int:
        """Train until nothing is left; return the driver's exit code."""
        command = [sys.executable, "-m", "adamcmp", "work", self._study_dir, "--plan", self._plan]
        self._process = subprocess.Popen(command, cwd=self._folder, preexec_fn=_ignore_signals)
        return self._process.wait()

    def checkpoint(self) -> Any:
        """Write checkpoints and queue the job again, on the signal before its end."""
        from submitit.helpers import DelayedSubmission

        self._process.send_signal(signal.SIGINT)
        until = time.monotonic() + WRITE_SECONDS
        while _is_running(self._process.pid) and time.monotonic() < until:  # the signal has met its own wait()
            time.sleep(0.1)
        return DelayedSubmission(SlurmJob(self._study_dir, self._folder, self._plan))


def _is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _ignore_signals() -> None:
    """Ignore Slurm's signals in the driver before it starts: Slurm sends them to all processes of a job."""
    for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGCONT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _executor(settings: SlurmSettings, study_dir: Path) -> Any:
    with require_extra("execute=slurm", "submitit"), _logging_left_alone():
        import submitit
    logs = (study_dir if is_local(study_dir) else Path(study_dir.name)) / "slurm"
    executor = submitit.AutoExecutor(folder=logs.absolute(), cluster=settings.cluster)
    parameters: dict[str, Any] = {
        "name": f"adamcmp-{study_dir.name}",
        "timeout_min": settings.minutes,
        "cpus_per_task": settings.cpus,
        "tasks_per_node": 1,
    }
    if settings.gpus:
        parameters["gpus_per_node"] = settings.gpus
    if settings.memory_gb is not None:
        parameters["mem_gb"] = settings.memory_gb
    if settings.cluster == "slurm":
        named = {"partition": settings.partition, "setup": list(settings.setup) or None}
        parameters |= {f"slurm_{name}": value for name, value in named.items() if value is not None}
        parameters |= {"slurm_additional_parameters": {"requeue": True, **settings.more}}
    try:
        executor.update_parameters(**parameters)
    except (ValueError, TypeError, NameError) as error:
        raise InputError(f"execute.slurm: {one_line(error)}") from error
    return executor


@contextmanager
def _slurm_assumed() -> Iterator[None]:
    """Have submitit write scripts for Slurm on a machine without it: it looks for ``srun`` when it starts."""
    from submitit.slurm.slurm import SlurmExecutor

    affinity = SlurmExecutor.affinity
    SlurmExecutor.affinity = classmethod(lambda _: 2)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        SlurmExecutor.affinity = affinity  # type: ignore[method-assign]


def submission_script(settings: SlurmSettings, study_dir: Path) -> str:
    """Return the script for sbatch; Slurm itself need not be installed.

    Raises:
        InputError: submitit is not installed, or refuses a setting.
    """
    with require_extra("execute=slurm", "submitit"), _logging_left_alone():
        from submitit.slurm import slurm

    with _slurm_assumed():
        made = _executor(settings.model_copy(update={"cluster": "slurm"}), study_dir)._executor
    text: str = slurm._make_sbatch_string(
        command=made._submitit_command_str, folder=made.folder, map_count=settings.jobs, **made.parameters
    )
    return text


@contextmanager
def _logging_left_alone() -> Iterator[None]:
    """Import submitit without its configuration of logging, which closes the handlers of all other libraries."""
    name = "SUBMITIT_LOG_LEVEL"
    level = os.environ.get(name)
    os.environ[name] = "NOCONFIG"
    try:
        yield
    finally:
        if level is None:
            del os.environ[name]
        else:
            os.environ[name] = level


def check_slurm(settings: SlurmSettings) -> None:
    """Check that jobs can be submitted from this machine.

    Raises:
        InputError: submitit is not installed, or the programs of Slurm are not on PATH.
    """
    check_installed("execute=slurm", "submitit")
    lacking = [program for program in SLURM_PROGRAMS if shutil.which(program) is None]
    if settings.cluster == "slurm" and lacking:
        raise InputError(
            f"execute=slurm: {' and '.join(lacking)} not found on PATH, so this machine cannot submit jobs. Run the "
            "command on a login node of the cluster, add --dry-run to print the script, or try the jobs here with "
            "execute.slurm.cluster=local"
        )


def submit_jobs(settings: SlurmSettings, study_dir: Path, plan: str) -> list[str]:
    """Submit the array of jobs, which trust the plan of that SHA-256, and return their IDs.

    Raises:
        InputError: Slurm refuses the jobs, or ``check_slurm`` does.
    """
    check_slurm(settings)
    executor = _executor(settings, study_dir)
    where = str(study_dir.absolute() if is_local(study_dir) else study_dir)
    try:
        with executor.batch():
            jobs = [executor.submit(SlurmJob(where, str(Path.cwd()), plan)) for _ in range(settings.jobs)]
    except Exception as error:  # whatever sbatch says
        raise InputError(f"execute=slurm: the jobs were not taken: {one_line(error)}") from error
    return [str(job.job_id) for job in jobs]
