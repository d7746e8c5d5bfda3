"""A study's search spaces, and the command line, become runs.

Hydra composes once for each combination of static settings (9 to 50 ms each); lr, weight decay, betas and all other
optimizer settings, and the seeds, are expanded in plain Python (some 20 µs a run).
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import yaml
from hydra.core.override_parser.types import Override, QuotedString

from adamcmp.config.compose import FREE, Composed, compose
from adamcmp.config.lookup import ConfigSource
from adamcmp.config.overrides import GROUPS, parse_override
from adamcmp.config.schema import (
    MAX_RUNS,
    MAX_STEPS,
    AnyRule,
    AnySchedule,
    Config,
    CustomLoss,
    Data,
    ExecutionSettings,
    InitSettings,
    Range,
    is_seed,
)
from adamcmp.config.validate import validate_config, validate_optimizer
from adamcmp.errors import InputError, suggest_names
from adamcmp.metrics.spec import LOSS_NAMES, METRIC_SPECS
from adamcmp.plan import search
from adamcmp.plan.runs import (
    MAX_COUNTED_CLASSES,
    DatasetMetadata,
    InitWeights,
    Run,
    TaskSpec,
    mark_only_trials,
    rule_identity,
    run_id,
    variant_hash,
)
from adamcmp.plan.search import Dimension, SearchState

LABELLED_ELSEWHERE = ("optimizer", "optimizer.lr", "optimizer.weight_decay", "seed")
TASK_KEYS = ("data", "model", "train")


@dataclass(frozen=True)
class SweptValue:
    """One value of a swept key: as Python sees it, and as an override for Hydra."""

    python: Any
    override: str


Composing = Callable[[ConfigSource, Sequence[str]], Composed]
Space = dict[str, list[SweptValue]]
"""A sub-grid: dotted key or group → values."""


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
    own_sweeps = {o.key_or_group: _values(o) for o in parsed if o.is_sweep_override()}
    for key in own_sweeps:
        if key.partition(".")[0] in ("execute", "log", "report", "search", "study"):
            raise InputError(f"{key}: takes one value, since no run is another by it")
    base = compose(source, [*fixed, *(own_sweeps[group][0].override for group in GROUPS if group in own_sweeps)])
    config = validate_config(base, source)
    pinned = {o.key_or_group: _values(o) for o in parsed if _is_single_value(o)}
    spaces = _spaces(config, own_sweeps | pinned)
    sized(config, _count_runs(config, spaces))
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
    described = {**base.values, "study": {**config.study.model_dump(mode="json"), "spaces": _describe_spaces(spaces)}}
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


def _is_single_value(override: Override) -> bool:
    """Return a single value on the command line replaces a sweep of the same key in the study."""
    swept_by_studies = override.key_or_group.startswith("optimizer") or override.key_or_group in {*GROUPS, "seed"}
    return swept_by_studies and not override.is_sweep_override() and not override.is_delete()


def _values(override: Override) -> list[SweptValue]:
    """Return the values of a sweep; of anything else its only one, as it was given."""
    key = override.key_or_group
    if not override.is_sweep_override():
        return [SweptValue(override.value(), f"{key}={override.get_value_element_as_str()}")]
    texts = override.sweep_string_iterator()
    return [_value(key, value, text) for value, text in zip(override.sweep_iterator(), texts, strict=True)]


def _value(key: str, value: Any, text: str) -> SweptValue:
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
        text = f"choice({','.join(map(_literal, value))})" if isinstance(value, list) else _literal(value)
        try:
            space[key] = _values(parse_override(f"{key}={text}"))
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
    return space


def _literal(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(_nested_text, value))}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_nested_text(item)}" for key, item in value.items()) + "}"
    return str(value)


def _nested_text(value: Any) -> str:
    """Return a value in a list or mapping, where text that is more than a word needs quotes."""
    plain = not isinstance(value, str) or re.fullmatch(r"[\w./+-]+", value)
    return _literal(value) if plain else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _spaces(config: Config, own: Space) -> list[Space]:
    """Return the study's sub-grids with the command line's values in them."""
    where = f"study {config.study.name}"
    shared = _grid(config.study.grid, where)
    spaces = [shared | _grid(space, where) for space in config.study.spaces] or [shared]
    swept_optimizer = own.pop("optimizer", None)
    if swept_optimizer is not None:
        spaces = _of_optimizers(spaces, swept_optimizer, shared)
    space_keys = {key for space in spaces for key in space}
    return [space | {k: v for k, v in own.items() if len(v) > 1 or k in {*space_keys, "seed"}} for space in spaces]


def _count_runs(config: Config, spaces: Sequence[Space]) -> int:
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


def _describe_spaces(spaces: Sequence[Space]) -> list[dict[str, Any]]:
    return [{key: [value.python for value in values] for key, values in space.items()} for space in spaces]


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
        for chosen in _product(split):
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
                own = {key: [SweptValue(value, f"{key}={_literal(value)}")] for key, value in values.items()}
                words = {**held, **own}
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
    for combination in _product(static):
        chosen = [value.override for value in combination.values()]
        remaining = [text for text, key in keys.items() if key not in combination | swept]
        composed = composing(source, (*remaining, *chosen))
        task, schedule = _task(validate_config(composed, source), facts)
        for row in _product(swept):
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
                    (task, schedule), optimizer = _task(config, facts), config.optimizer
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


def _product(space: Space) -> Iterator[dict[str, SweptValue]]:
    for values in itertools.product(*space.values()):
        yield dict(zip(space, values, strict=True))


def _optimizer(composed: Composed, row: Mapping[str, SweptValue]) -> AnyRule:
    """Return the optimizer of one row: its values put in place."""
    name = composed.choices["optimizer"]
    values = dict(composed.values["optimizer"])
    for key, value in row.items():
        path = key.removeprefix("optimizer.")
        if path not in values and key not in FREE and "_target_" not in values:
            raise InputError(f"{key}: no such setting of optimizer {name}; {suggest_names(path, values)}")
        _set_nested(values, path.split("."), value.python)
    return validate_optimizer(values, name)


def _set_nested(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set a value in nested mappings, and copy those on its way: rows share them."""
    *above, last = path
    for key in above:
        inner = values.get(key)
        values[key] = dict(inner) if isinstance(inner, Mapping) else {}
        values = values[key]
    values[last] = value


def _task(config: Config, facts: Callable[[Data], DatasetMetadata]) -> tuple[TaskSpec, AnySchedule]:
    metadata = facts(config.data)
    train, examples = config.train, metadata.train_examples
    _check_criteria(config, metadata)
    if train.batch_size == "full" and train.accumulate > 1:
        raise InputError("train.accumulate: a full batch is one step; give train.batch_size a number, or accumulate=1")
    batch_size = examples if train.batch_size == "full" else train.batch_size * train.accumulate
    if batch_size > examples:
        times = f" × train.accumulate={train.accumulate}" if train.accumulate > 1 else ""
        raise InputError(
            f"train.batch_size={train.batch_size}{times}: {config.data.name} has {examples} training examples; "
            f"give at most {examples // max(train.accumulate, 1)}, or full"
        )
    steps = train.steps if train.steps is not None else max(1, round((train.epochs or 0) * (examples // batch_size)))
    if steps > MAX_STEPS:
        raise InputError(f"train.epochs={train.epochs:g}: are {steps:.3g} steps; at most {MAX_STEPS:,} make sense")
    if config.schedule.warmup_steps >= steps:
        raise InputError(
            f"schedule.warmup_steps={config.schedule.warmup_steps}: must be less than the budget of {steps} steps"
        )
    init = _init_weights(config.init) if config.init is not None else None
    ranks = config.execute.ranks
    if ranks > batch_size // train.accumulate:
        raise InputError(
            f"execute.ranks={ranks}: shares a batch of {batch_size // train.accumulate} examples. Give at most that "
            "many processes, or a larger train.batch_size"
        )
    return TaskSpec(config.data, config.model, train, metadata, batch_size, steps, init, ranks), config.schedule


def _check_criteria(config: Config, metadata: DatasetMetadata) -> None:
    """Refuse a loss or a metric that does not fit the targets."""
    loss, error, targets = config.train.loss, config.train.error, metadata.targets
    fitting = [metric.name for metric in METRIC_SPECS[targets]]
    if error not in ("auto", *fitting):
        raise InputError(
            f"train.error={error}: {config.data.name} has {targets} to predict; fitting: {', '.join(fitting)}"
        )
    if isinstance(loss, CustomLoss):
        return
    if loss.name not in ("auto", *LOSS_NAMES[targets]):
        raise InputError(
            f"train.loss={loss.name}: {config.data.name} has {targets} to predict; fitting: "
            f"{', '.join(LOSS_NAMES[targets])}, or a function of your own (train.loss._target_=…)"
        )
    weighted = loss.class_weights is not None or loss.label_smoothing > 0
    if targets == "quantities" and weighted:
        raise InputError("train.loss: label_smoothing and class_weights are for classes and labels, not for quantities")
    if isinstance(loss.class_weights, tuple) and len(loss.class_weights) != metadata.num_outputs:
        raise InputError(
            f"train.loss.class_weights: {len(loss.class_weights)} weights; {config.data.name} has "
            f"{metadata.num_outputs} {targets}"
        )
    if loss.class_weights == "balanced" and (not metadata.class_counts or 0 in metadata.class_counts):
        raise InputError(
            f"train.loss.class_weights=balanced: needs every one of at most {MAX_COUNTED_CLASSES:,} {targets} in the "
            "training part; give the weights as a list"
        )


@cache
def _init_weights(start: InitSettings) -> InitWeights:
    path = start.path
    file = Path(path).expanduser().absolute()
    try:
        return InitWeights(str(file), hashlib.sha256(file.read_bytes()).hexdigest()[:16], start.skip, start.strict)
    except OSError as error:
        raise InputError(
            f"init={path}: cannot be read ({error.strerror}); give a .safetensors file, as train.save leaves in "
            "results/<study>/weights"
        ) from error
