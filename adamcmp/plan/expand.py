"""A study's search spaces, and the command line, become runs.

Hydra composes once for each combination of static settings (9 to 50 ms each); lr, weight decay, betas and all other
optimizer settings, and the seeds, are expanded in plain Python (some 20 µs a run).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Self

import yaml

from adamcmp.config.compose import Composed, compose
from adamcmp.config.lookup import ConfigSource
from adamcmp.config.overrides import GROUPS, parse_override
from adamcmp.config.schema import AnyRule, Config, Data, ExecutionSettings, Range, is_seed
from adamcmp.config.shorthands import OPTIONAL_KEYS
from adamcmp.config.validate import validate_config, validate_optimizer
from adamcmp.errors import InputError, suggest_names
from adamcmp.plan import search
from adamcmp.plan.build_task import build_task
from adamcmp.plan.programs import check_script_runs
from adamcmp.plan.run_ids import rule_identity, run_id, variant_hash
from adamcmp.plan.runs import DatasetMetadata, Run, mark_only_trials
from adamcmp.plan.search import Dimension, SearchState
from adamcmp.plan.search_spaces import (
    Space,
    SweptValue,
    count_runs,
    describe_spaces,
    is_single_value,
    override_text,
    product,
    study_spaces,
    swept_values,
)

LABELLED_ELSEWHERE = ("optimizer", "optimizer.lr", "optimizer.weight_decay", "seed")
TASK_KEYS = ("data", "model", "train")
Composing = Callable[[ConfigSource, Sequence[str]], Composed]


@dataclass(frozen=True)
class Plan:
    """Everything a study is going to train."""

    config: Config
    """The study's configuration before its spaces are expanded."""
    runs: tuple[Run, ...]
    duplicates: int
    """Rows of the grid that name the same run as an earlier row, and are trained once."""
    resolved: str
    """The study as YAML: its base configuration and its spaces."""
    searching: SearchState | None = None
    """State of the search, whose first batch are the runs above; None for grids."""

    def here(self) -> Self:
        """Return the plan for training on this machine."""
        local = self.config.execute.model_copy(update={"where": "local"})
        return replace(self, config=self.config.model_copy(update={"execute": local}))


def plan_study(
    source: ConfigSource,
    overrides: Sequence[str],
    facts: Callable[[Data, ExecutionSettings], DatasetMetadata],
    sized: Callable[[Config, int], None] = lambda *_: None,
) -> Plan:
    """Expand a study into runs.

    Args:
        source: the study's file.
        overrides: Hydra overrides; a sweep (``key=v1,v2``) replaces that key in every space, ``optimizer=a,b`` keeps
            the spaces of those optimizers and adds one for each that has none.
        facts: loads a data set and returns its metadata; called once per data setting, with the execution settings.
        sized: called with the configuration and the number of runs of the grid, before any data is loaded.

    Raises:
        InputError: bad settings, an unknown key, an empty grid.
    """
    parsed = [parse_override(text) for text in overrides]
    fixed = [text for text, o in zip(overrides, parsed, strict=True) if not o.is_sweep_override()]
    own_sweeps = {o.key_or_group: swept_values(o) for o in parsed if o.is_sweep_override()}
    for key in own_sweeps:
        if key.partition(".")[0] in ("execute", "log", "report", "search", "study"):
            raise InputError(f"{key}: takes one value, since no run is another by it")
    base = compose(source, [*fixed, *(own_sweeps[group][0].override for group in GROUPS if group in own_sweeps)])
    config = validate_config(base, source)
    pinned = {o.key_or_group: swept_values(o) for o in parsed if is_single_value(o)}
    spaces = study_spaces(config, own_sweeps | pinned)
    sized(config, count_runs(config, spaces))
    seen: dict[str, Run] = {}
    count = 0
    known_facts: dict[str, DatasetMetadata] = {}

    def facts_of(data: Data) -> DatasetMetadata:
        key = data.model_dump_json(exclude={"name"})
        if key not in known_facts:
            known_facts[key] = facts(data, config.execute)
        return known_facts[key]

    search = None
    if config.search.method == "grid":
        runs = [run for space in spaces for run in _expand(source, fixed, config, space, facts_of)]
    else:
        search = _plan_search(source, fixed, config, spaces, facts_of, base)
        runs = search.more(None)
    for run in runs:
        count += 1
        seen.setdefault(run.id, run)
    _check_held_out(base, config, seen.values())
    check_script_runs(list(seen.values()), config.study.confirm.seeds)
    ours = ("data", "model", "init") if config.program is not None else ()
    described = {
        **{key: value for key, value in base.values.items() if key not in ours},
        "study": {**config.study.model_dump(mode="json"), "spaces": describe_spaces(spaces)},
    }
    text = yaml.safe_dump(described, sort_keys=False, allow_unicode=True, default_flow_style=None)
    return Plan(config, mark_only_trials(tuple(seen.values())), count - len(seen), text, search)


def _check_held_out(base: Composed, config: Config, runs: Iterable[Run]) -> None:
    """Refuse settings computed from the seed if held-out seeds follow: those runs would keep a tuning seed's value."""
    if not base.refers_to_seed or not config.study.confirm.seeds:
        return
    cells: dict[str, set[tuple[float, float]]] = {}
    for run in runs:
        cell = run.optimizer.lr, run.optimizer.weight_decay
        cells.setdefault(variant_hash(run.optimizer, run.schedule), set()).add(cell)
    if any(len(cell) > 1 for cell in cells.values()):
        raise InputError(
            f"study.confirm.seeds={config.study.confirm.seeds}: a setting refers to ${{seed}}, and runs on "
            "held-out seeds would keep the value of a tuning seed; set study.confirm.seeds=0, or write the value"
        )


def _plan_search(
    source: ConfigSource,
    fixed: Sequence[str],
    config: Config,
    spaces: Sequence[Space],
    facts: Callable[[Data], DatasetMetadata],
    base: Composed,
) -> SearchState:
    """Return an optimizer for each optimizer, model, data set and schedule; what else has several values is
    searched.
    """
    settings, arms = config.search, list[search.SearchArm]()
    compose_cached = cache(lambda overrides: compose(source, overrides))  # trials share most of what is composed
    for space in spaces:
        split = {key: values for key, values in space.items() if key in GROUPS}
        several = {key for key, values in split.items() if len(values) > 1}
        for chosen in product(split):
            held = {key: [value] for key, value in chosen.items()}
            held |= {key: values for key, values in space.items() if key == "seed"}
            held |= {k: v for k, v in space.items() if k not in {*held, *settings.space} and len(v) == 1}
            grids = {k: [v.python for v in values] for k, values in space.items() if k not in held}
            dimensions = [Dimension.of(key, values) for key, values in grids.items() if key not in settings.space]
            for key, swept in settings.space.items():
                dimensions.append(
                    Dimension(key, range=swept) if isinstance(swept, Range) else Dimension(key, tuple(swept))
                )

            def make(values: Mapping[str, Any], held: Space = held, several: set[str] = several) -> list[Run]:
                proposed = {key: [SweptValue(value, f"{key}={override_text(value)}")] for key, value in values.items()}
                words = {**held, **proposed}
                return list(
                    _expand(source, fixed, config, words, facts, several, lambda _, all_: compose_cached(tuple(all_)))
                )

            labeled = several | {"optimizer"}
            name = " · ".join(str(value.python) for key, value in chosen.items() if key in labeled)
            composed = compose_cached((*fixed, *(value.override for value in chosen.values())))
            start = {dimension.key: _configured_value(composed, dimension) for dimension in dimensions}
            arms.append(search.SearchArm(name or base.choices["optimizer"], tuple(dimensions), make, start))
    search.check_search(settings, arms)
    return SearchState(settings, tuple(arms))


def _configured_value(composed: Composed, dimension: Dimension) -> Any:
    """Return the configured value of a searched setting; without one, the middle of its values."""
    value: Any = composed.values
    for part in dimension.key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return dimension.at(0.5) if value is None else value


def _expand(
    source: ConfigSource,
    fixed: Sequence[str],
    config: Config,
    space: Space,
    facts: Callable[[Data], DatasetMetadata],
    labeled: set[str] | None = None,
    composing: Composing = compose,
) -> Iterator[Run]:
    """Return the runs of a sub-grid.

    ``labeled`` has the keys whose values are part of optimizers' labels; by default all keys that vary.
    """
    static = {key: values for key, values in space.items() if not _is_swept(key)}
    swept = {key: values for key, values in space.items() if _is_swept(key) and key != "seed"}
    seeds = [_seed(v.python) for v in space["seed"]] if "seed" in space else list(config.seeds)
    several = {k for k, values in space.items() if len(values) > 1} if labeled is None else labeled
    varying = several - set(LABELLED_ELSEWHERE)
    keys = {text: parse_override(text).key_or_group for text in fixed}
    for combination in product(static):
        chosen = [value.override for value in combination.values()]
        remaining = [text for text, key in keys.items() if key not in combination | swept]
        composed = composing(source, (*remaining, *chosen))
        task, schedule = build_task(validate_config(composed, source), facts)
        if composed.values["optimizer"].get("lr", 1.0) is None and "optimizer.lr" not in swept:
            raise InputError("optimizer.lr: give the learning rates to try, such as optimizer.lr=1e-4,1e-3,1e-2")
        for row in product(swept):
            optimizer = _optimizer(composed, row)
            labels = [
                _short(v.python).replace("_", " ") if k == "schedule" else f"{k.rpartition('.')[2]}={_short(v.python)}"
                for k, v in (row | combination).items()
                if k in varying and k.partition(".")[0] not in TASK_KEYS
            ]
            arm = " · ".join([optimizer.label, *labels])
            for seed in seeds:
                if composed.has_interpolations:  # any value may depend on this row's, or on the seed
                    words = [*remaining, *chosen, *(value.override for value in row.values()), f"seed={seed}"]
                    config = validate_config(composing(source, tuple(words)), source)
                    (task, schedule), optimizer = build_task(config, facts), config.optimizer
                id_ = run_id(task, rule_identity(optimizer), rule_identity(schedule), seed)
                yield Run(id_, arm, task, optimizer, schedule, seed)


def _seed(value: Any) -> int:
    if not is_seed(value):
        raise InputError(f"seed={value}: must be a whole number, 0 or larger and less than 2**63")
    return int(value)


def _short(value: Any) -> str:
    return str(list(value)) if isinstance(value, (list, tuple)) else str(value)


def _is_swept(key: str) -> bool:
    return key == "seed" or key.startswith("optimizer.")


def _optimizer(composed: Composed, row: Mapping[str, SweptValue]) -> AnyRule:
    """Return the optimizer of one row: its values put in place."""
    name, program = composed.choices["optimizer"], composed.values.get("program")
    values = dict(composed.values["optimizer"])
    for key, value in row.items():
        path = key.removeprefix("optimizer.")
        is_closed = "_target_" not in values and program != "script"
        if path not in values and key not in OPTIONAL_KEYS and is_closed:
            raise InputError(f"{key}: no such setting of optimizer {name}; {suggest_names(path, values)}")
        _set_nested(values, path.split("."), value.python)
    return validate_optimizer(values, name, program)


def _set_nested(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set a value in nested mappings, and copy those on its way: rows share them."""
    *above, last = path
    for key in above:
        inner = values.get(key)
        values[key] = dict(inner) if isinstance(inner, Mapping) else {}
        values = values[key]
    values[last] = value
