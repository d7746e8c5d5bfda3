"""Weights of runs as safetensors, with the settings that made them beside them; and models that start from such a file.

``<run id>-best.safetensors`` holds the weights at the best evaluation by validation, ``<run id>-last.safetensors``
those after the last step, both as they were judged: the average where ``train.ema`` keeps one. A file is written before
its run's record, so that a stored run has one.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

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
    with replacing(path) as file:
        save_model(model, file.name, metadata={"run_id": run.id, "kept": kept, "step": str(evaluation.step)})
    write_file(path.with_suffix(".json"), json.dumps(about, indent=1, ensure_ascii=False).encode())


def load(init: Init, model: nn.Module) -> None:
    """Give a model the weights of a file.

    Raises:
        InputError: it is no such file, or of another model.
    """
    device = next(model.parameters()).device
    try:
        with torch.no_grad():
            load_model(model, init.path, device=str(device))
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise InputError(
            f"init={init.path}: does not fit the model ({one_line(error)}); give weights of the same model and data"
        ) from error
