"""Settings carried between frameworks."""

from __future__ import annotations

import math

import pytest

from adamcmp.cli import app
from adamcmp.errors import InputError
from adamcmp.optim.framework_conventions import FRAMEWORKS, convert_decay


def told(capsys, *words):
    app(["convert", *words], standalone_mode=False)
    return capsys.readouterr().out


def test_the_papers_lambda_is_the_learning_rate_times_torchs(capsys):
    """SCIENCE: λ_norm 0.05 over 100 epochs of 391 steps is λ = 2.53e-4, in torch at lr 1e-3 wd = 0.253."""
    words = ("lr=1e-3", "weight_decay=0.05", "steps=39100")
    assert "weight_decay=0.252861)" in told(capsys, "--from", "paper_normalized", "--to", "torch", *words)
    assert "weight_decay=0.000252861" in told(capsys, "--from", "paper_normalized", "--to", "paper", *words)


def test_half_life_and_time_scale():
    found = convert_decay("lr_scaled", 1e-3, 0.01, batch=128, examples=50_000)
    assert found.per_step == pytest.approx(1e-5)
    assert pytest.approx((1 - 1e-5) ** found.half_life) == 0.5
    assert found.timescale == pytest.approx(1e5)
    assert found.epochs == pytest.approx(1e5 * 128 / 50_000)
    assert set(found.lambdas) == {"lr_scaled", "schedule_only"}
    assert math.isnan(convert_decay("lr_scaled", 1e-3, 0.01).epochs)
    assert convert_decay("lr_scaled", 1e-3, 0.0).half_life == math.inf
    with pytest.raises(ValueError, match="number of steps"):
        convert_decay("normalized", 1e-3, 0.01)


def test_a_recipe_comes_with_what_its_framework_leaves_unsaid(capsys):
    out = told(capsys, "--from", "keras", "--to", "torch")
    assert "learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07, weight_decay=0.004" in out
    assert "torch.optim.AdamW(lr=0.001, betas=(0.9, 0.999), eps=1e-07, weight_decay=0.004)" in out
    assert "3.16e-06 matches the first step" in " ".join(out.split())
    assert "optimizer=adamw optimizer.lr=0.001 optimizer.weight_decay=0.004" in out


def test_names_are_the_frameworks_own_and_epochs_make_steps(capsys):
    words = ("learning_rate=1e-2", "weight_decay=0.1", "batch=100", "epochs=10", "n=1000")
    out = told(capsys, "--from", "keras", "--to", "paper_normalized", *words)
    assert "weight_decay=0.01" in out  # 0.1 · 0.01 · √100
    assert "100 epochs" in out  # 1000 steps of 10 an epoch
    assert all(name in told(capsys, "--from", "torch") for name in FRAMEWORKS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "kears"], "--from kears: no such framework; did you mean keras"),
        (["lr"], "convert lr: not a setting; .* Write key=number"),
        (["lr=fast"], "convert lr=fast: must be a number"),
        (["lr=0"], "convert lr=0: out of range"),
        (["beta2=1"], "convert beta2=1: out of range"),
        (["--to", "paper_normalized"], "needs steps=…, or batch=…, epochs=… and n=…"),
        (["--from", "optax", "weight_decay=0.1"], r"optax \(JAX\) has no default of lr; give learning_rate=…"),
        (["--from", "paper"], "has no default of weight_decay"),
        (["to_batch=512"], "to_batch=… and to_lr=… need batch=…"),
        (["batch=0.5"], "batch=0.5: must be 1 or larger"),
        (["steps=0.5"], "steps=0.5: must be 1 or larger"),
        (["batch=128", "n=100"], "batch=128: at most n=100"),
        (["batch=10", "n=100", "to_batch=1000"], "to_batch=1000: at most n=100"),
        (["weight_decay=500", "batch=1", "to_batch=10"], "less than one; give a smaller batch or λ"),
    ],
)
def test_bad_input_is_one_clear_line(words, message):
    with pytest.raises(InputError, match=message):
        app(["convert", *words], standalone_mode=False)


def test_steps_of_an_epoch_that_are_no_whole_number_are_said_to_be_rounded(capsys):
    words = ("--to", "paper_normalized", "batch=128", "epochs=100")
    out = told(capsys, *words, "n=50000")
    assert "n/batch is 390.6: an epoch is 390 steps here" in out
    assert "give steps=39100" in out
    assert "weight_decay=0.00197484" in out  # 1e-3 · 0.01 · √39000
    assert "n/batch" not in told(capsys, *words, "n=51200")


def test_another_batch_size_keeps_the_epochs_over_which_weights_average(capsys):
    """B/(N d) is the same: λ of a library is B′/B times as large, or as much as to_lr asks for."""
    words = ("--to", "torch", "lr=1e-3", "weight_decay=0.01", "batch=128", "n=51200")
    out = told(capsys, *words, "to_batch=512")
    assert out.count("250 epochs") == 2
    assert "to_lr=0.002 would follow the square root of the batch" in out
    assert "AdamW(lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.04)" in out
    out = told(capsys, *words, "to_batch=512", "to_lr=2e-3")
    assert out.count("250 epochs") == 2
    assert "AdamW(lr=0.002, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.02)" in out
    out = told(capsys, *words, "to_batch=512", "epochs=10", "--to", "paper_normalized")
    assert "weight_decay=0.0012649" in out  # 1e-5 · 4 · √1000
