"""transformers: its AdamW until version 4.x, and Adafactor."""

from __future__ import annotations

from typing import Any

from adamcmp.conformance.libraries import Peer
from adamcmp.conformance.libraries._torch_form import PLAIN, defaults, path, peer
from adamcmp.conformance.problems import Problem

DISTRIBUTION, MODULE = "transformers", "transformers"


def peers() -> list[Peer]:
    """Return the optimizers of the installed version."""
    from transformers import optimization

    optimizers = [Peer("transformers.Adafactor", "adafactor", lambda problem: path(_adafactor, problem),
                  defaults(optimization.Adafactor))]  # fmt: skip
    if hasattr(optimization, "AdamW"):
        optimizers.append(peer("transformers", optimization.AdamW, "adam", PLAIN, no_deprecation_warning=True))
    return optimizers


def _adafactor(parameters: list[Any], problem: Problem) -> Any:
    from transformers.optimization import Adafactor

    return Adafactor(
        parameters, lr=problem.lr, weight_decay=problem.weight_decay, eps=(problem.eps**2, 1e-3), relative_step=False,
        scale_parameter=True,
    )  # fmt: skip
