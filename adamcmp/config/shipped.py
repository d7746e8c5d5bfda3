"""Settings of the rules that adamcmp ships, as their YAML files have them."""

from __future__ import annotations

from functools import cache
from typing import Any

from adamcmp.config.build import typed
from adamcmp.config.compose import compose
from adamcmp.config.sources import locate, options
from adamcmp.optim.rule import Rule


@cache
def _as_shipped(name: str) -> Rule | None:
    source = locate("config")
    found = typed(compose(source, [f"optimizer={name}"]), source).optimizer
    return found if isinstance(found, Rule) else None


def shipped_rule(name: str, **changes: Any) -> Rule:
    """The settings of ``configs/optimizer/<name>.yaml``, some of them changed.

    Raises:
        ValueError: it is no rule of adamcmp's form, or does not take such a value.
    """
    found = _as_shipped(name)
    if found is None:
        raise ValueError(f"{name} is no rule of adamcmp's form")
    return type(found).model_validate({**found.model_dump(), **changes})


def shipped_rules() -> dict[str, Rule]:
    """All that have a rule in ``adamcmp.optim.rules``, by the name of their file."""
    named = {name: _as_shipped(name) for name, path in options("optimizer").items()
             if "_target_" not in path.read_text(encoding="utf-8")}  # fmt: skip
    return {name: rule for name, rule in named.items() if rule is not None}
