"""Weights of runs as safetensors with the settings that made them; and models that start from such a file.

``<run id>-best.safetensors`` holds the weights at the best evaluation by validation, ``<run id>-last.safetensors``
those after the last step, both as they were evaluated: the average where ``train.ema`` keeps one. A file is written
before its run's record, so that a stored run has one.
"""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor, nn

from adamcmp.engine.run_result import Evaluation
from adamcmp.errors import InputError, one_line, suggest_names
from adamcmp.plan.runs import InitWeights, Run
from adamcmp.storage.backend import atomic_write, write_file
from adamcmp.storage.records import weights_path


def save_weights(folder: Path, run: Run, model: nn.Module, evaluation: Evaluation) -> None:
    """Keep a run's weights.

    Args:
        folder: where; a study's ``weights``.
        run: whose ``train.save`` says which weights these are.
        model: holds them.
        evaluation: of these weights.

    Raises:
        InputError: they cannot be written.
    """
    which = run.task.train.save
    assert which is not None
    path = weights_path(folder, run.id, which)
    about = {
        "run_id": run.id,
        "kept": which,
        "step": evaluation.step,
        "averaged": run.task.train.ema is not None,
        **{f"{part}_error": getattr(evaluation, f"{part}_error") for part in ("train", "validation", "test")},
        "error_metric": run.task.criteria.error.name,
        "settings": run.settings(),
    }
    metadata = {"run_id": run.id, "kept": which, "step": str(evaluation.step)}
    state = model.state_dict()
    with atomic_write(path) as file:
        if any(tensor.dtype == torch.complex128 for tensor in state.values()):  # safetensors has no such type
            save_file({name + PAIRS * t.is_complex(): _pairs(t) for name, t in state.items()}, file.name, metadata)
        else:
            save_model(model, file.name, metadata=metadata)
    write_file(path.with_suffix(".json"), json.dumps(about, indent=1, ensure_ascii=False).encode())


PAIRS = ".real_imag"
"""Ends the name of a complex tensor that is stored as pairs of real numbers, in an axis of its own."""


def _pairs(tensor: Tensor) -> Tensor:
    return (
        (torch.view_as_real(tensor) if tensor.is_complex() else tensor)
        .detach()
        .clone(memory_format=torch.contiguous_format)
    )


def load_weights(init: InitWeights, model: nn.Module) -> None:
    """Give a model the weights of a file.

    Raises:
        InputError: it is no such file, or of another model.
    """
    device = next(model.parameters()).device
    if init.skip or not init.strict:
        _load_partly(init, model, device)
        return
    try:
        with safe_open(init.path, "pt") as file:
            has_pairs = any(name.endswith(PAIRS) for name in file.keys())  # noqa: SIM118  # no mapping
        with torch.no_grad():
            if has_pairs:
                stored = load_file(init.path, device=str(device)).items()
                model.load_state_dict({
                    name.removesuffix(PAIRS): torch.view_as_complex(t) if name.endswith(PAIRS) else t
                    for name, t in stored
                })  # fmt: skip
            else:
                load_model(model, init.path, device=str(device))
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise InputError(
            f"init={init.path}: does not fit the model ({one_line(error)}); give weights of the same model and data, "
            "or leave parameters out by init.skip=head.* or init.strict=false"
        ) from error


def _load_partly(init: InitWeights, model: nn.Module, device: torch.device) -> None:
    """Load the parameters that are not to be skipped; with ``strict=False`` those that the file holds in this shape."""
    try:
        stored = load_file(init.path, device=str(device))
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"init={init.path}: cannot be read ({one_line(error)}); give a .safetensors file") from error
    state, wanted = model.state_dict(), match_weights(init, model)
    lacking = [name for name in wanted.loaded if name not in stored or stored[name].shape != state[name].shape]
    unexpected = [name for name in stored if name not in state and not wanted.is_skipped(name)]
    if init.strict and (lacking or unexpected):
        what = f"no {lacking[0]} of shape {tuple(state[lacking[0]].shape)}" if lacking else f"{unexpected[0]}"
        raise InputError(
            f"init={init.path}: holds {what}, unlike the model; add it to init.skip, or set init.strict=false"
        )
    loaded = {name: stored[name] for name in wanted.loaded if name not in lacking}
    if not loaded:
        raise InputError(f"init={init.path}: holds no parameter of the model; give weights of a similar model")
    model.load_state_dict(loaded, strict=False)


class WeightMatch(NamedTuple):
    """Parameters and buffers of a model, by whether a file of weights gives them."""

    loaded: list[str]
    new: list[str]
    patterns: tuple[str, ...]

    def is_skipped(self, name: str) -> bool:
        """Return whether a name matches a pattern of ``init.skip``."""
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)


def match_weights(init: InitWeights, model: nn.Module) -> WeightMatch:
    """Return the tensors of a model that a file gives, and those that keep their initial values.

    Raises:
        InputError: a pattern matches nothing.
    """
    names = list(model.state_dict())
    for pattern in init.skip:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InputError(f"init.skip={pattern}: matches no parameter; {suggest_names(pattern, names)}")
    new = [name for name in names if any(fnmatchcase(name, pattern) for pattern in init.skip)]
    loaded = [name for name in names if name not in new]
    if not init.strict:
        with safe_open(init.path, "pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        state = model.state_dict()
        new += [name for name in loaded if shapes.get(name) != tuple(state[name].shape)]
        loaded = [name for name in loaded if name not in new]
    return WeightMatch(loaded, new, init.skip)
