"""Base class and types of all settings: frozen, typed, and unknown keys are errors.

It stands below everything that has settings, and imports no torch: planning a study, ``adamcmp show`` and
``adamcmp list`` stay quick.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _reject_bool(value: Any) -> Any:
    """Refuse ``true``, which is no number, though Python takes it for 1."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Number = Annotated[float, BeforeValidator(_reject_bool), Field(allow_inf_nan=False)]
Whole = Annotated[int, BeforeValidator(_reject_bool)]
Positive = Annotated[Number, Field(gt=0)]
NonNegative = Annotated[Number, Field(ge=0)]
Beta = Annotated[Number, Field(ge=0, lt=1)]
Fraction = Annotated[Number, Field(gt=0, lt=1)]
Count = Annotated[Whole, Field(ge=1)]


class Settings(BaseModel):
    """Base class of all settings: immutable; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ParamGroup(Settings):
    """Parameters with a learning rate and a weight decay of their own."""

    params: str | tuple[str, ...]
    """Patterns of parameter names, such as ``*.bias`` or ``head.*``; a parameter belongs to the first that fits."""
    lr_scale: NonNegative = 1.0
    """Factor of the group's learning rate; 0 freezes the group."""
    weight_decay: NonNegative | None = None
    """λ of the group, in the convention of the optimizer; null: the optimizer's λ."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """All of ``params``."""
        return (self.params,) if isinstance(self.params, str) else self.params
