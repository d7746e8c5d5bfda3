import pandas as pd
import pytest

from adamcmp.config.build import typed
from adamcmp.config.compose import compose
from adamcmp.config.sources import locate, options
from adamcmp.records import Results
from adamcmp.report.page import Finding
from adamcmp.studies import available, figure_of, reproduction
from adamcmp.studies.figure2 import findings, tilts

ARMS = {"SGD + L2": "sgd_paper", "SGDW": "sgdw_paper", "Adam + L2": "adam", "AdamW": "adamw_paper"}


def records(test_errors, arms=ARMS, lrs=(0.01, 0.1), decays=(0.0, 0.1)):
    """Records of a 2×2 grid whose best cell is (0.1, 0.1); its test errors are given for each arm and seed."""
    rows = []
    for arm, optimizer in arms.items():
        for lr in lrs:
            for decay in decays:
                for seed, error in enumerate(test_errors[arm]):
                    best = (lr, decay) == (0.1, 0.1)
                    rows.append({
                        "arm": arm, "optimizer": optimizer, "lr": lr, "weight_decay": decay, "seed": seed,
                        "status": "completed", "task": "t", "run_id": f"{arm}{lr}{decay}{seed}", "seconds": 1.0,
                        **{f"{when}_{part}_{metric}": 0.1 if best else 0.5 for when in ("final", "best")
                           for part in ("train", "validation", "test") for metric in ("loss", "error")},
                        "final_gap": 0.0, "best_gap": 0.0, "final_test_error": error if best else 0.0,
                    })  # fmt: skip
    from adamcmp.analysis.selection import _CONSTANT

    frame = pd.DataFrame(rows)
    return frame.reindex(columns=[*frame.columns, *(c for c in _CONSTANT if c not in frame)])


SAME = [0.30, 0.31, 0.33, 0.30, 0.32]
LOWER = [0.20, 0.22, 0.21, 0.20, 0.23]


def test_the_tilt_is_the_rank_correlation_of_the_best_cells():
    """By validation, which makes (0.1, 0.1) the best cell; the others tie, and smaller values come first."""
    lines = tilts(records(dict.fromkeys(ARMS, SAME)))
    assert len(lines) == 4
    assert lines[0] == "Adam + L2: rank correlation between lr and λ over its 4 best cells +0.00."
    one_lr = records({"AdamW": SAME}, {"AdamW": "adamw_paper"}, lrs=(0.1,))
    assert "share one lr or one λ" in tilts(one_lr)[0]


@pytest.mark.parametrize("each", list(available()), ids=lambda each: each.name)
@pytest.mark.parametrize("scale", ["laptop", "smoke", "paper"])
def test_every_reproduction_has_a_study_that_names_it_at_every_scale(each, scale):
    assert each.study in options("study")
    source = locate(each.study)
    study = typed(compose(source, [f"scale={scale}"]), source).study
    assert study.figure == each.name
    assert reproduction(study.figure) == each
    assert len(each.summary) > 20


def test_findings_are_of_each_task():
    one = records({**dict.fromkeys(ARMS, SAME), "AdamW": LOWER}).assign(task_label="one", finished_at=1)
    two = records(dict.fromkeys(ARMS, SAME)).assign(task="u", task_label="two", finished_at=2, variant="")
    frame = pd.concat([one, two]).assign(variant=lambda f: f["arm"], settings="{}", comparison=None)
    found = findings(Results(frame, pd.DataFrame()))
    assert [each.task for each in found] == ["u"] * (len(found) // 2) + ["t"] * (len(found) // 2)
    assert Finding(tilts(one)[0], "t") in found


@pytest.mark.parametrize(
    ("text", "figure"),
    [("study: {name: x, figure: figure2}", "figure2"), ("study: {name: figure2}", None), ("a: [", None), ("3", None)],
)
def test_what_a_folder_reproduces_is_read_from_its_description(tmp_path, text, figure):
    assert figure_of(tmp_path) is None
    (tmp_path / "study.yaml").write_text(text)
    assert figure_of(tmp_path) == figure
