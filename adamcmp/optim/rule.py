r"""Base class of update rules: one class per file, found by its name or by a ``_target_``.

A rule has settings, one value per run, and states three things in plain formulas: the coefficients of T steps of one
run (``compute_coefficients``, NumPy float64), the state that it keeps of a parameter (``start``), and the step that it
subtracts from the weights (``step``, tensors). Whatever is the same for all rules is done here: the learning rate's
schedule, parameter groups, where λ enters (``decay.py``), and the stacking of R runs.

Every tensor that a rule sees has a leading run axis, shape (R, …), of one run (1, …); a coefficient broadcasts over
it, shape (R, 1, …). What mixes the axes of a parameter (norms, products) must leave the first alone. Rules work on
methods of tensors, so that this module and its rules load without torch.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, Self

from pydantic import model_validator

from adamcmp.base_settings import NonNegative, Number, ParamGroup, Positive, Settings
from adamcmp.lazy_imports import LazyModule
from adamcmp.optim.decay import Array, Decay, decay_fraction

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
else:
    np = LazyModule("numpy")

Decayed = Literal["all", "no_bias_norm"]
"""Which parameters are decayed: all, as in the paper, or only those with two or more axes."""
Coefficients = Mapping[str, Array | float]


@dataclass(frozen=True)
class StepWindow:
    """T steps in a row of one run, with their learning rates: the argument of ``Rule.coefficients``.

    >>> import numpy
    >>> eta = numpy.array([1.0, 0.5])
    >>> steps = StepWindow(t=numpy.array([1.0, 2.0]), eta=eta, period=numpy.full(2, 2.0), peak=0.1, weight_decay=0.0,
    ...                    until=lambda: eta)
    >>> steps.lr.tolist()
    [0.1, 0.05]
    """

    t: Array
    """Numbers of the steps, from 1, shape (T,)."""
    eta: Array
    """The schedule's multiplier η_t, shape (T,)."""
    period: Array
    """Steps in the schedule's current period, shape (T,)."""
    peak: float
    """The learning rate α that η_t multiplies."""
    weight_decay: float
    """λ, in the convention that ``Rule.decay`` names."""
    until: Callable[[], Array]
    """Gives η of all steps from the first one of the run to the last of these."""
    part: str = ""
    """Which of the rule's parts treats the parameters."""

    @property
    def lr(self) -> Array:
        """η_t α."""
        return self.eta * self.peak

    def running(self, values: Callable[[Array, Array], Array]) -> Array:
        """Return a running sum or product over all steps so far, at each step of the window.

        Args:
            values: function of (t, η_t) of all steps so far, shape (t,), that returns the accumulated values.

        >>> import numpy
        >>> eta = numpy.array([1.0, 0.5, 0.25])
        >>> steps = StepWindow(t=numpy.array([3.0]), eta=eta[2:], period=numpy.full(1, 3.0), peak=0.1, weight_decay=0.0,
        ...                    until=lambda: eta)
        >>> steps.running(lambda t, eta_t: numpy.cumsum(eta_t)).tolist()
        [1.75]
        """
        eta = self.until()
        return values(np.arange(1.0, len(eta) + 1), eta)[len(eta) - len(self.t) :]


class Values(Protocol):
    """Tensors by name, as attributes."""

    def __getattr__(self, name: str) -> Tensor:
        """Return the tensor of that name."""


class _Values:
    """Which the compiler follows, as it does no namespace of Python's own."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            setattr(self, name, value)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Tensor: ...


class Counterpart(NamedTuple):
    """A class for PyTorch that takes the same steps."""

    target: str
    """``torch.optim.AdamW``."""
    arguments: Mapping[str, Any] = {}
    """Without learning rate and weight decay."""
    trains: bool = False
    """Single runs are trained by it: it is the same in every precision, and quicker than a kernel of ours."""
    scales_gradients: bool = False
    """It does where the learning rate scales gradients and λθ, and its own is 1."""


class Code(NamedTuple):
    """How another framework takes the same steps, for code to paste."""

    call: str = ""
    """``keras.optimizers.Adam``; empty where it cannot."""
    arguments: Mapping[str, Any] = {}
    """Without learning rate and weight decay."""
    notes: tuple[str, ...] = ()
    """Small differences from adamcmp's steps."""
    reason: str = ""
    """Why it cannot."""


class Rule(Settings):
    """An update rule with its settings. A subclass adds settings, and overrides the methods that its formula needs.

    Tensors have a leading run axis: shape (R, …). Name the class by ``_target_`` in a YAML file of ``optimizer/``.

    >>> from adamcmp import Rule
    >>> class SignDescent(Rule):
    ...     @classmethod
    ...     def step(cls, param, grad, s, c):
    ...         return c.lr * grad.sign()
    >>> SignDescent(rule="my_rules.SignDescent", name="sign", label="Sign descent", lr=0.01).weight_decay
    0.0
    """

    static: ClassVar[tuple[str, ...]] = ()
    """Settings that a kernel needs as they are, and that all runs of one program share; ``c`` has them."""
    shown: ClassVar[str | None] = None
    """The state that evaluations take in place of the trained weights, of a rule that averages them."""

    rule: str
    """Its module in ``adamcmp.optim.rules``, or the path of the class."""
    source: str | None = None
    """Hash of the file that defines a class outside adamcmp, so that editing it makes new runs."""
    name: str
    """The config's file name, such as ``adamw``."""
    label: str
    """How tables and figures spell it."""
    lr: Positive
    """Peak learning rate α; the schedule multiplies it by η_t."""
    weight_decay: NonNegative = 0.0
    """λ, in the convention that ``decay`` names."""
    decay: Decay = "lr_scaled"
    """Where λθ enters the update: the weight-decay convention."""
    decayed: Decayed = "all"
    """Decayed parameters: ``all``, as in the paper, or ``no_bias_norm``, those with two or more axes."""
    groups: tuple[ParamGroup, ...] = ()
    """Parameter groups with other settings, by patterns of names."""
    width_lr: Number = -1.0
    """Power of the width ratio that scales the learning rate of hidden matrices, in a model with ``mup_base``."""
    width_decay: Number = 0.5
    """Power of the width ratio that scales their λ, if the learning rate scales decay."""

    @model_validator(mode="after")
    def _a_fixed_norm_has_no_decay(self) -> Self:
        if self.decay == "fixed_norm" and (self.weight_decay or any(group.weight_decay for group in self.groups)):
            raise ValueError("decay=fixed_norm is in place of decay; set optimizer.weight_decay=0")
        return self

    def part(self, name: str, shape: tuple[int, ...]) -> str:  # noqa: ARG002  # for those that have parts
        """Return which part of the rule treats a parameter, for a rule that has several; ``c.part`` tells the
        kernel.
        """
        return ""

    def coefficients(self, steps: StepWindow) -> Coefficients:
        """Return the coefficients that ``step`` reads from ``c``: each a number, or one per step, shape (T,)."""
        return {"lr": steps.lr}

    def penalty(self) -> Mapping[str, bool]:
        """Return where λθ enters the gradient; ``l2`` is added before ``step``, others are used by the rule."""
        return {"l2": self.decay == "l2"}

    def share(self, steps: StepWindow) -> Array:
        """Return d_t: the share of the weights that each step removes in addition to ``step``, shape (T,)."""
        return decay_fraction(self.decay, steps.weight_decay, steps.peak, steps.eta, steps.period)

    def start(self, param: Tensor, part: str) -> dict[str, Tensor]:  # noqa: ARG002
        """Return the state of one run before the first step; ``param`` is its initial value, shape (1, …)."""
        return {}

    @classmethod
    def step(cls, param: Tensor, grad: Tensor, s: Values, c: Values) -> Tensor:
        """Return the step to subtract from the weights, without decoupled decay.

        Args:
            param: θ, shape (R, …); not changed here.
            grad: its gradient, of the same shape, with λθ where ``decay`` is ``l2``.
            s: the state by name, changed in place.
            c: coefficients of this step by name, each (R, 1, …), and static settings.
        """
        raise NotImplementedError

    @classmethod
    def update(cls, param: Tensor, grad: Tensor, s: Values, c: Values) -> None:
        """Take a step in place; a rule overrides it if its weights do not simply lose ``step`` and decay."""
        apply_step(param, param, cls.step(param, grad, s, c), s, c)

    def counterpart(self, *, decoupled: bool) -> Counterpart | None:  # noqa: ARG002
        """Return the class for PyTorch that takes these steps, if there is one.

        Args:
            decoupled: its own weight decay is ``lr_scaled``; else it is ``l2``.
        """
        return None

    def optax(self) -> Code:
        """Return the transformation of optax that makes these steps of gradients, the learning rate left out."""
        return Code(reason="adamcmp knows no transformation of optax that does as this rule")

    def keras(self, *, decoupled: bool) -> Code:  # noqa: ARG002
        """Return the class of Keras that takes these steps; ``decoupled`` as in ``counterpart``."""
        return Code(reason="adamcmp knows no class of Keras that does as this rule")

    @property
    def oracle(self) -> Counterpart | None:
        """Return an optimizer that takes exactly the same steps with these settings, decay included, if one exists."""
        counterpart = self.counterpart(decoupled=self.decay != "l2") if self.decay in ("l2", "lr_scaled") else None
        return None if counterpart is None or counterpart.scales_gradients else counterpart

    @property
    def kernel(self) -> Kernel:
        """The form of its update."""
        how = self.decay if self.decay in ("cautious", "fixed_norm") else ""
        return Kernel(type(self), how, tuple((name, getattr(self, name)) for name in self.static))


def apply_step(target: Tensor, at: Tensor, step: Tensor, s: Values, c: Values) -> None:
    """Take a step, and the decay of the weights ``at``, off ``target``, in place: see ``decay.py``."""
    if c.how == "fixed_norm":
        moved = target - step
        if target.ndim > 2:
            now = norm(moved)
            moved = moved * (s.norm / now).where((s.norm > 0) & (now > 0), 1.0)
        target.copy_(moved)
    elif c.how == "cautious":
        target.sub_(step + c.decay * at * (step * at >= 0))
    elif target is at:
        target.mul_(1.0 - c.decay).sub_(step)
    else:
        target.sub_(step + c.decay * at)


def moment_rates(betas: tuple[float, float]) -> dict[str, float]:
    """Return the coefficients of two moving averages, as ``update_moments`` takes them."""
    beta1, beta2 = betas
    return {"beta1": beta1, "one_minus_beta1": 1 - beta1, "beta2": beta2, "one_minus_beta2": 1 - beta2}


def update_moments(grad: Tensor, s: Values, c: Values) -> None:
    """Take a gradient into Adam's moments: m ← β1 m + (1−β1) g, v ← β2 v + (1−β2) g²."""
    s.m.mul_(c.beta1).add_(grad * c.one_minus_beta1)
    s.v.mul_(c.beta2).add_(grad.square() * c.one_minus_beta2)


def zeros(param: Tensor) -> Tensor:
    """Return the usual initial value of a moment: zeros of the shape of a parameter.

    >>> import torch
    >>> zeros(torch.ones(1, 2)).tolist()
    [[0.0, 0.0]]
    """
    return param.new_zeros(param.shape)


def norm(x: Tensor) -> Tensor:
    """Return each run's Euclidean norm over all axes but the first, shape (R, 1, …).

    A product, and of two equal rows, since torch's compiler for CPUs makes sums of products with one, and then fails on
    sums over values that a step changes in place (pytorch issue 196570).

    >>> import torch
    >>> norm(torch.tensor([[3.0, 4.0], [6.0, 8.0]])).tolist()
    [[5.0], [10.0]]
    """
    rows = x.reshape(len(x), 1, -1)
    squares = rows.expand(-1, 2, -1) @ rows.mT
    return squares[:, :1].view(-1, *(1,) * (x.ndim - 1)).sqrt()


class Kernel(NamedTuple):
    """The form of an update: what all runs of one program share of their optimizers."""

    rule: type[Rule]
    how: str
    """``cautious`` or ``fixed_norm``, where decay is more than a coefficient."""
    static: tuple[tuple[str, Any], ...]

    @property
    def name(self) -> str:
        """Human-readable name, which is also stored: ``adam cautious``; static settings follow in brackets."""
        module = self.rule.__module__
        ours = module.startswith(f"{RULES}.")
        named = module.rpartition(".")[2] if ours else f"{module}.{self.rule.__qualname__}"
        static = ", ".join(f"{key}={value}" for key, value in self.static)
        return " ".join(filter(None, [named, self.how, f"({static})" if static else ""]))

    def start(self, rule: Rule, param: Tensor, part: str) -> dict[str, Tensor]:
        """Return the state of one run before its first step."""
        state = rule.start(param, part)
        if self.how == "fixed_norm" and param.ndim > 2:
            state["norm"] = norm(param)
        return state

    def update(
        self, param: Tensor, grad: Tensor, state: Mapping[str, Tensor], coefficients: Mapping[str, Tensor], part: str
    ) -> None:
        """Take a step of one parameter of R runs, weights and state in place.

        Args:
            param: the weights, shape (R, …).
            grad: their gradient, of the same shape.
            state: as ``start`` gives it, of R runs.
            coefficients: by name, each (R, 1, …): what ``compute_coefficients`` below gives of one step.
            part: which of the rule's parts treats it.
        """
        if "l2" in coefficients:
            grad = grad + coefficients["l2"] * param
        c = {**coefficients, **dict(self.static), "how": self.how, "part": part}
        self.rule.update(param, grad, _Values(state), _Values(c))


def compute_coefficients(rule: Rule, steps: StepWindow) -> dict[str, Array]:
    """Return all coefficients of a step by name, each of shape (T,): the rule's, those of penalties, and d_t.

    Raises:
        ValueError: the rule has a name that is taken.
    """
    l2_shares = {door: steps.weight_decay if is_open else 0.0 for door, is_open in rule.penalty().items()}
    own_coefficients, ours = rule.coefficients(steps), {**l2_shares, "decay": rule.share(steps)}
    if taken := own_coefficients.keys() & {*ours, "how", "part", *rule.static}:
        raise ValueError(f"coefficients of {rule.rule} are named {', '.join(sorted(taken))}, as adamcmp's own are")
    settings = {**own_coefficients, **ours}
    return {name: np.broadcast_to(np.asarray(value, np.float64), steps.t.shape) for name, value in settings.items()}


RULES = "adamcmp.optim.rules"


@cache
def builtin_rule_names() -> tuple[str, ...]:
    """Return names of the rules that adamcmp has."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(RULES).__path__)))


@cache
def rule_class(name: str) -> type[Rule]:
    """Return the rule of that name, the one class of its module."""
    module = importlib.import_module(f"{RULES}.{name}")
    (rule,) = rules_in(vars(module).values(), module.__name__)
    return rule


def rules_in(values: Iterable[Any], module: str) -> list[type[Rule]]:
    """Return the rules among values that a module defines itself."""
    return [
        value for value in values if isinstance(value, type) and issubclass(value, Rule) and value.__module__ == module
    ]
