"""Settings of the rules that adamcmp ships, as their YAML files have them."""

from __future__ import annotations

from functools import cache
from typing import Any

from adamcmp.config.compose import compose
from adamcmp.config.lookup import find_config, list_group
from adamcmp.config.validate import validate_config
from adamcmp.optim.rule import Rule


@cache
def _load_builtin(name: str) -> Rule | None:
    source = find_config("config")
    optimizer = validate_config(compose(source, [f"optimizer={name}"]), source).optimizer
    return optimizer if isinstance(optimizer, Rule) else None


def builtin_rule(name: str, **changes: Any) -> Rule:
    """Return the settings of ``configs/optimizer/<name>.yaml``, some of them changed.

    Raises:
        ValueError: it is no rule of adamcmp's form, or does not take such a value.
    """
    rule = _load_builtin(name)
    if rule is None:
        raise ValueError(f"{name} is no rule of adamcmp's form")
    return type(rule).model_validate({**rule.model_dump(), **changes})


def builtin_rules() -> dict[str, Rule]:
    """Return all that have a rule in ``adamcmp.optim.rules``, by the name of their file."""
    named = {name: _load_builtin(name) for name, path in list_group("optimizer").items()
             if "_target_" not in path.read_text(encoding="utf-8")}  # fmt: skip
    return {name: rule for name, rule in named.items() if rule is not None}
