"""From the words of a command to a plan, and to what training it takes: how ``run`` and ``sweep`` start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from adamcmp.config.compose import program_kind
from adamcmp.config.lookup import find_config
from adamcmp.config.program_overrides import quote_raw_value
from adamcmp.config.schema import Config, Data, ExecutionSettings
from adamcmp.errors import InputError
from adamcmp.execute import dataset_cache
from adamcmp.execute.fork_server import start_fork_server
from adamcmp.execute.study_dir import missing_runs
from adamcmp.plan.expand import Plan, plan_study
from adamcmp.plan.programs import ProgramTask, program_of
from adamcmp.plan.runs import DatasetMetadata, Run, TaskSpec, group_runs
from adamcmp.storage.records import read_records
from adamcmp.text_safety import to_one_line
from adamcmp.untrusted import load_object

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from adamcmp.data.dataset import Dataset

MIN_RUNS_FOR_POOL = 100
"""Runs from which training processes are likely to be wanted: their server starts while the plan is made."""
MIN_STEPS_FOR_POOL = 50_000
"""Steps of all runs from which a benchmark may pay: ``default.MIN_SECONDS_TO_BENCHMARK`` over
``default.STEP_OVERHEAD_SECONDS``.

That module is not imported here, since it imports torch.
"""
PrintFn = Callable[[str], None]


@dataclass
class Session:
    """A plan with the data and models that its training needs, loaded on demand."""

    plan: Plan
    study_dir: Path
    datasets: dict[str, Dataset] = field(default_factory=dict)
    """Loaded data sets by fingerprint."""
    notes: list[str] = field(default_factory=list)
    """Notes on the data for the user: placeholders of a dry run; duplicates."""
    words: Sequence[str] | None = None
    """Words of the command that trains this study, if they differ from the typed ones."""
    models: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """Summaries of models, by task."""
    printed: set[str] = field(default_factory=set)
    """Notes on the training that were printed; each stage has the same ones."""
    is_announced: bool = False
    """Whether the study's name, task and device were printed."""
    _checked: set[str] = field(default_factory=set)
    _shown: set[tuple[tuple[str, str], ...]] = field(default_factory=set)

    def summary(self, task: TaskSpec) -> str:
        """Return the data and model summary of a task as lines; empty if its data are not loaded."""
        dataset = self.datasets.get(task.facts.fingerprint)
        lines = [*(dataset.summary if dataset is not None else ()), *self.models.get(task.key, ())]
        return "\n".join(to_one_line(f"{heading}: {text}") for heading, text in lines)

    def unseen_summaries(self, todo: Sequence[Run]) -> list[tuple[str, str]]:
        """Return the summaries of the data sets and models of runs, each once per session."""
        lines: list[tuple[str, str]] = []
        for task in {run.task.key: run.task for run in todo}.values():
            dataset = self.datasets.get(task.facts.fingerprint)
            data = dataset.summary if dataset is not None else ()
            if data:
                data = ((data[0][0], f"{task.data.name}: {data[0][1]}"), *data[1:])
            for block in (data, self.models.get(task.key, ())):
                if block not in self._shown:
                    self._shown.add(block)
                    lines += block
        return lines

    @property
    def device(self) -> torch.device:
        """Where to train; where models are looked at, when nodes of a cluster train.

        Raises:
            InputError: there is no such device here.
        """
        from adamcmp.engine.loading import choose_device

        execute = self.plan.config.execute
        return choose_device(execute.device if execute.where == "local" else "cpu")

    def prepare(self, todo: Sequence[Run], say: PrintFn) -> None:
        """Load the data of runs, and build every model and kind of update once, before anything is trained.

        Raises:
            InputError: the device, the data or a custom class is wrong.
        """
        new = [run for run in todo if run.id not in self._checked]
        if not new:
            return
        if program_of(new) is not None:
            self._prepare_program(new)
            return
        from adamcmp.engine.check_before_training import check_before_training

        device = self.device
        for task in {run.task.facts.fingerprint: run.task for run in new}.values():
            if task.facts.fingerprint not in self.datasets:
                say(f"loading {task.data.name}")
                _load_data(task.data, self.plan.config.execute, self.datasets, self.notes)
                if task.facts.fingerprint not in self.datasets:
                    dataset_cache.invalidate_metadata(task.data)
                    raise InputError(f"data={task.data.name}: has changed since it was last loaded; run this again")
        say("building models")
        self.models |= check_before_training(group_runs(new), self.datasets, device)
        self._checked.update(run.id for run in new)

    def _prepare_program(self, new: Sequence[Run]) -> None:
        """Import a function, and check that a search by pruning knows the steps.

        Raises:
            InputError: the function cannot be imported, or steps are not known.
        """
        from adamcmp.config.instantiate import find_target

        program, task = program_of(new), new[0].task
        assert program is not None
        assert isinstance(task, ProgramTask)
        if program.kind == "function":
            find_target(program.target, "target")
        if self.plan.config.search.method == "asha" and not task.has_steps:
            raise InputError("search=asha: prunes at fractions of the budget; give train.steps=N")
        self._checked.update(run.id for run in new)


def _load_data(
    settings: Data,
    execute: ExecutionSettings,
    datasets: dict[str, Dataset],
    notes: list[str],
    *,
    stand_in: bool = False,
) -> DatasetMetadata:
    """Load a data set, and keep its facts; one that is not here may be taken by its official size."""
    from adamcmp.engine import loading
    from adamcmp.engine.strategy.cost import data_memory

    try:
        dataset = loading.load_data(settings, data_memory(execute))
        dataset_cache.save_metadata(settings, loading.dataset_metadata(dataset))
    except InputError as error:
        if not stand_in or settings.official is None:
            raise
        notes.append(f"{settings.name} is not here, and is planned by its official size ({error})")
        dataset = loading.placeholder_dataset(settings, settings.official)
    datasets[dataset.fingerprint] = dataset
    notes.extend(dataset.notes)
    return loading.dataset_metadata(dataset)


def note_other_files(config: Config, records: pd.DataFrame | None, study_dir: Path) -> list[str]:
    """Return a note if a study has runs on another file than the one that is given now."""
    path = config.data.arguments.get("path")
    if not isinstance(path, str) or records is None:
        return []
    stored = records["settings"].drop_duplicates()
    paths = {load_object(text).get("data_settings", {}).get("arguments", {}).get("path") for text in stored}
    other_files = sorted(str(other) for other in paths - {path, None})
    if not other_files:
        return []
    return [f"{study_dir} also has runs on {', '.join(other_files[:3])}; set study.name=NAME to keep {path} apart"]


def open_session(
    config: str,
    overrides: Sequence[str],
    *,
    results_dir: Path,
    config_dir: Path | None,
    device: str | None,
    dry_run: bool = False,
    only_failed: bool = False,
    say: PrintFn = lambda _: None,
) -> Session:
    """Plan a study, and prepare the training of its missing runs.

    Nothing is written but caches; ``say`` receives status messages. A dry run plans a published data set that is not
    available by its official size.

    Raises:
        InputError: anything in the configuration, the overrides, the data or a custom class is wrong.
    """
    datasets: dict[str, Dataset] = {}
    notes: list[str] = []

    def load(settings: Data, execute: ExecutionSettings) -> DatasetMetadata:
        metadata = dataset_cache.load_metadata(settings)
        if metadata is None:
            say(f"loading {settings.name}")
            metadata = _load_data(settings, execute, datasets, notes, stand_in=dry_run)
        return metadata

    all_overrides = [*overrides, *([f"execute.device='{device}'"] if device is not None else [])]

    def sized(settings: Config, runs: int) -> None:
        is_large = runs >= MIN_RUNS_FOR_POOL and settings.program is None
        if not dry_run and is_large and not (results_dir / settings.study.name / "records").exists():
            start_fork_server()  # surely there is much to train

    all_overrides = [quote_raw_value(text) for text in all_overrides]  # as stored commands have them
    source = find_config(config, config_dir)
    if not dry_run and program_kind(source) is not None:
        start_fork_server(programs=True)
    planned = plan_study(source, all_overrides, load, sized)
    session = Session(planned, results_dir / planned.config.study.name, datasets, notes)
    records = read_records(session.study_dir) if (session.study_dir / "records").is_dir() else None
    todo = missing_runs(planned.runs, session.study_dir, only_failed=only_failed, records=records)
    notes += note_other_files(planned.config, records, session.study_dir)
    if dry_run:
        return session  # models are built if their plan is not cached
    if program_of(todo) is None and len(todo) > 1 and sum(run.task.steps for run in todo) >= MIN_STEPS_FOR_POOL:
        start_fork_server()
    session.prepare(todo, say)
    return session
