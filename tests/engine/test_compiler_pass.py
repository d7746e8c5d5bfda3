"""Shared products become one product: in a graph, and in what torch.compile really runs."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from adamcmp.engine import compiler_pass
from adamcmp.engine.checkpoint import TrainingControl
from adamcmp.engine.loading import CPU
from adamcmp.engine.strategy.types import Shard, Strategy
from adamcmp.engine.vectorized import train_shard
from adamcmp.plan.runs import group_runs

aten = torch.ops.aten
ROWS, BATCH, INNER, COLUMNS = 5, 7, 3, 4


def folded(function, *inputs):
    """The graph of a function after the pass, what it counts of each product, and what it computes."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        graph = make_fx(function, tracing_mode="fake")(*inputs)
    compiler_pass.FoldSharedProducts()(graph.graph)
    graph.recompile()
    counts = {
        name: len(graph.graph.find_nodes(op="call_function", target=target))
        for name, target in (("bmm", aten.bmm.default), ("mm", aten.mm.default))
    }
    return counts, graph(*inputs)


@pytest.fixture
def shared():
    return torch.randn(BATCH, INNER), torch.randn(ROWS, INNER, COLUMNS), torch.randn(ROWS, BATCH, COLUMNS)


def test_a_batch_that_all_rows_share_is_multiplied_once(shared):
    x, w, _ = shared
    counts, found = folded(lambda x, w: torch.bmm(x.expand(ROWS, *x.shape), w), x, w)
    assert counts == {"bmm": 0, "mm": 1}
    torch.testing.assert_close(found, torch.einsum("mk,rkn->rmn", x, w))


def test_so_is_it_in_the_gradient_of_the_weights(shared):
    x, _, d = shared
    counts, found = folded(lambda d, x: torch.bmm(d.transpose(1, 2), x.expand(ROWS, *x.shape)), d, x)
    assert counts == {"bmm": 0, "mm": 1}
    torch.testing.assert_close(found, torch.einsum("rmn,mk->rnk", d, x))


def test_a_product_of_few_columns_is_stored_transposed(shared):
    _, w, d = shared
    counts, found = folded(torch.bmm, d, w.transpose(1, 2).contiguous())
    assert counts == {"bmm": 1, "mm": 0}
    assert found.stride() == (BATCH * INNER, 1, BATCH)
    torch.testing.assert_close(found, torch.bmm(d, w.transpose(1, 2)))


def test_other_products_are_left_alone():
    a, b = torch.randn(ROWS, INNER, BATCH), torch.randn(ROWS, BATCH, 2 * BATCH)
    counts, found = folded(torch.bmm, a, b)
    assert counts == {"bmm": 1, "mm": 0}
    assert found.is_contiguous()


@pytest.mark.slow
@pytest.mark.needs("compiler")
def test_compiled_programs_hold_folded_products(planned, monkeypatch):
    """In each step the first layer's product and its weights' gradient; the other layers' are each row's own."""
    seen = []
    fold = compiler_pass.FoldSharedProducts.__call__

    def counting(self, graph):
        before = len(graph.find_nodes(op="call_function", target=aten.bmm.default))
        fold(self, graph)
        seen.append((before, len(graph.find_nodes(op="call_function", target=aten.bmm.default))))

    monkeypatch.setattr(compiler_pass.FoldSharedProducts, "__call__", counting)
    monkeypatch.setattr(compiler_pass.FoldSharedProducts, "uuid", lambda self: None)  # not from the compiler's cache
    runs, datasets = planned("train.steps=3", "train.evaluations=1", "optimizer.lr=1e-3,1e-2,1e-1", "seed=17")
    (run_group,) = group_runs(runs)
    strategy = Strategy(engine="vectorised", compiled=True)
    list(train_shard(Shard.of(run_group, strategy), datasets[run_group.task.facts.fingerprint], CPU, TrainingControl()))
    assert len(seen) >= 2  # a step and an evaluation
    assert all(before - after >= 1 for before, after in seen)
