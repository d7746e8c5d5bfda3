"""The result of one run, as lines."""

import json

import pytest

from adamcmp.cli.run_result import run_lines

SPLITS = ("train", "validation", "test")


def record(**changes):
    errors = {f"{when}_{split}_error": 0.1 * i for when in ("final", "best") for i, split in enumerate(SPLITS, 1)}
    losses = {f"{when}_{split}_loss": 0.5 * i for when in ("final", "best") for i, split in enumerate(SPLITS, 1)}
    return {
        "arm": "AdamW", "lr": 1e-3, "weight_decay": 0.01, "decay": "lr_scaled", "seed": 3, "status": "completed",
        "error": None, "diverged_step": None, "steps": 1000, "best_step": 1000, "seconds": 2.0, "metrics": None,
        "error_metric": "error_rate", "error_unit": "1", "error_better": "lower", "loss": "cross_entropy",
        "final_gap": 0.2, "final_test_bits_per_byte": None, "baseline_validation_error": 0.9,
        "baseline_test_error": 0.8, **errors, **losses, **changes,
    }  # fmt: skip


def lines(**changes):
    return ["".join(text for text, _ in line) for line in run_lines(record(**changes))]


def test_errors_and_losses_of_all_splits_are_aligned_with_the_baseline():
    assert lines() == [
        "Result   AdamW, lr 0.001, λ 0.01 (lr_scaled), seed 3: 1,000 steps in 2.0 s",
        "  split        error %     loss   always the majority class %",
        "  training       10.00   0.5000",
        "  validation     20.00   1.0000                         90.00",
        "  test           30.00   1.5000                         80.00",
        "Generalization gap   20.00 pp",
    ]


def test_an_earlier_best_evaluation_and_metrics_are_shown():
    shown = lines(best_step=600, best_validation_error=0.15, metrics=json.dumps({"test_f1": 0.123456, "b": 2}))
    assert shown[-3:] == [
        "Best validation error at step 600: validation 15.00%, test 30.00%", "  test_f1   0.1235", "  b         2",
    ]  # fmt: skip


def test_quantities_have_their_unit_and_no_percent_sign():
    shown = lines(error_metric="rmse", error_unit="USD", final_gap=-2.5, baseline_test_error=78.0)
    assert shown[1].split("   ")[-1] == "always the mean of training (USD)"
    assert "RMSE (USD)" in shown[1]
    assert shown[4].endswith(" 78.00")
    assert shown[-1] == "Generalization gap   −2.500 USD"


def test_without_a_baseline_its_column_is_left_out():
    shown = lines(baseline_validation_error=None, baseline_test_error=None)
    assert "always" not in shown[1]
    assert shown[4] == "  test           30.00   1.5000"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": "diverged", "diverged_step": 5.0}, "diverged; the loss is not finite from step 5 on"),
        ({"status": "failed", "error": "no \x1b[31mmemory"}, "no \\x1b[31mmemory"),
    ],
)
def test_a_lost_run_states_the_reason_and_no_errors(changes, expected):
    shown = lines(**changes)
    assert expected in shown[-1]
    assert not any("test" in line for line in shown)
