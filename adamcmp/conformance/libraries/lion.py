"""lion-pytorch."""

from __future__ import annotations

from adamcmp.conformance.libraries import Peer
from adamcmp.conformance.libraries._torch_form import PLAIN, peer

DISTRIBUTION, MODULE = "lion-pytorch", "lion_pytorch"


def peers() -> list[Peer]:
    """Return Lion, as it comes and with the learning rate taken out of its decay."""
    import lion_pytorch

    arguments = {key: PLAIN[key] for key in ("lr", "betas", "weight_decay")}
    return [
        peer("lion_pytorch", lion_pytorch.Lion, "lion", arguments),
        peer("lion_pytorch", lion_pytorch.Lion, "lion", arguments, decoupled_weight_decay=True),
    ]
