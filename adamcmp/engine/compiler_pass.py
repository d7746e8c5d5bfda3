r"""A pass over compiled programs: a product whose one side is the same for all rows is one large product.

``vmap`` turns a layer that sees the shared batch into ``bmm`` of that batch, expanded to R copies, with R weights:
R small products, and a copy of the batch for each. With x_MK shared and w_RKN,

.. math:: y_r = x w_r \; (r = 1 … R) \iff [y_1^T; …; y_R^T] = [w_1^T; …; w_R^T]\, x^T

one product of shape (R·N, K) × (K, M), which a BLAS does several times as fast. The same holds of the gradient of the
weights, d_r^T x. And where a product has few columns, as logits have, its transpose is computed, so that loops over
examples and not over the few classes fill the vector units. Eager programs do without either.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import fx
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

aten = torch.ops.aten


class FoldSharedProducts(CustomGraphPass):
    """Replace each ``bmm`` with a side of stride 0 over rows by one ``mm``, and store narrow products transposed."""

    def __call__(self, graph: fx.Graph) -> None:
        """Rewrite a graph in place."""
        for node in graph.find_nodes(op="call_function", target=aten.bmm.default):
            left, right = node.args
            with graph.inserting_before(node):
                if _is_shared(left):
                    new = _left_shared(graph, left, right)
                elif _is_shared(right):
                    new = _right_shared(graph, left, right)
                elif right.meta["val"].shape[2] < left.meta["val"].shape[1]:
                    new = _transposed(graph, left, right)
                else:
                    continue
            node.replace_all_uses_with(new)
            new.meta.update({k: v for k, v in node.meta.items() if k != "val"})
            graph.erase_node(node)
        graph.eliminate_dead_code()

    def uuid(self) -> bytes:
        """Return this pass's part of the key of the compile cache."""
        return get_hash_for_files((str(Path(__file__)),))


def _is_shared(node: fx.Node) -> bool:
    value = node.meta["val"]
    return bool(value.stride(0) == 0 and value.shape[0] > 1)


def _call(graph: fx.Graph, function: torch._ops.OpOverload[..., Any], *args: Any) -> fx.Node:
    """Return a new node, with the fake value that later passes read."""
    node = graph.call_function(function, args)
    values = fx.map_arg(args, lambda node_: node_.meta["val"])
    node.meta["val"] = function(*values)
    return node


def _left_shared(graph: fx.Graph, left: fx.Node, right: fx.Node) -> fx.Node:
    """Return x_MK shared, w_RKN → y_RMN, from (R·N, K) × (K, M)."""
    rows, inner, columns = right.meta["val"].shape
    stacked = _call(
        graph, aten.reshape.default, _call(graph, aten.permute.default, right, [0, 2, 1]), [rows * columns, inner]
    )
    shared = _call(graph, aten.permute.default, _call(graph, aten.select.int, left, 0, 0), [1, 0])
    product = _call(graph, aten.mm.default, stacked, shared)
    return _call(graph, aten.permute.default, _call(graph, aten.view.default, product, [rows, columns, -1]), [0, 2, 1])


def _right_shared(graph: fx.Graph, left: fx.Node, right: fx.Node) -> fx.Node:
    """Return a_RMK, x_KN shared → y_RMN, from (R·M, K) × (K, N)."""
    rows, columns, inner = left.meta["val"].shape
    product = _call(
        graph,
        aten.mm.default,
        _call(graph, aten.reshape.default, left, [rows * columns, inner]),
        _call(graph, aten.select.int, right, 0, 0),
    )
    return _call(graph, aten.view.default, product, [rows, columns, -1])


def _transposed(graph: fx.Graph, left: fx.Node, right: fx.Node) -> fx.Node:
    """Return a_RMK, b_RKN → y_RMN, stored as y^T = b^T a^T: what follows, a softmax over N say, then runs along M."""
    swap = [0, 2, 1]
    product = _call(
        graph,
        aten.bmm.default,
        _call(graph, aten.permute.default, right, swap),
        _call(graph, aten.permute.default, left, swap),
    )
    return _call(graph, aten.permute.default, product, swap)
