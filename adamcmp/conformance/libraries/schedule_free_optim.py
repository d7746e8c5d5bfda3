"""schedulefree, by the method's authors; paths are of the averaged weights, which evaluations take."""

from __future__ import annotations

from adamcmp.conformance.libraries import Peer
from adamcmp.conformance.libraries._torch_form import PLAIN, peer

DISTRIBUTION, MODULE = "schedulefree", "schedulefree"


def peers() -> list[Peer]:
    """Return AdamW."""
    import schedulefree

    return [peer("schedulefree", schedulefree.AdamWScheduleFree, "schedule_free", PLAIN, foreach=False)]
