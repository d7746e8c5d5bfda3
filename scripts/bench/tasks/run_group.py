"""A run group of a configuration with its data, for benchmarks that look inside a training."""

from __future__ import annotations

from adamcmp.config.lookup import find_config
from adamcmp.data.dataset import Dataset
from adamcmp.engine.loading import dataset_metadata, load_data
from adamcmp.plan.expand import plan_study
from adamcmp.plan.runs import RunGroup, group_runs
from tasks.works import CONFIGS


def prepared(config: str, runs: int, *overrides: str) -> tuple[RunGroup, Dataset]:
    """Return a run group of this many learning rates, and its data."""
    datasets = {}

    def load(settings, _):
        dataset = load_data(settings)
        datasets[dataset.fingerprint] = dataset
        return dataset_metadata(dataset)

    rates = f"optimizer.lr=geomspace(1e-4,1e-2,{runs})" if runs > 1 else "optimizer.lr=1e-3"
    (run_group,) = group_runs(plan_study(find_config(config, CONFIGS), [rates, *overrides], load).runs)
    return run_group, datasets[run_group.task.facts.fingerprint]
