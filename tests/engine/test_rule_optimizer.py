"""Rules as optimizers of torch's interface, for anybody's training loop."""

import copy
import warnings

import pytest
import torch
from torch import nn

import adamcmp
from adamcmp.config.builtin_rules import builtin_rules
from adamcmp.engine.optimizer_step import make_optimizer_step
from adamcmp.engine.rule_optimizer import RuleOptimizer
from adamcmp.errors import InputError
from adamcmp.optim import schedules

STEPS = 60


def net(dtype=torch.float64):
    torch.manual_seed(0)
    layers = [nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 3)]
    return nn.Sequential(*layers).to(dtype)


def batches(dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        yield torch.randn(16, 6, generator=generator, dtype=dtype), torch.randn(16, 3, generator=generator, dtype=dtype)


def backward(model, x, y):
    model.zero_grad()
    (model(x) - y).square().mean().backward()


def assert_same_training(one, other, data):
    """Train two models, each with its optimizer, on the same batches: their parameters are equal bit for bit."""
    for x, y in data:
        for model, optimizer in (one, other):
            backward(model, x, y)
            optimizer.step()
    for p, q in zip(one[0].parameters(), other[0].parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["constant", "cosine"])
@pytest.mark.parametrize("name", sorted(builtin_rules()))
def test_every_rule_takes_the_steps_of_the_engine(name, kind):
    ours, theirs = net(), net()
    schedule = getattr(schedules, kind)(STEPS)
    step = make_optimizer_step(builtin_rules()[name], ours, schedule, ours=True)
    optimizer = adamcmp.optimizer(name, theirs.named_parameters(), steps=STEPS)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: float(schedule.step(min(t, STEPS - 1)).eta_T[0]))
    for t, (x, y) in enumerate(batches()):
        backward(ours, x, y)
        backward(theirs, x, y)
        step.step(t)
        optimizer.step()
        scheduler.step()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-14)


RESUMED = ["adamw", "adamw_paper", "adamw_cautious", "lion", "muon", "lamb", "schedule_free", "adan", "adam_fixed_norm"]


@pytest.mark.parametrize("how", ["state_dict", "deepcopy"])
@pytest.mark.parametrize("name", RESUMED)
def test_a_copy_of_the_state_continues_with_the_same_steps(name, how):
    model = net()
    optimizer = adamcmp.optimizer(name, model.named_parameters(), lr=1e-2)
    for x, y in batches():
        backward(model, x, y)
        optimizer.step()
    if how == "deepcopy":
        other, second = copy.deepcopy((model, optimizer))
    else:
        other = copy.deepcopy(model)
        second = adamcmp.optimizer(name, other.named_parameters(), lr=1e-2)
        second.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert_same_training((model, optimizer), (other, second), batches())


SOURCES = ["adam", "sgdw", "adamw_cautious", "muon", "schedule_free"]
"""Optimizers by the class that they are: torch's own, torch's with decoupled decay, ours."""


@pytest.mark.parametrize("name", [*SOURCES, "yogi"])
def test_parameters_may_be_frozen_at_first(name):
    model = net(torch.float32)
    model[2].requires_grad_(False)
    optimizer = adamcmp.optimizer(name, model.named_parameters(), lr=1e-2)
    before = copy.deepcopy(model)
    for t, (x, y) in enumerate(batches(torch.float32)):
        model[2].requires_grad_(t >= 5)
        backward(model, x, y)
        optimizer.step()
        if t == 4:
            assert torch.equal(model[2].weight, before[2].weight)
            assert not torch.equal(model[4].weight, before[4].weight)
            saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    assert not torch.equal(model[2].weight, before[2].weight)
    again = net(torch.float32)
    again.load_state_dict(saved[0])
    again[2].requires_grad_(name != "muon")  # as before, or unfrozen before its optimizer is made
    resumed = adamcmp.optimizer(name, again.named_parameters(), lr=1e-2)
    resumed.load_state_dict(saved[1])
    for t, (x, y) in enumerate(batches(torch.float32)):
        if t >= 5:
            again[2].requires_grad_()
            backward(again, x, y)
            resumed.step()
    for p, q in zip(model.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SOURCES)
def test_pickled_optimizers_continue_with_the_same_steps(name, tmp_path):
    model = net()
    optimizer = adamcmp.optimizer(name, model.named_parameters(), lr=1e-2)
    for x, y in batches():
        backward(model, x, y)
        optimizer.step()
    torch.save((model, optimizer), tmp_path / "both.pt")
    other, second = torch.load(tmp_path / "both.pt", weights_only=False)
    assert type(second) is type(optimizer)
    assert_same_training((model, optimizer), (other, second), batches())


@pytest.mark.parametrize("name", ["adamw", "sgdw", "adamw_paper", "adamax", "lion"])
def test_a_changed_weight_decay_of_a_group_decays_by_it(name):
    changed, given = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = adamcmp.optimizer(name, [changed], lr=0.1, weight_decay=0.5)
    assert optimizer.param_groups[0]["weight_decay"] == 0.5
    optimizer.param_groups[0]["weight_decay"] = 0.2
    other = adamcmp.optimizer(name, [given], lr=0.1, weight_decay=0.2)
    for _ in range(3):
        for p, its in ((changed, optimizer), (given, other)):
            p.grad = torch.zeros(3)
            its.step()
    assert torch.equal(changed, given)
    assert bool((changed < 1).all())
    optimizer.param_groups[0]["weight_decay"] = 0.0
    before = changed.detach().clone()
    optimizer.step()
    assert torch.equal(changed, before)


@pytest.mark.parametrize("name", SOURCES)
def test_a_group_that_begins_with_a_learning_rate_of_zero_trains_once_it_has_one(name):
    p, q = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    optimizer = adamcmp.optimizer(name, [{"params": [("p", p)], "lr": 0.0}, {"params": [("q", q)]}], lr=1e-2)
    for t in range(3):
        p.grad = q.grad = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
        optimizer.step()
        assert torch.equal(p, torch.ones(2, 2)) == (t == 0)
        optimizer.param_groups[0]["lr"] = 1e-2


@pytest.mark.parametrize("name", SOURCES)
def test_groups_are_added_with_their_own_numbers(name):
    model = net()
    optimizer = adamcmp.optimizer(name, list(model[0].named_parameters()), lr=1e-2, weight_decay=0.1)
    optimizer.add_param_group({"params": list(model[2].named_parameters()), "lr": 1e-3})
    assert [(g["lr"], g["weight_decay"]) for g in optimizer.param_groups[-2:]] == [(1e-2, 0.1), (1e-3, 0.1)]
    before = copy.deepcopy(model)
    x, y = next(batches())
    backward(model, x, y)
    optimizer.step()
    assert not torch.equal(model[2].weight, before[2].weight)
    if isinstance(optimizer, RuleOptimizer):
        for group, message in (({"betas": (0, 0)}, "betas"), ({"lr": -1.0}, "0 or larger"), ({"lr": "a"}, "number")):
            with pytest.raises(InputError, match=message):
                optimizer.add_param_group({"params": [("w", nn.Parameter(torch.ones(2)))], **group})


def test_a_group_of_a_library_class_keeps_its_numbers():
    group = {"params": [nn.Parameter(torch.ones(2))], "lr": 1e-4, "weight_decay": 0.0}
    (only,) = adamcmp.optimizer("yogi", [group], lr=1e-2, weight_decay=0.1).param_groups
    assert (only["lr"], only["weight_decay"]) == (1e-4, 0.0)
    optimizer = adamcmp.optimizer("yogi", net().named_parameters())
    optimizer.add_param_group({"params": [("w", nn.Parameter(torch.ones(2)))]})


def test_parameters_without_a_gradient_stay():
    model = net()
    optimizer = adamcmp.optimizer("adamw_cautious", model.named_parameters(), lr=1e-2)
    x, y = next(batches())
    backward(model, x, y)
    frozen = model[2].weight
    before, frozen.grad = frozen.detach().clone(), None
    others = model[4].weight.detach().clone()
    optimizer.step()
    torch.testing.assert_close(frozen, before, rtol=0, atol=0)
    assert not torch.equal(model[4].weight, others)  # of the same shape, and updated with it usually


def test_groups_have_their_own_lr_and_decay():
    model = net()
    groups = [{"params": model[0].parameters(), "lr": 0.0}, {"params": model[2].parameters(), "weight_decay": 0.5}]
    optimizer = adamcmp.optimizer("lion", groups, lr=1e-2)
    assert [group["lr"] for group in optimizer.param_groups] == [0.0, 1e-2]
    before = model[0].weight.detach().clone()
    x, y = next(batches())
    backward(model, x, y)
    optimizer.step()
    assert torch.equal(model[0].weight, before)


def test_patterns_of_names_make_groups():
    model = net()
    groups = [{"params": "*.bias", "weight_decay": 0.0}]
    optimizer = adamcmp.optimizer("lion", model.named_parameters(), lr=1e-2, weight_decay=0.1, groups=groups)
    assert sorted(group["weight_decay"] for group in optimizer.param_groups) == [0.0, 0.1]


def test_schedule_free_weights_are_swapped_for_evaluation():
    model = net()
    optimizer = adamcmp.optimizer("schedule_free", model.named_parameters(), lr=1e-2)
    for x, y in batches():
        backward(model, x, y)
        optimizer.step()
    trained = model[0].weight.detach().clone()
    optimizer.eval()
    averaged = model[0].weight.detach().clone()
    assert not torch.equal(trained, averaged)
    optimizer.train()
    torch.testing.assert_close(model[0].weight.detach(), trained, rtol=0, atol=0)


def test_a_state_of_schedule_free_saved_for_evaluation_resumes():
    model = net()
    optimizer = adamcmp.optimizer("schedule_free", model.named_parameters(), lr=1e-2)
    for x, y in batches():
        backward(model, x, y)
        optimizer.step()
    optimizer.eval()
    other = copy.deepcopy(model)
    second = adamcmp.optimizer("schedule_free", other.named_parameters(), lr=1e-2)
    second.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for x, y in batches():
        for each, its in ((model, optimizer), (other, second)):
            its.train()
            backward(each, x, y)
            its.step()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=0)


def test_a_state_of_another_optimizer_is_refused():
    optimizer = adamcmp.optimizer("lion", net().named_parameters())
    other = torch.optim.AdamW(net().parameters())
    with pytest.raises(InputError, match="another optimizer"):
        optimizer.load_state_dict(other.state_dict())
    with pytest.raises(InputError, match="no state of an optimizer"):
        optimizer.load_state_dict({"a": 1})
    with pytest.raises(InputError, match="groups of"):
        optimizer.load_state_dict(adamcmp.optimizer("lion", nn.Linear(2, 2).parameters()).state_dict())
    one, two = (adamcmp.optimizer("lion", [nn.Parameter(torch.ones(size))]) for size in (2, 3))
    with pytest.raises(InputError, match="has shape"):
        one.load_state_dict(two.state_dict())
    keras, other_rule = (adamcmp.optimizer(name, net().named_parameters()) for name in ("adamw_keras", "adam_m_only"))
    with pytest.raises(InputError, match="another optimizer, adam_m_only"):
        keras.load_state_dict(other_rule.state_dict())
    sgdw = adamcmp.optimizer("sgdw", net().named_parameters())
    for state in (torch.optim.SGD(net().parameters(), 0.1).state_dict(), {"a": 1}):
        with pytest.raises(InputError, match="sgdw: the state is of another optimizer"):
            sgdw.load_state_dict(state)


@pytest.mark.parametrize("name", ["lion", "muon", "sgdw", "adamw"])
def test_a_state_of_a_distributed_checkpoint_is_loaded(name):
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

    model = net(torch.float32)
    optimizer = adamcmp.optimizer(name, model.named_parameters(), lr=1e-2)
    for x, y in batches(torch.float32):
        backward(model, x, y)
        optimizer.step()
    other = copy.deepcopy(model)
    second = adamcmp.optimizer(name, other.named_parameters(), lr=1e-2)
    set_optimizer_state_dict(other, second, copy.deepcopy(get_optimizer_state_dict(model, optimizer)))
    assert_same_training((model, optimizer), (other, second), batches(torch.float32))


def test_names_may_be_those_of_tables():
    assert adamcmp.optimizer("Muon", net().named_parameters()).rule.name == "muon"


def test_a_closure_is_called_and_its_loss_returned():
    model = net()
    optimizer = adamcmp.optimizer("adamw_cautious", model.named_parameters())
    x, y = next(batches())

    def closure():
        model.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        return loss

    assert float(optimizer.step(closure).detach()) > 0


def test_torch_classes_are_used_where_steps_are_equal():
    assert type(adamcmp.optimizer("adamw", net().parameters())) is torch.optim.AdamW
    assert isinstance(adamcmp.optimizer("sgdw", net().parameters()), torch.optim.SGD)
    assert isinstance(adamcmp.optimizer("lion", net().parameters()), RuleOptimizer)


def test_muon_without_names_warns():
    with pytest.warns(UserWarning, match="named_parameters"):
        adamcmp.optimizer("muon", net().parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adamcmp.optimizer("muon", net().named_parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "adamv"}, "no such optimizer"),
        ({"name": "adamw", "beta": 0.9}, "betas"),
        ({"name": "adamw", "lr": -1}, "lr"),
        ({"name": "adamw", "params": []}, "no parameter"),
        ({"name": "adamw", "params": [1.0]}, "float"),
        ({"name": "adamw", "params": [{"params": [nn.Parameter(torch.ones(1))], "betas": (0, 0)}]}, "betas"),
        ({"name": "adamw_normalized"}, "steps="),
        *(({"name": "adamw_normalized", "steps": steps}, "positive whole number") for steps in (0, -5, "x", True)),
        ({"name": "a,b"}, "one optimizer"),
        ({"name": "adam", "params": nn.Linear(2, 2)}, "named_parameters"),
        ({"name": "adam", "params": nn.Parameter(torch.ones(2))}, "named_parameters"),
        ({"name": "adam", "params": None}, "named_parameters"),
        ({"name": "adam", "params": [{"lr": 1.0}]}, "lacks params"),
        ({"name": "adam", "params": [{"params": [nn.Parameter(torch.ones(1))], "lr": -1}]}, "0 or larger"),
        ({"name": "adam", "params": [{"params": [nn.Parameter(torch.ones(1))], "lr": float("nan")}]}, "0 or larger"),
        (
            {"name": "adam", "params": [{"params": [nn.Parameter(torch.ones(1))], "param_names": []}]},
            "no parameter|names",
        ),
        ({"name": "adamw", "groups": [{"params": "*.bias"}]}, "named_parameters"),
        ({"name": "adam", "params": 2 * [("a", nn.Parameter(torch.ones(2)))]}, "given twice"),
    ],
)
def test_bad_input_is_one_line(arguments, message):
    name, params = arguments.pop("name"), arguments.pop("params", list(net().parameters()))
    with pytest.raises(InputError, match=message) as caught:
        adamcmp.optimizer(name, params, **arguments)
    assert "\n" not in str(caught.value)
