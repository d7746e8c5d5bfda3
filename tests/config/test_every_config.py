"""Every YAML that adamcmp ships composes, is valid, and builds what it names."""

import pytest
import torch

from adamcmp.config.compose import compose
from adamcmp.config.lookup import find_config, list_group
from adamcmp.config.validate import validate_config
from adamcmp.engine.coefficients import schedule_of
from adamcmp.engine.loading import CPU, build_model
from adamcmp.engine.optimizer_step import make_optimizer_step
from adamcmp.plan.expand import plan_study
from adamcmp.plan.runs import DatasetMetadata, group_runs

FACTS = {
    "digits": DatasetMetadata("0" * 16, 1079, 10, (1, 8, 8), 359, 359),
    "mnist": DatasetMetadata("1" * 16, 54000, 10, (1, 28, 28), 100, 100),
    "fashion_mnist": DatasetMetadata("2" * 16, 54000, 10, (1, 28, 28), 100, 100),
    "mnist1d": DatasetMetadata("3" * 16, 3600, 10, (1, 40), 100, 100),
    "mnist1d_20000": DatasetMetadata("f" * 16, 3600, 10, (1, 40), 6400, 10000),
    "modular_addition": DatasetMetadata("4" * 16, 1740, 59, (2,), 100, 100, 59),
    "text": DatasetMetadata(
        "5" * 16, 28000, 256, (128,), 100, 100, 256, {"train": 1.0, "validation": 1.0, "test": 1.0}
    ),
    "table": DatasetMetadata("6" * 16, 90, 3, (4,), 100, 100),
    "sparse_words": DatasetMetadata("7" * 16, 12000, 4, (30,), 100, 100, 5001),
    "newsgroups": DatasetMetadata("8" * 16, 10183, 20, (200,), 100, 100, 10001),
    "cifar10": DatasetMetadata("9" * 16, 45000, 10, (3, 32, 32), 100, 100),
    "image_folder": DatasetMetadata("b" * 16, 700, 5, (3, 32, 32), 100, 100),
    "imagenet32": DatasetMetadata("c" * 16, 1229920, 1000, (3, 32, 32), 100, 100),
    "diabetes": DatasetMetadata("d" * 16, 266, 1, (10,), 88, 88, targets="quantities"),
    "digit_pairs": DatasetMetadata("e" * 16, 1200, 10, (1, 8, 16), 400, 400, targets="labels"),
    "cifar100": DatasetMetadata("a" * 16, 45000, 100, (3, 32, 32), 100, 100),
}
NATURAL = {
    "modular_mlp": "modular_addition",
    "modular_transformer": "modular_addition",
    "gpt": "text",
    "bag_of_words": "sparse_words",
}
"""Data that a model takes, where it is not the digits; by the beginning of the model's name."""


def names(group):
    return list(list_group(group))


BUILT = set()
"""Models with their data and update rules that have taken their step: many studies share them."""


def build(runs):
    """Take one step with the first run of every run group, on examples of the right shape."""
    for run_group in group_runs(runs):
        run, facts = run_group.runs[0], run_group.task.facts
        what = (repr(run.task.model), repr(facts), repr(run.optimizer.model_dump(exclude={"lr", "weight_decay"})))
        if what in BUILT:
            continue
        BUILT.add(what)
        model = build_model(run.task, 0, CPU)
        x = torch.zeros(2, *facts.input_shape, dtype=torch.int64 if facts.num_tokens else torch.float32)
        logits = model(x)
        assert logits.shape[0] == 2
        assert logits.shape[-1] >= facts.num_outputs
        logits.square().sum().backward()
        before = [p.detach().clone() for p in model.parameters()]
        update = make_optimizer_step(run.optimizer, model, schedule_of(run))
        for t in range(2):  # ADOPT moves nothing in the first
            update.step(t)
        assert all(torch.isfinite(p).all() for p in model.parameters())
        assert any(not torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))


def facts_of(data, _):
    return FACTS[data.name]


@pytest.mark.parametrize("name", [name for name in names("") if name not in ("script", "function")])
def test_configurations_build(name):
    build(plan_study(find_config(name), [], facts_of).runs)


@pytest.mark.parametrize("name", names("study"))
def test_studies_plan_and_build(name):
    planned = plan_study(find_config(name), [], facts_of)
    assert len(planned.runs) > 1
    build(planned.runs)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [*((name, "cosine") for name in names("optimizer")), *(("adamw", schedule) for schedule in names("schedule"))],
)
def test_optimizers_and_schedules_build(name, schedule):
    build(plan_study(find_config("digits"), [f"optimizer={name}", f"schedule={schedule}"], facts_of).runs)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "gpt_124m" else n for n in names("model")]
)
def test_models_build_on_some_data(name):
    data = next((data for model, data in NATURAL.items() if name.startswith(model)), "digits")
    build(plan_study(find_config("digits"), [f"model={name}", f"data={data}"], facts_of).runs)


@pytest.mark.parametrize("name", names("data"))
def test_data_sets_compose(name):
    source = find_config("digits")
    assert validate_config(compose(source, [f"data={name}"]), source).data.name == name
    assert name in FACTS


@pytest.mark.parametrize(
    "path",
    [path for group in ("", "model", "data", "optimizer", "schedule", "study") for path in list_group(group).values()],
    ids=lambda p: f"{p.parent.name}/{p.stem}",
)
def test_every_file_opens_with_a_line_that_says_what_it_is(path):
    comments = [line for line in path.read_text().splitlines() if line.startswith("# ") and "@package" not in line]
    assert comments
    assert len(comments[0]) > 20
