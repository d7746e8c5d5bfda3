"""A cohort of a configuration with its data, for benchmarks that look inside a training."""

from __future__ import annotations

from adamcmp.config.sources import locate
from adamcmp.data.dataset import Dataset
from adamcmp.engine.inputs import facts, load_data
from adamcmp.plan.expand import plan
from adamcmp.plan.runs import Cohort, cohorts
from tasks.works import CONFIGS


def prepared(config: str, runs: int, *overrides: str) -> tuple[Cohort, Dataset]:
    """So many runs of different learning rates as one cohort, and what they train on."""
    datasets = {}

    def load(settings, _):
        dataset = load_data(settings)
        datasets[dataset.fingerprint] = dataset
        return facts(dataset)

    rates = f"optimizer.lr=geomspace(1e-4,1e-2,{runs})" if runs > 1 else "optimizer.lr=1e-3"
    (cohort,) = cohorts(plan(locate(config, CONFIGS), [rates, *overrides], load).runs)
    return cohort, datasets[cohort.task.facts.fingerprint]
