"""What was interrupted goes on as if nothing had been."""

import itertools

import pytest
import torch

from adamcmp.engine.inputs import CPU
from adamcmp.engine.strategy import Piece, Strategy
from adamcmp.engine.streams import batch_indices
from adamcmp.engine.train import train
from adamcmp.engine.watch import Stopped, Watch, load_checkpoint
from adamcmp.plan.runs import cohorts

LENGTH = ("train.steps=60", "train.evaluations=6", "model.dropout=0.3")
RULES = ["adamw", "adamw_paper", "rmsprop", "sgd", "sgdw_paper", "adagrad"]


def pieces(planned, engine, *overrides):
    runs, datasets = planned(*LENGTH, *overrides)
    (cohort,) = cohorts(runs)
    return Piece.of(cohort, Strategy(engine=engine)), datasets[cohort.task.facts.fingerprint]


def interrupted(piece, data, path, looks, monkeypatch):
    """Train, stopping at every ``looks``-th step, until it ends; all outcomes."""
    monkeypatch.setattr("adamcmp.engine.watch.LOOK_EVERY", 0.0)
    outcomes, stops = {}, 0
    for _ in range(100):
        counter = itertools.count(1)
        watch = Watch(piece=piece, checkpoint=path, stopping=lambda counter=counter: next(counter) == looks)
        try:
            for outcome in train(piece, data, CPU, watch):
                outcomes[outcome.run.id] = outcome
            return outcomes, stops
        except Stopped:
            stops += 1
            assert not list(path.parent.glob(".*"))
    raise AssertionError("it never ends")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("engine", ["sequential", "vectorised"])
def test_a_stopped_training_ends_with_the_same_bits(planned, tmp_path, monkeypatch, engine, rule):
    overrides = ["optimizer.lr=1e-2" if engine == "sequential" else "optimizer.lr=1e-2,1e-3,1e30"]
    piece, data = pieces(planned, engine, f"optimizer={rule}", *overrides)
    whole = {o.run.id: o for o in train(piece, data, CPU, Watch())}
    stopped, stops = interrupted(piece, data, tmp_path / "c.pt", 17, monkeypatch)
    assert stops == 3
    assert stopped.keys() == whole.keys()
    for key, outcome in stopped.items():
        assert outcome.evaluations == whole[key].evaluations
        assert (outcome.status, outcome.diverged_step) == (whole[key].status, whole[key].diverged_step)


def test_progress_counts_resumed_steps_once(planned, tmp_path, monkeypatch):
    piece, data = pieces(planned, "vectorised", "optimizer.lr=1e-2,1e-3")
    monkeypatch.setattr("adamcmp.engine.watch.LOOK_EVERY", 0.0)
    counter = itertools.count(1)
    with pytest.raises(Stopped):
        list(train(piece, data, CPU, Watch(checkpoint=tmp_path / "c.pt", stopping=lambda: next(counter) == 31)))
    told = []
    list(train(piece, data, CPU, Watch(lambda steps, _: told.append(steps), checkpoint=tmp_path / "c.pt")))
    assert sum(told) == piece.steps


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_a_damaged_checkpoint_is_as_good_as_none(planned, tmp_path, content):
    path = tmp_path / "c.pt"
    if content is None:
        torch.save({"runs": ["x"]}, path)
        content = path.read_bytes()[:100]
    path.write_bytes(content)
    assert load_checkpoint(path) is None
    piece, data = pieces(planned, "sequential")
    (outcome,) = train(piece, data, CPU, Watch(checkpoint=path))
    assert outcome.status == "completed"


@pytest.mark.parametrize("start", [0, 1, 7, 10, 23])
@pytest.mark.parametrize("batch", [10, 100])
def test_batches_can_start_anywhere(start, batch):
    every = itertools.islice(batch_indices(3, 100, batch, CPU), start, start + 15)
    later = itertools.islice(batch_indices(3, 100, batch, CPU, start), 15)
    for expected, found in zip(every, later, strict=True):
        assert expected == found if isinstance(expected, slice) else torch.equal(expected, found)
