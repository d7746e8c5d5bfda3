"""What ``adamcmp reproduce`` offers: one module a figure, with the study it trains and the verdict it gives.

A module here has ``STUDY``, the name of its configuration under ``configs/study/``, and ``verdict(records)``, which
returns statements about the measured numbers, each with its interval. A new module needs no registration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple

import pandas as pd

from adamcmp.errors import InputError, closest


class Reproduction(NamedTuple):
    """A figure of the paper as this project measures it."""

    name: str
    summary: str
    study: str
    verdict: Callable[[pd.DataFrame], list[str]]


def available() -> Iterator[Reproduction]:
    """Every reproduction there is."""
    for info in iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        yield Reproduction(info.name, (module.__doc__ or "").splitlines()[0], module.STUDY, module.verdict)


def reproduction(name: str) -> Reproduction:
    """The reproduction of that name.

    Raises:
        InputError: there is none.
    """
    found = {each.name: each for each in available()}
    if name not in found:
        raise InputError(f"{name}: nothing to reproduce by that name; {closest(name, found)}")
    return found[name]


def verdict_of(study: str) -> Callable[[pd.DataFrame], list[str]] | None:
    """The verdict that belongs to a study's stored runs, if there is one."""
    return next((each.verdict for each in available() if each.study == study), None)
