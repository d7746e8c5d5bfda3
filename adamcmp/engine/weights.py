"""Weights of runs as safetensors, with the settings that made them beside them; and models that start from such a file.

``<run id>-best.safetensors`` holds the weights at the best evaluation by validation, ``<run id>-last.safetensors``
those after the last step, both as they were judged: the average where ``train.ema`` keeps one. A file is written before
its run's record, so that a stored run has one.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor, nn

from adamcmp.engine.outcome import Evaluation
from adamcmp.errors import InputError, one_line
from adamcmp.plan.runs import Init, Run
from adamcmp.records import weights_of
from adamcmp.store import replacing, write_file


def save(folder: Path, run: Run, model: nn.Module, evaluation: Evaluation) -> None:
    """Keep a run's weights.

    Args:
        folder: where; a study's ``weights``.
        run: whose ``train.save`` says which weights these are.
        model: holds them.
        evaluation: of these weights.

    Raises:
        InputError: they cannot be written.
    """
    kept = run.task.train.save
    assert kept is not None
    path = weights_of(folder, run.id, kept)
    about = {
        "run_id": run.id,
        "kept": kept,
        "step": evaluation.step,
        "averaged": run.task.train.ema is not None,
        **{f"{part}_error": getattr(evaluation, f"{part}_error") for part in ("train", "validation", "test")},
        "error_metric": run.task.criteria.error.name,
        "settings": run.settings(),
    }
    metadata = {"run_id": run.id, "kept": kept, "step": str(evaluation.step)}
    state = model.state_dict()
    with replacing(path) as file:
        if any(each.dtype == torch.complex128 for each in state.values()):  # safetensors has no such type
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


def load(init: Init, model: nn.Module) -> None:
    """Give a model the weights of a file.

    Raises:
        InputError: it is no such file, or of another model.
    """
    device = next(model.parameters()).device
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
            f"init={init.path}: does not fit the model ({one_line(error)}); give weights of the same model and data"
        ) from error
