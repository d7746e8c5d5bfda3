from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adamcmp.engine.inputs import CPU
from adamcmp.engine.strategy import Strategy, divide, in_force
from adamcmp.plan.runs import cohorts


@pytest.fixture(scope="module")
def cohort(planned):
    runs, _ = planned("optimizer.lr=geomspace(1e-4,1,12)", "seed=0,1,2")
    return cohorts(runs)[0]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), rows=st.integers(1, 40), mixes=st.booleans())
def test_pieces_hold_each_run_once_and_are_even(cohort, data, rows, mixes):
    chosen = data.draw(st.lists(st.sampled_from(cohort.runs), min_size=1, unique_by=lambda run: run.id))
    pieces = divide(replace(cohort, runs=tuple(chosen)), Strategy(rows=rows, mixes_seeds=mixes))
    assert sorted(run.id for piece in pieces for run in piece.runs) == sorted(run.id for run in chosen)
    assert all(1 <= len(piece.runs) <= rows for piece in pieces)
    if not mixes:
        assert all(len({run.seed for run in piece.runs}) == 1 for piece in pieces)
    assert len({piece.key for piece in pieces}) == len(pieces)


def test_seeds_stay_together_where_they_fit(cohort):
    assert [len(p.runs) for p in divide(cohort, Strategy(rows=36))] == [36]
    assert [len(p.runs) for p in divide(cohort, Strategy(rows=30))] == [12, 24]
    assert [len(p.runs) for p in divide(cohort, Strategy(rows=12))] == [12, 12, 12]
    assert [len(p.runs) for p in divide(cohort, Strategy(rows=7))] == [6] * 6


def test_a_strategy_is_in_force_only_inside(cohort):
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    tiny = torch.tensor([1e-40])
    with in_force(Strategy(threads=1, matmul="onednn"), CPU):
        assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (1, "medium")
        assert (tiny * 1.0).item() == 0.0
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (threads, precision)
    assert (tiny * 1.0).item() > 0.0
