from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adamcmp.engine.loading import CPU
from adamcmp.engine.strategy import types
from adamcmp.engine.strategy.types import RowLayout, Strategy, apply_strategy, split_into_shards
from adamcmp.errors import InputError
from adamcmp.plan.runs import group_runs


@pytest.fixture(scope="module")
def run_group(planned):
    runs, _ = planned("optimizer.lr=geomspace(1e-4,1,12)", "seed=0,1,2")
    return group_runs(runs)[0]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), rows=st.integers(1, 40), mixes=st.booleans())
def test_pieces_hold_each_run_once_and_are_even(run_group, data, rows, mixes):
    chosen = data.draw(st.lists(st.sampled_from(run_group.runs), min_size=1, unique_by=lambda run: run.id))
    shards = split_into_shards(replace(run_group, runs=tuple(chosen)), Strategy(rows=rows, mixes_seeds=mixes))
    assert sorted(run.id for shard in shards for run in shard.runs) == sorted(run.id for run in chosen)
    assert all(1 <= len(shard.runs) <= rows for shard in shards)
    if not mixes:
        assert all(len({run.seed for run in shard.runs}) == 1 for shard in shards)
    assert len({shard.key for shard in shards}) == len(shards)


def test_seeds_stay_together_where_they_fit(run_group):
    assert [len(p.runs) for p in split_into_shards(run_group, Strategy(rows=36))] == [36]
    assert [len(p.runs) for p in split_into_shards(run_group, Strategy(rows=30))] == [12, 24]
    assert [len(p.runs) for p in split_into_shards(run_group, Strategy(rows=12))] == [12, 12, 12]
    assert [len(p.runs) for p in split_into_shards(run_group, Strategy(rows=7))] == [6] * 6


def test_shards_of_a_run_group_share_one_layout_unless_much_of_it_would_be_idle(planned):
    runs, _ = planned("optimizer.lr=geomspace(1e-4,1,121)", "study.seeds=5")
    (run_group,) = group_runs(runs)
    shards = split_into_shards(run_group, Strategy(rows=64))
    assert {len(shard.runs) for shard in shards} == {60, 61}
    assert {shard.layout for shard in shards} == {RowLayout(1, 61)}
    assert [shard.layout for shard in split_into_shards(run_group, Strategy(rows=363))] == [
        RowLayout(2, 121),
        RowLayout(3, 121),
    ]


def test_products_that_round_are_refused(monkeypatch):
    monkeypatch.setattr(types, "onednn_rounds_to_bf16", lambda: True)
    with pytest.raises(InputError, match=r"^execute\.matmul=onednn: would round fp32 products to bf16"):
        apply_strategy(Strategy(matmul="onednn"), CPU).__enter__()
    with apply_strategy(Strategy(), CPU):
        assert torch.get_float32_matmul_precision() == "highest"


def test_fp32_is_fp32_and_repeatable_on_cuda():
    """Flags can be set without such a device: torch's default is TF32 in convolutions."""
    assert torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("medium")  # as a user's own code may have left it
    with apply_strategy(Strategy(matmul="onednn"), torch.device("cuda")):
        assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_float32_matmul_precision() == "medium"
    torch.set_float32_matmul_precision("highest")
    assert torch.backends.cudnn.allow_tf32
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_strategy_is_in_force_only_inside(monkeypatch):
    monkeypatch.setattr(types, "onednn_rounds_to_bf16", lambda: False)  # whatever this processor does
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    tiny = torch.tensor([1e-40])
    with apply_strategy(Strategy(threads=1, matmul="onednn"), CPU):
        assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (1, "medium")
        assert (tiny * 1.0).item() == 0.0
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (threads, precision)
    assert (tiny * 1.0).item() > 0.0
