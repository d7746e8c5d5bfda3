"""What holds for every model: shapes, parameter counts, and one vmap over copies equal to a loop over them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from adamcmp.errors import InputError
from adamcmp.metrics import losses
from adamcmp.models.bag_of_words import BagOfWords
from adamcmp.models.cnn import SmallCNN
from adamcmp.models.gpt import GPT
from adamcmp.models.mlp import MLP
from adamcmp.models.modular_mlp import ModularMLP
from adamcmp.models.modular_transformer import ModularTransformer
from adamcmp.models.resnet import ResNet
from adamcmp.models.shake_shake import ShakeShake, shake
from adamcmp.models.vit import ViT

B, R = 5, 3


def open_scales(**arguments: object) -> nn.Module:
    """A ResNet without norms whose branches take part, as they do after the first step."""
    model = ResNet(depth=8, width=4, norm="none", **arguments)
    for name, parameter in model.named_parameters():
        if name.endswith("scale"):
            nn.init.constant_(parameter, 0.5)
    return model


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
    "resnet": (partial(ResNet, input_shape=(3, 8, 8), num_classes=4, depth=8, width=4, norm="group"), (3, 8, 8), 4),
    "resnet none": (partial(open_scales, input_shape=(1, 9, 6), num_classes=4), (1, 9, 6), 4),
    "vit": (partial(ViT, input_shape=(3, 8, 4), num_classes=5, width=8, depth=2, heads=2), (3, 8, 4), 5),
    "modular": (partial(ModularMLP, input_shape=(2,), num_classes=11, embedding=6, hidden=9), (2,), 11),
    "modular transformer": (partial(ModularTransformer, input_shape=(2,), num_classes=11, width=8), (2,), 11),
    "gpt": (partial(GPT, input_shape=(6,), num_classes=11, width=8, depth=2, heads=2), (6,), 11),
    "gpt untied": (partial(GPT, input_shape=(6,), num_classes=11, width=8, tied=False), (6,), 11),
    "words": (partial(BagOfWords, input_shape=(6,), num_classes=3, num_tokens=11, width=5), (6,), 3),
}
TOKENS = 11


def batch(name: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    _, shape, classes = CASES[name]
    generator = torch.Generator().manual_seed(seed)
    y_B = torch.randint(classes, (B, *shape) if "gpt" in name else (B,), generator=generator)
    if len(shape) == 1 and not name.startswith(("mlp", "logistic")):
        return torch.randint(TOKENS, (B, *shape), generator=generator), y_B
    return torch.randn(B, *shape, generator=generator, dtype=torch.float64), y_B


def copies(name: str) -> list[nn.Module]:
    torch.manual_seed(0)
    return [CASES[name][0]().double() for _ in range(R)]


@pytest.mark.parametrize("name", CASES)
def test_logits_have_one_column_a_class_and_depend_on_the_input(name):
    model = copies(name)[0]
    x, y = batch(name)
    logits_BC = model(x)
    assert logits_BC.shape == (*y.shape, CASES[name][2])
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
        return losses.cross_entropy(functional_call(base, weights, (x,)), y_B, reduction="mean")

    with sdpa_kernel(SDPBackend.MATH):  # as the engine does: the CPU's other kernels have no rule for vmap
        logits_RBC = vmap(lambda weights: functional_call(base, weights, (x,)))(parameters)
        gradients = vmap(grad(loss), in_dims=(0, None))(parameters, x)
    for r, model in enumerate(models):
        torch.testing.assert_close(logits_RBC[r], model(x), rtol=1e-12, atol=1e-12)
        losses.cross_entropy(model(x), y_B, reduction="mean").backward()
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


@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        (
            partial(GPT, input_shape=(1024,), num_classes=256, width=768, depth=12, heads=12, vocabulary=50257),
            124439808,
        ),
        (partial(ViT, input_shape=(3, 224, 224), num_classes=1000, patch=16, width=192, depth=12, heads=3), 5717416),
        (partial(ModularTransformer, input_shape=(2,), num_classes=113), 226688),
        (partial(BagOfWords, input_shape=(9,), num_classes=20, num_tokens=10001), 10001 * 32 + 33 * 20),
    ],
    ids=["GPT-2", "DeiT-Ti", "grokking", "words"],
)
def test_parameters_are_those_of_the_literature(build, parameters):
    with torch.device("meta"):
        assert count(build()) == parameters


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_resnets_have_the_sizes_of_their_paper(depth, millions):
    """Table 6 of He et al., arXiv 1512.03385."""
    found = count(ResNet(input_shape=(3, 32, 32), num_classes=10, depth=depth)) / 1e6
    assert found == pytest.approx(millions, abs=0.05 if millions > 1 else 0.005)


def test_shake_shake_has_the_sizes_of_the_literature():
    """11.6 M and 25.6 M in the AdamW paper; but whatever else the count holds, it grows by 1.5² from width 64 to 96."""

    def found(width):
        with torch.device("meta"):
            return count(ShakeShake(input_shape=(3, 32, 32), num_classes=10, width=width))

    assert found(64) == 11_653_978
    assert found(96) == 26_192_922
    assert found(96) / found(64) == pytest.approx(1.5**2, rel=2e-3)


def test_shake_mixes_forward_by_one_draw_and_backward_by_another():
    first, second = (torch.randn(B, 2, 3, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    torch.manual_seed(5)
    mixed = shake(first, second)
    torch.manual_seed(5)
    alpha, beta = torch.rand(2, B, 1, 1, 1, dtype=torch.float64)
    incoming = torch.randn_like(mixed)
    mixed.backward(incoming)
    torch.testing.assert_close(mixed, alpha * first + (1 - alpha) * second)
    torch.testing.assert_close(first.grad, beta * incoming)
    torch.testing.assert_close(second.grad, (1 - beta) * incoming)


def test_shake_shake_draws_in_training_and_takes_one_half_in_evaluation():
    torch.manual_seed(0)
    model = ShakeShake(input_shape=(3, 8, 8), num_classes=4, width=4).double()
    x = torch.randn(B, 3, 8, 8, dtype=torch.float64)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))
    block = model.blocks[1]
    maps = torch.relu(model.stem(x))
    maps = model.blocks[0](maps)
    torch.testing.assert_close(block(maps), maps + (block.first(maps) + block.second(maps)) / 2)


def test_a_position_of_gpt_sees_those_before_it_alone():
    model, (x, _) = copies("gpt")[0], batch("gpt")
    changed = x.clone()
    changed[:, 3] = (changed[:, 3] + 1) % TOKENS
    before, after = model(x), model(changed)
    assert torch.equal(before[:, :3], after[:, :3])
    assert (before[:, 3:] != after[:, 3:]).any(-1).all()


def test_gpt_starts_near_the_uniform_prediction():
    torch.manual_seed(0)
    model = GPT(input_shape=(32,), num_classes=256, width=64, depth=4)
    x = torch.randint(256, (8, 32))
    assert losses.cross_entropy(model(x), x.roll(1), reduction="mean").item() == pytest.approx(math.log(256), abs=0.05)


def test_words_that_are_none_and_their_order_do_not_count():
    model = copies("words")[0]
    words = torch.tensor([[3, 7, 3, 0, 0, 0]])
    torch.testing.assert_close(model(words), model(torch.tensor([[0, 7, 0, 3, 3, 0]])))
    assert not torch.allclose(model(words), model(torch.tensor([[3, 7, 0, 0, 0, 0]])))
    assert torch.isfinite(model(torch.zeros_like(words))).all()


def test_a_resnet_without_norms_starts_as_its_shortcuts():
    model = ResNet(input_shape=(3, 8, 8), num_classes=4, depth=8, norm="none")
    x = torch.randn(B, 3, 8, 8)
    maps = torch.relu(model.stem(x))[:, :, ::4, ::4]
    expected = torch.zeros(B, 64, 2, 2)
    expected[:, 24:40] = maps  # 16 channels, 8 zeros on each side, then 16
    torch.testing.assert_close(model.blocks(torch.relu(model.stem(x))), expected)


def test_the_modular_mlp_embeds_both_numbers_by_one_table_and_minds_their_order():
    model = ModularMLP(input_shape=(2,), num_classes=11).double()
    pairs, swapped = torch.tensor([[3, 7]]), torch.tensor([[7, 3]])
    assert not torch.allclose(model(pairs), model(swapped))
    with torch.no_grad():
        model.embedding.weight[7] = model.embedding.weight[3]
    assert torch.equal(model(pairs), model(swapped))


@pytest.mark.parametrize("kind", [MLP, SmallCNN, ViT])
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
    "cnn on features": (partial(SmallCNN, input_shape=(7,)), r"\(C, H, W\), but the data have \(7,\); take model=mlp"),
    "cnn on pairs": (partial(SmallCNN, input_shape=(2,)), "take model=modular_mlp or model=mlp"),
    "pairs on pictures": (partial(ModularMLP, input_shape=(1, 8, 8)), r"\(2,\), .*; take model=cnn or model=mlp"),
    "pairs on features": (partial(ModularMLP, input_shape=(3,)), r"\(3,\); take model=mlp"),
    "embedding": (partial(ModularMLP, input_shape=(2,), embedding=0), r"^model\.embedding=0: must be ≥ 1"),
    "resnet depth": (partial(ResNet, depth=21), r"^model\.depth=21: must be 6n \+ 2, such as 20, 32 or 56"),
    "resnet on features": (partial(ResNet, input_shape=(7,)), r"model resnet takes images .*; take model=mlp"),
    "heads": (partial(ViT, heads=3), r"^model\.heads=3: must divide model\.width=64"),
    "patch": (partial(ViT, patch=3), r"^model\.patch=3: must divide the height and width of the images, 8×8"),
    "gpt on pictures": (partial(GPT), r"model gpt takes sequences of shape \(T,\), .*; take data=text"),
    "gpt vocabulary": (partial(GPT, input_shape=(9,), vocabulary=5), r"^model\.vocabulary=5: the data has 10 tokens"),
    "words on pictures": (partial(BagOfWords, num_tokens=9), r"takes words of shape \(L,\), .*; take model=mlp"),
    "words on features": (partial(BagOfWords, input_shape=(9,)), r"the data gives floating inputs of shape \(9,\)"),
    "transformer on features": (partial(ModularTransformer, input_shape=(9,)), r"takes pairs of shape \(2,\)"),
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
        (ModularTransformer(input_shape=(2,), num_classes=3), torch.zeros(4, 2), "modular_transformer takes int64"),
        (GPT(input_shape=(2,), num_classes=3), torch.zeros(4, 2), "gpt takes int64 tokens"),
    ],
    ids=["mlp", "cnn", "modular_mlp", "modular_transformer", "gpt"],
)
def test_inputs_of_the_wrong_kind_are_refused(model, x, message):
    with pytest.raises(InputError, match=message):
        model(x)


@pytest.mark.parametrize("norm", ["group", "batch", "none"])
def test_the_cnn_takes_signals(norm):
    model = SmallCNN(input_shape=(1, 40), num_classes=10, norm=norm)
    x = torch.randn(3, 1, 40, generator=torch.Generator().manual_seed(0))
    assert model(x).shape == (3, 10)
    assert [type(layer).__name__ for layer in model.modules() if "Conv" in type(layer).__name__] == ["Conv1d"] * 3
