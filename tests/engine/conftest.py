import pytest

from adamcmp.config.sources import locate
from adamcmp.engine.inputs import facts, load_data
from adamcmp.plan.expand import plan


@pytest.fixture(scope="session")
def planned():
    """Runs of ``adamcmp sweep CONFIG overrides…``, and their data by fingerprint."""

    def make(*overrides, config="digits"):
        datasets = {}

        def load(settings, _):
            dataset = load_data(settings)
            datasets[dataset.fingerprint] = dataset
            return facts(dataset)

        return plan(locate(config), overrides, load).runs, datasets

    return make
