"""From the words of a command to a plan with its data loaded: what ``run``, ``sweep`` and ``reproduce`` start with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from adamcmp.config.compose import locate
from adamcmp.config.schema import Data
from adamcmp.data.dataset import Dataset
from adamcmp.engine.inputs import check, choose_device, facts, load_data
from adamcmp.plan.expand import Plan, plan
from adamcmp.plan.runs import DataFacts, cohorts


@dataclass(frozen=True)
class Session:
    """A plan, ready to be trained."""

    plan: Plan
    datasets: dict[str, Dataset]
    """By fingerprint."""
    device: torch.device
    study_dir: Path


def open_session(
    config: str, overrides: Sequence[str], *, results_dir: Path, config_dir: Path | None, device: str | None
) -> Session:
    """Plan a study, load its data, and build every model and optimizer once; nothing is written.

    Raises:
        InputError: anything in the configuration, the overrides, the data or an own class is wrong.
    """
    datasets: dict[str, Dataset] = {}

    def load(settings: Data) -> DataFacts:
        dataset = load_data(settings)
        datasets[dataset.fingerprint] = dataset
        return facts(dataset)

    given = [*overrides, *([f"execute.device='{device}'"] if device is not None else [])]
    planned = plan(locate(config, config_dir), given, load)
    chosen = choose_device(planned.config.execute.device)
    check(cohorts(planned.runs), datasets, chosen)
    return Session(planned, datasets, chosen, results_dir / planned.config.study.name)
