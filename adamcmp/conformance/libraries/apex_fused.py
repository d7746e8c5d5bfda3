"""NVIDIA Apex, whose kernels need CUDA."""

from __future__ import annotations

from adamcmp.conformance.libraries import Peer
from adamcmp.conformance.libraries._torch_form import PLAIN, peer

DISTRIBUTION, MODULE = "apex", "apex"


def peers() -> list[Peer]:
    """Return FusedAdam in its two modes."""
    from apex.optimizers import FusedAdam

    return [peer("apex.optimizers", FusedAdam, "adam", PLAIN, adam_w_mode=mode) for mode in (True, False)]
