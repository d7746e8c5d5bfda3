"""timm."""

from __future__ import annotations

from adamcmp.conformance.libraries import Peer
from adamcmp.conformance.libraries._torch_form import MOMENTUM, PLAIN, peer

DISTRIBUTION, MODULE = "timm", "timm"


def peers() -> list[Peer]:
    """Return the optimizers for which timm has classes of its own."""
    from timm import optim

    optimizers = [
        peer("timm.optim", optim.AdamWLegacy, "adam", PLAIN),
        peer("timm.optim", optim.NAdamW, "nadam", PLAIN),
        peer("timm.optim", optim.RAdamLegacy, "radam", PLAIN),
        peer("timm.optim", optim.SGDW, "sgd", MOMENTUM),
        peer("timm.optim", optim.Lion, "lion", {key: PLAIN[key] for key in ("lr", "betas", "weight_decay")}),
        peer("timm.optim", optim.Adopt, "adopt", PLAIN),
        peer("timm.optim", optim.Adopt, "adopt", PLAIN, decoupled=True),
        peer("timm.optim", optim.RMSpropTF, "rmsprop", {"lr": "lr", "beta2": "alpha", "eps": "eps",
                                                        "weight_decay": "weight_decay"}),
    ]  # fmt: skip
    corrected = {optim.AdamWLegacy: "adam", optim.NAdamW: "nadam"}
    return optimizers + [
        peer("timm.optim", kind, rule, PLAIN, corrected_weight_decay=True) for kind, rule in corrected.items()
    ]
