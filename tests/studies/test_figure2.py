import pandas as pd
import pytest

from adamcmp.config.build import typed
from adamcmp.config.compose import compose
from adamcmp.config.sources import locate, options
from adamcmp.records import Results
from adamcmp.report.page import Finding
from adamcmp.studies import available, figure_of, reproduction
from adamcmp.studies.figure2 import findings, verdict

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


def test_a_difference_that_every_seed_shows_is_said():
    lines = verdict(records({**dict.fromkeys(ARMS, SAME), "AdamW": LOWER}))
    assert lines[0].startswith("AdamW against Adam + L2")
    assert "test error -10.00 points" in lines[0]
    assert lines[0].endswith(": better.")
    assert "the same in all 5 seeds" in lines[1]


def test_noise_is_not_told_apart():
    noisy = {**dict.fromkeys(ARMS, SAME), "SGDW": [0.31, 0.30, 0.34, 0.29, 0.32]}
    assert verdict(records(noisy))[1].endswith(": not told apart.")


def test_two_pairs_share_the_level():
    """p = 0.0401 alone would be enough; of two tests, Holm asks for 0.025."""
    noise = [0.010, -0.010, 0.005, -0.005, 0.0]
    better = [e - 0.0106 + d for e, d in zip(SAME, noise, strict=True)]
    other = [e + d for e, d in zip(SAME, noise, strict=True)]
    first, second = verdict(records({**dict.fromkeys(ARMS, SAME), "AdamW": better, "SGDW": other}))[:2]
    assert "p = 0.08 after Holm: not told apart." in first
    assert "p = 1 after Holm: not told apart." in second
    (alone,) = (
        line
        for line in verdict(
            records(
                {a: SAME if a != "AdamW" else better for a in ("Adam + L2", "AdamW")},
                {"Adam + L2": "adam", "AdamW": "adamw_paper"},
            )
        )
        if "after Holm" in line
    )
    assert "p = 0.04 after Holm: better." in alone


def test_seeds_that_tie_are_no_certainty():
    """Errors are multiples of 1/N_test: equal differences come about by chance."""
    shifted = {**dict.fromkeys(ARMS, SAME), "AdamW": [e - 1 / 359 for e in SAME]}
    assert "no verdict" in verdict(records(shifted))[0]


def test_one_seed_and_a_missing_optimizer_are_said_to_be_no_comparison():
    one = records({arm: [0.3] for arm in ARMS})
    assert "one seed" in verdict(one)[0]
    without = records(dict.fromkeys(ARMS, SAME), {arm: ARMS[arm] for arm in ("SGD + L2", "SGDW", "Adam + L2")})
    assert "adamw_paper and adam: not compared, one has no eligible cell." in verdict(without)


def test_pairs_are_found_by_optimizer_not_by_label():
    renamed = records(dict.fromkeys(["mine", "yours"], SAME), {"mine": "adamw_paper", "yours": "adam"})
    assert verdict(renamed)[0].startswith("mine against yours")


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
    assert Finding(verdict(one)[0], "t") in found


@pytest.mark.parametrize(
    ("text", "figure"),
    [("study: {name: x, figure: figure2}", "figure2"), ("study: {name: figure2}", None), ("a: [", None), ("3", None)],
)
def test_what_a_folder_reproduces_is_read_from_its_description(tmp_path, text, figure):
    assert figure_of(tmp_path) is None
    (tmp_path / "study.yaml").write_text(text)
    assert figure_of(tmp_path) == figure
