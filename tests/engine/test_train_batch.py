"""Many runs of a model in one program, without a study."""

import pytest
import torch
from torch import nn

import adamcmp
from adamcmp.errors import InputError

X = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
Y = (X.sum(1) > 0).long()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))

    def forward(self, x):
        return self.layers(x)


class Branching(Net):
    """Cannot be vectorized: it branches on a value."""

    def forward(self, x):
        return super().forward(x) if float(x.abs().sum()) >= 0 else x


RUNS = [
    {"optimizer": "adamw", "lr": 1e-2, "weight_decay": 0.1, "seed": 0},
    {"optimizer": "adamw", "lr": 1e-3, "seed": 1},
    {"optimizer": "sgd", "lr": 1e-1, "seed": 0},
    {"optimizer": "lion", "lr": 1e-3, "betas": [0.9, 0.9], "seed": 2},
]


def batch(runs=RUNS, model=Net, data=(X, Y), **options):
    return adamcmp.train_batch(model, data, runs, **{"steps": 30, "batch_size": 20, **options})


@pytest.mark.parametrize(("model", "engine"), [(Net, "vectorised"), (Branching, "sequential")])
def test_runs_are_those_of_each_alone(model, engine):
    together = batch(model=model)
    assert together.records["optimizer"].tolist() == ["adamw", "adamw", "sgd", "lion"]
    assert set(together.records["engine"]) == {engine}
    for i, run in enumerate(RUNS):
        alone = batch([run], model=model)
        assert alone.curves["validation_loss"].tolist() == pytest.approx(
            together.curves.loc[together.curves["run"] == i, "validation_loss"].tolist(), rel=1e-4
        )
        for name, value in alone.weights[0].items():
            torch.testing.assert_close(value, together.weights[i][name], rtol=1e-4, atol=1e-5)


def test_a_module_gives_all_runs_its_weights_and_stays_as_it_is():
    model = Net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = batch([{"lr": 1e-9, "weight_decay": 0.0, "seed": seed} for seed in (0, 1)], model=model)
    for name, value in before.items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=0)
        for weights in result.weights:
            torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-6)


def test_a_run_that_diverges_leaves_the_others():
    records = batch([{"optimizer": "sgd", "lr": 1e30}, {"optimizer": "sgd", "lr": 1e-2}]).records
    assert records["status"].tolist() == ["diverged", "completed"]


def test_settings_may_be_tensors():
    assert batch(runs=[{"lr": torch.tensor(0.01)}]).records["lr"].tolist() == pytest.approx([0.01])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runs": []}, "a list with a mapping per run"),
        ({"runs": {"lr": 1e-2}}, "a list with a mapping per run"),
        ({"runs": [1]}, "a list with a mapping per run"),
        ({"runs": [{"seed": -1}]}, "seed=-1"),
        ({"runs": [{"seed": 0.5}]}, "seed=0.5"),
        ({"runs": [{"optimizer": "adamv"}]}, "no such optimizer"),
        ({"runs": [{"learning_rate": 1}]}, "no such setting"),
        ({"runs": [{"lr": "fast"}]}, "lr"),
        ({"data": X}, "a pair"),
        ({"data": (X, Y[:5])}, "200"),
        ({"model": 5}, "module"),
        ({"model": lambda: 3}, "every run failed|module"),
        ({"data": (X[:, :3], Y)}, "every run failed: .*shapes"),
        ({"steps": 0}, "steps"),
        ({"batch_size": 1000}, "batch_size"),
        ({"device": "nosuch"}, "nosuch"),
        ({"schedule": "nosuch"}, "no such schedule"),
    ],
)
def test_bad_input_is_one_line(options, message):
    with pytest.raises(InputError, match=message) as caught:
        batch(**options)
    assert "\n" not in str(caught.value)
