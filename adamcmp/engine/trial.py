"""A trial: the argument of a user's training function, with its settings and the interface for reports."""

from __future__ import annotations

import inspect
import io
import math
import multiprocessing
import os
import random
import shutil
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from torch import nn

from adamcmp.config.schema import ScriptOptimizer
from adamcmp.engine.coefficients import schedule_of
from adamcmp.engine.line_parser import Record, flatten, to_number
from adamcmp.engine.rule_optimizer import make_torch_optimizer
from adamcmp.errors import InputError
from adamcmp.metrics.names import is_metric
from adamcmp.plan.programs import ProgramTask
from adamcmp.plan.runs import Run
from adamcmp.storage.backend import atomic_write

CHECKPOINT_FILE = "checkpoint.pt"
"""File of ``Trial.save`` in the folder of the run."""
DEFAULT_EVALUATIONS = 10
"""Evaluations for which ``Trial.due`` is true, evenly spread over the steps."""


class StopTraining(BaseException):
    """Ends a training function that does not look at ``should_stop``. No ``Exception``, so that loops let it pass."""


class Trial:
    """One training of a user's function: its settings, and the interface to adamcmp.

    >>> trial = Trial.for_test(lr=0.01, steps=3)
    >>> trial.report(1, validation_error=0.5)
    >>> trial.records
    [{'step': 1.0, 'validation_error': 0.5}]
    """

    def __init__(
        self,
        run: Run,
        device: torch.device,
        folder: Path,
        *,
        ending: Callable[[], str | None] = lambda: None,
        reported: Callable[[Record], None] = lambda _: None,
    ) -> None:
        """Make the trial of a run.

        Args:
            run: of a ``ProgramTask``.
            device: where to train.
            folder: private folder for outputs and the checkpoint.
            ending: returns why the training is to end, None while it may run.
            reported: called with each record.
        """
        assert isinstance(run.task, ProgramTask)
        self._run, self._ending, self._reported = run, ending, reported
        self._task: ProgramTask = run.task
        self._looked = False
        self.device = device
        """``torch.device`` of this training."""
        self.folder = folder
        """Private folder of this training, which exists."""
        self.records: list[Record] = []
        """Values that were reported so far."""
        self.example_errors: np.ndarray[Any, Any] | None = None
        """Error per test example, from ``report_examples``."""

    @classmethod
    def for_test(cls, *, steps: int | None = None, seed: int = 0, optimizer: str = "adamw", **settings: Any) -> Trial:
        """Return a trial to call a training function with outside a sweep.

        Its folder is temporary: it is removed with the trial.

        Args:
            steps: ``trial.steps``; None: not set.
            seed: seed of the trial.
            optimizer: name of an optimizer configuration.
            settings: of the optimizer, such as ``lr``; ``params`` is a mapping of params.

        >>> trial = Trial.for_test(optimizer="muon", seed=3, params={"dropout": 0.1})
        >>> trial.seed, trial.params["dropout"], trial.settings["name"]
        (3, 0.1, 'muon')
        """
        import tempfile

        from adamcmp.config.compose import compose
        from adamcmp.config.lookup import find_config
        from adamcmp.config.validate import validate_config
        from adamcmp.engine.rule_optimizer import optimizer_settings
        from adamcmp.plan.programs import build_program_task

        params = settings.pop("params", {})
        source = find_config("function")
        overrides = ["target=adamcmp.engine.trial.Trial", *([f"train.steps={steps}"] if steps else [])]
        config = validate_config(compose(source, overrides), source)
        assert config.program is not None
        config = config.model_copy(update={"program": config.program.model_copy(update={"params": params})})
        task, schedule = build_program_task(config)
        run = Run("trial", optimizer, task, optimizer_settings(optimizer, **settings), schedule, seed)
        folder = Path(tempfile.mkdtemp(prefix="adamcmp-trial-"))
        trial = cls(run, torch.device("cpu"), folder)
        weakref.finalize(trial, shutil.rmtree, folder, ignore_errors=True)
        return trial

    @property
    def seed(self) -> int:
        """Seed of this training. Python's, NumPy's and torch's generators are seeded with it before the call."""
        return self._run.seed

    @property
    def params(self) -> Mapping[str, Any]:
        """Values of ``params.NAME=…``."""
        return dict(self._task.program.params)

    @property
    def steps(self) -> int | None:
        """``train.steps``; None if it is not set."""
        return self._task.steps if self._task.has_steps else None

    @property
    def settings(self) -> Mapping[str, Any]:
        """Settings of the optimizer, such as ``lr``, ``weight_decay`` and ``name``."""
        return self._run.optimizer.model_dump()

    @property
    def lr(self) -> float:
        """Peak learning rate."""
        return self._run.optimizer.lr

    @property
    def weight_decay(self) -> float:
        """λ, in the convention of the optimizer."""
        return self._run.optimizer.weight_decay

    def optimizer(self, model: nn.Module | Any, *, lr_scale: float = 1.0, **changes: Any) -> torch.optim.Optimizer:
        """Return this trial's optimizer for a model or for parameters, as a ``torch.optim.Optimizer``.

        Args:
            model: a module, or parameters as ``adamcmp.optimizer`` takes them.
            lr_scale: factor of the learning rate, for a model with several optimizers.
            changes: other settings of the optimizer in place of this trial's.

        Raises:
            adamcmp.errors.InputError: a setting that the optimizer does not have, or no parameters.

        >>> trial = Trial.for_test(lr=0.01)
        >>> type(trial.optimizer(nn.Linear(2, 1))).__name__, trial.optimizer(nn.Linear(2, 1)).param_groups[0]["lr"]
        ('AdamW', 0.01)
        """
        settings = self._run.optimizer
        assert not isinstance(settings, ScriptOptimizer)
        changes = {"lr": settings.lr * lr_scale, **changes}
        if unknown := sorted(changes.keys() - type(settings).model_fields.keys()):
            raise InputError(f"trial.optimizer: {unknown[0]} is not a setting of {settings.name}")
        params = model.named_parameters() if isinstance(model, nn.Module) else model
        ratios = getattr(model, "width_ratios", None)
        return make_torch_optimizer(settings.model_copy(update=changes), params, steps=self.steps, ratios=ratios)

    def schedule(
        self, optimizer: torch.optim.Optimizer, steps: int | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """Return the configured schedule of the learning rate (``schedule=cosine``) for an optimizer.

        Call its ``step()`` after each step of the optimizer.

        Args:
            optimizer: any optimizer of torch.
            steps: T, the steps of the training; None: ``trial.steps``.

        Raises:
            adamcmp.errors.InputError: the number of steps is not known.

        >>> trial = Trial.for_test(lr=0.01, steps=100)
        >>> optimizer = trial.optimizer(nn.Linear(2, 1))
        >>> trial.schedule(optimizer).get_last_lr()
        [0.01]
        """
        total = steps or self.steps
        if total is None:
            raise InputError("trial.schedule: give steps=…, or train.steps=… on the command line")
        from dataclasses import replace

        schedule = schedule_of(replace(self._run, task=replace(self._task, steps=total)))
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: float(schedule.step(min(t, total - 1)).eta_T[0]))

    def due(self, step: int, evaluations: int = DEFAULT_EVALUATIONS) -> bool:
        """Return whether an evaluation is due after ``step``, counted from 0; always after the last step.

        Without ``trial.steps`` every step is.

        >>> [step for step in range(20) if Trial.for_test(steps=20).due(step, evaluations=4)]
        [4, 9, 14, 19]
        """
        total = self.steps
        if total is None:
            return True
        count = min(evaluations, total)
        return (step + 1) in {round(total * (i + 1) / count) for i in range(count)}

    def report(self, step: int | None = None, values: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Report metrics after a step; the last report counts as the result.

        Args:
            step: steps trained so far; None: reports are counted.
            values: metrics by name.
            more: metrics by name, such as ``validation_error=0.1``.

        Raises:
            adamcmp.errors.InputError: a value is not a number.

        >>> trial = Trial.for_test()
        >>> trial.report(100, train_loss=0.3, validation_error=torch.tensor(0.25))
        >>> trial.records[-1]["validation_error"]
        0.25
        """
        record = flatten({**(values or {}), **more})
        for name, value in {**(values or {}), **more}.items():
            if to_number(value) is None and not isinstance(value, Mapping):
                raise InputError(f"trial.report: {name} is {value!r:.80}, which is not a number")
        if step is not None:
            number = to_number(step)
            if number is None or not 0 <= number < math.inf or number != int(number):
                raise InputError(f"trial.report: step is {step!r:.80}, which is not a whole number of at least 0")
            record = {"step": number, **record}
        self.records.append(record)
        self._reported(record)
        if not self._looked and self._ending() is not None:
            raise StopTraining

    def report_examples(self, errors: Any) -> None:
        """Report the error of each test example after training; their mean is the test metric.

        Args:
            errors: one number per test example, shape (N,): an array, a tensor or a list.

        Raises:
            adamcmp.errors.InputError: they are not numbers.

        >>> trial = Trial.for_test()
        >>> trial.report_examples([0, 1, 0, 0])
        >>> float(trial.example_errors.mean())
        0.25
        """
        values = errors.detach().cpu().numpy() if isinstance(errors, torch.Tensor) else errors
        try:
            self.example_errors = np.asarray(values, np.float64).reshape(-1)
        except (TypeError, ValueError) as error:
            raise InputError("trial.report_examples: takes one number per test example") from error

    @property
    def should_stop(self) -> bool:
        """Whether to save and return now: a stop was requested, the trial was pruned, or its time is over."""
        self._looked = True
        return self._ending() is not None

    def save(self, state: Mapping[str, Any]) -> None:
        """Save a checkpoint, which replaces the last one; ``load`` returns it after an interruption.

        Args:
            state: tensors, numbers, texts and containers of them, such as state dictionaries.

        Raises:
            adamcmp.errors.InputError: the state holds anything else.

        >>> trial = Trial.for_test()
        >>> trial.save({"step": 7})
        >>> trial.load()
        {'step': 7}
        """
        content = io.BytesIO()
        try:
            torch.save({"state": dict(state), "records": self.records}, content)
        except Exception as error:  # pickling raises anything
            raise InputError("trial.save: takes tensors, numbers, texts and containers of them") from error
        with atomic_write(self.folder / CHECKPOINT_FILE, sync=True) as file:
            file.write(content.getbuffer())

    def load(self) -> dict[str, Any] | None:
        """Return the state that an interrupted training of this trial has saved; None if there is none.

        Raises:
            adamcmp.errors.InputError: the checkpoint is damaged.

        >>> Trial.for_test().load() is None
        True
        """
        path = self.folder / CHECKPOINT_FILE
        if not path.is_file():
            return None
        try:
            saved = torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:  # a damaged file makes torch raise anything
            raise InputError(f"{path}: cannot be read; save tensors, numbers and texts only") from error
        self.records[:] = saved["records"]
        for record in self.records:
            self._reported(record)
        state: dict[str, Any] = saved["state"]
        return state


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the generators of Python, NumPy and torch inside the block, and restore their states."""
    states = random.getstate(), np.random.get_state()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


@contextmanager
def output_to(file: TextIO) -> Iterator[None]:
    """Write the output of the block to a file; in a worker also that of libraries and child processes."""
    copies: dict[int, int] = {}
    with redirect_stdout(file), redirect_stderr(file):
        try:
            for number in (1, 2) if multiprocessing.parent_process() is not None else ():
                with suppress(OSError):  # it is closed
                    copies[number] = os.dup(number)
                    os.dup2(file.fileno(), number)
            yield
        finally:
            file.flush()
            for number, copy in copies.items():
                os.dup2(copy, number)
                os.close(copy)


@contextmanager
def process_state(program: str) -> Iterator[None]:
    """Restore the state of the process after the block, so that no run begins with changes of the one before it.

    It is the working folder, environment variables, the way to start processes, and torch's dtype, device, gradient
    mode and precision. Inside the block, processes start as Python's default is: ``fork`` on Linux up to Python 3.13;
    the command line is ``program`` alone, so that parsers of arguments take their defaults.
    """
    folder, environment, words = Path.cwd(), dict(os.environ), sys.argv
    sys.argv = [program]
    start_method, is_worker = multiprocessing.get_start_method(allow_none=True), multiprocessing.parent_process()
    dtype, device, gradients = torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    precision, anomalies = torch.get_float32_matmul_precision(), torch.is_anomaly_enabled()
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    if is_worker is not None:  # which inherits forkserver, by which a DataLoader starts slowly
        multiprocessing.set_start_method(None, force=True)
    try:
        yield
    finally:
        multiprocessing.set_start_method(start_method, force=True)
        sys.argv = words
        os.chdir(folder)
        if os.environ != environment:
            os.environ.clear()
            os.environ.update(environment)
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        torch.set_grad_enabled(gradients)
        torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
        torch.set_float32_matmul_precision(precision)
        torch.autograd.set_detect_anomaly(anomalies)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn


def call_function(function: Callable[..., Any], trial: Trial) -> None:
    """Call a training function; dictionaries that it returns or yields are reports.

    Raises:
        InputError: it returns anything but a mapping or nothing, or takes other arguments.
    """
    try:
        inspect.signature(function).bind(trial)
    except TypeError as error:
        message = f"the function takes other arguments than one trial ({error}); write def train(trial): …"
        raise InputError(message) from error
    except ValueError:  # no signature
        pass
    result = function(trial)
    if inspect.iscoroutine(result):
        result.close()
        raise InputError("the function is a coroutine; write def train(trial): …, not async def")
    if inspect.isgenerator(result):
        for item in result:
            _report_item(trial, item)
    elif result is not None:
        _report_item(trial, result)


def _report_item(trial: Trial, item: Any) -> None:
    if not isinstance(item, Mapping):
        raise InputError(
            f"the function gives {type(item).__name__}, not metrics; return or yield a dictionary such as "
            "{'validation_error': 0.1}, or call trial.report"
        )
    if "test_errors" in item:
        trial.report_examples(item["test_errors"])
    values = {key: value for key, value in item.items() if key not in ("test_errors", "step") and value is not None}
    reported = {
        key: value
        for key, value in values.items()
        if isinstance(value, Mapping) or to_number(value) is not None or is_metric(str(key))
    }
    trial.report(item.get("step"), reported)
