"""Sweeps of scripts and functions: real processes, in the manner of a user's program that calls adamcmp."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

import adamcmp
from adamcmp.errors import InputError

SCRIPTS = Path(__file__).parent / "scripts"
EXAMPLES = Path(__file__).parents[2] / "examples"
ARGPARSE = "python train_argparse.py --optimizer {optimizer} --lr {lr} --wd {weight_decay} --seed {seed}"
HYDRA = (
    "python train_hydra.py optimizer={optimizer} optimizer.lr={lr} optimizer.weight_decay={weight_decay} seed={seed} "
    "hydra.run.dir={folder}"
)
FAULTY = """
import json, os, subprocess, sys, time, signal, random
mode, lr, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
rng = random.Random(f"{lr} {seed}")
bad = lr > 0.5 or mode.startswith("all-")
mode = mode.removeprefix("all-")
if bad and mode == "exit1":
    print("details", file=sys.stderr)
    sys.exit("boom at lr " + str(lr))
if bad and mode == "nometric":
    print("no numbers here")
    sys.exit()
if bad and mode == "nan":
    print(json.dumps({"val_loss": float("nan"), "test_loss": 1.0}))
    sys.exit()
if bad and mode == "hang":
    time.sleep(1000)
if bad and mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1000)
if mode == "log":
    for _ in range(30):
        sys.stdout.write("y" * (1 << 20) + "\\n")
if mode == "chdir":
    os.chdir("/")
if mode == "children":
    subprocess.Popen(["sleep", "987"], start_new_session=True)
    subprocess.Popen("sleep 988 & sleep 989", shell=True)
if mode == "constant":
    rng = random.Random(0)
if mode == "noisy":
    rng = random.Random()
print(json.dumps({"val_loss": lr + rng.random(), "test_loss": lr + rng.random()}))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SCRIPTS, tmp_path, dirs_exist_ok=True)
    (tmp_path / "faulty.py").write_text(FAULTY)
    return tmp_path


def sweep(command, **settings):
    """Return the study of a sweep in this folder."""
    settings = {"optimizer": ["adam", "adamw"], "optimizer.lr": [1e-3, 1e-2], "study.seeds": 2} | settings
    settings |= {"study.confirm.seeds": settings.get("study.confirm.seeds", 2)}
    return adamcmp.sweep("script", {"command": command, **settings}, quiet=True)


def faulty(mode, **settings):
    command = f"{sys.executable} faulty.py {mode} {{lr}} {{seed}} {{optimizer}} {{weight_decay}}"
    return sweep(command, **{"optimizer.lr": [0.1, 1.0], "execute.minutes_per_run": 0.03, **settings})


def left_running(words):
    """Processes of this test: those that run in its folder, or below."""
    here = str(Path.cwd())
    found = [p for p in psutil.process_iter(["cmdline", "cwd"]) if words in " ".join(p.info["cmdline"] or [])]
    return [p for p in found if str(p.info["cwd"]).startswith(here)]


def test_a_script_is_swept_and_judged_on_held_out_seeds(folder):
    study = sweep(ARGPARSE + " --out {folder}", **{"optimizer.weight_decay": [0, 0.1], "study.seeds": 3})
    records = study.records
    assert (records["status"] == "completed").all()
    assert set(records["stage"]) == {"tune", "confirm"}
    assert set(records["optimizer"]) == {"adam", "adamw"}
    assert records["decay"].isna().all()  # what the script does with λ is not known
    assert set(records["error_metric"]) == {"error"}
    assert (study.verdicts["examples"] == "stored").all()  # test_errors.json
    assert len(study.curves) == 5 * len(records)
    check = json.loads((folder / "results" / "train_argparse" / "check.json").read_text())
    assert [run["value"] for run in check["runs"] if run["purpose"] == "same seed"] == [check["runs"][0]["value"]]
    page = study.report()
    text = (page.parent / "report.md").read_text()
    assert check["time"] == "epoch"
    assert set(pd.read_csv(page.parent / "learning_curves.csv")["time_axis"]) == {"epoch"}
    assert "Noise floor" in text
    assert "between seeds" in text
    del check["noise"]  # as an earlier version has stored it
    (folder / "results" / "train_argparse" / "check.json").write_text(json.dumps(check))
    page = adamcmp.Study.open(folder / "results" / "train_argparse").report(formats=["md"])
    assert "stored by an earlier version" in page.read_text()


def test_results_are_those_of_the_script_itself(folder):
    study = sweep(ARGPARSE, **{"study.confirm.seeds": 0})
    row = study.records[(study.records["lr"] == 1e-2) & (study.records["seed"] == 1)].iloc[0]
    words = [sys.executable, "train_argparse.py", "--optimizer", row["optimizer"], "--lr", "0.01", "--seed", "1"]
    last = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    assert row["final_validation_error"] == last["val_error"]
    assert row["final_test_error"] == last["test_error"]


def test_a_script_with_hydra_is_swept_unchanged(folder):
    study = sweep(HYDRA, **{"optimizer.lr": [1e-2], "study.confirm.seeds": 0})
    assert (study.records["status"] == "completed").all()
    assert study.records["final_validation_error"].between(0.7, 1.0).all()  # percentages are shares
    assert set(study.records["error_better"]) == {"higher"}


def test_stored_runs_are_not_trained_again(folder):
    command = ARGPARSE + " --started started.txt"
    sweep(command)
    before = (folder / "started.txt").read_text()
    sweep(command)
    assert (folder / "started.txt").read_text() == before
    (folder / "lib" / "data.py").write_text((folder / "lib" / "data.py").read_text() + "# changed\n")
    sweep(command)
    assert (folder / "started.txt").read_text() != before


@pytest.mark.parametrize(
    ("mode", "status", "reason"),
    [
        ("exit1", "failed", "exit code 1: boom at lr 1.0"),
        ("nometric", "failed", "no validation metric"),
        ("nan", "diverged", "val_loss is not a finite number"),
        ("hang", "failed", "ran longer than 0.03 min"),
        pytest.param("stubborn", "failed", "ran longer than 0.03 min", marks=pytest.mark.slow),
    ],
)
def test_a_bad_run_has_its_reason_and_others_go_on(folder, mode, status, reason):
    records = faulty(mode, **{"study.seeds": 1, "study.confirm.seeds": 0, "optimizer": "adam"}).records
    assert records.set_index("lr")["status"].to_dict() == {0.1: "completed", 1.0: status}
    assert reason in records.loc[records["lr"] == 1.0, "error"].iloc[0]
    assert not left_running("faulty.py")


@pytest.mark.parametrize(
    ("mode", "message"),
    [("all-exit1", "boom"), ("all-nometric", "nothing was found"), ("all-hang", "minutes_per_run")],
)
def test_a_script_that_never_works_is_one_line(folder, mode, message):
    with pytest.raises(InputError, match=message) as caught:
        faulty(mode, **{"study.seeds": 1})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["log", "chdir", "children"])
def test_unruly_scripts_are_trained(folder, mode):
    study = faulty(mode, **{"study.confirm.seeds": 0})
    assert (study.records["status"] == "completed").all()
    assert not left_running("sleep 98")
    logs = list((folder / "results").rglob("stdout.log"))
    assert logs
    assert all(path.stat().st_size < 10 * 2**20 for path in logs)


@pytest.mark.parametrize(
    ("mode", "note"), [("constant", "ignores its seed"), ("noisy", "is not deterministic"), ("ok", None)]
)
def test_the_check_says_what_is_wrong_with_seeds(folder, mode, note):
    notes = faulty(mode, **{"study.confirm.seeds": 0}).notes
    assert any(note in text for text in notes) if note else not notes


def test_a_command_without_weight_decay_is_said_to_set_its_own(folder):
    (folder / "own.py").write_text("import sys\nprint('val_acc:', float(sys.argv[1]), 'test_acc:', 0.5)\n")
    settings = {"optimizer": ["a"], "optimizer.lr": [0.1, 0.2], "study.confirm.seeds": 0}
    notes = sweep("python own.py {lr} {seed}", **settings).notes
    assert "the command has no {weight_decay}: λ is shown as 0, whatever own.py uses" in notes


def test_no_test_metric_is_said_and_verdicts_are_on_validation(folder):
    (folder / "only.py").write_text(
        "import sys, random\nr = random.Random(sys.argv[2] + sys.argv[3])\n"
        "print('val_acc:', 0.8 + 0.1 * (sys.argv[3] == 'b') + r.gauss(0, 0.01))\n"
    )
    study = sweep("python only.py {lr} {seed} {optimizer}", **{"optimizer": ["a", "b"], "study.confirm.seeds": 6})
    assert any("no test metric" in text.lower() for text in study.warnings)
    assert study.records["final_test_error"].isna().all()
    assert study.verdicts["verdict"].tolist() == ["different"]
    assert " acc % " in str(study)
    assert "test acc" not in str(study)
    report = study.report(formats=["md", "tex", "html", "csv"]).parent
    assert "Test data are never used" not in (report / "report.md").read_text()
    assert "test acc" not in (report / "report.md").read_text().split("## Leaderboard")[1].split("##")[0]


def test_runs_after_a_change_of_the_script_fail(folder):
    (folder / "changing.py").write_text(
        "import sys\nprint('val_loss:', sys.argv[1], 'test_loss:', sys.argv[2])\nopen(__file__, 'a').write('#')\n"
    )
    settings = {"study.confirm.seeds": 0, "execute.check": False, "execute.processes": 1}
    records = sweep("python changing.py {lr} {seed} {optimizer}", **settings).records
    assert sorted(records["status"]) == ["completed", *["failed"] * 7]
    (error,) = set(records["error"].dropna())
    assert error.startswith("changing.py has changed since these runs were planned; run the sweep again")


LOGGING = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
lr, seed, optimizer = sys.argv[1:]
for epoch in (1, 2):
    logging.info("Epoch %d: val_acc=%.3f test_acc=%.3f", epoch, 0.5 + float(lr) * epoch, 0.4 + int(seed) % 7 / 100)
"""


def test_metrics_that_are_logged_to_standard_error_are_read(folder):
    (folder / "logs.py").write_text(LOGGING)
    settings = {"optimizer": ["a"], "optimizer.lr": [0.1, 0.2], "study.confirm.seeds": 0}
    records = sweep("python logs.py {lr} {seed} {optimizer}", **settings).records
    assert records.groupby("lr")["final_validation_error"].mean().round(6).to_dict() == {0.1: 0.7, 0.2: 0.9}
    with pytest.raises(InputError, match="no validation metric"):
        sweep("python logs.py {lr} {seed} {optimizer}", **settings, **{"metrics.source": "stdout"})


def test_metrics_may_have_names_of_other_scripts(folder):
    (folder / "names.py").write_text("import sys\nprint(f'验证集准确率: {sys.argv[1]} 测试集准确率：0.5')\n")
    settings = {"optimizer": ["a"], "optimizer.lr": [0.1, 0.2], "study.confirm.seeds": 0}
    names = {"metrics.validation": "验证集准确率", "metrics.test": "测试集准确率", "metrics.better": "higher"}
    with pytest.raises(InputError, match="found: 验证集准确率, 测试集准确率"):
        sweep("python names.py {lr} {seed} {optimizer}", **settings)
    records = sweep("python names.py {lr} {seed} {optimizer}", **settings, **names).records
    assert sorted(set(records["final_validation_error"])) == [0.1, 0.2]


def test_the_check_names_an_optimizer_whose_run_lacks_the_metric(folder):
    (folder / "half.py").write_text(
        "import sys\nif sys.argv[3] == 'a':\n    print('val_acc:', 0.9, 'test_acc:', 0.9)\n"
    )
    notes = sweep("python half.py {lr} {seed} {optimizer}", optimizer=["a", "b"], **{"study.confirm.seeds": 0}).notes
    assert any(note.startswith("b: its check run failed (val_acc is not reported)") for note in notes)


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("OFFSET=0 python inner.py {lr} {seed} {optimizer}", []),
        ("cd below && python inner.py {lr} {seed} {optimizer}", []),
        ("(python inner.py {lr} {seed} {optimizer} 2>&1 | tail -n 1; true)", []),
        ("export A=1; if true; then python inner.py {lr} {seed} {optimizer}; fi", []),
        ('"$PWD"/run {lr} {seed} {optimizer}', ["inner.py"]),
    ],
)
def test_lines_for_a_shell_are_run_by_it(folder, line, files):
    (folder / "below").mkdir()
    for path in (folder / "inner.py", folder / "below" / "inner.py"):
        path.write_text("import sys\nprint('val_loss:', sys.argv[1], 'test_loss:', sys.argv[2])\n")
    (folder / "run").write_text(f'#!/bin/sh\nexec {sys.executable} {folder / "inner.py"} "$@"\n')
    (folder / "run").chmod(0o755)
    settings = {"optimizer": ["a"], "optimizer.lr": [0.1, 0.2], "study.confirm.seeds": 0, "files": files}
    records = sweep(line, shell=True, **settings).records
    assert sorted(records["final_validation_error"]) == [0.1, 0.1, 0.2, 0.2]
    if line.startswith("cd"):  # the content of the script is part of the runs' identity
        (folder / "below" / "inner.py").write_text("print('val_loss: 9 test_loss: 9')\n")
        assert set(sweep(line, shell=True, **settings).records["final_validation_error"]) == {0.1, 0.2, 9.0}


def test_the_check_reads_errors_per_test_example(folder):
    (folder / "examples.py").write_text(
        "import sys\nopen(sys.argv[3] + '/test_errors.csv', 'w').write('0,1,0')\n"
        "print('val_error:', 0.1, 'test_error:', 0.2)\n"
    )
    with pytest.raises(InputError, match=r"test_errors\.csv: the mean of 3 values"):
        sweep("python examples.py {lr} {seed} {folder} {optimizer}")


PARTS = """
import random, sys
lr, seed, optimizer, mode = sys.argv[1:]
r = random.Random(seed + lr)
values = {"val_error": 0.1 + r.random() / 100, "test_error": 0.1 + r.random() / 100}
if optimizer == "b":
    values = {"val_error": values["val_error"]} if mode == "untested" else {k: 100 * v for k, v in values.items()}
if mode == "comma":
    values = {k: f"{100 * v:.1f}".replace(".", ",") for k, v in values.items()}
print(*(f"{k}: {v}" for k, v in values.items()))
"""


def test_runs_without_a_test_metric_fail_and_are_not_compared(folder):
    (folder / "parts.py").write_text(PARTS)
    settings = {"optimizer": ["a", "b"], "optimizer.lr": [1e-3], "study.confirm.seeds": 0}
    study = sweep("python parts.py {lr} {seed} {optimizer} untested", **settings)
    assert study.verdicts["verdict"].tolist() == ["untested"]
    assert "every run of b failed" in study.verdicts["text"].iloc[0]


def test_mixed_units_and_lines_that_are_not_understood_are_one_line(folder):
    (folder / "parts.py").write_text(PARTS)
    settings = {"optimizer": ["a", "b"], "optimizer.lr": [1e-3], "study.confirm.seeds": 0}
    with pytest.raises(InputError, match=r"val_error: some runs have shares .* others percentages"):
        sweep("python parts.py {lr} {seed} {optimizer} mixed", **settings)
    with pytest.raises(InputError, match=r"not understood: 'val_error: 1\d,\d"):
        sweep("python parts.py {lr} {seed} {optimizer} comma", **settings)
    settings["metrics.unit"] = "share"
    study = sweep("python parts.py {lr} {seed} {optimizer} mixed", **settings)
    assert any("above 100 %" in text for text in study.warnings)


def test_a_search_over_params_has_trials_of_their_own(folder):
    settings = {"params.hidden": [8, 16, 64], "search": "random", "search.trials": 4, "optimizer.lr": [1e-2]}
    study = sweep(ARGPARSE + " --dropout 0 --started s{params.hidden}", **settings, **{"study.confirm.seeds": 2})
    tuned = study.records[study.records["stage"] == "tune"]
    assert not tuned.duplicated(["arm", "lr", "weight_decay", "seed"]).any()
    assert tuned["lr"].between(1e-2, 1.001e-2).all()
    assert set(study.leaderboard["stage"]) == {"confirm"}


def test_retries_repeat_a_run_that_fails_once(folder):
    (folder / "flaky.py").write_text(
        "import sys, pathlib\np = pathlib.Path(sys.argv[3]) / 'seen'\n"
        "first = not p.exists()\np.touch()\n"
        "sys.exit('flaky') if first else print('val_loss: 1', 'test_loss:', sys.argv[1])\n"
    )
    command = "python flaky.py {lr} {seed} {folder} {optimizer}"
    study = sweep(command, **{"execute.retries": 1, "study.confirm.seeds": 0})
    assert (study.records["status"] == "completed").all()


def test_a_killed_sweep_leaves_nothing_and_resumes(folder):
    words = [
        sys.executable,
        "-m",
        "adamcmp",
        "sweep",
        "script",
        f"command={ARGPARSE} --sleep 0.2 --started started.txt",
    ]
    words += ["optimizer=adam,adamw", "optimizer.lr=1e-3,1e-2", "study.seeds=2", "study.confirm.seeds=0"]
    words += ["execute.check=false", "metrics.validation=val_error", "execute.processes=2"]
    for number in (signal.SIGKILL, signal.SIGINT):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lines = len(started(folder))
        wait_until(lambda lines=lines: len(started(folder)) >= lines + 3)
        process.send_signal(number)
        process.wait(30)
        wait_until(lambda: not left_running("train_argparse.py"))
    assert subprocess.run(words, capture_output=True, check=False).returncode == 0
    records = adamcmp.load(folder / "results").records
    assert len(records) == 8
    assert (records["status"] == "completed").all()


def started(folder):
    path = folder / "started.txt"
    return path.read_text().splitlines() if path.exists() else []


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


FUNCTION = """
import torch

calls = "calls.txt"

def train(trial):
    with open(calls, "a") as file:
        file.write(f"{trial.seed} {trial.load() is not None}\\n")
    model = torch.nn.Linear(5, 1)
    optimizer = trial.optimizer(model)
    x = torch.randn(300, 5, generator=torch.Generator().manual_seed(0))
    y = x.sum(1, keepdim=True) + 0.1 * torch.randn(300, 1, generator=torch.Generator().manual_seed(1))
    for step in range(trial.steps):
        i = torch.randint(0, 100, (16,))
        loss = (model(x[i]) - y[i]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if trial.due(step):
            with torch.no_grad():
                e = (model(x) - y).square()
            trial.report(step + 1, train_loss=loss, validation_mse=e[100:200].mean(), test_mse=e[200:].mean())
    trial.report_examples(e[200:].flatten())

def returns(trial):
    return {"val_loss": trial.lr, "test_loss": trial.lr}

def yields(trial):
    for step in (1, 2):
        yield {"step": step, "val_loss": trial.lr / step, "test_loss": trial.lr}

def raises(trial):
    if trial.lr > 0.005:
        raise ValueError("too large")
    return {"val_loss": 1.0, "test_loss": trial.seed}

def text(trial):
    return "0.5"

def two(trial, more):
    return {}

def interrupts(trial):
    raise KeyboardInterrupt

async def awaits(trial):
    return {"val_loss": 1.0}

def leaves_traces(trial):
    import multiprocessing, os
    state = [os.getcwd(), os.environ.get("TRACE"), torch.get_default_dtype(), torch.is_grad_enabled()]
    state.append(torch.are_deterministic_algorithms_enabled())
    os.chdir(trial.folder)
    os.environ["TRACE"] = "1"
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)
    forks = multiprocessing.get_start_method() == multiprocessing.get_all_start_methods()[0]
    clean = state[1:] == [None, torch.float32, True, False] and os.path.exists(state[0] + "/" + __name__ + ".py")
    multiprocessing.set_start_method("spawn", force=True)
    return {"val_loss": float(clean), "test_loss": float(forks)}

def parses(trial):
    import argparse, os
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=3)
    os.system("echo from a child process")
    print("from Python")
    return {"val_loss": parser.parse_args().width, "test_loss": trial.lr}

def quits(trial):
    import argparse
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", required=True)
    parser.parse_args()

def loads(trial):
    from torch.utils.data import DataLoader
    total = sum(float(x.sum()) for x in DataLoader(torch.arange(8.0), num_workers=2))
    return {"val_loss": total, "test_loss": trial.lr}

def threads(trial):
    import threading, time
    threading.Thread(target=time.sleep, args=(60,)).start()
    return {"val_loss": trial.lr, "test_loss": trial.lr}

def texts(trial):
    return {"val_error": 0.1, "test_error": "about 12", "name": "x"}

def halves(trial):
    yield {"step": 2.5, "val_loss": 1.0}

def spawns(trial):
    import subprocess
    subprocess.Popen(["sleep", "996"], start_new_session=True)
    return {"val_loss": trial.lr, "test_loss": trial.lr}

def loops(trial):
    if trial.lr > 0.005:
        while True:
            pass
    return {"val_loss": 1.0, "test_loss": trial.seed}
"""


@pytest.fixture
def module(tmp_path, monkeypatch, request):
    name = f"mine_{abs(hash(request.node.name)) % 10**8}"
    (tmp_path / f"{name}.py").write_text(FUNCTION)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def sweep_function(target, **settings):
    settings = {"optimizer": ["adamw", "lion"], "optimizer.lr": [1e-3, 1e-2], "study.seeds": 2} | settings
    return adamcmp.sweep("function", {"target": target, "study.confirm.seeds": 0, **settings}, quiet=True)


def test_a_function_is_swept(module):
    study = sweep_function(f"{module}.train", **{"train.steps": 40, "study.confirm.seeds": 4})
    assert (study.records["status"] == "completed").all()
    assert set(study.records["beta1"]) == {0.9}
    assert (study.verdicts["examples"] == "stored").all()
    assert len(study.curves) == 10 * len(study.records)


def test_runs_begin_with_the_state_of_a_new_process(module):
    records = sweep_function(f"{module}.leaves_traces", **{"execute.processes": 1}).records
    assert (records["final_validation_error"] == 1).all()
    assert (records["final_test_error"] == 1).all()


def test_output_of_functions_and_their_processes_is_logged(module, capfd):
    records = sweep_function(f"{module}.parses", **{"execute.check": False}).records
    assert (records["final_validation_error"] == 3).all()
    logs = list(Path("results").rglob("output.log"))
    assert len(logs) == len(records)
    assert all(sorted(log.read_text().split("\n")[:2]) == ["from Python", "from a child process"] for log in logs)
    assert "from a child process" not in "".join(capfd.readouterr())


def test_a_function_may_use_loaders_with_processes(module):
    records = sweep_function(f"{module}.loads", **{"execute.processes": 1}).records
    assert (records["final_validation_error"] == 28).all()


@pytest.mark.parametrize("how", ["returns", "yields"])
def test_functions_may_return_or_yield(module, how):
    study = sweep_function(f"{module}.{how}")
    assert (study.records["status"] == "completed").all()
    assert study.curves.groupby("run_id").size().max() == (2 if how == "yields" else 1)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("text", "return or yield"),
        ("two", "one trial"),
        ("awaits", "is a coroutine"),
        ("quits", r"sys.exit\(2\): .*error: the following arguments are required: --width"),
        ("gone", "^target=.*no 'gone'"),
        ("calls", "^target=.*of type str"),
        ("texts", "test_error is 'about 12'"),
        ("halves", "step is 2.5"),
    ],
)
def test_wrong_functions_are_one_line(module, how, message):
    with pytest.raises(InputError, match=message) as caught:
        sweep_function(f"{module}.{how}")
    assert f"{module}.{how}: {module}.{how}" not in str(caught.value)


def test_a_function_that_raises_or_never_ends_fails_alone(module):
    records = sweep_function(f"{module}.raises").records
    assert set(records.loc[records["lr"] > 0.005, "error"]) == {"ValueError: too large"}
    assert (records.loc[records["lr"] < 0.005, "status"] == "completed").all()


def test_a_function_that_interrupts_is_one_line(module):
    with pytest.raises(InputError, match="raised KeyboardInterrupt"):
        sweep_function(f"{module}.interrupts")


def test_a_sweep_ends_though_a_function_leaves_a_thread(module):
    started = time.monotonic()
    assert (sweep_function(f"{module}.threads").records["status"] == "completed").all()
    assert time.monotonic() - started < 50


def test_processes_of_a_function_end_with_it(module):
    assert (sweep_function(f"{module}.spawns").records["status"] == "completed").all()
    assert not left_running("sleep 996")


@pytest.mark.slow
def test_a_function_that_never_ends_is_killed_at_its_limit(module):
    settings = {"execute.minutes_per_run": 0.02, "study.seeds": 1, "optimizer": "adamw", "execute.check": False}
    records = sweep_function(f"{module}.loops", **settings).records
    assert records.set_index("lr")["status"].to_dict() == {1e-3: "completed", 1e-2: "failed"}
    assert "should_stop" in records.loc[records["lr"] == 1e-2, "error"].iloc[0]


def test_a_function_may_be_given_itself(module, monkeypatch):
    import importlib

    function = importlib.import_module(module).returns
    assert len(adamcmp.sweep("function", {"target": function, "study.confirm.seeds": 0}, quiet=True).records) == 1
    with pytest.raises(InputError, match="define it in a file"):
        adamcmp.sweep("function", {"target": lambda trial: {}}, quiet=True)


def test_params_distinguish_optimizers_and_can_be_settled(folder):
    study = sweep(ARGPARSE + " --dropout {params.dropout}", **{"params.dropout": [0.0, 0.5], "optimizer.lr": [1e-2]})
    assert set(study.leaderboard["arm"]) == {f"{o} · dropout={d}" for o in ("adam", "adamw") for d in ("0", "0.5")}
    words = ["settle", "adam · dropout=0", "adam · dropout=0.5", "--trust", "--max-seeds", "8"]
    done = subprocess.run([sys.executable, "-m", "adamcmp", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_checkpoints_resume_with_the_same_result(tmp_path):
    trial = adamcmp.Trial.for_test(lr=0.1, steps=4)
    trial.report(1, val_loss=1.0)
    trial.save({"x": 1})
    again = adamcmp.Trial(trial._run, trial.device, trial.folder)
    assert again.load() == {"x": 1}
    assert again.records == trial.records


def test_an_unguarded_program_can_sweep(folder):
    (folder / "mine.py").write_text(FUNCTION)
    (folder / "program.py").write_text(
        "import adamcmp\nprint('started')\n"
        "study = adamcmp.sweep('function', {'target': 'mine.returns', 'optimizer': ['adam', 'adamw'], "
        "'study.seeds': 2, 'study.confirm.seeds': 0}, quiet=True)\nprint(len(study.records))\n"
    )
    done = subprocess.run([sys.executable, "program.py"], capture_output=True, text=True, check=False, cwd=folder)
    assert done.stdout.split() == ["started", "4"], done.stderr


def test_a_search_prunes_functions(module):
    space = {"optimizer": "adamw", "optimizer.lr": [1e-4, 1e-3, 1e-2, 1e-1], "search": "asha", "search.trials": 9}
    study = sweep_function(f"{module}.train", **space, **{"train.steps": 90, "execute.processes": 1})
    assert {"completed", "pruned"} == set(study.records["status"])
    assert len(study.leaderboard) == 1


EXAMPLE_STEPS = {
    "train_loop": 30, "gan": 20, "policy_gradient": 10, "lightning_module": 10, "transformers_trainer": 6,
    "timm_model": 3,
}  # fmt: skip
NEEDED = {"lightning_module": "lightning", "transformers_trainer": "transformers", "timm_model": "timm"}


@pytest.mark.parametrize("name", EXAMPLE_STEPS)
def test_examples_train(name):
    """In a process of its own: these libraries warn, and change settings of torch."""
    program = (
        f"import adamcmp, sys; sys.path.insert(0, '.'); import {name} as m, inspect\n"
        f"trial = adamcmp.Trial.for_test(steps={EXAMPLE_STEPS[name]}, lr=1e-3)\n"
        "from adamcmp.engine.trial import call_function\nfrom adamcmp.metrics.names import split_of\n"
        "call_function(m.train, trial)\n"
        "assert any(split_of(k) == 'validation' for k in trial.records[-1])\n"
    )
    if name in NEEDED:
        pytest.importorskip(NEEDED[name], exc_type=ImportError)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=EXAMPLES, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 60


INTERRUPTED = """
import sys, adamcmp
try:
    study = adamcmp.sweep("function", {"target": "slow.train", "optimizer": ["adam", "adamw"], "train.steps": 60,
                          "execute.check": False, "study.seeds": 1, "study.name": sys.argv[1]}, quiet=True)
    print(sorted(study.records["final_test_error"]))
except KeyboardInterrupt:
    print("interrupted")
"""
SLOW = """
import time, torch

def train(trial):
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer, state = trial.optimizer([weight]), trial.load()
    if state:
        weight.data, start = state["weight"], state["step"]
        optimizer.load_state_dict(state["optimizer"])
        open("resumed", "a").write("1")
    for step in range(state["step"] if state else 0, trial.steps):
        if trial.should_stop:
            trial.save({"weight": weight.data, "optimizer": optimizer.state_dict(), "step": step})
            return
        weight.grad = weight.data - trial.seed
        optimizer.step()
        time.sleep(0.05)
        trial.report(step + 1, val_loss=weight, test_loss=weight)
"""


@pytest.mark.slow
def test_an_interrupted_function_resumes_from_its_checkpoint(folder):
    (folder / "slow.py").write_text(SLOW)
    (folder / "program.py").write_text(INTERRUPTED)
    words = [sys.executable, "program.py", "interrupted"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    wait_until(lambda: len(list(folder.rglob("output.log"))) == 2)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[0].strip() == "interrupted"
    resumed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert (folder / "resumed").read_text() == "11"
    words[-1] = "whole"
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == resumed


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: adamcmp.sweep("digits", "optimizer=adam"), "overrides: 'optimizer=adam'; give a list"),
        (lambda: adamcmp.sweep("digits", [("lr", 1)]), "give a list of texts"),
        (lambda: adamcmp.sweep("digits", None), "give a list of texts"),
        (lambda: adamcmp.sweep("digits", {"optimizer": []}), "optimizer: the list is empty"),
        (lambda: adamcmp.sweep("digits", limit=-3), "limit=-3: must be a whole number"),
        (lambda: adamcmp.sweep("digits", limit=1.5), "limit=1.5"),
        (lambda: adamcmp.recommend(budget=None), "is not a time"),
        (lambda: adamcmp.recommend(optimizers=()), "optimizers: the list is empty"),
        (lambda: adamcmp.recommend(optimizers="adam,adamv", budget="9s"), "optimizer=adamv: no such optimizer"),
        (lambda: adamcmp.Trial.for_test().report(-1, validation_error=1), "at least 0"),
    ],
)
def test_wrong_arguments_of_functions_are_one_line(tmp_path, monkeypatch, call, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
