"""An array of Slurm jobs, each a driver of its own that trains until nothing is left; submitit hands them in.

Jobs need the results folder and the package. They share the study by leases, so that none waits for another, and one
that is preempted or out of time writes checkpoints and is queued again.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from adamcmp.config.schema import OnSlurm
from adamcmp.errors import InputError, one_line
from adamcmp.store import is_local

PLAN = "plan.parquet"
"""In the study's folder: what workers train."""
WRITING_TAKES = 80
"""Seconds that a driver has to write its checkpoints: Slurm sends its signal 90 seconds before the end of a job."""


class Job:
    """What a job does; submitit stores it, and calls it on a node."""

    def __init__(self, study_dir: str, folder: str) -> None:
        self._study_dir, self._folder = study_dir, folder

    def __call__(self) -> int:
        """Work until nothing is left; the driver's exit code."""
        command = [sys.executable, "-m", "adamcmp", "work", self._study_dir]
        self._process = subprocess.Popen(command, cwd=self._folder, preexec_fn=_deaf)
        return self._process.wait()

    def checkpoint(self) -> Any:
        """Called on the signal that comes before a job's end: have checkpoints written, and be queued again."""
        from submitit.helpers import DelayedSubmission

        self._process.send_signal(signal.SIGINT)
        until = time.monotonic() + WRITING_TAKES
        while _is_running(self._process.pid) and time.monotonic() < until:  # the signal has met its own wait()
            time.sleep(0.1)
        return DelayedSubmission(Job(self._study_dir, self._folder))


def _is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _deaf() -> None:
    """In the driver before it starts: Slurm sends its signals to all processes of a job, and this one has its own."""
    for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGCONT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _executor(settings: OnSlurm, study_dir: Path) -> Any:
    try:
        import submitit
    except ImportError as error:
        raise InputError("execute=slurm: submitit is not installed; pip install 'adamcmp[slurm]'") from error
    logs = (study_dir if is_local(study_dir) else Path(study_dir.name)) / "slurm"
    found = submitit.AutoExecutor(folder=logs.absolute(), cluster=settings.cluster)
    given: dict[str, Any] = {
        "name": f"adamcmp-{study_dir.name}",
        "timeout_min": settings.minutes,
        "cpus_per_task": settings.cpus,
        "tasks_per_node": 1,
    }
    if settings.gpus:
        given["gpus_per_node"] = settings.gpus
    if settings.memory_gb is not None:
        given["mem_gb"] = settings.memory_gb
    if settings.cluster == "slurm":
        named = {"partition": settings.partition, "setup": list(settings.setup) or None}
        given |= {f"slurm_{name}": value for name, value in named.items() if value is not None}
        given |= {"slurm_additional_parameters": {"requeue": True, **settings.more}}
    try:
        found.update_parameters(**given)
    except (ValueError, TypeError, NameError) as error:
        raise InputError(f"execute.slurm: {one_line(error)}") from error
    return found


def script(settings: OnSlurm, study_dir: Path) -> str:
    """What would be handed to sbatch.

    Raises:
        InputError: submitit is not there, or refuses a setting.
    """
    import submitit.slurm.slurm as slurm

    made = _executor(settings.model_copy(update={"cluster": "slurm"}), study_dir)._executor
    text: str = slurm._make_sbatch_string(
        command=made._submitit_command_str, folder=made.folder, map_count=settings.jobs, **made.parameters
    )
    return text


def submit(settings: OnSlurm, study_dir: Path) -> list[str]:
    """Hand an array of jobs in; their ids.

    Raises:
        InputError: submitit or Slurm is not there, or refuses.
    """
    executor = _executor(settings, study_dir)
    where = str(study_dir.absolute() if is_local(study_dir) else study_dir)
    try:
        with executor.batch():
            jobs = [executor.submit(Job(where, str(Path.cwd()))) for _ in range(settings.jobs)]
    except Exception as error:  # whatever sbatch says
        raise InputError(f"execute=slurm: the jobs were not taken: {one_line(error)}") from error
    return [str(job.job_id) for job in jobs]
