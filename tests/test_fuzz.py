"""Random words never end in a defect (exit code 3), a traceback or a hang: they are taken, or refused in one line."""

from __future__ import annotations

import contextlib
import io
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adamcmp.cli import main

KEYS = [
    "optimizer", "model", "data", "schedule", "optimizer.lr", "optimizer.weight_decay", "optimizer.betas",
    "train.steps", "train.epochs", "train.batch_size", "train.evaluations", "train.eval_examples",
    "train.evaluation_share",
    "train.precision", "train.metrics", "schedule.warmup_steps", "schedule.milestones", "model.hidden", "model.dropout",
    "data.validation_fraction", "data.duplicates", "data.train_examples", "seed", "study.seeds", "study.name",
    "study.spaces", "study.grid", "execute.rows", "execute.memory_gb", "execute.device", "scale", "optimizer._target_",
    "model._target_", "data._target_", "hydra", "foo", "optimizer.foo",
]  # fmt: skip
VALUES = [
    "1", "0", "-1", "0.5", "1e-3", "1e300", "1e9", "nan", "inf", "true", "false", "null", "[]", "{}", "[1,2]",
    "[0.6,0.3]", "a", "''", "adam", "mlp", "cosine", "drop_step", "full", "auto", "1,2", "1,a", "range(0,3)",
    "range(0,1e9,1)",
    "range(0,1,0)", "geomspace(1e-3,1,3)", "geomspace(0,1,3)", "geomspace(1,2,1e9)", "choice(1,2)", "choice()",
    "interval(0,1)", "glob(*)", "${seed}", "${oops}", "???", "[true]", "{a:1}", "torch.nn.Linear", "torch.optim.LBFGS",
    "builtins.int", "os.getcwd", "\u2603", "\x00", "x" * 2000, "9" * 400,
]  # fmt: skip
word = st.builds(
    "{}{}={}".format,
    st.sampled_from(["", "", "", "+", "++", "~"]),
    st.sampled_from(KEYS),
    st.one_of(st.sampled_from(VALUES), st.text(max_size=12)),
)


def tried(*words: str) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    before, path = sys.argv, list(sys.path)
    sys.argv = ["adamcmp", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.argv, sys.path[:] = before, path
    return code, err.getvalue()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(words=st.lists(word, min_size=1, max_size=3))
def test_settings_are_taken_or_refused_in_one_line(words):
    code, err = tried("show", "digits", *words)
    assert code in (0, 2), (words, err)
    assert "Traceback" not in err
    if code:
        assert err.startswith("adamcmp: ")
        assert err.count("\n") == 1, (words, err)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(words=st.lists(word, min_size=1, max_size=2))
def test_grids_are_planned_or_refused_in_one_line(words, tmp_path_factory):
    folder = str(tmp_path_factory.getbasetemp())
    code, err = tried("sweep", "digits", *words, "--dry-run", "--results-dir", folder, "--device", "cpu")
    assert code in (0, 2), (words, err)
    assert "Traceback" not in err


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    content=st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60).map(str.encode),
        st.sampled_from(
            ["hydra: null", "hydra: {}", "hydra: {run: null}", "study: null", "train: null", "data: 5",
             "optimizer: null",
             "model: {_target_: null}", "schedule: [1]", "execute: null", "seed: null", "study: {spaces: null}",
             "study: {grid: null}", "study: {name: null, seeds: {}}", "optimizer: {rule: null}"]
        ).map(lambda line: f"defaults: [digits, _self_]\n{line}\n".encode()),
    )
)  # fmt: skip
def test_files_are_taken_or_refused_in_one_line(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_bytes(content)
    code, err = tried("show", str(path))
    assert code in (0, 2), (content, err)
    assert "Traceback" not in err
