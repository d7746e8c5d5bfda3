"""From the words of a command to a plan with its data loaded: what ``run``, ``sweep`` and ``reproduce`` start with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from adamcmp.config.compose import locate
from adamcmp.config.schema import Data, Execute
from adamcmp.data.dataset import Dataset
from adamcmp.engine.inputs import check, choose_device, facts, load_data, stand_in
from adamcmp.engine.memory import data_memory
from adamcmp.errors import InputError
from adamcmp.execute.local import missing
from adamcmp.execute.pool import prepare
from adamcmp.plan.expand import Plan, plan
from adamcmp.plan.runs import DataFacts, cohorts

MANY = 100
"""Runs from which training processes are likely to be wanted: their server starts while the plan is checked."""


@dataclass(frozen=True)
class Session:
    """A plan, ready to be trained."""

    plan: Plan
    datasets: dict[str, Dataset]
    """By fingerprint."""
    device: torch.device
    study_dir: Path
    notes: tuple[str, ...] = ()
    """What the user should know of the data: what a dry run plans with in place of what is not here; copies."""


def open_session(
    config: str,
    overrides: Sequence[str],
    *,
    results_dir: Path,
    config_dir: Path | None,
    device: str | None,
    dry_run: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Session:
    """Plan a study, load its data, and build what is still to train once: every model and kind of update.

    Nothing is written; ``say`` is told what is being done. A dry run takes a published data set that is not here by
    its official size.

    Raises:
        InputError: anything in the configuration, the overrides, the data or an own class is wrong.
    """
    datasets: dict[str, Dataset] = {}
    notes: list[str] = []

    def load(settings: Data, execute: Execute) -> DataFacts:
        say(f"loading {settings.name}")
        try:
            dataset = load_data(settings, data_memory(execute))
        except InputError as error:
            if not dry_run or settings.official is None:
                raise
            notes.append(f"{settings.name} is not here, and is planned by its official size ({error})")
            dataset = stand_in(settings, settings.official)
        datasets[dataset.fingerprint] = dataset
        notes.extend(dataset.notes)
        return facts(dataset)

    given = [*overrides, *([f"execute.device='{device}'"] if device is not None else [])]
    planned = plan(locate(config, config_dir), given, load)
    study_dir = results_dir / planned.config.study.name
    todo = missing(planned.runs, study_dir)
    if len(todo) >= MANY:
        prepare()
    chosen = choose_device(planned.config.execute.device)
    if todo:
        say("building models")
        check(cohorts(todo), datasets, chosen)
    return Session(planned, datasets, chosen, study_dir, tuple(notes))
