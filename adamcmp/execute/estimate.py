"""What a plan of training costs: time, arithmetic and memory, and what its user should know before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import filesize

from adamcmp.engine.choice import Choice, Work


@dataclass(frozen=True)
class Estimate:
    """Sums over cohorts, of what one look at their models told and of how they will be trained."""

    works: Sequence[Work]
    choices: Sequence[Choice]
    memory: float
    """Bytes that what is trained may take, all processes together."""

    @property
    def flops(self) -> float:
        """Floating-point operations of all training steps; inf where they cannot be counted."""
        return sum(work.member_steps * work.profile.flops for work in self.works)

    @property
    def run_bytes(self) -> int:
        """What one run takes while it is trained, of the largest task."""
        return max((work.profile.row_bytes for work in self.works), default=0)

    @property
    def peak_bytes(self) -> int:
        """What is trained takes at most, all processes together, by that look."""
        pairs = zip(self.works, (choice.strategy for choice in self.choices), strict=True)
        return max((s.processes * s.rows * work.profile.row_bytes for work, s in pairs), default=0)

    @property
    def compiles(self) -> bool:
        """Whether some program is compiled before its first step."""
        return any(choice.strategy.compiled for choice in self.choices)

    @property
    def seconds(self) -> float:
        """What all of it should take."""
        return sum(choice.seconds for choice in self.choices)

    @property
    def notes(self) -> list[str]:
        """What the user should know of the choices, each once."""
        found = dict.fromkeys(choice.note for choice in self.choices if choice.note)
        if self.run_bytes > self.memory:
            needs, has = filesize.decimal(self.run_bytes), filesize.decimal(int(self.memory))
            found[f"one run may take {needs}, execute.memory_gb leaves {has}; it is trained all the same"] = None
        return list(found)
