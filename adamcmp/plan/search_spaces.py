"""Search spaces: the values of each setting, from a study's YAML file and from the command line."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override, QuotedString

from adamcmp.config.overrides import GROUPS, parse_override
from adamcmp.config.schema import MAX_RUNS, Config
from adamcmp.errors import InputError


@dataclass(frozen=True)
class SweptValue:
    """One value of a swept key: as Python sees it, and as an override for Hydra."""

    python: Any
    override: str


Space = dict[str, list[SweptValue]]
"""A sub-grid: dotted key or group → values."""


def is_single_value(override: Override) -> bool:
    """Return whether this is a single value, which replaces a sweep of the same key in the study."""
    swept_by_studies = override.key_or_group.startswith("optimizer") or override.key_or_group in {*GROUPS, "seed"}
    return swept_by_studies and not override.is_sweep_override() and not override.is_delete()


def swept_values(override: Override) -> list[SweptValue]:
    """Return the values of a sweep; of anything else its only one, as it was given."""
    key = override.key_or_group
    if not override.is_sweep_override():
        return [SweptValue(override.value(), f"{key}={override.get_value_element_as_str()}")]
    texts = override.sweep_string_iterator()
    return [_swept_value(key, value, text) for value, text in zip(override.sweep_iterator(), texts, strict=True)]


def _swept_value(key: str, value: Any, text: str) -> SweptValue:
    value = _unquoted(value)
    if isinstance(value, float) and math.isfinite(value):  # range(0.1,0.4,0.1) shall hold 0.3
        value = float(f"{value:.12g}")
        text = repr(value)
    return SweptValue(value, f"{key}={text}")


def _unquoted(value: Any) -> Any:
    """Return Hydra's values without its marks of quotes, which it leaves inside lists and mappings of a sweep."""
    match value:
        case QuotedString():
            return value.text
        case list():
            return [_unquoted(item) for item in value]
        case dict():
            return {_unquoted(key): _unquoted(item) for key, item in value.items()}
    return value


def _grid(mapping: Mapping[str, Any], where: str) -> Space:
    space: Space = {}
    for key, value in mapping.items():
        text = f"choice({','.join(map(override_text, value))})" if isinstance(value, list) else override_text(value)
        try:
            space[key] = swept_values(parse_override(f"{key}={text}"))
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
    return space


def override_text(value: Any) -> str:
    """Return a value as Hydra's override grammar writes it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(_nested_text, value))}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_nested_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str) and not value.isascii() and re.fullmatch(r"[\w./-]+", value):
        return f"'{value}'"  # its grammar has Latin words only
    return str(value)


def _nested_text(value: Any) -> str:
    """Return a value in a list or mapping, where text that is more than a word needs quotes."""
    plain = not isinstance(value, str) or re.fullmatch(r"[\w./+-]+", value, re.ASCII)
    return override_text(value) if plain else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def study_spaces(config: Config, command_line: Space) -> list[Space]:
    """Return the study's sub-grids with the command line's values in them."""
    where = f"study {config.study.name}"
    shared = _grid(config.study.grid, where)
    spaces = [shared | _grid(space, where) for space in config.study.spaces] or [shared]
    swept_optimizer = command_line.pop("optimizer", None)
    if swept_optimizer is not None:
        spaces = _of_optimizers(spaces, swept_optimizer, shared)
    space_keys = {key for space in spaces for key in space}
    return [
        space | {k: v for k, v in command_line.items() if len(v) > 1 or k in {*space_keys, "seed"}} for space in spaces
    ]


def count_runs(config: Config, spaces: Sequence[Space]) -> int:
    """Return how many runs there are, each as often as the grid names it; what would take for ever to expand is
    refused.
    """
    runs = sum(
        math.prod(len(values) for values in space.values()) * (1 if "seed" in space else len(config.seeds))
        for space in spaces
    )
    if runs > MAX_RUNS:
        raise InputError(
            f"study {config.study.name}: a grid of {runs:,} runs; at most {MAX_RUNS:,} make sense: "
            "give fewer values or seeds"
        )
    return runs


def _of_optimizers(spaces: Sequence[Space], optimizers: Sequence[SweptValue], shared: Space) -> list[Space]:
    optimizer_spaces: list[Space] = []
    for value in optimizers:
        having = [s for s in spaces if value.python in {v.python for v in s.get("optimizer", ())}]
        optimizer_spaces += [{**space, "optimizer": [value]} for space in having] or [{"optimizer": [value], **shared}]
    return optimizer_spaces


def describe_spaces(spaces: Sequence[Space]) -> list[dict[str, Any]]:
    """Return search spaces as plain values."""
    return [{key: [value.python for value in values] for key, values in space.items()} for space in spaces]


def product(space: Space) -> Iterator[dict[str, SweptValue]]:
    """Yield every combination of the values of a space."""
    for values in itertools.product(*space.values()):
        yield dict(zip(space, values, strict=True))
