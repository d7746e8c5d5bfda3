"""The command that trained stored runs, as words that train more of them."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import NamedTuple

import pandas as pd

TRAINING = ("run", "sweep", "reproduce")
"""Commands whose words say what was trained."""


def _words(records: pd.DataFrame, study: str) -> list[str]:
    """Of the command that trained the latest of these runs, as a sweep."""
    latest = records.sort_values("finished_at")["command"].dropna()
    words = shlex.split(latest.iloc[-1])[1:] if len(latest) else []
    if not words or words[0] not in TRAINING:
        return ["sweep", study]
    return ["sweep", *_this_time_only().parse_known_args(words[1:])[1]]


class Trained(NamedTuple):
    """What a stored study was trained with, as words of a command line."""

    study: str
    overrides: list[str]
    config_dir: Path | None


def trained_with(records: pd.DataFrame, arms: tuple[str, str]) -> Trained | None:
    """By the latest command that trained both arms, which are told by label or optimizer; None where there is none."""
    ordered = records.sort_values("finished_at")
    names = pd.concat(
        [ordered[["command", "arm"]], ordered[["command", "optimizer"]].set_axis(["command", "arm"], axis=1)]
    )
    known = names.dropna().groupby("command")["arm"].agg(set)
    trained = ordered.loc[ordered["command"].str.split().str[1].isin(TRAINING), "command"]
    latest = [each for each in trained if set(arms) <= known[each]]
    if not latest:
        return None
    found = words_of(ordered[ordered["command"] == latest[-1]], "")
    return found if found.study else None


def words_of(records: pd.DataFrame, study: str) -> Trained:
    """What the latest of these runs was trained with; the study alone where that is not known."""
    parser = _this_time_only()
    for option in ("--results-dir", "--config-dir", "--device"):
        parser.add_argument(option)
    given, words = parser.parse_known_args(_words(records, study)[1:])
    return Trained(words[0] if words else study, words[1:], Path(given.config_dir) if given.config_dir else None)


def _this_time_only() -> argparse.ArgumentParser:
    """Takes the options out that tell nothing of what is to be trained."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    flags = ("--report", "--only-failed", "--extend", "--debug", "--json", "--collect", "--trust", "--dry-run")
    for flag in flags:
        parser.add_argument(flag, action="store_true")
    parser.add_argument("-q", "--quiet", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    for option in ("--format", "--limit"):
        parser.add_argument(option, action="append")
    return parser
