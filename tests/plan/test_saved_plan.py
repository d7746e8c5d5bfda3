"""What workers read is what was planned."""

from pathlib import Path

import pytest
import yaml

from adamcmp.config.lookup import find_config
from adamcmp.engine.loading import dataset_metadata, load_data
from adamcmp.errors import InputError
from adamcmp.plan import saved_plan
from adamcmp.plan.expand import plan_study
from adamcmp.plan.saved_plan import SavedPlan

ROOT = Path(__file__).parents[2]
NAMES = [path.stem for path in sorted((ROOT / "configs" / "optimizer").glob("*.yaml"))]


def planned(*overrides, config="digits"):
    return plan_study(find_config(config), overrides, lambda settings, _: dataset_metadata(load_data(settings)))


@pytest.mark.parametrize(
    ("config", "overrides"),
    [
        ("digits", [f"optimizer={','.join(NAMES)}", "seed=0,7", "optimizer.lr=1e-3,1e-2"]),
        ("digits", ["schedule=constant,cosine,drop_step,warm_restarts,linear,warmup_stable_decay"]),
        ("digits", ["schedule._target_=own_schedule.ramp", "optimizer._target_=own_rule.Lion",
                    "optimizer.betas=[0.9,0.99]", "train.metrics=[top5_error]"]),
        ("digits", ["optimizer._target_=torch.optim.Adadelta", "train.loss=cross_entropy", "train.ema=0.9",
                    "optimizer.groups=[{params: '*.bias', lr_scale: 2}]"]),
        ("regression", ["train.loss=huber", "train.epochs=3"]),
        ("modular_addition", []),
        ("text", ["data.context=8", "data.max_bytes=6000", "execute.where=slurm", "study.margin=2"]),
        ("figure2", ["data.train_examples=200"]),
    ],
)  # fmt: skip
def test_every_run_comes_back(tmp_path, monkeypatch, config, overrides):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    (tmp_path / "own_schedule.py").write_text("def ramp(step, steps):\n    return step / steps\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    whole = planned(*overrides, config=config)
    saved_plan.write_plan(SavedPlan(whole, ("sweep", config)), tmp_path / "plan.parquet")
    found = saved_plan.read_plan(tmp_path / "plan.parquet", trust=True)
    assert found.words == ("sweep", config)
    assert found.plan.runs == whole.runs
    assert [run.task.key for run in found.plan.runs] == [run.task.key for run in whole.runs]
    assert [run.settings() for run in found.plan.runs] == [run.settings() for run in whole.runs]
    assert found.plan.config.study == whole.config.study
    assert found.plan.config.execute == whole.config.execute
    assert found.plan.resolved == whole.resolved
    assert yaml.safe_load(found.plan.resolved)["study"]["name"]


def test_a_million_runs_would_take_few_bytes(tmp_path):
    whole = planned("optimizer=adam,adamw", "optimizer.lr=geomspace(1e-3,1,50)", "study.seeds=100")
    saved_plan.write_plan(SavedPlan(whole, ()), tmp_path / "plan.parquet")
    assert len(whole.runs) == 10_000
    assert (tmp_path / "plan.parquet").stat().st_size < 30 * 10_000


@pytest.mark.parametrize("content", [b"", b"no parquet"])
def test_what_is_no_plan_is_one_line(tmp_path, content):
    (tmp_path / "plan.parquet").write_bytes(content)
    with pytest.raises(InputError, match="no plan that this adamcmp can read"):
        saved_plan.read_plan(tmp_path / "plan.parquet", trust=True)
