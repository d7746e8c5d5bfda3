"""pytorch_optimizer, those that adamcmp has a rule of the same name for."""

from __future__ import annotations

from functools import partial
from typing import Any

from adamcmp.conformance.libraries import Peer
from adamcmp.conformance.libraries._torch_form import MOMENTUM, PLAIN, defaults, path, peer
from adamcmp.conformance.problems import Problem

DISTRIBUTION, MODULE = "pytorch_optimizer", "pytorch_optimizer"


def peers() -> list[Peer]:
    """Return each with its own way of decay."""
    import pytorch_optimizer as library

    name = "pytorch_optimizer"
    no_eps = {key: PLAIN[key] for key in ("lr", "betas", "weight_decay")}
    return [
        peer(name, library.RAdam, "radam", PLAIN),
        peer(name, library.AdaMax, "adamax", PLAIN),
        peer(name, library.SGDW, "sgd", MOMENTUM),
        peer(name, library.Lion, "lion", no_eps),
        peer(name, library.Lamb, "lamb", PLAIN),
        peer(name, library.ADOPT, "adopt", PLAIN),
        peer(name, library.ADOPT, "adopt", PLAIN, weight_decouple=True),
        *(
            Peer(f"{name}.Adan(weight_decouple={decouple})", "adan", partial(path, _adan(decouple)),
                 defaults(library.Adan))
            for decouple in (False, True)
        ),
    ]  # fmt: skip


def _adan(decouple: bool) -> Any:
    def build(parameters: list[Any], problem: Problem) -> Any:
        from pytorch_optimizer import Adan

        betas = (*problem.betas, problem.betas[1])
        return Adan(parameters, problem.lr, betas, problem.weight_decay, weight_decouple=decouple, eps=problem.eps)

    return build
