"""PyTorch and TensorFlow provide both Adam with L2 and AdamW.

Both have AdamW. TensorFlow's Adam takes a λ too, and is AdamW with it: Adam with L2 is there by the loss alone.
Defaults differ, and so does the place of ε.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from adamcmp.analysis.claim import Claim, exact_value
from adamcmp.claims.evidence import ClaimEvidence, PanelAxes, mean_over_seeds, value_panels
from adamcmp.errors import InputError
from adamcmp.report.report_input import ReportInput

SOURCE = "common texts"
STUDIES = ()
CAPTION = (
    "Left: log10 of the largest relative difference of an update between a framework's optimizer and adamcmp's of the "
    "convention that its name says. Right: how far the loss of each batch is from that of the same training here, by "
    "Keras on TensorFlow, mean over seeds. TensorFlow's part is there where it is installed."
)
SAME = (-math.inf, 1e-5)
PEERS = (
    ("PyTorch's AdamW is AdamW", "torch_optim", "torch.optim.AdamW (plain)", "optimizer=adamw"),
    ("PyTorch's Adam with a λ is Adam with L2", "torch_optim", "torch.optim.Adam (plain)", "optimizer=adam"),
    ("TensorFlow's AdamW is AdamW", "keras_on_tensorflow", "keras.optimizers.AdamW(weight_decay=λ)",
     "optimizer=adamw_keras"),
    ("TensorFlow's Adam with a λ is Adam with L2", "keras_on_tensorflow", "keras.optimizers.Adam(weight_decay=λ)",
     "optimizer=adam optimizer/framework=keras"),
)  # fmt: skip
TRAININGS = (
    ("MLP, AdamW", "model=mlp optimizer=adamw optimizer.weight_decay=0.1"),
    ("MLP, Adam + L2", "model=mlp optimizer=adam optimizer.weight_decay=0.001"),
    ("CNN, AdamW", "model=cnn train.steps=200 optimizer=adamw optimizer.weight_decay=0.1"),
)
COMMON = "optimizer/framework=keras optimizer.lr=0.003 study.seeds=3"
WITHIN = (-2.0, 2.0)
"""Percent of the final test loss that rounding to 32 bits may make."""
LEAST = 1e-16


def closed_form_test() -> ClaimEvidence:
    """Test on updates on random problems."""
    from adamcmp.conformance.find_convention import installed_libraries, run_library, updates_under

    claims, rows = [], {}
    libraries = dict.fromkeys(library for _, library, _, _ in PEERS)
    ran = {
        library: {result.name: result for result in run_library(library)[1]}
        for library in libraries
        if installed_libraries(library)
    }
    for statement, library, name, setting in PEERS:
        if library not in ran or name not in ran[library] or ran[library][name].error:
            continue
        off = updates_under(ran[library][name], setting)
        measured = f"largest relative difference of an update of {name} from {setting}"
        claims.append(Claim(statement, SOURCE, measured, exact_value(float(f"{off:.3g}")), SAME, form=".2g"))
        rows[statement] = exact_value(math.log10(max(off, LEAST)))
    defaults = [ran[library][name].defaults for _, library, name, _ in PEERS[::2] if library in ran]
    if len(defaults) == 2:
        torch, keras = (default["weight_decay"] for default in defaults)
        ratio = torch / keras
        claims.append(
            Claim(
                "AdamW's defaults are the same in both",
                SOURCE,
                "default λ of PyTorch over that of Keras",
                exact_value(float(f"{ratio:.6g}")),
                (0.99, 1.01),
                form=".3g",
            )
        )
    return ClaimEvidence(claims, value_panels("toy: updates", "log10 of the relative difference", rows))


def empirical_test(reports: Mapping[str, ReportInput]) -> ClaimEvidence:
    """Test on Keras on TensorFlow beside adamcmp: the same weights, batches and learning rates."""
    from adamcmp.conformance.find_convention import installed_libraries

    if not installed_libraries("keras_on_tensorflow"):
        return ClaimEvidence([])
    axes = PanelAxes("training: Keras on TensorFlow", "step", "difference of the loss (nat)", "linear")
    claims, panels = [], []
    for label, words in TRAININGS:
        table = _by_keras(words)
        along, ended = table[table["step"] >= 0], table[table["step"] < 0].set_index("seed")
        off = 100 * (ended["keras"] / ended["adamcmp"] - 1)
        claims.append(
            Claim(
                f"A training by TensorFlow ends where adamcmp's does: {label}",
                SOURCE,
                "test loss of Keras on TensorFlow against adamcmp's after the same steps, float32",
                mean_over_seeds(off),
                WITHIN,
                on="digits",
                unit="%",
                form="+.2g",
            )
        )
        gap = along.assign(gap=(along["keras"] - along["adamcmp"]).abs().clip(lower=1e-9))
        wide = gap.pivot_table(index="seed", columns="step", values="gap")
        parts = [np.exp(np.log(wide.iloc[:, i : i + 20]).mean(axis=1)) for i in range(0, wide.shape[1], 20)]
        middle = [10.0 + i for i in range(0, wide.shape[1], 20)]
        panels.append(axes.over_seeds(label, middle, np.stack(parts, axis=1)))
    return ClaimEvidence(claims, panels)


def _by_keras(words: str) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "losses.csv"
        command = [
            sys.executable,
            "-m",
            "adamcmp.conformance.keras_training",
            str(out),
            *words.split(),
            *COMMON.split(),
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no word"])[-1]
            raise InputError(f"claims/frameworks: Keras could not train: {last}")
        return pd.read_csv(out)
