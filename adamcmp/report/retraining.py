"""The command that trains the runs of one cell again, from the command that trained them.

What that one swept is pinned to the cell's values: all settings in which its runs differ. A setting that follows from a
named configuration (an optimizer's ε, say) is not written out, unless runs of that configuration differ in it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pandas as pd
import yaml

from adamcmp.config.lookup import list_group
from adamcmp.report.hints import Trained, words_of

GROUPS = {"optimizer": "optimizer", "schedule": "schedule", "model": "model", "data_settings": "data"}
"""Parts of a run's settings that a named configuration gives, and their override keys."""
TRAIN = ("batch_size", "clip_norm", "accumulate", "ema", "precision")
SEEDS = ("seed", "study.seeds", "study.confirm.seeds")
NOT_GIVEN = ("name", "source", "target", "rule", "kind", "official")
"""Settings that no override gives, or the name of the configuration alone."""


def retraining(records: pd.DataFrame, cells: Sequence[Sequence[str]], study: str) -> list[str]:
    """A command for each of some cells, given by the ids of their runs; empty where nobody knows how they were trained.

    Args:
        records: all runs of the study, which tell what its commands swept.
        cells: ids of some of them.
        study: its name, for runs that have no command.
    """
    told = records.dropna(subset=["command", "settings"])
    known = {str(command): (words_of(part, study), _swept(part)) for command, part in told.groupby("command")}
    columns = ("run_id", "finished_at", "command", "settings", "epochs", "seed")
    runs = {row[0]: row for row in zip(*(told[name] for name in columns), strict=True)}
    found = []
    for ids in cells:
        of_cell = [runs[each] for each in ids if each in runs]
        if not of_cell:
            found.append("")
            continue
        *_, command, settings, epochs, _seed = max(of_cell, key=lambda row: (row[1], row[0]))
        seeds = sorted({int(row[-1]) for row in of_cell})
        found.append(_pinned(*known[command], _flat(settings, epochs), seeds))
    return found


def _flat(settings: str, epochs: float) -> dict[str, Any]:
    """A run's settings by override key; of a part that a configuration gives, its name under the part's own key."""
    loaded = json.loads(settings)
    flat: dict[str, Any] = {f"train.{key}": loaded[key] for key in TRAIN if key in loaded}
    for part, key in GROUPS.items():
        values: Mapping[str, Any] = loaded[part]
        flat[key] = values["name"]
        given = {**values, **values.get("arguments", {})}
        flat |= {f"{key}.{name}": value for name, value in given.items() if name not in (*NOT_GIVEN, "arguments")}
    whole = float(epochs).is_integer()
    flat["train.epochs" if whole else "train.steps"] = int(epochs) if whole else loaded["steps"]
    return flat


def _swept(records: pd.DataFrame) -> set[str]:
    """The keys in which runs of one command differ, among those of one configuration of each part."""
    several = records.drop_duplicates(["variant", "task", "lr", "weight_decay"])
    flats = [_flat(*row) for row in several[["settings", "epochs"]].itertuples(index=False)]
    differ = {key for key in GROUPS.values() if len({flat[key] for flat in flats}) > 1}
    for key in {key for flat in flats for key in flat} - set(GROUPS.values()):
        part = key.partition(".")[0]
        values: dict[object, set[str]] = {}
        for flat in flats:
            values.setdefault(flat.get(part), set()).add(json.dumps(flat.get(key)))
        if any(len(each) > 1 for each in values.values()):
            differ.add(key)
    return differ


def _unusual(flat: Mapping[str, Any]) -> list[str]:
    """The keys whose values are others than those of the configuration that adamcmp ships."""
    found = []
    for group in GROUPS.values():
        shipped = _shipped(group).get(str(flat[group]), {})
        prefix = f"{group}."
        found += [
            key for key in flat if key.startswith(prefix) and _is_other(shipped, key.removeprefix(prefix), flat[key])
        ]
    return found


def _is_other(shipped: Mapping[str, Any], name: str, value: Any) -> bool:
    return name in shipped and json.dumps(shipped[name]) != json.dumps(value) and shipped[name] != value


@cache
def _shipped(group: str) -> dict[str, dict[str, Any]]:
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) or {} for path in list_group(group).values()}


def _pinned(trained: Trained, swept: set[str], flat: Mapping[str, Any], seeds: list[int]) -> str:
    always = ["schedule", *_unusual(flat)]
    if "optimizer.decay" in flat:  # one of our rules: others may have no such settings
        always += ["optimizer", "optimizer.lr", "optimizer.weight_decay"]
    given = [word.lstrip("+").partition("=")[0] for word in trained.overrides]
    wanted = (key for key in flat if (key in swept or key in always) and f"{key}._target_" not in given)
    keys = sorted(wanted, key=lambda key: (key not in GROUPS.values(), key))
    kept = [word for word, key in zip(trained.overrides, given, strict=True) if key not in {*keys, *SEEDS}]
    alone = [] if swept <= set(given) else ["study.grid=null", "study.spaces=null"]
    pinned = [f"{key}={_value(flat[key])}" for key in keys]
    where = ["--config-dir", str(trained.config_dir)] if trained.config_dir else []
    words = [
        "adamcmp",
        "sweep",
        trained.study,
        *kept,
        *alone,
        *pinned,
        f"study.seeds={_counted(seeds)}",
        "study.confirm.seeds=0",
    ]
    return shlex.join([*words, *where, "--results-dir", "again"])


def _counted(seeds: list[int]) -> str:
    """As ``study.seeds`` has them: how many, where they are the first ones."""
    return str(len(seeds)) if seeds == list(range(len(seeds))) else _value(seeds)


def _value(value: Any) -> str:
    """As an override has it."""
    match value:
        case bool() | None:
            return json.dumps(value)
        case str() if not value.isidentifier():
            return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        case list():
            return f"[{','.join(map(_value, value))}]"
        case dict():
            return "{" + ",".join(f"{key}:{_value(each)}" for key, each in value.items()) + "}"
    return str(value)
