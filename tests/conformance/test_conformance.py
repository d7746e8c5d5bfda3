"""Other libraries held against adamcmp's kernels: torch and optax here, the rest where they are installed."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pandas as pd
import pytest

from adamcmp.cli import app
from adamcmp.config.compose import compose
from adamcmp.config.lookup import find_config, list_group
from adamcmp.config.validate import validate_config
from adamcmp.conformance import find_convention, reference_steps
from adamcmp.conformance.find_convention import ConventionFit, check_libraries, installed_libraries, resolve_libraries
from adamcmp.conformance.libraries import LIBRARIES
from adamcmp.conformance.library_process import LibraryResult
from adamcmp.conformance.problems import make_problems, relative_difference
from adamcmp.errors import InputError
from adamcmp.optim.framework_conventions import FRAMEWORKS


def found_of(*libraries):
    return {each.optimizer: each for each in check_libraries(libraries, lambda library: None)}


@pytest.fixture(scope="module", autouse=True)
def each_library_once():
    """A library takes its steps once per worker, in a process of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(find_convention, "run_library", functools.cache(find_convention.run_library))
        yield


@pytest.fixture(scope="module")
def torch_and_optax(each_library_once):
    return found_of("torch_optim", "optax_jax")


FOLLOWED = {
    "torch.optim.Adam (plain)": ("optimizer=adam", "L2"),
    "torch.optim.Adam (fused)": ("optimizer=adam", "L2"),
    "torch.optim.AdamW (plain)": ("optimizer=adamw", "decay ηαλ θ; ε after"),
    "torch.optim.AdamW (foreach)": ("optimizer=adamw", "decay ηαλ θ; ε after"),
    "torch.optim.AdamW (fused)": ("optimizer=adamw", "decay ηαλ θ; ε after"),
    "torch.optim.Adam(decoupled_weight_decay=True)": ("optimizer=adamw", "decay ηαλ θ; ε after"),
    "torch.optim.RMSprop": ("optimizer=rmsprop", "L2"),
    "torch.optim.SGD": ("optimizer=sgd", "lr outside the momentum"),
    "torch.optim.Adafactor": ("optimizer=adafactor", "decay ηαλ θ"),
    "optax.adamw": ("optimizer=adamw", "decay ηαλ θ; ε after"),
    "optax.adam": ("optimizer=adamw optimizer.weight_decay=0", "no decay"),
    "optax.chain(add_decayed_weights(λ), adam)": ("optimizer=adam", "L2"),
    "optax.lamb": ("optimizer=lamb", "before the trust ratio"),
}


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", FOLLOWED)
def test_what_torch_and_optax_follow_is_found(torch_and_optax, optimizer):
    each, (setting, words) = torch_and_optax[optimizer], FOLLOWED[optimizer]
    assert (each.verdict, each.setting) == ("same", setting)
    assert words in each.convention
    assert each.difference < 1e-11 < 1e-3 < each.next_difference


def test_every_rule_that_torch_has_is_the_same_and_sparse_adam_is_not(torch_and_optax):
    torch = {name: each for name, each in torch_and_optax.items() if name.startswith("torch")}
    assert len(torch) >= 20
    differing = {name for name, each in torch.items() if not each.verdict.startswith("same")}
    assert differing == {"torch.optim.SparseAdam"}  # it leaves moments alone where a gradient is zero
    assert torch["torch.optim.SparseAdam"].setting == ""
    assert torch["torch.optim.AdamW (plain)"].defaults == "lr=0.001, betas=(0.9,0.999), eps=1e-08, weight_decay=0.01"
    rules = {each.rule for each in torch.values()}
    assert rules >= {"adam", "amsgrad", "nadam", "radam", "adamax", "adagrad", "rmsprop", "sgd", "nesterov", "muon"}


RULES = ["adam", "sgd", "lion", "adan", "rmsprop", "lamb"]


@pytest.mark.parametrize("rule", RULES)
def test_each_convention_is_told_from_all_others(rule):
    """Whichever of our own conventions is played to it, the fit finds that one."""
    for each in reference_steps.conventions(rule):
        paths = [reference_steps.reference_updates(each, problem) for problem in make_problems()]
        found = find_convention.find_convention(
            ConventionFit("us", "1"), LibraryResult("ours", rule, {}, "float64", paths)
        )
        assert (found.convention, found.setting, found.difference) == (each.description, each.setting, 0.0)
        assert found.next_difference > 1e-6


def test_the_settings_that_are_named_compose_to_what_was_compared():
    source = find_config("digits")
    for rule in RULES:
        for each in reference_steps.conventions(rule):
            if each.setting and not each.without:
                settings = validate_config(compose(source, each.setting.split()), source).optimizer
                assert settings.model_dump(exclude={"eps", "lr", "weight_decay"}) == each.settings.model_dump(
                    exclude={"eps", "lr", "weight_decay"}
                )


def test_a_difference_is_relative_to_the_update():
    path = {"w": np.array([[0.0], [1.0], [3.0]])}
    assert relative_difference(path, path) == 0
    assert relative_difference({"w": np.array([[0.0], [1.0], [2.8]])}, path) == pytest.approx(0.1)
    assert relative_difference({"w": np.array([[0.0], [np.nan], [3.0]])}, path) == np.inf
    still = {"w": np.zeros((3, 1))}
    assert relative_difference(still, still) == 0
    assert relative_difference(path, still) == 1


def test_what_is_not_installed_is_named_so():
    assert not installed_libraries("apex_fused")
    (each,) = found_of("apex_fused").values()
    assert (each.library, each.verdict, each.optimizer) == ("NVIDIA Apex", "not installed", "")


def test_a_library_that_fails_is_told_and_is_no_pass(monkeypatch):
    monkeypatch.setattr(find_convention, "installed_libraries", lambda library: True)
    (each,) = found_of("apex_fused").values()
    assert each.verdict == "failed"
    assert "apex" in each.error


def test_libraries_are_named_as_people_call_them():
    assert resolve_libraries([]) == list(LIBRARIES)
    assert resolve_libraries(["torch", "Keras on JAX", "timm"]) == ["torch_optim", "keras_on_jax", "timm_optim"]
    with pytest.raises(InputError, match="conformance toch: no such library; did you mean torch"):
        resolve_libraries(["toch"])


def test_the_command_writes_table_figure_and_page(tmp_path, capsys):
    app(["conformance", "torch", "apex_fused", "--out", str(tmp_path)], standalone_mode=False)
    table = pd.read_csv(tmp_path / "conformance.csv")
    assert table["verdict"].str.startswith("same").sum() >= 19
    assert table.iloc[-1]["verdict"] == "not installed"
    page = (tmp_path / "report.md").read_text()
    assert "Not installed here, and so not compared: NVIDIA Apex." in page
    assert "![conformance](conformance.png)" in page
    assert (tmp_path / "report.html").stat().st_size > 20_000
    assert "`adamcmp" in page or "~~~sh" in page
    assert "torch.optim" in capsys.readouterr().out


SETTLED = {"eps", "eps_placement", "betas"}


@pytest.mark.parametrize("name", list_group("optimizer/framework"))
def test_a_framework_changes_where_epsilon_stands_and_no_decay(name):
    source = find_config("digits")
    for optimizer in ("adam", "adamw"):
        plain, framed = (
            validate_config(compose(source, [f"optimizer={optimizer}", *more]), source).optimizer
            for more in ([], [f"optimizer/framework={name}"])
        )
        assert framed.model_dump(exclude=SETTLED) == plain.model_dump(exclude=SETTLED)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_the_table_of_frameworks_and_the_configurations_say_the_same(name):
    source, each = find_config("digits"), FRAMEWORKS[name]
    settings = validate_config(compose(source, each.config.split()), source).optimizer
    assert (settings.decay, settings.eps_placement) == (each.decay, each.eps_placement)
    assert (settings.betas, settings.eps) == ((each.defaults["beta1"], each.defaults["beta2"]), each.defaults["eps"])


def test_keras_by_framework_is_keras_by_configuration():
    source = find_config("digits")
    framed = validate_config(compose(source, ["optimizer=adamw", "optimizer/framework=keras"]), source).optimizer
    whole = validate_config(compose(source, ["optimizer=adamw_keras"]), source).optimizer
    own = {"name", "label", "weight_decay"}
    assert framed.model_dump(exclude=own) == whole.model_dump(exclude=own)
    assert whole.weight_decay == FRAMEWORKS["keras"].defaults["weight_decay"]


PEERS = {
    "keras_on_tensorflow": ("keras.optimizers.AdamW(weight_decay=λ)", "optimizer=adamw_keras"),
    "keras_on_torch": ("keras.optimizers.Adam(weight_decay=λ)", "optimizer=adamw_keras"),
    "keras_on_jax": ("keras.optimizers.AdamW(weight_decay=λ)", "optimizer=adamw_keras"),
    "tf_keras": ("tf_keras.optimizers.AdamW(weight_decay=λ)", "optimizer=adamw_keras"),
    "timm_optim": ("timm.optim.AdamWLegacy(corrected_weight_decay=True)", "optimizer=adamc"),
    "fastai_optimizer": ("fastai.optimizer.Adam(decouple_wd=True)", "optimizer=adamw"),
    "lion": ("lion_pytorch.Lion(decoupled_weight_decay=True)", "optimizer=lion optimizer.decay=schedule_only"),
    "schedule_free_optim": ("schedulefree.AdamWScheduleFree", "optimizer=schedule_free"),
    "pytorch_optimizers": ("pytorch_optimizer.Adan(weight_decouple=True)", "optimizer=adan optimizer.proximal=false"),
}


@pytest.mark.slow
@pytest.mark.parametrize("library", PEERS)
def test_what_other_libraries_follow_is_found(library):
    if not installed_libraries(library):
        pytest.skip(f"{LIBRARIES[library]} is not installed. To run: pip install 'adamcmp[conformance]'")
    name, setting = PEERS[library]
    each = found_of(library)[name]
    assert each.setting == setting
    assert each.difference < 1e-6


DEFAULTS = {"torch": ("torch_optim", "torch.optim.AdamW (plain)"), "optax": ("optax_jax", "optax.adamw")}


@pytest.mark.parametrize("name", DEFAULTS)
def test_the_defaults_of_the_table_are_those_of_the_library(torch_and_optax, name):
    each = torch_and_optax[DEFAULTS[name][1]]
    framework = FRAMEWORKS[name]
    for ours_name, theirs in framework.arguments.items():
        if ours_name in framework.defaults and ours_name in ("eps", "weight_decay"):
            assert f"{theirs}={framework.defaults[ours_name]:g}" in each.defaults
    assert framework.decay == "lr_scaled"


def test_no_two_conventions_of_a_rule_are_one():
    for rule in RULES:
        told = [(each.setting, each.description) for each in reference_steps.conventions(rule)]
        assert len(told) == len(set(told))
        assert all(a != b for a, b in itertools.pairwise(sorted(told)))
