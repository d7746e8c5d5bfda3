import os
from types import SimpleNamespace

import pytest

from adamcmp.config.lookup import find_config
from adamcmp.engine import sequential, vectorized
from adamcmp.engine.checkpoint import TrainingControl
from adamcmp.engine.loading import choose_device, dataset_metadata, load_data
from adamcmp.engine.strategy.types import Shard, Strategy
from adamcmp.plan.expand import plan_study
from adamcmp.plan.runs import group_runs

DEVICE = choose_device(os.environ.get("ADAMCMP_TEST_DEVICE", "cpu"))
"""Where trainings of these tests take place: ADAMCMP_TEST_DEVICE=cuda takes an accelerator."""


@pytest.fixture(scope="session")
def planned():
    """Runs of ``adamcmp sweep CONFIG overrides…``, and their data by fingerprint."""

    def make(*overrides, config="digits"):
        datasets = {}

        def load(settings, _):
            dataset = load_data(settings)
            datasets[dataset.fingerprint] = dataset
            return dataset_metadata(dataset)

        return plan_study(find_config(config), overrides, load).runs, datasets

    return make


def both(planned, *overrides, config="digits", strategy=Strategy(engine="vectorised")):  # noqa: B008  # frozen
    """Outcomes of all runs, trained one by one and together."""
    runs, datasets = planned(*overrides, config=config)
    alone, together = [], []
    for run_group in group_runs(runs):
        data = datasets[run_group.task.facts.fingerprint]
        alone += sequential.train_shard(Shard.of(run_group, Strategy()), data, DEVICE, TrainingControl())
        together += vectorized.train_shard(Shard.of(run_group, strategy), data, DEVICE, TrainingControl())
    return alone, together


def assert_same(alone, together, tolerance=1e-10):
    """Row r of the programs did what run r did alone; metrics on request are compared in test_extra_metrics.py."""
    assert len(alone) == len(together) > 0
    for one, row in zip(alone, together, strict=True):
        assert (one.run, one.status, one.diverged_step, one.parameters, one.error) == (
            row.run,
            row.status,
            row.diverged_step,
            row.parameters,
            None,
        )
        assert [e.step for e in one.evaluations] == [e.step for e in row.evaluations]
        for expected, found in zip(one.evaluations, row.evaluations, strict=True):
            assert found[:-1] == pytest.approx(expected[:-1], rel=tolerance, abs=tolerance)


@pytest.fixture(scope="session")
def engines(planned):
    """Both engines side by side."""
    return SimpleNamespace(
        both=lambda *overrides, **more: both(planned, *overrides, **more),
        assert_same=assert_same,
        same=lambda *overrides, **more: assert_same(*both(planned, *overrides, **more)),
    )
