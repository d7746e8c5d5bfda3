import itertools
import math

import numpy as np
import pandas as pd
import pytest

from adamcmp.config.compose import compose
from adamcmp.config.lookup import find_config, list_group
from adamcmp.config.validate import validate_config
from adamcmp.report.findings import Finding
from adamcmp.report.report_input import ReportInput
from adamcmp.studies import find_study, ordered_studies, stored_figure
from adamcmp.studies.figure2 import findings, tilts

ARMS = {"SGD + L2": "sgd_paper", "SGDW": "sgdw_paper", "Adam + L2": "adam", "AdamW": "adamw_paper"}


def records(
    tilt, lrs=tuple(10.0**k for k in range(-4, 0)), decays=tuple(10.0**k for k in range(-4, 0)), seeds=(0, 1, 2)
):
    """Records of a grid whose valley is tilted: of each arm d log λ*/d log lr."""
    draw, rows = np.random.default_rng(0), []
    for (arm, optimizer), lr, decay, seed in itertools.product(ARMS.items(), lrs, decays, seeds):
        x, y = math.log10(lr) + 2.5, math.log10(decay) + 2.5
        error = 0.02 + 0.01 * ((y - tilt[arm] * x) ** 2 + 0.3 * x**2) + draw.normal(0, 1e-4)
        rows.append({
            "arm": arm, "optimizer": optimizer, "lr": lr, "weight_decay": decay, "seed": seed, "status": "completed",
            "task": "t", "run_id": f"{arm}{lr}{decay}{seed}", "seconds": 1.0,
            **{f"{when}_{part}_{metric}": error for when in ("final", "best")
               for part in ("train", "validation", "test") for metric in ("loss", "error")},
            "final_gap": 0.0, "best_gap": 0.0,
        })  # fmt: skip
    from adamcmp.analysis.selection import _TASK_COLUMNS

    frame = pd.DataFrame(rows)
    return frame.reindex(columns=[*frame.columns, *(c for c in _TASK_COLUMNS if c not in frame)])


FLAT = dict.fromkeys(ARMS, 0.0)


def test_the_tilt_of_each_basin_is_told_with_its_interval():
    lines = dict(zip(sorted(ARMS), tilts(records({**FLAT, "Adam + L2": -1.0})), strict=True))
    assert lines["Adam + L2"].endswith("they cannot be tuned independently; a larger λ needs a smaller lr.")
    assert "d log λ*/d log lr is −1.0" in lines["Adam + L2"]
    assert lines["AdamW"].endswith("the data do not show whether lr and λ can be tuned independently.")
    assert tilts(records(FLAT, seeds=(0,)))[0].endswith("without an interval.")
    assert "no slope to measure" in tilts(records(FLAT, lrs=(0.1, 0.01)))[0]


@pytest.mark.parametrize("each", ordered_studies(), ids=lambda each: each.name)
@pytest.mark.parametrize("scale", ["laptop", "smoke", "paper"])
def test_every_reproduction_has_a_study_that_names_it_at_every_scale(each, scale):
    assert each.study in list_group("study")
    source = find_config(each.study)
    study = validate_config(compose(source, [f"scale={scale}"]), source).study
    assert study.figure == each.name
    assert find_study(study.figure) == each
    assert len(each.summary) > 20


def test_findings_are_of_each_task():
    one = records({**FLAT, "AdamW": -0.5}).assign(task_label="one", finished_at=1)
    two = records(FLAT).assign(task="u", task_label="two", finished_at=2, variant="")
    frame = pd.concat([one, two]).assign(variant=lambda f: f["arm"], settings="{}", comparison=None, stage="tune")
    found = findings(ReportInput(frame)).findings
    assert [each.task for each in found] == ["u"] * (len(found) // 2) + ["t"] * (len(found) // 2)
    assert Finding(tilts(one)[0], "t") in found


@pytest.mark.parametrize(
    ("text", "figure"),
    [("study: {name: x, figure: figure2}", "figure2"), ("study: {name: figure2}", None), ("a: [", None), ("3", None)],
)
def test_what_a_folder_reproduces_is_read_from_its_description(tmp_path, text, figure):
    assert stored_figure(tmp_path) is None
    (tmp_path / "study.yaml").write_text(text)
    assert stored_figure(tmp_path) == figure
