"""Train the runs that a calibration draws from: every trial of two optimizers on many seeds."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from adamcmp.cli.progress import ProgressBar
from adamcmp.config.lookup import find_config
from adamcmp.data.raw import Split
from adamcmp.engine.loading import dataset_metadata, load_data
from adamcmp.execute.execution_plan import prepare_execution
from adamcmp.execute.run_writer import Provenance
from adamcmp.execute.scheduler import train_missing_runs
from adamcmp.execute.study_dir import join_as_driver
from adamcmp.plan.expand import plan_study
from adamcmp.storage.records import read_outcomes, read_records

LRS = {
    "digits": {"adamw": "3e-3,1e-2,3e-2", "sgdw": "3e-3,1e-2,3e-2"},
    "mnist1d": {"adamw": "3e-3,1e-2,3e-2", "sgdw": "3e-2,1e-1,3e-1"},
}
"""Learning rates by data set and optimizer; weight decays are 1e-3, 1e-2 and 1e-1."""
TRAINING = {"digits": [], "mnist1d": ["train.epochs=10"]}


class Pool(NamedTuple):
    """All trainings of one optimizer: C trials, S seeds; per-example errors, 1 for a wrong prediction."""

    validation_CSM: NDArray[np.uint8]
    test_CSN: NDArray[np.uint8]

    @property
    def seeds(self) -> int:
        """S."""
        return int(self.test_CSN.shape[1])


def trained(data: str, seeds: int, device: torch.device) -> dict[str, Pool]:
    """Train every trial of each optimizer on every seed.

    Per-example errors are stored for the test split only, so validation and test examples form one test split here.
    """
    datasets, counts = {}, {}

    def load(settings, _):
        dataset = load_data(settings)
        parts = (dataset.validation, dataset.test)
        counts["validation"] = len(dataset.validation.y)
        joined = Split(torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts]))
        datasets[dataset.fingerprint] = replace(dataset, test=joined)
        return dataset_metadata(datasets[dataset.fingerprint])

    runs = []
    for optimizer, lrs in LRS[data].items():
        words = [f"optimizer={optimizer}", f"optimizer.lr={lrs}", "optimizer.weight_decay=1e-3,1e-2,1e-1"]
        planned = plan_study(find_config(data), [*words, *TRAINING[data], f"study.seeds={seeds}"], load)
        runs += [replace(run, stage="confirm") for run in planned.runs]
    with tempfile.TemporaryDirectory() as folder:
        with (
            join_as_driver(Path(folder)) as leases,
            prepare_execution(runs, datasets, device, planned.config.execute) as how,
            ProgressBar(runs) as progress,
        ):
            train_missing_runs(how, runs, Path(folder), Provenance.here("calibration"), progress, leases)
        records, outcomes = read_records(Path(folder)), read_outcomes([Path(folder)])
    lost = records["status"] != "completed"
    if lost.any():
        raise SystemExit(f"{lost.sum()} runs did not complete; use a grid on which all runs complete")
    pools = {}
    for name, part in records.groupby("optimizer"):
        ordered = part.sort_values(["lr", "weight_decay", "seed"])
        errors = np.stack([outcomes[run].astype(np.uint8) for run in ordered["run_id"]])
        errors_CSN = errors.reshape(len(ordered) // seeds, seeds, -1)
        cut = counts["validation"]
        pools[str(name)] = Pool(errors_CSN[..., :cut], errors_CSN[..., cut:])
    return pools


def save(pools: dict[str, Pool], path: Path) -> None:
    """Write the pools of one data set to a compressed NumPy file."""
    np.savez_compressed(path, **{f"{name}_{field}": values for name, pool in pools.items()
                                 for field, values in pool._asdict().items()})  # fmt: skip


def load(path: Path) -> dict[str, Pool]:
    """Read the pools of one data set."""
    stored = np.load(path)
    names = sorted({key.partition("_")[0] for key in stored})
    return {name: Pool(stored[f"{name}_validation_CSM"], stored[f"{name}_test_CSN"]) for name in names}
