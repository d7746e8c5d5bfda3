"""What holds for every model: shapes, parameter counts, and one vmap over copies equal to a loop over them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from adamcmp.errors import InputError
from adamcmp.models.cnn import SmallCNN
from adamcmp.models.mlp import MLP
from adamcmp.models.modular_mlp import ModularMLP

B, R = 5, 3
Build = Callable[[], nn.Module]
CASES: dict[str, tuple[Build, tuple[int, ...], int]] = {
    "mlp": (partial(MLP, input_shape=(1, 8, 8), num_classes=10), (1, 8, 8), 10),
    "mlp tanh": (partial(MLP, input_shape=(7,), num_classes=3, hidden=[6, 5], activation="tanh"), (7,), 3),
    "mlp gelu": (partial(MLP, input_shape=(7,), num_classes=3, hidden=[6], activation="gelu"), (7,), 3),
    "logistic": (partial(MLP, input_shape=(7,), num_classes=3, hidden=()), (7,), 3),
    "cnn 8": (partial(SmallCNN, input_shape=(1, 8, 8), num_classes=10, width=4), (1, 8, 8), 10),
    "cnn 28": (partial(SmallCNN, input_shape=(1, 28, 28), num_classes=10, width=4), (1, 28, 28), 10),
    "cnn none": (partial(SmallCNN, input_shape=(2, 5, 7), num_classes=4, width=3, norm="none"), (2, 5, 7), 4),
    "cnn odd": (partial(SmallCNN, input_shape=(5, 1, 1), num_classes=4, width=3), (5, 1, 1), 4),
    "modular": (partial(ModularMLP, input_shape=(2,), num_classes=11, embedding=6, hidden=9), (2,), 11),
}


def batch(name: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    _, shape, classes = CASES[name]
    generator = torch.Generator().manual_seed(seed)
    y_B = torch.randint(classes, (B,), generator=generator)
    if name == "modular":
        return torch.randint(classes, (B, *shape), generator=generator), y_B
    return torch.randn(B, *shape, generator=generator, dtype=torch.float64), y_B


def copies(name: str) -> list[nn.Module]:
    torch.manual_seed(0)
    return [CASES[name][0]().double() for _ in range(R)]


@pytest.mark.parametrize("name", CASES)
def test_logits_have_one_column_a_class_and_depend_on_the_input(name):
    model = copies(name)[0]
    logits_BC = model(batch(name)[0])
    assert logits_BC.shape == (B, CASES[name][2])
    assert not torch.equal(logits_BC, model(batch(name, seed=1)[0]))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_vmap_over_stacked_copies_equals_the_loop(name, training):
    models = [model.train(training) for model in copies(name)]
    base = copy.deepcopy(models[0]).to("meta")
    parameters, buffers = stack_module_state(models)
    assert not buffers  # state that vmap could not write
    x, y_B = batch(name)

    def loss(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return nn.functional.cross_entropy(functional_call(base, weights, (x,)), y_B)

    logits_RBC = vmap(lambda weights: functional_call(base, weights, (x,)))(parameters)
    gradients = vmap(grad(loss), in_dims=(0, None))(parameters, x)
    for r, model in enumerate(models):
        torch.testing.assert_close(logits_RBC[r], model(x), rtol=1e-12, atol=1e-12)
        nn.functional.cross_entropy(model(x), y_B).backward()
        for key, parameter in model.named_parameters():
            torch.testing.assert_close(gradients[key][r], parameter.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_a_forward_pass_leaves_the_module_as_it_was(name):
    model = copies(name)[0].train()
    before = copy.deepcopy(model.state_dict())
    model(batch(name)[0])
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", CASES)
def test_an_example_s_logits_do_not_depend_on_its_batch(name):
    model = copies(name)[0]
    x, _ = batch(name)
    torch.testing.assert_close(model(x)[:2], model(x[:2]), rtol=1e-12, atol=1e-12)


def test_batch_norm_uses_the_batch_in_training_and_running_averages_in_evaluation():
    torch.manual_seed(0)
    model = SmallCNN(input_shape=(3, 8, 8), num_classes=4, width=4, norm="batch").double()
    x = torch.randn(B, 3, 8, 8, dtype=torch.float64)
    assert not torch.allclose(model(x)[:2], model(x[:2]))
    model.eval()
    torch.testing.assert_close(model(x)[:2], model(x[:2]), rtol=1e-12, atol=1e-12)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("hidden", [(), (32,), (20, 30)])
def test_parameters_of_the_mlp(hidden):
    sizes = [64, *hidden, 10]
    expected = sum((a + 1) * b for a, b in pairwise(sizes))
    assert count(MLP(input_shape=(1, 8, 8), num_classes=10, hidden=hidden, dropout=0.5)) == expected


@pytest.mark.parametrize("norm", ["group", "batch", "none"])
@pytest.mark.parametrize(("channels", "width"), [(1, 16), (3, 6)])
def test_parameters_of_the_cnn(norm, channels, width):
    c = [channels, width, 2 * width, 4 * width]
    extra = 1 if norm == "none" else 2  # a bias, or the norm's scale and shift
    expected = sum(9 * a * b + extra * b for a, b in pairwise(c)) + (c[-1] + 1) * 10
    assert count(SmallCNN(input_shape=(channels, 8, 8), num_classes=10, width=width, norm=norm)) == expected


@pytest.mark.parametrize(
    ("activation", "formula"),
    [
        ("relu", lambda z: z.clamp(min=0)),
        ("tanh", lambda z: 2 / (1 + (-2 * z).exp()) - 1),
        ("gelu", lambda z: z * (1 + torch.erf(z / 2**0.5)) / 2),
    ],
)
def test_the_mlp_computes_its_formula(activation, formula):
    model = MLP(input_shape=(2, 3), num_classes=4, hidden=(5, 7), activation=activation).double()
    x = torch.randn(B, 2, 3, dtype=torch.float64)
    w1, b1, w2, b2, w3, b3 = model.parameters()
    expected = formula(formula(x.reshape(B, 6) @ w1.T + b1) @ w2.T + b2) @ w3.T + b3
    torch.testing.assert_close(model(x), expected, rtol=1e-12, atol=1e-12)


def test_the_group_norm_has_groups_of_four_channels_and_one_where_that_fails():
    def groups(width: int) -> list[int]:
        model = SmallCNN(input_shape=(1, 8, 8), num_classes=3, width=width)
        return [m.num_groups for m in model.modules() if isinstance(m, nn.GroupNorm)]

    assert groups(16) == [4, 8, 16]
    assert groups(6) == [1, 3, 6]


def test_parameters_of_the_modular_mlp():
    expected = 59 * 64 + (2 * 64 + 1) * 256 + (256 + 1) * 59
    assert count(ModularMLP(input_shape=(2,), num_classes=59)) == expected


def test_the_modular_mlp_embeds_both_numbers_by_one_table_and_minds_their_order():
    model = ModularMLP(input_shape=(2,), num_classes=11).double()
    pairs, swapped = torch.tensor([[3, 7]]), torch.tensor([[7, 3]])
    assert not torch.allclose(model(pairs), model(swapped))
    with torch.no_grad():
        model.embedding.weight[7] = model.embedding.weight[3]
    assert torch.equal(model(pairs), model(swapped))


@pytest.mark.parametrize("kind", [MLP, SmallCNN])
def test_dropout_acts_in_training_only(kind):
    torch.manual_seed(0)
    model, x = kind(input_shape=(1, 8, 8), num_classes=10, dropout=0.5), torch.randn(B, 1, 8, 8)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


REFUSED = {
    "hidden 0": (partial(MLP, hidden=[0]), r"^model\.hidden=\[0\]: sizes must be ≥ 1"),
    "hidden half": (partial(MLP, hidden=[1.5]), r"^model\.hidden=\[1\.5\]: sizes must be ≥ 1 and whole"),
    "hidden number": (partial(MLP, hidden=32), r"^model\.hidden=32: must be a list of sizes, such as \[32\]"),
    "hidden text": (partial(MLP, hidden="32"), r"^model\.hidden=32: must be a list of sizes, such as \[32\]"),
    "activation": (partial(MLP, activation="rleu"), r"^model\.activation=rleu: not known; did you mean relu\?"),
    "activation 2": (partial(MLP, activation="x"), r"known: gelu, relu, tanh"),
    "dropout 1": (partial(MLP, dropout=1.0), r"^model\.dropout=1\.0: must be ≥ 0 and < 1"),
    "dropout text": (partial(SmallCNN, dropout="a"), r"^model\.dropout=a: must be ≥ 0 and < 1"),
    "width": (partial(SmallCNN, width=0), r"^model\.width=0: must be ≥ 1"),
    "width true": (partial(SmallCNN, width=True), r"^model\.width=True: must be ≥ 1"),
    "norm": (partial(SmallCNN, norm="groups"), r"^model\.norm=groups: not known; did you mean group\?"),
    "classes": (partial(MLP, num_classes=0), r"^model\.num_classes=0: must be ≥ 1"),
    "no shape": (partial(MLP, input_shape=()), r"^model\.input_shape=\[\]: must hold"),
    "cnn on features": (partial(SmallCNN, input_shape=(7,)), r"\(C, H, W\), the data gives \(7,\); take model=mlp"),
    "cnn on curves": (partial(SmallCNN, input_shape=(1, 40)), r"the data gives \(1, 40\); take model=mlp"),
    "cnn on pairs": (partial(SmallCNN, input_shape=(2,)), "take model=modular_mlp or model=mlp"),
    "pairs on pictures": (partial(ModularMLP, input_shape=(1, 8, 8)), r"\(2,\), .*; take model=cnn or model=mlp"),
    "pairs on features": (partial(ModularMLP, input_shape=(3,)), r"the data gives \(3,\); take model=mlp"),
    "embedding": (partial(ModularMLP, input_shape=(2,), embedding=0), r"^model\.embedding=0: must be ≥ 1"),
    "hidden list": (partial(ModularMLP, input_shape=(2,), hidden=[9]), r"^model\.hidden=\[9\]: must be ≥ 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_arguments_are_refused_in_one_line(case):
    build, message = REFUSED[case]
    arguments = {"input_shape": (1, 8, 8), "num_classes": 10} | build.keywords
    with pytest.raises(InputError, match=message) as caught:
        build.func(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "x", "message"),
    [
        (MLP(input_shape=(2,), num_classes=3), torch.zeros(4, 2, dtype=torch.int64), "mlp takes floating"),
        (SmallCNN(input_shape=(1, 8, 8), num_classes=3), torch.zeros(4, 1, 8, 8, dtype=torch.int64), "cnn takes flo"),
        (ModularMLP(input_shape=(2,), num_classes=3), torch.zeros(4, 2), "modular_mlp takes int64 pairs"),
    ],
    ids=["mlp", "cnn", "modular_mlp"],
)
def test_inputs_of_the_wrong_kind_are_refused(model, x, message):
    with pytest.raises(InputError, match=message):
        model(x)
