import itertools

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from adamcmp.config.lookup import find_config
from adamcmp.config.source_hash import source_hash
from adamcmp.errors import InputError
from adamcmp.optim.rules.adam import Adam
from adamcmp.plan.expand import plan_study
from adamcmp.plan.run_ids import rule_identity, run_id
from adamcmp.plan.runs import DatasetMetadata, group_runs

FACTS = DatasetMetadata("f" * 16, 1000, 10, (1, 8, 8), 100, 100)


def runs(config, *overrides, facts=FACTS):
    return plan_study(find_config(str(config)), list(overrides), lambda *_: facts).runs


def ids(config, *overrides, facts=FACTS):
    return [run.id for run in runs(config, *overrides, facts=facts)]


@pytest.fixture
def study(tmp_path):
    def write(**study):
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({"defaults": ["config", "_self_"], "study": study}, sort_keys=False))
        return path

    return write


def test_spaces_are_concatenated_and_each_is_a_product(study):
    path = study(
        seeds=2,
        grid={"optimizer.weight_decay": "0,0.1"},
        spaces=[
            {"optimizer": "adam", "optimizer.lr": [0.1, 0.2, 0.3]},
            {"optimizer": "sgd,sgdw", "optimizer.lr": "geomspace(1,100,3)", "optimizer.weight_decay": 0},
        ],
    )
    found = [(r.optimizer.name, r.optimizer.lr, r.optimizer.weight_decay, r.seed) for r in runs(path)]
    adam = itertools.product(["adam"], [0.1, 0.2, 0.3], [0, 0.1], [0, 1])
    sgd = itertools.product(["sgd", "sgdw"], [1, 10, 100], [0], [0, 1])
    assert sorted(found) == sorted([*adam, *sgd])


def test_a_grid_on_the_command_line_replaces_the_studys():
    values = {r.optimizer.lr for r in runs("figure2", "optimizer.lr=1e-3,1e-2")}
    assert values == {1e-3, 1e-2}
    assert {r.optimizer.lr for r in runs("figure2", "optimizer.lr=0.5")} == {0.5}
    assert {r.seed for r in runs("figure2", "seed=4,5")} == {4, 5}
    assert {r.seed for r in runs("figure2", "seed=4")} == {4}
    assert {r.seed for r in runs("figure2", "study.seeds=[7]")} == {7}


def test_optimizers_on_the_command_line_keep_their_spaces_and_new_ones_get_one():
    full = {r.id for r in runs("figure2")}
    kept = runs("figure2", "optimizer=adam,adamw_paper")
    assert {r.optimizer.name for r in kept} == {"adam", "adamw_paper"}
    assert {r.id for r in kept} < full
    assert {r.optimizer.name for r in runs("figure2", "optimizer=rmsprop")} == {"rmsprop"}
    assert {r.optimizer.momentum for r in runs("figure2", "optimizer=sgd,sgdw", "optimizer.momentum=0.5")} == {0.5}


def test_without_spaces_the_command_line_is_the_study():
    found = runs("digits", "optimizer=adam,adamw", "optimizer.lr=1e-3,1e-2", "study.seeds=3")
    assert len(found) == 12


def test_arms_tell_apart_what_varies_beside_lr_decay_and_seed():
    found = runs("digits", "optimizer.betas=[0.9,0.99],[0.9,0.999]", "schedule=cosine,constant", "seed=0,1")
    assert {r.arm for r in found} == {
        f"AdamW · betas={betas} · {schedule}"
        for schedule in ("cosine", "constant")
        for betas in ("[0.9, 0.99]", "[0.9, 0.999]")
    }
    assert {r.arm for r in runs("digits", "train.steps=10,20", "seed=0,1")} == {"AdamW"}


def test_equal_rows_are_one_run(study):
    path = study(spaces=[{"optimizer.lr": "1e-3,1e-2"}, {"optimizer.lr": "1e-2,1e-1"}])
    planned = plan_study(find_config(str(path)), [], lambda *_: FACTS)
    assert (len(planned.runs), planned.duplicates) == (3, 1)


def test_interpolated_values_follow_what_they_are_computed_from(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("defaults: [config, _self_]\noptimizer:\n  weight_decay: ${optimizer.lr}\n")
    assert {(r.optimizer.lr, r.optimizer.weight_decay) for r in runs(path, "optimizer.lr=1e-3,1e-2")} == {
        (1e-3, 1e-3),
        (1e-2, 1e-2),
    }


@pytest.mark.parametrize(
    "override",
    ["seed=1", "optimizer.lr=2e-3", "optimizer=adam", "schedule=constant", "train.steps=499", "train.batch_size=99",
     "model.hidden=[33]", "train.precision=fp64", "train.evaluations=11", "optimizer.decayed=no_bias_norm"],
)  # fmt: skip
def test_what_determines_numbers_changes_the_id(override):
    assert ids("digits", override) != ids("digits")


@pytest.mark.parametrize(
    "override",
    ["study.name=other", "optimizer.label=Other", "execute.device=cpu", "data.split_seed=1", "optimizer.lr=0.0010"],
)
def test_names_places_and_what_the_fingerprint_covers_do_not(override):
    assert ids("digits", override) == ids("digits")


def test_equal_numbers_are_one_run_however_they_are_written():
    assert ids("digits", "model.dropout=0", "optimizer.lr=1") == ids("digits", "model.dropout=0.0", "optimizer.lr=1.0")


def test_the_examples_enter_the_id():
    assert ids("digits", facts=DatasetMetadata("e" * 16, 1000, 10, (1, 8, 8), 100, 100)) != ids("digits")


def test_equal_budgets_in_steps_and_in_epochs_are_one_run():
    assert ids("digits", "train.steps=50", "train.batch_size=100") == ids("digits", "train.epochs=5")


def test_ids_do_not_change_from_release_to_release():
    """Stored results stay valid: a change of this id needs a new SCHEMA_VERSION."""
    assert ids("digits") == ["9f97ba07ff65386b"]


def decimal(low, high):
    """Numbers of 12 digits, to which values of a grid are rounded."""
    return st.floats(low, high).map(lambda value: float(f"{value:.12g}"))


@settings(max_examples=10, deadline=None)
@given(
    st.lists(decimal(1e-6, 1.0), min_size=1, max_size=4, unique=True),
    st.lists(decimal(0.0, 1.0), min_size=1, max_size=3, unique=True),
    st.sets(st.integers(0, 99), min_size=1, max_size=3),
    st.randoms(),
)
def test_plans_are_complete_unique_and_blind_to_order(lrs, decays, seeds, random):
    def overrides(lrs, decays, seeds):
        return [
            f"optimizer.lr=choice({','.join(map(repr, lrs))})",
            f"optimizer.weight_decay=choice({','.join(map(repr, decays))})",
            f"seed=choice({','.join(map(str, seeds))})",
        ]

    first = runs("digits", *overrides(lrs, decays, seeds))
    assert len({r.id for r in first}) == len(first) == len(lrs) * len(decays) * len(seeds)
    shuffled = [random.sample(list(values), len(values)) for values in (lrs, decays, seeds)]
    second = runs("digits", *overrides(*shuffled))
    assert {r.id for r in first} == {r.id for r in second}
    by_id = {r.id: r for r in first}
    assert all(by_id[r.id].optimizer == r.optimizer and by_id[r.id].seed == r.seed for r in second)


def test_cohorts_hold_every_run_once_and_share_task_and_kernel():
    found = runs("figure2", "train.steps=10,20", "seed=0")
    groups = group_runs(found)
    assert [(g.kernel, g.task.steps) for g in groups] == [
        ("sgd", 10), ("sgd", 20), ("adam", 10), ("adam", 20)
    ]  # fmt: skip
    assert sorted(r.id for g in groups for r in g.runs) == sorted(r.id for r in found)
    assert all(run.task.key == group.task.key for group in groups for run in group.runs)


def test_the_id_of_a_run_is_that_of_its_parts():
    (run,) = runs("digits")
    assert isinstance(run.optimizer, Adam)
    assert run.id == run_id(run.task, rule_identity(run.optimizer), rule_identity(run.schedule), run.seed)


def test_evaluations_are_spread_evenly_and_end_with_the_last_step():
    (run,) = runs("digits", "train.steps=7", "train.evaluations=3")
    assert run.task.evaluations.steps == (2, 5, 7)
    (run,) = runs("digits", "train.steps=3", "train.evaluations=10")
    assert run.task.evaluations.steps == (1, 2, 3)


def test_a_bad_sweep_in_a_study_names_the_study(study):
    path = study(spaces=[{"optimizer.lr": "geomspace(0,1,2)"}])
    with pytest.raises(InputError, match=r"study mine: optimizer.lr=geomspace\(0,1,2\).*needs start > 0"):
        runs(path)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["train.batch_size=1001"], "1000 training examples"),
        (["schedule.warmup_steps=500"], "less than the budget of 500"),
        (["optimizer.lr=1e-3,-1"], "must be greater than 0"),
        (["optimizer=adam,sgd", "optimizer.betas=[0.9,0.9],[0.8,0.9]"], "no such setting of optimizer sgd"),
        (["optimizer=adam,adamm"], "did you mean adam"),
        (["study.grid={optimizer.lr: 1}"], "study.grid: cannot take this value"),
    ],
)
def test_bad_studies_are_one_line(overrides, says):
    with pytest.raises(InputError) as caught:
        runs("digits", *overrides)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_editing_an_own_metric_makes_new_runs(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    asked = "train.metrics=[own_metric_that_changes.confidence,top5_error]"
    found = []
    for text in ("def confidence(logits):\n    return 0.0\n", "def confidence(logits):\n    return 1.0\n"):
        (tmp_path / "own_metric_that_changes.py").write_text(text)
        source_hash.cache_clear()  # as in the next process
        found.append(ids("digits", asked))
    assert found[0] != found[1]
    assert ids("digits", "train.metrics=[top5_error]") == ids("digits", "train.metrics=[top5_error]")


def test_groups_and_losses_may_be_swept(study):
    groups = [[{"params": "*.bias", "weight_decay": 0}], [{"params": ["it's", "b, c"], "lr_scale": 0.1}], []]
    losses = [{"name": "cross_entropy", "label_smoothing": 0.1}, "auto"]
    path = study(spaces=[{"optimizer.groups": groups, "train.loss": losses}])
    found = {(r.optimizer.groups[:1], r.task.train.loss.label_smoothing) for r in runs(path)}
    assert len(found) == 6
    patterns = {groups[0].patterns for groups, _ in found if groups}
    assert patterns == {("*.bias",), ("it's", "b, c")}
    on_the_line = runs("digits", """optimizer.groups=[{params:"*.bias",weight_decay:0}],[]""", "optimizer=adam,adamw")
    assert [len(run.optimizer.groups) for run in on_the_line] == [1, 0, 1, 0]


def test_what_was_not_asked_for_is_not_in_an_id():
    plain = ids("digits")
    for same in ("train.loss=cross_entropy", "train.error=error_rate", "train.accumulate=1", "train.save=best",
                 "optimizer.groups=[]", "train.clip_norm=null", "data.targets=auto"):  # fmt: skip
        assert ids("digits", same) == plain, same
    for other in ("train.loss.label_smoothing=0.1", "train.clip_norm=1", "train.ema=0.9", "schedule=linear",
                  "train.loss={class_weights:balanced}", "optimizer.groups=[{params:x}]"):  # fmt: skip
        facts = DatasetMetadata("f" * 16, 1000, 10, (1, 8, 8), 100, 100, class_counts=(100,) * 10)
        assert ids("digits", other, facts=facts) != plain, other


def test_batch_sizes_of_one_budget_are_compared_and_other_budgets_are_not():
    def comparisons(*overrides):
        return [run.task.comparison for run in runs("digits", *overrides)]

    assert len(set(comparisons("train.batch_size=50,100", "train.epochs=3", "train.clip_norm=null,1"))) == 1
    assert len(set(comparisons("train.batch_size=50,100", "train.steps=30"))) == 1
    assert len(set(comparisons("train.epochs=3,4"))) == 2
    assert len(set(comparisons("train.precision=fp32,fp64"))) == 2
    assert len({*comparisons(), *comparisons("train.evaluations=3"), *comparisons("model.hidden=[8]")}) == 3
