"""The commands as Python functions: a sweep, a recommendation, a comparison of a table.

A function does what its command does, in this process, and prints the same stages. Ctrl-C, or a notebook's stop
button, lets trainings write their checkpoints and raises KeyboardInterrupt; the same call resumes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adamcmp import signals
from adamcmp.errors import InputError, suggest_names
from adamcmp.study import Study

if TYPE_CHECKING:
    import pandas as pd

Overrides = Sequence[str] | Mapping[str, Any]
"""Settings to change: ``["optimizer=adam,adamw"]``, or ``{"optimizer": ["adam", "adamw"]}``."""


def _name_of(key: str, function: Any) -> str:
    """Return the importable name of a function, which other processes import.

    Raises:
        InputError: it is defined in the program or notebook itself, or inside a function.
    """
    module, name = str(getattr(function, "__module__", None)), str(getattr(function, "__qualname__", ""))
    if module == "__main__" or "<" in name or not name:
        raise InputError(
            f"{key}: {name or function!r} cannot be imported by other processes; define it in a file, such as "
            f"my_module.py, and give {key}='my_module.{name.rpartition('.')[2] or 'train'}'"
        )
    return f"{module}.{name}"


LIST_SETTINGS = ("study.seeds", "train.metrics", "study.spaces", "log", "files")
"""Settings whose list is one value, not a sweep."""


@contextmanager
def _command(words: Sequence[str], *, quiet: bool) -> Iterator[None]:
    """Let output, provenance and signals be those of a command inside the block."""
    from adamcmp.cli.app import as_command

    options = ["--quiet"] if quiet else []
    with as_command([*words, *options]), signals.interruptible():
        yield


def _words(overrides: Overrides) -> list[str]:
    """Return overrides as words of a command line."""
    if not isinstance(overrides, Mapping):
        items: Any = overrides
        wrong = [item for item in items if not isinstance(item, str)] if isinstance(items, list | tuple) else [items]
        if wrong:
            raise InputError(f"overrides: {wrong[0]!r}; give a list of texts such as 'optimizer=adam', or a mapping")
        return list(overrides)
    from adamcmp.plan.search_spaces import override_text

    words = []
    for key, value in overrides.items():
        if callable(value):
            value = _name_of(key, value)
        if isinstance(value, list | tuple) and not value and key not in LIST_SETTINGS:
            raise InputError(f"{key}: the list is empty; give at least one value")
        several = isinstance(value, list | tuple) and len(value) > 0 and key not in LIST_SETTINGS
        text = ",".join(override_text(item) for item in value) if several else override_text(value)
        words.append(f"{key}={text}")
    return words


def sweep(
    config: str,
    overrides: Overrides = (),
    *,
    results_dir: str | Path = "results",
    config_dir: str | Path | None = None,
    device: str | None = None,
    limit: int | None = None,
    quiet: bool = False,
) -> Study:
    """Tune optimizers, compare them on held-out seeds, and return the study; stored runs are not trained again.

    Args:
        config: name of a configuration or study, or path of a YAML file; ``script`` and ``function`` sweep your own
            training code.
        overrides: settings to change, as ``adamcmp sweep`` takes them: a list of texts, or a mapping in which a list
            is a sweep.
        results_dir: folder or URL of results.
        config_dir: folder with YAML files of your own.
        device: ``cpu``, ``cuda``, … or None for the configuration's.
        limit: maximum number of missing runs to train.
        quiet: print warnings only.

    Raises:
        adamcmp.errors.InputError: a setting, the data or the model cannot be used.
        KeyboardInterrupt: it was interrupted; the same call resumes.

    >>> import tempfile
    >>> changes = {"optimizer": ["adam", "adamw"], "study.seeds": 2, "train.steps": 20}
    >>> study = sweep("digits", changes, results_dir=tempfile.mkdtemp(), quiet=True)
    >>> study.leaderboard["arm"].tolist()
    ['Adam + L2', 'AdamW']
    """
    words = _words(overrides)
    if limit is not None and (isinstance(limit, bool) or not hasattr(limit, "__index__") or limit < 0):
        raise InputError(f"limit={limit!r}: must be a whole number, 0 or larger")
    typed = ["sweep", str(config), *words]
    with _command(typed, quiet=quiet):
        from adamcmp.cli.app import home_expanded
        from adamcmp.cli.sweep_stages import open_study, run_sweep, submitted_elsewhere
        from adamcmp.storage.backend import open_path

        opened = open_study(
            lambda: str(config), home_expanded(words), open_path(results_dir), _path(config_dir), device
        )
        opened.words = typed
        submitted_elsewhere(opened)
        run_sweep(opened, limit)
        notes = _check_notes(opened.study_dir)
    return Study((opened.study_dir,), notes)


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def _check_notes(study_dir: Path) -> tuple[str, ...]:
    from adamcmp.report.check_table import load_check

    check = load_check(study_dir)
    return () if check is None else check.notes


@dataclass(frozen=True)
class Recommended:
    """The optimizer that ``recommend`` proposes.

    >>> import tempfile
    >>> answer = recommend("digits", {"train.steps": 10}, budget="15s", results_dir=tempfile.mkdtemp(), quiet=True)
    >>> answer.optimizer in ("Adam + L2", "AdamW"), answer.lr > 0
    (True, True)
    """

    optimizer: str
    """Name of the optimizer, as tables have it."""
    lr: float
    """Peak learning rate α."""
    weight_decay: float
    """λ, in the convention of the optimizer."""
    text: str
    """Reasons and confidence, in words."""
    is_sure: bool
    """Every comparison with another optimizer is decided."""
    code: str
    """PyTorch code with these settings."""
    study: Study
    """The runs that were trained."""


def recommend(
    config: str = "digits",
    overrides: Overrides = (),
    *,
    budget: str = "30m",
    optimizers: str | Sequence[str] = ("adam", "adamw"),
    results_dir: str | Path = "results",
    config_dir: str | Path | None = None,
    device: str | None = None,
    quiet: bool = False,
) -> Recommended:
    """Recommend an optimizer and its settings within a time budget.

    Args:
        config: as ``sweep`` takes it.
        overrides: as ``sweep`` takes them.
        budget: time, such as ``90s``, ``30m`` or ``2h``.
        optimizers: names of the optimizers to compare, in a list or separated by commas.
        results_dir: folder or URL of results.
        config_dir: folder with YAML files of your own.
        device: where to train; None: as configured.
        quiet: print warnings only.

    Raises:
        adamcmp.errors.InputError: a setting cannot be used, or nothing completed within the budget.

    >>> recommend("digits", budget="soon")
    Traceback (most recent call last):
    adamcmp.errors.InputError: --budget soon: is not a time; give a time such as 90s, 30m or 2h
    """
    words = _words(overrides)
    budget, names = str(budget), optimizers if isinstance(optimizers, str) else ",".join(map(str, optimizers))
    if not names:
        raise InputError("optimizers: the list is empty; give names such as adam and adamw")
    options = ["--budget", budget, "--optimizers", names]
    with _command(["recommend", str(config), *words, *options], quiet=quiet):
        from adamcmp.cli.app import home_expanded
        from adamcmp.cli.recommend import find_recommendation
        from adamcmp.storage.backend import open_path

        folder, found = find_recommendation(
            str(config), home_expanded(words), budget, names, open_path(results_dir),
            _path(config_dir), device,
        )  # fmt: skip
    return Recommended(
        found.arm,
        found.lr,
        found.weight_decay,
        found.paragraph,
        found.is_sure,
        found.recipes["torch"],
        Study((folder,)),
    )


def compare(
    frame: pd.DataFrame,
    *,
    optimizer: str | None = None,
    seed: str | None = None,
    metric: str | None = None,
    validation: str | None = None,
    lr: str | None = None,
    weight_decay: str | None = None,
    task: str | None = None,
    step: str | None = None,
    stage: str | None = None,
    settings: Sequence[str] = (),
    better: Literal["auto", "lower", "higher"] = "auto",
    unit: str = "auto",
    margin: float | None = None,
    reference: str | None = None,
    tuning_seeds: int | None = None,
) -> Study:
    """Compare the optimizers of a table of results, a row per run or evaluation; roles of columns are guessed by name.

    Args:
        frame: the table.
        optimizer: column with the optimizer.
        seed: column with the seed.
        metric: column with the metric that is compared, on test data.
        validation: column with the metric that selects trials.
        lr: column with the learning rate.
        weight_decay: column with the weight decay.
        task: column with the task, for results on several data sets.
        step: column with the step, if rows are evaluations.
        stage: column that says ``tune`` or ``held-out``.
        settings: columns that distinguish variants of an optimizer.
        better: whether a lower or higher metric is better; ``auto`` decides by its name.
        unit: ``share``, ``percent``, ``none``, ``auto``, or a unit to show.
        margin: equivalence margin, in the shown unit.
        reference: an optimizer that all others are compared with; None: all pairs.
        tuning_seeds: number of first seeds of all trials that select; None: half, if an optimizer has several trials.

    Raises:
        adamcmp.errors.InputError: a column is missing, has wrong values, or rows repeat a run.

    >>> import pandas as pd
    >>> rows = [{"opt": o, "seed": s, "test_acc": 0.9 + 0.02 * (o == "b") + 0.001 * (s * (3 + (o == "b")) % 7)}
    ...         for o in "ab" for s in range(6)]
    >>> compare(pd.DataFrame(rows), optimizer="opt", seed="seed", metric="test_acc").verdicts["verdict"].tolist()
    ['different']
    """
    import pandas as pd

    from adamcmp.engine.line_parser import to_number
    from adamcmp.importing.roles import find_roles
    from adamcmp.importing.sources import with_numbers
    from adamcmp.importing.to_records import ImportOptions, to_records
    from adamcmp.report.verdict_text import ComparisonSettings

    given = {
        "optimizer": optimizer, "seed": seed, "test": metric, "validation": validation, "lr": lr,
        "weight_decay": weight_decay, "task": task, "step": step, "stage": stage,
    }  # fmt: skip
    given = {role: None if column is None else str(column) for role, column in given.items()}
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"compare: takes a pandas DataFrame with one row per run, not {type(frame).__name__}")
    if margin is not None and not (to_number(margin) and 0 < float(margin) < float("inf")):
        raise InputError(f"margin={margin}: must be a positive number, in the shown unit of the metric")
    frame = with_numbers(frame.rename(columns=str).reset_index(drop=True))
    arguments = {"test": "metric", "setting": "settings"}
    roles, _ = find_roles(
        frame,
        {**given, "settings": (settings,) if isinstance(settings, str) else tuple(map(str, settings))},
        lambda role, column: f"{arguments.get(role, role)}={column}",
    )
    optimizers = set(frame[roles.optimizer].dropna().astype(str)) if roles.optimizer else set()
    if reference is not None and reference not in optimizers:
        raise InputError(f"reference={reference}: no such optimizer; {suggest_names(reference, optimizers)}")
    imported = to_records(frame, roles, ImportOptions("comparison", better, unit, tuning_seeds))
    return Study._of_records(imported.records, imported.notes, ComparisonSettings(margin, reference))
