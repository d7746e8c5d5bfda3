"""Commands that train runs, rebuilt from the command line and the settings that records store."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from adamcmp.analysis import split_by_task
from adamcmp.config.lookup import list_group

TRAINING_COMMANDS = ("run", "sweep", "reproduce")
"""Commands that train runs."""


class TrainCommand(NamedTuple):
    """Words of the command that trained a stored study."""

    study: str
    overrides: list[str]
    config_dir: Path | None


def find_train_command(records: pd.DataFrame, arms: tuple[str, str]) -> TrainCommand | None:
    """Return the latest command that trained both optimizers, which labels or configurations name; None without any."""
    ordered = records.sort_values("finished_at")
    names = pd.concat(
        [ordered[["command", "arm"]], ordered[["command", "optimizer"]].set_axis(["command", "arm"], axis=1)]
    )
    labels = [task.records[["command", "arm"]] for task in split_by_task(ordered)]  # with settings that vary
    arms_by_command = pd.concat([names, *labels]).dropna().groupby("command")["arm"].agg(set)
    trained = ordered.loc[ordered["command"].str.split().str[1].isin(TRAINING_COMMANDS), "command"]
    latest = [command for command in trained if set(arms) <= arms_by_command[command]]
    if not latest:
        return None
    parsed = parse_train_command(ordered[ordered["command"] == latest[-1]], "")
    return parsed if parsed.study else None


def parse_train_command(records: pd.DataFrame, study: str) -> TrainCommand:
    """Return the command that trained the latest of these runs; only the study if it is unknown."""
    latest = records.sort_values("finished_at")["command"].dropna()
    typed = shlex.split(latest.iloc[-1])[1:] if len(latest) else []
    if not typed or typed[0] not in TRAINING_COMMANDS:
        return TrainCommand(study, [], None)
    parser = _session_options()
    for option in ("--results-dir", "--config-dir", "--device"):
        parser.add_argument(option)
    options, words = parser.parse_known_args(typed[1:])
    return TrainCommand(
        words[0] if words else study, words[1:], Path(options.config_dir) if options.config_dir else None
    )


def _session_options() -> argparse.ArgumentParser:
    """Return a parser of the options that do not affect the trained runs."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    flags = ("--report", "--only-failed", "--extend", "--debug", "--json", "--collect", "--trust", "--dry-run")
    for flag in flags:
        parser.add_argument(flag, action="store_true")
    parser.add_argument("-q", "--quiet", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    for option in ("--format", "--limit"):
        parser.add_argument(option, action="append")
    return parser


GROUPS = {"optimizer": "optimizer", "schedule": "schedule", "model": "model", "data_settings": "data"}
"""Parts of a run's settings that a named configuration gives, and their override keys."""
TRAIN = ("batch_size", "clip_norm", "accumulate", "ema", "precision")
SEED_KEYS = ("seed", "study.seeds", "study.confirm.seeds")
UNSETTABLE = ("name", "source", "target", "rule", "kind", "official")
"""Settings that no override gives, or the name of the configuration alone."""


def retraining_commands(records: pd.DataFrame, cells: Sequence[Sequence[str]], study: str) -> list[str]:
    """Return a command for each of some trials, given by the IDs of their runs; empty if their settings are unknown.

    Args:
        records: all runs of the study, which determine the settings that its commands swept.
        cells: ids of some of them.
        study: its name, for runs that have no command.
    """
    described = records.dropna(subset=["command", "settings"])
    values = {
        str(command): (parse_train_command(part, study), _swept_keys(part))
        for command, part in described.groupby("command")
    }
    columns = ("run_id", "finished_at", "command", "settings", "epochs", "seed")
    runs = {row[0]: row for row in zip(*(described[name] for name in columns), strict=True)}
    commands = []
    for ids in cells:
        of_cell = [runs[id_] for id_ in ids if id_ in runs]
        if not of_cell:
            commands.append("")
            continue
        *_, command, settings, epochs, _seed = max(of_cell, key=lambda row: (row[1], row[0]))
        seeds = sorted({int(row[-1]) for row in of_cell})
        commands.append(_pinned_overrides(*values[command], _flatten_settings(settings, epochs), seeds))
    return commands


def _flatten_settings(settings: str, epochs: float) -> dict[str, Any]:
    """Return a run's settings by override key; of a part that a configuration gives, its name under the part's own
    key.
    """
    loaded = json.loads(settings)
    if "program" in loaded or "imported" in loaded:
        return _flatten_program(loaded)
    flat: dict[str, Any] = {f"train.{key}": loaded[key] for key in TRAIN if key in loaded}
    for part, key in GROUPS.items():
        values: Mapping[str, Any] = loaded[part]
        flat[key] = values["name"]
        settings_by_name = {**values, **values.get("arguments", {})}
        flat |= {
            f"{key}.{name}": value for name, value in settings_by_name.items() if name not in (*UNSETTABLE, "arguments")
        }
    is_integer = float(epochs).is_integer()
    flat["train.epochs" if is_integer else "train.steps"] = int(epochs) if is_integer else loaded["steps"]
    return flat


def _flatten_program(loaded: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run of a script or function by override key."""
    optimizer = loaded["optimizer"]
    flat = {"optimizer": optimizer["name"]}
    values = {**optimizer, **optimizer.get("arguments", {})}
    skipped = (*UNSETTABLE, "arguments", "choice", "label")
    flat |= {f"optimizer.{name}": value for name, value in values.items() if name not in skipped}
    flat |= {f"params.{name}": value for name, value in loaded.get("params", {}).items()}
    if loaded.get("steps", 1) != 1:
        flat["train.steps"] = loaded["steps"]
    if loaded.get("program", {}).get("kind") == "function":
        flat["schedule"] = loaded["schedule"]["name"]
    return flat


def _swept_keys(records: pd.DataFrame) -> set[str]:
    """Return the keys in which runs of one command differ, among those of one configuration of each part."""
    several = records.drop_duplicates(["variant", "task", "lr", "weight_decay"])
    flats = [_flatten_settings(*row) for row in several[["settings", "epochs"]].itertuples(index=False)]
    differ = {key for key in GROUPS.values() if len({flat.get(key) for flat in flats}) > 1}
    for key in {key for flat in flats for key in flat} - set(GROUPS.values()):
        part = key.partition(".")[0]
        values: dict[object, set[str]] = {}
        for flat in flats:
            values.setdefault(flat.get(part), set()).add(json.dumps(flat.get(key)))
        if any(len(value) > 1 for value in values.values()):
            differ.add(key)
    return differ


def _changed_settings(flat: Mapping[str, Any]) -> list[str]:
    """Return the keys whose values are others than those of the configuration that adamcmp ships."""
    changed = []
    for group in GROUPS.values():
        shipped = _shipped_settings(group).get(str(flat.get(group)), {})
        prefix = f"{group}."
        changed += [
            key for key in flat if key.startswith(prefix) and _differs(shipped, key.removeprefix(prefix), flat[key])
        ]
    return changed


def _differs(shipped: Mapping[str, Any], name: str, value: Any) -> bool:
    return name in shipped and json.dumps(shipped[name]) != json.dumps(value) and shipped[name] != value


@cache
def _shipped_settings(group: str) -> dict[str, dict[str, Any]]:
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) or {} for path in list_group(group).values()}


def _pinned_overrides(trained: TrainCommand, swept: set[str], flat: Mapping[str, Any], seeds: list[int]) -> str:
    always = ["schedule", *_changed_settings(flat)]
    if "optimizer.decay" in flat:  # one of our rules: others may have no such settings
        always += ["optimizer", "optimizer.lr", "optimizer.weight_decay"]
    elif "data" not in flat:  # of a program
        always += [
            "optimizer",
            "optimizer.lr",
            *(["optimizer.weight_decay"] if "optimizer.weight_decay" in swept else []),
        ]
    given_keys = [word.lstrip("+").partition("=")[0] for word in trained.overrides]
    wanted = (key for key in flat if (key in swept or key in always) and f"{key}._target_" not in given_keys)
    keys = sorted(wanted, key=lambda key: (key not in GROUPS.values(), key))
    remaining = [
        word for word, key in zip(trained.overrides, given_keys, strict=True) if key not in {*keys, *SEED_KEYS}
    ]
    alone = [] if swept <= set(given_keys) else ["study.grid=null", "study.spaces=null"]
    pinned = [f"{key}={_override_value(flat[key])}" for key in keys]
    where = ["--config-dir", str(trained.config_dir)] if trained.config_dir else []
    words = [
        "adamcmp",
        "sweep",
        trained.study,
        *remaining,
        *alone,
        *pinned,
        f"study.seeds={_seeds_setting(seeds)}",
        "study.confirm.seeds=0",
    ]
    return shlex.join([*words, *where, "--results-dir", "again"])


def _seeds_setting(seeds: list[int]) -> str:
    """Return a value of ``study.seeds``: the number of seeds if they are the first ones, else a list."""
    return str(len(seeds)) if seeds == list(range(len(seeds))) else _override_value(seeds)


def _override_value(value: Any) -> str:
    """Return a value as an override writes it."""
    match value:
        case bool() | None:
            return json.dumps(value)
        case str() if not value.isidentifier():
            return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        case list():
            return f"[{','.join(map(_override_value, value))}]"
        case dict():
            return "{" + ",".join(f"{key}:{_override_value(item)}" for key, item in value.items()) + "}"
    return str(value)
