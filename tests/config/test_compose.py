import sys
from dataclasses import replace

import pytest

from adamcmp.config.compose import compose
from adamcmp.config.instantiate import call_target, find_target
from adamcmp.config.lookup import find_config, list_group, shipped_configs
from adamcmp.config.origins import flatten, value_origins
from adamcmp.config.schema import CustomOptimizer
from adamcmp.config.source_hash import source_hash
from adamcmp.config.validate import validate_config
from adamcmp.errors import InputError
from adamcmp.optim.rule import rule_class

OWN = """
from torch import nn, optim
class Net(nn.Module):
    def __init__(self, hidden=3): super().__init__()
class Sign(optim.Optimizer): ...
"""


def settings(config="digits", *overrides, config_dir=None):
    source = find_config(config, config_dir)
    return validate_config(compose(source, overrides), source)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    source_hash.cache_clear()
    return tmp_path


def test_a_name_a_study_and_a_path_are_found(here):
    (here / "mine.yaml").write_text("defaults: [config, _self_]\nseed: 7\n")
    assert settings("digits").seed == 0
    assert settings("figure2").study.name == "figure2"
    assert settings("mine.yaml").seed == 7
    assert settings("mine.yaml").study.name == "mine"


def test_own_files_stand_beside_ours_and_hide_ours_of_the_same_name(here):
    (here / "optimizer").mkdir()
    shipped = (shipped_configs() / "optimizer/adamw.yaml").read_text()
    (here / "optimizer/mine.yaml").write_text(shipped.replace("label: AdamW", "label: Mine"))
    (here / "optimizer/sgd.yaml").write_text(shipped.replace("label: AdamW", "label: Not SGD"))
    assert settings("digits", "optimizer=mine", config_dir=here).optimizer.label == "Mine"
    assert settings("digits", "optimizer=sgd", config_dir=here).optimizer.label == "Not SGD"
    assert settings("digits", "optimizer=sgdw", config_dir=here).optimizer.label == "SGDW"
    assert {"mine", "adamw"} <= list_group("optimizer", here).keys()


def test_an_own_file_and_an_own_folder_go_together(here):
    folder = here / "elsewhere"
    (folder / "schedule").mkdir(parents=True)
    (folder / "schedule/slow.yaml").write_text("kind: constant\nwarmup_steps: 10\n")
    (here / "mine.yaml").write_text("defaults: [config, override schedule: slow, _self_]\n")
    assert settings("mine.yaml", config_dir=folder).schedule.warmup_steps == 10


def test_settings_are_typed_and_overrides_win():
    config = settings("digits", "optimizer=sgd", "optimizer.lr=1", "seed=3", "train.batch_size=full")
    assert type(config.optimizer) is rule_class("sgd")
    assert (config.optimizer.lr, config.seed, config.train.batch_size) == (1.0, 3, "full")
    assert type(settings().optimizer) is rule_class("adam")


@pytest.mark.parametrize(
    ("override", "kept", "dropped"), [("train.epochs=2", "epochs", "steps"), ("train.steps=9", "steps", "epochs")]
)
@pytest.mark.parametrize("config", ["digits", "fashion_mnist"])
def test_a_budget_on_the_command_line_replaces_the_other_kind(config, override, kept, dropped):
    train = settings(config, override).train
    assert getattr(train, kept) == float(override.partition("=")[2])
    assert getattr(train, dropped) is None


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["optimizer.lr=-0.1"], "optimizer.lr=-0.1: must be greater than 0"),
        (["optimizer.lr=0"], "must be greater than 0"),
        (["optimizer.lr=nan"], "finite"),
        (["optimizer.weight_decay=-1"], "greater than or equal to 0"),
        (["optimizer.betas=[0.9,1]"], "less than 1"),
        (["optimizer.betas=[-0.1,0.9]"], "greater than or equal to 0"),
        (["optimizer=sgd", "optimizer.nesterov=true", "optimizer.momentum=0"], "momentum > 0"),
        (["optimizer=adamv"], "did you mean adam"),
        (["optimizer.lrr=1"], "did you mean optimizer.lr"),
        (["+optimizer.epsilon=1"], "did you mean eps"),
        (["+data.split_sed=1", "train.precision=fp8"], "fp32"),
        (["schedule.eta_min=1"], "schedule.eta_min=1: must be less than 1"),
        (["schedule=drop_step", "schedule.milestones=[0.3,1.5]"], "less than 1"),
        (["train.steps=null"], "exactly one of train.steps and train.epochs"),
        (["train.steps=5", "train.epochs=5"], "exactly one of train.steps and train.epochs"),
        (["model._target_=no.such.Model"], "there is no module 'no'"),
        (["~model._target_"], "_target_ is missing"),
        (["~optimizer.lr"], "is missing"),
        (["study.seeds=[]"], "study.seeds"),
    ],
)
def test_bad_settings_are_one_line_that_names_the_key(overrides, says):
    with pytest.raises(InputError) as caught:
        settings("digits", *overrides)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_value_has_an_origin():
    source = find_config("figure2")
    given = ["optimizer=adam", "optimizer.lr=1", "train.epochs=3"]
    found = value_origins(source, given)
    assert found["optimizer.lr"] == "command line"
    assert found["optimizer.betas"].endswith("optimizer/adam.yaml")
    assert found["study.name"].endswith("study/figure2.yaml")
    assert found["study.grid"].endswith("config.yaml")
    assert found["train.epochs"] == "command line"
    keys = {key for key, _ in flatten(compose(source, given).values)}
    assert {key for key in keys if key not in found} <= {"train.steps"}  # made null by train.epochs


def test_own_classes_are_known_by_their_file(here):
    (here / "own_module.py").write_text(OWN)
    config = settings("digits", "model._target_=own_module.Net", "~model.activation", "~model.dropout")
    assert config.model.name == "Net"
    before = config.model.source
    assert before is not None
    (here / "own_module.py").write_text(OWN + "# changed\n")
    source_hash.cache_clear()
    assert source_hash("own_module.Net") != before
    assert source_hash("torch.optim.NAdam") is None


def test_an_own_optimizer_keeps_its_arguments(here):
    (here / "optimizer").mkdir()
    (here / "optimizer/nadam.yaml").write_text("_target_: torch.optim.NAdam\nlr: 0.1\nmomentum_decay: 0.004\n")
    optimizer = settings("digits", "optimizer=nadam", config_dir=here).optimizer
    assert isinstance(optimizer, CustomOptimizer)
    assert optimizer.arguments == {"momentum_decay": 0.004}
    assert (optimizer.lr, optimizer.weight_decay) == (0.1, 0.0)


def test_offers_are_made_only_where_the_signature_has_them(here):
    (here / "own_calls.py").write_text("def f(a, num_classes): return a, num_classes\ndef g(a): return a\n")
    assert call_target("own_calls.f", "data", {"a": 1}, num_classes=3, input_shape=(2,)) == (1, 3)
    assert call_target("own_calls.g", "data", {"a": 1}, num_classes=3) == 1


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("own_bad.f", "ZeroDivisionError"),
        ("own_fine.nothing", "has no 'nothing'"),
        ("own_fine.VALUE", "not a class or function"),
        ("name", "dotted path"),
    ],
)
def test_what_cannot_be_imported_is_one_line(here, target, says):
    (here / "own_bad.py").write_text("1 / 0\n")
    (here / "own_fine.py").write_text("VALUE = 3\n")
    with pytest.raises(InputError, match=says) as caught:
        find_target(target, "model")
    assert "\n" not in str(caught.value)


def test_interpolations_are_noticed(here):
    (here / "mine.yaml").write_text("defaults: [config, _self_]\noptimizer:\n  weight_decay: ${optimizer.lr}\n")
    assert compose(find_config("mine.yaml"), []).has_interpolations
    assert not compose(find_config("digits"), []).has_interpolations


def test_the_working_folder_is_importable_and_shadows_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    (tmp_path / "sched.py").write_text("scheduler = 1\n")  # a module of Python's own
    (tmp_path / "own_thing_here.py").write_text("def thing():\n    return 7\n")
    monkeypatch.delitem(sys.modules, "sched", raising=False)
    assert find_target("own_thing_here.thing", "data")() == 7
    assert find_target("sched.scheduler", "data").__module__ == "sched"
    assert sys.path[-1] == str(tmp_path)


WAYS = [
    [],
    ["train.steps=5", "optimizer=adam", "optimizer.lr=3e-4"],
    ["optimizer=sgdw", "optimizer/framework=keras"],
    ["optimizer=adamw", "optimizer/framework=keras", "optimizer.eps=1e-6", "schedule=drop_step"],
    ["scale=smoke", "model=cnn", "model.width=4", "data=mnist1d"],
    ["+data.augment=flip_crop", "model=cnn", "~schedule.warmup_steps"],
    ["optimizer.betas=[0.8,0.9]", "train.loss=huber", "train.loss.delta=0.3"],
    ["model._target_=torch.nn.Linear", "model.in_features=3"],
    ["optimizer.groups=[{params:'*.bias',lr_scale:2}]", "study.name=mine", "seed=3", "search=random"],
    ["optimizer.lr=${seed}", "execute=ray"],
]


@pytest.mark.parametrize("overrides", WAYS, ids=str)
@pytest.mark.parametrize("config", ["digits", "figure2"])
def test_files_that_are_merged_once_give_what_hydra_merges_each_time(here, config, overrides):
    """A folder of the user's, even an empty one, has Hydra merge all files and overrides in one go."""
    if config == "figure2" and "scale=smoke" in overrides:
        overrides = [each for each in overrides if not each.startswith(("model", "data"))]
    once = compose(find_config(config), overrides)
    again = compose(find_config(config), overrides)
    each_time = compose(replace(find_config(config), extra=here), overrides)
    assert once == again == each_time


def test_what_a_caller_does_to_the_values_does_not_come_back():
    first = compose(find_config("digits"), ["optimizer=adam"])
    first.values["optimizer"]["betas"][0] = 0.1
    assert compose(find_config("digits"), ["optimizer=adam"]).values["optimizer"]["betas"][0] == 0.9
