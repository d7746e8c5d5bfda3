"""What a search asks: within its ranges, the same again, as many trials for each arm, and better than chance."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamcmp.config.lookup import find_config
from adamcmp.config.schema import Range
from adamcmp.engine.loading import dataset_metadata, load_data
from adamcmp.errors import InputError
from adamcmp.plan.expand import plan_study
from adamcmp.plan.search import ADAPTIVE_METHODS, Dimension

METHODS = ["random", "sobol", "tpe", "gp", "asha", "coordinate"]
GRID = ("optimizer=adam,adamw", "optimizer.lr=geomspace(1e-4,1e-1,7)",
        "optimizer.weight_decay=geomspace(1e-4,1,5,zero=true)")  # fmt: skip


@pytest.fixture(scope="module")
def planned():
    data = {}

    def load(settings, _):
        key = settings.model_dump_json()
        data[key] = data.get(key) or dataset_metadata(load_data(settings))
        return data[key]

    return lambda *overrides, config="digits": plan_study(find_config(config), overrides, load)


def told(runs, error):
    """Records as the search reads them."""
    rows = [{"run_id": run.id, "error_better": "lower", "final_validation_error": error(run)} for run in runs]
    return pd.DataFrame(rows)


def bowl(run):
    """Best at lr 1e-2 and λ 1e-2; it diverges at the largest rates."""
    lr, decay = math.log10(run.optimizer.lr), math.log10(max(run.optimizer.weight_decay, 1e-6))
    return math.nan if lr > -1.1 else 0.1 + 0.05 * (lr + 2) ** 2 + 0.02 * (decay + 2) ** 2 + 1e-4 * (run.seed % 7)


def searched(whole, error=bowl):
    """All runs of a search, each batch told before the next."""
    runs = list(whole.runs)
    while batch := whole.searching.more(told(runs, error)):
        runs += batch
    return runs


@pytest.mark.parametrize("method", METHODS)
def test_every_arm_gets_its_trials_and_no_more(planned, method):
    whole = planned(*GRID, f"search={method}", "search.trials=20", "search.batch=6", "study.seeds=2")
    runs = searched(whole)
    counts = [len(arm.trials) for arm in whole.searching.arms]
    assert [arm.name for arm in whole.searching.arms] == ["adam", "adamw"]
    assert counts == [20, 20] if method != "coordinate" else max(counts) <= 20
    assert len({run.id for run in runs}) == len(runs) == 2 * sum(counts)
    for run in runs:
        assert 1e-4 <= run.optimizer.lr <= 0.1
        assert run.optimizer.weight_decay == 0 or 1e-4 <= run.optimizer.weight_decay <= 1
        assert run.search == f"{method} over lr, weight_decay"
    if method in ADAPTIVE_METHODS:
        assert len(whole.runs) < len(runs)
    else:
        assert len(whole.runs) == len(runs)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_command_asks_the_same_whatever_was_stored_when(planned, method):
    words = (*GRID, f"search={method}", "search.trials=16", "search.batch=4")
    first = [run.id for run in searched(planned(*words))]
    again = [run.id for run in searched(planned(*words))]
    other = [run.id for run in searched(planned(*words, "search.seed=1"))]
    assert first == again
    assert method == "coordinate" or set(first) != set(other)


@pytest.mark.parametrize("method", ["tpe", pytest.param("gp", marks=pytest.mark.slow)])
def test_what_was_told_leads_to_better_trials(planned, method):
    words = (*GRID, "search.trials=36", "search.batch=6")

    def regret(method, seed):
        runs = searched(planned(*words, f"search={method}", f"search.seed={seed}"))
        return np.mean(np.sort([bowl(run) for run in runs if not math.isnan(bowl(run))])[:4])

    seeds = range(3)
    assert np.mean([regret(method, seed) for seed in seeds]) < np.mean([regret("random", seed) for seed in seeds])


def test_sobol_is_spread_more_evenly_than_chance(planned):
    whole = planned(*GRID, "search=sobol", "search.trials=32")
    for arm in whole.searching.arms:
        places = np.array([trial.point for trial in arm.trials])
        assert (np.histogram(places[:, 0], 8, (0, 1))[0] == 4).all()
        assert (np.histogram(places[:, 1], 8, (0, 1))[0] == 4).all()


def test_coordinate_descent_sets_out_from_the_configuration_and_moves_one_setting_at_a_time(planned):
    whole = planned("optimizer=adamw", "optimizer.lr=1e-3,1e-2,1e-1", "optimizer.weight_decay=0,1e-3,1e-2,1e-1",
                    "optimizer.eps=1e-8,1e-6", "search=coordinate", "search.trials=50")  # fmt: skip
    searched(whole)
    (arm,) = whole.searching.arms
    first = arm.trials[0].settings
    assert first == {"optimizer.lr": 1e-3, "optimizer.weight_decay": 0.01, "optimizer.eps": 1e-8}
    best = min(arm.trials, key=lambda trial: bowl(trial.runs[0]))
    assert best.settings["optimizer.lr"] == 1e-2
    assert best.settings["optimizer.weight_decay"] == 1e-2
    assert len(arm.trials) < 3 * 4 * 2


def test_any_setting_may_be_searched(planned):
    whole = planned("optimizer=adamw", "optimizer.lr=geomspace(1e-3,1e-1,3)", "schedule.warmup_steps=0,10,20,30",
                    "model.hidden=[16],[32]", "optimizer.betas=[0.9,0.99],[0.9,0.999]", "search=random",
                    "search.trials=12",
                    "search.space={train.batch_size: {low: 50, high: 200, whole: true}}")  # fmt: skip
    runs = searched(whole)
    assert len(runs) == 12
    assert {type(run.task.batch_size) for run in runs} == {int}
    assert len({run.task.batch_size for run in runs}) > 6
    assert {tuple(run.task.model.arguments["hidden"]) for run in runs} == {(16,), (32,)}
    assert len({run.schedule.warmup_steps for run in runs}) > 4
    assert len({run.comparison for run in runs}) == 1
    assert len({run.task.comparison for run in runs}) > 1


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1e-3, 1e-2, 1e-1], "log"),
        ([0, 1e-3, 1e-2, 1e-1], "log"),
        ([10, 20, 30], "linear"),
        ([0.9, 0.99, 0.999], "log1m"),
        ([1, 5], None),
        ([1, 2, 10], None),
        (["a", "b"], None),
        ([True, False], None),
        ([[0.9, 0.99], [0.9, 0.999]], None),
    ],
)
def test_a_grid_says_what_range_it_spans(values, scale):
    found = Dimension.of("key", values)
    assert (found.range.scale if found.range else None) == scale
    assert found.values == tuple(values)


@given(st.floats(0, 1, exclude_max=True))
def test_what_is_drawn_lies_in_its_range(u):
    for scale, low, high in (("log", 1e-4, 1.0), ("linear", -1.0, 3.0), ("log1m", 0.8, 0.9999)):
        found = Dimension("key", range=Range(low=low, high=high, scale=scale)).at(u)
        assert low * (1 - 1e-3 * np.sign(low)) <= found <= high
    whole = Dimension("key", range=Range(low=3, high=17, whole=True)).at(u)
    assert isinstance(whole, int)
    assert 3 <= whole <= 17


def test_zero_has_the_share_of_a_cell():
    found = Dimension.of("key", [0, 1e-3, 1e-2, 1e-1])
    drawn = [found.at((i + 0.5) / 1000) for i in range(1000)]
    assert drawn.count(0) == 250
    assert min(value for value in drawn if value) == pytest.approx(1e-3, rel=0.02)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("optimizer=adam", "search=tpe"), "adam has no setting with several values"),
        ((*GRID, "search=tpe", "search.trials=0"), "search.trials"),
        ((*GRID, "search=tpe", "search.space={optimizer.lr: {low: 1, high: 0.1}}"), "low must be less than high"),
        ((*GRID, "search=coordinate", "search.space={optimizer.lr: {low: 0.1, high: 1}}"), "a list of values"),
        ((*GRID, "search=better"), "no such search"),
        ((*GRID, "search=tpe,random"), "takes one value"),
        ((*GRID, "search=random", "search.space={optimizer.rate: [1, 2]}"), "no such setting"),
    ],
)
def test_a_search_of_nothing_is_one_line(planned, words, told):
    with pytest.raises(InputError, match=told):
        planned(*words)


def test_batches_are_asked_for_as_large_as_they_shall_be(planned):
    whole = planned(*GRID, "search=tpe", "search.trials=25", "search.batch=10")
    runs, sizes = list(whole.runs), [len(whole.runs)]
    while batch := whole.searching.more(told(runs, bowl)):
        runs += batch
        sizes.append(len(batch))
    assert sizes == [20, 20, 10]
    assert list(itertools.accumulate(sizes))[-1] == 50
