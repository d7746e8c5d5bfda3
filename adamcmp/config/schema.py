"""Typed, validated settings, all in one module since they refer to each other: Hydra's dictionaries as classes.

Each class is frozen and forbids unknown keys. The docstring of a field gives its meaning and unit. Nothing here imports
torch, so that planning a study, ``adamcmp show`` and ``adamcmp list`` start quickly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from adamcmp.base_settings import Count, Fraction, NonNegative, Number, ParamGroup, Positive, Settings, Whole
from adamcmp.config.program import Program
from adamcmp.optim.rule import Rule

Seed = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
MAX_STEPS = 10**9
MAX_RUNS = 1_000_000
"""Maximum number of runs of a study, checked before grids are expanded."""


def is_seed(value: Any) -> bool:
    """Return whether a value may seed a run: a whole number that a record can hold."""
    return type(value) is int and 0 <= value < 2**63


class CustomOptimizer(Settings):
    """Any importable ``torch.optim.Optimizer``: trained by the sequential engine, its lr scheduled."""

    name: str
    label: str
    target: str
    source: str | None
    """Hash of the file that defines the class, so that editing it makes new runs."""
    lr: Positive
    weight_decay: NonNegative = 0.0
    groups: tuple[ParamGroup, ...] = ()
    arguments: Mapping[str, Any]
    """The other keyword arguments of the class."""
    decay_given: bool = False
    """The configuration gives ``weight_decay``; else it is the class's own, which may have none."""
    has_decay: bool = False
    """The class has a ``weight_decay``, given or by default."""
    built: Mapping[str, Any] = {}
    """The parameter group that the class has built, defaults included, but for lr and λ."""

    @model_validator(mode="before")
    @classmethod
    def _is_decay_given(cls, values: Any) -> Any:
        if isinstance(values, dict) and "decay_given" not in values:
            return {**values, "decay_given": "weight_decay" in values}
        return values


class ScriptOptimizer(Settings):
    """An optimizer that a script of the user implements, known by the name that the script takes."""

    name: str
    label: str
    choice: str
    """Value of ``{optimizer}``; part of the run ID, which names are not."""
    lr: Positive
    weight_decay: NonNegative = 0.0
    arguments: Mapping[str, Any] = {}
    """Other settings, each a placeholder of the command."""

    @property
    def groups(self) -> tuple[ParamGroup, ...]:
        """None: the script has its own."""
        return ()


AnyRule = SerializeAsAny[Rule] | CustomOptimizer | ScriptOptimizer
"""An optimizer: a rule of ours or of the same form, trained many at once, any class for torch, run by run, or one that
a script implements."""


class ScheduleSettings(Settings):
    """Settings that all schedules share; η_t multiplies the learning rate at step t of T."""

    name: str
    warmup_steps: Annotated[Whole, Field(ge=0)] = 0
    """Steps of linear warmup in front of the schedule, which then spans the rest of the budget."""


class Constant(ScheduleSettings):
    """η_t = 1."""

    kind: Literal["constant"]


class DropStep(ScheduleSettings):
    """η_t = factor^k, k the number of milestones passed."""

    kind: Literal["drop_step"]
    milestones: tuple[Fraction, ...]
    """Fractions of the budget at which the learning rate drops; the paper's are 0.3, 0.6 and 0.8."""
    factor: Annotated[Number, Field(gt=0, lt=1)]
    """Factor of the learning rate at each milestone."""

    @field_validator("milestones")
    @classmethod
    def _rise(cls, milestones: tuple[float, ...]) -> tuple[float, ...]:
        if any(later <= earlier for earlier, later in pairwise(milestones)):
            raise ValueError("must rise, each fraction larger than the one before")
        return milestones


class Cosine(ScheduleSettings):
    """η_t = eta_min + (1 − eta_min)(1 + cos(π t/T))/2, per step."""

    kind: Literal["cosine"]
    eta_min: Annotated[Number, Field(ge=0, lt=1)]
    """η after the last step."""


class WarmRestarts(ScheduleSettings):
    """Cosine periods of T_0, T_0·T_mult, T_0·T_mult², … epochs (SGDR, Loshchilov & Hutter 2017)."""

    kind: Literal["warm_restarts"]
    T_0: Positive
    """Length of the first period in epochs."""
    T_mult: Annotated[Number, Field(ge=1)]
    """Factor of the length of each further period."""
    eta_min: Annotated[Number, Field(ge=0, lt=1)]
    """η at the end of each period."""


class Linear(ScheduleSettings):
    """η_t = 1 − (1 − eta_min) t/T, per step."""

    kind: Literal["linear"]
    eta_min: Annotated[Number, Field(ge=0, lt=1)]
    """η after the last step."""


class WarmupStableDecay(ScheduleSettings):
    """η_t = 1 until the last share of the budget, over which it falls to eta_min (Hu et al. 2024)."""

    kind: Literal["warmup_stable_decay"]
    decay_fraction: Annotated[Number, Field(gt=0, le=1)]
    """Share of the budget, without the warmup, over which the learning rate falls."""
    shape: Literal["linear", "sqrt"]
    """Shape of the fall, 1 − p or 1 − √p, with p the share of it that has passed."""
    eta_min: Annotated[Number, Field(ge=0, lt=1)]
    """η after the last step."""


class CustomFunction(Settings):
    """Any importable function, with its arguments."""

    target: str
    source: str | None
    """Hash of the file that defines the function, so that editing it makes new runs."""
    arguments: Mapping[str, Any]

    def __hash__(self) -> int:  # arguments may be anything
        return hash(self.model_dump_json())


class CustomSchedule(CustomFunction, ScheduleSettings):
    """A function of the step that gives η_t."""


def _schedule_kind(value: Any) -> str | None:
    if isinstance(value, Mapping):
        return "own" if "target" in value else value.get("kind")
    return getattr(value, "kind", "own")


AnySchedule = Annotated[
    Annotated[Constant, Tag("constant")]
    | Annotated[DropStep, Tag("drop_step")]
    | Annotated[Cosine, Tag("cosine")]
    | Annotated[WarmRestarts, Tag("warm_restarts")]
    | Annotated[Linear, Tag("linear")]
    | Annotated[WarmupStableDecay, Tag("warmup_stable_decay")]
    | Annotated[CustomSchedule, Tag("own")],
    Discriminator(_schedule_kind),
]


class Loss(Settings):
    """Training loss: see ``metrics/losses.py``."""

    name: Literal["auto", "cross_entropy", "mse", "huber", "bce"] = "auto"
    """Training loss; ``auto`` is cross_entropy for classes, mse for quantities, bce for labels."""
    label_smoothing: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    """ε of cross_entropy and bce, in training; evaluations measure the loss without it."""
    class_weights: Literal["balanced"] | tuple[Positive, ...] | None = None
    """Weight per class in training (of bce: per label that holds); ``balanced`` weights by rarity."""
    delta: Positive = 1.0
    """δ of huber: errors above it count linearly, in standard deviations of the targets."""


class CustomLoss(CustomFunction):
    """A function of outputs and targets that gives a loss for each example."""


def _loss_kind(value: Any) -> str:
    keys = value.keys() if isinstance(value, Mapping) else getattr(type(value), "model_fields", ())
    return "own" if "target" in keys else "ours"


AnyLoss = Annotated[Annotated[Loss, Tag("ours")] | Annotated[CustomLoss, Tag("own")], Discriminator(_loss_kind)]


class Target(Settings):
    """Something importable and its keyword arguments: a model or a data set."""

    name: str
    target: str
    source: str | None
    """Hash of the file that defines a target outside adamcmp, so that editing it makes new runs."""
    arguments: Mapping[str, Any]


class Model(Target):
    """An ``nn.Module``; ``input_shape``, ``num_classes`` and ``num_tokens`` are passed where its signature has them.

    A builder that takes any keyword (``**kwargs``) is given ``num_classes``.
    """

    extra_outputs: bool = False
    """Permit more outputs than there are classes."""

    @model_serializer(mode="wrap")
    def _without_default(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave ``extra_outputs`` out unless it is set: older run IDs do not know it."""
        dumped: dict[str, Any] = handler(self)
        return dumped if self.extra_outputs else {k: v for k, v in dumped.items() if k != "extra_outputs"}


class OfficialSize(Settings):
    """The size of a published data set, with which it is planned where its files are not here."""

    examples: Count
    """Number of official training examples."""
    classes: Count
    shape: tuple[Count, ...]
    """Shape of an example."""


TARGET_ALIASES = {"classification": "classes", "regression": "quantities", "multilabel": "labels"}
"""Other names of ``data.targets``."""


class Data(Target):
    """A function that returns the parts of a data set, and how they are cut and normalized."""

    validation_fraction: Fraction = 0.1
    """Share of the training examples for validation, if there is no official validation split."""
    test_fraction: Fraction = 0.2
    """Share of all examples for the test split, if there is no official one."""
    split_seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    """Seed of the data split, which all runs share; several values make several tasks."""
    normalize: bool = True
    """Standardize inputs by mean and standard deviation of the training split."""
    train_examples: Count | None = None
    """Number of random training examples to use; null: all."""
    targets: Literal["auto", "classes", "quantities", "labels"] = "auto"
    """Kind of the labels. ``auto`` decides by their type: integers are classes, real numbers quantities.
    ``classification``, ``regression`` and ``multilabel`` are accepted too."""
    normalize_targets: bool = True
    """Train on (y − mean) / std of the training split; errors are in the original unit."""
    duplicates: Literal["warn", "group", "drop"] = "warn"
    """Duplicates across splits: report them, keep them in one split, or keep one of each."""
    stratify: bool | None = None
    """Split each class in the same shares; null: only if a class would have no training example otherwise."""
    augment: Literal["flip_crop"] | None = None
    """Augmentation of training batches of images: shifts of up to 4 pixels, and mirroring of half of them."""
    official: OfficialSize | None = None
    embedded: bool = False
    """The examples follow from these settings and from installed code alone, so that facts on them can be kept."""

    @field_validator("targets", mode="before")
    @classmethod
    def _target_alias(cls, value: Any) -> Any:
        return TARGET_ALIASES.get(value, value) if isinstance(value, str) else value


class Train(Settings):
    """Budget and measurement of one training."""

    batch_size: Count | Literal["full"]
    """B, examples per batch, drawn without replacement within an epoch; ``full`` is the whole training split."""
    steps: Annotated[Whole, Field(ge=1, le=MAX_STEPS)] | None = None
    """Budget in optimizer steps; null: it is given in epochs."""
    epochs: Positive | None = None
    """Budget in passes through the training split; null: it is given in steps."""
    evaluations: Count | Literal["auto"] = "auto"
    """Number of evaluations of all splits, evenly spread, the last one after the last step."""
    eval_examples: Count | Literal["auto"] = "auto"
    """Maximum number of examples per split and evaluation, evenly spread; the last evaluation uses all validation and
    test examples.
    """
    evaluation_share: Fraction = 0.08
    """Share of the training's arithmetic that evaluations may take if their number is ``auto``."""
    precision: Literal["fp32", "bf16", "fp64"]
    """Precision of matrix products and activations; with ``bf16``, weights and optimizer state are fp32."""
    metrics: tuple[str, ...] = ()
    """Extra metrics at every evaluation: names of ``adamcmp.metrics.functions``, or paths of custom functions."""
    loss: AnyLoss = Loss()
    """Training loss."""
    error: str = "auto"
    """Primary metric, for selection and comparison: ``error_rate``, ``rmse``, ``mae``, ``r2``, ``average_precision``,
    ``f1`` or ``hamming_loss``. ``auto`` is the first that fits the targets.
    """
    clip_norm: Positive | None = None
    """Maximum Euclidean norm of each step's gradient over all parameters; larger gradients are scaled down."""
    accumulate: Count = 1
    """Batches of ``batch_size`` whose mean gradient makes one step."""
    ema: Annotated[Number, Field(gt=0, lt=1)] | None = None
    """β of a bias-corrected exponential moving average of the weights, which evaluations use."""
    save: Literal["best", "last"] | None = None
    """Weights to store of each run: of its best evaluation, or after the last step."""

    @field_validator("batch_size", "evaluations", "eval_examples", mode="before")
    @classmethod
    def _is_a_count(cls, value: Any, info: ValidationInfo) -> Any:
        word = "full" if info.field_name == "batch_size" else "auto"
        if value == word or (type(value) is int and value >= 1):
            return value
        raise ValueError(f"must be a whole number >= 1, or {word}")

    @model_validator(mode="after")
    def _one_budget(self) -> Train:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("exactly one of train.steps and train.epochs must be set, the other null")
        return self


class HeldOutSettings(Settings):
    """Held-out evaluation: selected trials are trained again on seeds that tuning did not use."""

    seeds: Annotated[Whole, Field(ge=0, le=MAX_RUNS)] = 8
    """Held-out seeds per selected trial; 0 disables held-out runs."""


class Study(Settings):
    """A named comparison: the swept settings of each optimizer, and seeds."""

    name: str
    """Folder below the results folder; null in a file: the name of the configuration."""
    seeds: int | tuple[int, ...] | None
    """A number n (seeds 0 … n−1), a list of seeds, or null for the one seed of the configuration."""
    grid: Mapping[str, Any] = {}
    """Sweeps that all spaces share: override key → Hydra sweep, such as ``geomspace(1e-4, 1e-1, 7)``.

    Null removes the grid of an inherited configuration, and likewise for ``spaces``.
    """
    spaces: tuple[Mapping[str, Any], ...] = ()
    """Sub-grids, one mapping like ``grid`` for each; the study is their concatenation."""
    confirm: HeldOutSettings = HeldOutSettings()
    """Held-out evaluation of selected trials."""
    margin: Positive | None = None
    """Equivalence margin in the unit in which errors are shown: percentage points for shares, else the unit of the
    data.

    Null: 0.5 pp for shares. Other errors then have no margin, so that no pair is called equivalent.
    """
    extend: Annotated[Whole, Field(ge=0, le=100)] = 0
    """Maximum number of values by which each side of a grid may grow while the selected trial is at its boundary."""
    reference: str | None = None
    """An optimizer, by its label or its optimizer's configuration, that each other one is compared with; null: all
    pairs."""
    figure: str | None = None
    """Study of ``adamcmp reproduce`` that it is, at any scale and under any name; reports include that study's
    findings.
    """

    @field_validator("name")
    @classmethod
    def _is_a_folder_name(cls, name: str) -> str:
        if not re.fullmatch(r"[\w][\w .+=-]{0,99}", name):
            raise ValueError("must be a folder's name: letters, digits, _ . + = - and at most 100 of them")
        return name

    @field_validator("grid", "spaces", mode="before")
    @classmethod
    def _null_is_none(cls, value: Any, info: ValidationInfo) -> Any:
        return value if value is not None else {} if info.field_name == "grid" else ()

    @field_validator("seeds", mode="before")
    @classmethod
    def _are_seeds(cls, seeds: Any) -> Any:
        many = isinstance(seeds, list | tuple) and all(map(is_seed, seeds)) and len(seeds) > 0
        if seeds is None or many or (type(seeds) is int and 1 <= seeds <= MAX_RUNS):
            return seeds
        raise ValueError(
            f"must be a number at least 1 and at most {MAX_RUNS:,}, a list of seeds greater than or equal to 0, or null"
        )


class Range(Settings):
    """Values between two ends, from which a search draws."""

    low: Number
    """Smallest value."""
    high: Number
    """Largest value."""
    scale: Literal["linear", "log", "log1m"] = "log"
    """Draw evenly in x, in log x, or in log(1 − x), which suits a β."""
    whole: bool = False
    """Round to whole numbers."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Range:
        if not self.low < self.high:
            raise ValueError("low must be less than high")
        if self.scale == "log" and self.low <= 0:
            raise ValueError("a log range needs low > 0; give scale=linear")
        if self.scale == "log1m" and self.high >= 1:
            raise ValueError("a log1m range needs high < 1")
        return self


class SearchSettings(Settings):
    """Which settings of the study's grids are tried."""

    method: Literal["grid", "random", "sobol", "tpe", "gp", "asha", "coordinate"] = "grid"
    """All trials of the grids, or ``trials`` per optimizer from the ranges of the grids."""
    trials: Count = 32
    """Number of trials per optimizer."""
    batch: Count = 16
    """Number of trials per optimizer that are proposed together."""
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = 0
    """Seed of the trials that are drawn."""
    rungs: Count = 3
    """Number of pruning steps of asha."""
    reduction: Annotated[Whole, Field(ge=2)] = 3
    """Reduction factor η of asha: one in η trials survives a pruning step."""
    space: Mapping[str, Range | tuple[Any, ...]] = {}
    """Ranges or values by setting, in place of those of the grids."""


class ReportSettings(Settings):
    """Settings of reports; they do not identify runs."""

    width: Literal["single", "double"] = "double"
    """Width of figures: one column of a journal (3.5 inches) or two (7)."""


class RaySettings(Settings):
    """A Ray cluster."""

    address: str | None = None
    """``host:port``, ``ray://host:port`` or ``auto``; null is RAY_ADDRESS, or else a cluster of this machine."""
    runtime_env: Mapping[str, Any] = {}
    """Runtime environment that Ray prepares on each node: see Ray's documentation."""


class SlurmSettings(Settings):
    """An array of Slurm jobs, each a driver that trains until nothing is left."""

    jobs: Count = 4
    """Jobs of the array."""
    minutes: Count = 60
    """Time limit of each job; a stopped job writes checkpoints and is queued again."""
    cpus: Count = 4
    """Cores per job."""
    gpus: Annotated[Whole, Field(ge=0)] = 0
    """GPUs per job."""
    memory_gb: Positive | None = None
    """Memory per job in 10⁹ bytes; null: the default of the cluster."""
    partition: str | None = None
    """Partition of the cluster; null: its default."""
    setup: tuple[str, ...] = ()
    """Shell lines before the command of each job."""
    more: Mapping[str, Any] = {}
    """Other options of sbatch, by name."""
    cluster: Literal["slurm", "local"] = "slurm"
    """``local``: the jobs are processes of this machine, for a test."""


class ExecutionSettings(Settings):
    """Where and how runs are trained; these settings do not identify runs."""

    where: Literal["local", "ray", "slurm"] = "local"
    """This machine, the nodes of a Ray cluster, or jobs of Slurm."""
    ray: RaySettings = RaySettings()
    slurm: SlurmSettings = SlurmSettings()
    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` uses an accelerator if one is available."""

    engine: Literal["auto", "sequential", "vectorised"] = "auto"
    """Train run by run, or a run group as one program; ``auto`` measures which is faster."""
    rows: Count | Literal["auto"] = "auto"
    """R, the maximum number of runs per program."""
    compile: bool | Literal["auto"] = "auto"
    """Compile programs with torch.compile; ``auto``: if a sweep is long enough to save time."""
    matmul: Literal["auto", "default", "onednn"] = "auto"
    """Library of fp32 matrix products on the CPU; ``auto`` uses oneDNN if it is faster at equal accuracy."""
    ranks: Count = 1
    """Processes (on CUDA: GPUs) that share every batch of one run, which are then trained one after the other."""
    cores_per_run: Positive | Literal["auto"] = "auto"
    """Cores of a run of a script or function; ``auto``: as many as its check used."""
    gpus_per_run: NonNegative | Literal["auto"] = "auto"
    """GPUs of a run of a script or function, or a share of one; ``auto``: one if there are some."""
    minutes_per_run: Positive | Literal["auto"] = "auto"
    """Time limit of a run of a script or function; ``auto``: 20 times the time of its check, at least 10 minutes."""
    retries: Annotated[Whole, Field(ge=0, le=100)] = 0
    """Number of repetitions of a run of a script or function that fails."""
    check: bool = True
    """Check a script or function before its sweep."""
    processes: Count | Literal["auto"] = "auto"
    """Training processes; ``auto`` chooses between one with all threads and one per core."""
    memory_gb: Positive | Literal["auto"] = "auto"
    """Memory of data and training, all processes together, in 10⁹ bytes; ``auto`` is half of the available memory.

    Memory-mapped data that take more than a quarter of it stay on disk.
    """
    checkpoint_seconds: Positive = 60.0
    """Seconds between two checkpoints of a program."""

    @field_validator("compile", "rows", "processes", "cores_per_run", "gpus_per_run", "minutes_per_run", mode="before")
    @classmethod
    def _is_of_its_kind(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "auto":
            raise ValueError("is not allowed; `adamcmp docs performance` explains the settings of engines")
        return value

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|(cuda|xpu)(:\d+)?", device):
            raise ValueError("is no device; give auto, cpu, cuda, cuda:1, mps or xpu")
        return device


class InitSettings(Settings):
    """Weights that runs start from; ``init=FILE`` gives the path alone."""

    path: str
    """The safetensors file."""
    skip: tuple[str, ...] = ()
    """Patterns of parameters, such as ``head.*``, that keep their initial values."""
    strict: bool = True
    """Refuse a file with missing or additional parameters; false loads the tensors that fit."""

    @field_validator("skip", mode="before")
    @classmethod
    def _one_is_some(cls, value: Any) -> Any:
        return () if value is None else (value,) if isinstance(value, str) else value


class Config(Settings):
    """One composed configuration, whole."""

    data: Data
    model: Model
    optimizer: AnyRule
    schedule: AnySchedule
    train: Train
    program: Program | None = None
    """A training script or function of the user, in place of data and model."""
    init: InitSettings | None = None
    """A file of weights, as ``train.save`` writes them, that every run starts from."""
    seed: Seed
    """Seed of a single run; ``study.seeds`` sets those of a sweep."""
    execute: ExecutionSettings
    search: SearchSettings = SearchSettings()
    log: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ()
    """Trackers that receive each stored run; a single one may be given by its name alone."""
    report: ReportSettings = ReportSettings()
    study: Study

    @field_validator("init", mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @field_validator("log", mode="before")
    @classmethod
    def _one_is_some(cls, value: Any) -> Any:
        return () if value is None else (value,) if isinstance(value, str) else value

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that every trial of the study is trained with."""
        match self.study.seeds:
            case None:
                return (self.seed,)
            case int() as count:
                return tuple(range(count))
            case seeds:
                return seeds
