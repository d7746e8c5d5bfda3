"""Commands of scripts: words, placeholders and hashes; no script is run."""

import os
from pathlib import Path

import pytest

from adamcmp.config.lookup import find_config
from adamcmp.config.program import fill_placeholders, parse_command
from adamcmp.config.program_overrides import quote_raw_value
from adamcmp.config.trust import can_run_code
from adamcmp.errors import InputError
from adamcmp.plan.expand import plan_study

SCRIPT = "import argparse\nimport helper\n"
COMMAND = "python train.py --optimizer {optimizer} --lr {lr} --seed {seed}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "helper.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(command, *words, config="script"):
    words = [f"command={command}", "optimizer=adam,adamw", "optimizer.lr=1e-3,1e-2", "study.seeds=2", *words]
    return plan_study(find_config(config), [quote_raw_value(word) for word in words], None).runs


def ids(command=COMMAND, *words):
    return {run.id for run in plan(command, *words)}


def test_a_plan_has_every_combination(folder):
    runs = plan(
        COMMAND + " --wd {weight_decay} --drop {params.drop}", "optimizer.weight_decay=0,1", "params.drop=0.1,0.2"
    )
    assert len(runs) == 32
    assert {run.optimizer.choice for run in runs} == {"adam", "adamw"}
    assert len({run.id for run in runs}) == 32
    assert len({run.comparison for run in runs}) == 1  # params do not separate what is compared


def test_any_name_is_an_optimizer(folder):
    runs = plan(COMMAND, "optimizer=adamw_torch,my own".replace(" ", "_"))
    assert {run.arm for run in runs} >= {"adamw_torch", "my_own"}


def test_ids_follow_the_script_and_what_it_imports(folder, monkeypatch):
    before = ids()
    assert ids() == before
    (folder / "helper.py").write_text("x = 2\n")
    after = ids()
    assert not before & after
    (folder / "unrelated.py").write_text("x = 3\n")
    assert ids() == after
    assert not ids(COMMAND + " --extra 1") & after


def test_ids_follow_hydra_configurations_and_given_files(folder):
    (folder / "conf").mkdir()
    (folder / "conf" / "config.yaml").write_text("a: 1\n")
    (folder / "train.py").write_text('import hydra\n\n\n@hydra.main(config_path="conf")\ndef main(cfg): ...\n')
    before = ids()
    (folder / "conf" / "config.yaml").write_text("a: 2\n")
    assert not ids() & before
    (folder / "data.csv").write_text("1\n")
    command = COMMAND + " --data data.csv"
    before = ids(command)
    (folder / "data.csv").write_text("2\n")
    assert not ids(command) & before


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("", [], "is missing"),
        ("python train.py --lr {lr}", [], r"has no \{seed\}"),
        ("python train.py --seed {seed}", [], r"has no \{lr\}"),
        (COMMAND + " {sed}", [], "did you mean seed"),
        (COMMAND + " {params.x}", [], "params.x=VALUE"),
        (COMMAND + " --steps {steps}", [], "train.steps=N"),
        (COMMAND, ["optimizer.weight_decay=0,1"], "weight_decay"),
        (COMMAND, ["params.x=1,2"], "params.x"),
        (COMMAND, ["optimizer.beta=0.9"], "beta"),
        (COMMAND, ["model.width=3"], "its own model"),
        (COMMAND, ["train.batch_size=3"], "its own train"),
        (COMMAND, ["train.epochs=3"], "train.steps"),
        (COMMAND, ["optimizer._target_=torch.optim.Adam"], "optimizer=NAME"),
        (COMMAND, ["metrics.pattern=val (.*)"], "named groups"),
        (COMMAND, ["metrics.pattern=("], "regular expression"),
        (COMMAND, ["files=[nope.yaml]"], "nope.yaml"),
        ("python nope.py --lr {lr} --seed {seed}", [], "nope.py: no such file"),
        ("python -m nope --lr {lr} --seed {seed}", [], "no such module"),
        ("nopython train.py --lr {lr} --seed {seed}", [], "no such program"),
        (COMMAND + " | tee log", [], "shell=true"),
        ("OMP_NUM_THREADS=1 " + COMMAND, [], "sets a variable, which needs a shell; add shell=true"),
        ("cd nowhere && " + COMMAND, ["shell=true"], r"no such file in .*nowhere; if it is elsewhere, give files="),
        (COMMAND + " > log", [], "shell=true"),
        (COMMAND + " $HOME", [], "shell=true"),
        (COMMAND + " 'open", [], "close each quote"),
        (COMMAND, ["files=5"], "give paths"),
        (COMMAND + " -m", ["files=nope"], "nope"),
        ("[python, {lr: 1, x: 2}]", [], "lr"),
    ],
)
def test_bad_commands_are_one_line(folder, command, words, message):
    with pytest.raises(InputError, match=message) as caught:
        plan(command, *words)
    assert "\n" not in str(caught.value)


def test_a_learning_rate_is_required(folder):
    with pytest.raises(InputError, match="learning rates to try"):
        plan_study(find_config("script"), [quote_raw_value(f"command={COMMAND}"), "optimizer=adam"], None)


def test_a_list_needs_no_quoting(folder):
    words = parse_command('[python, train.py, --lr, {lr}, "--name=a b", 3]', shell=False)
    assert words == ("python", "train.py", "--lr", "{lr}", "--name=a b", "3")


@pytest.mark.parametrize("value", ["a b", "it's", "$HOME", "; rm -rf x", '"q"', "`x`", "*"])
def test_values_are_quoted_for_a_shell(value, tmp_path):
    line = fill_placeholders("printf %s {params.x} > out", {"params.x": value}, quote=True)
    assert os.system(f"cd {tmp_path} && {line}") == 0
    assert (tmp_path / "out").read_text() == value


def test_doubled_braces_and_json_stay(folder):
    assert fill_placeholders('{{lr}} {"a": 1} {lr}', {"lr": 0.5}) == '{lr} {"a": 1} 0.5'


@pytest.mark.parametrize(
    "word", ["command=rm -rf x", "target=a.b", "shell=true", "files=[a]", "metrics.file=/etc/passwd"]
)
def test_stored_words_that_run_programs_need_trust(word):
    assert can_run_code(word)


def test_a_package_and_a_module_are_found(folder):
    (folder / "pkg").mkdir()
    (folder / "pkg" / "__main__.py").write_text("import helper\n")
    assert len(plan("python -m pkg --lr {lr} --seed {seed} {optimizer}")) == 8
    assert Path.cwd() == folder


def test_functions_are_planned(folder):
    (folder / "mine.py").write_text("def train(trial): ...\n")
    words = ["target=mine.train", "optimizer=adam,muon", "optimizer.lr=1e-3", "params.width=8,16"]
    runs = plan_study(find_config("function"), words, None).runs
    assert {(run.optimizer.name, run.task.program.params["width"]) for run in runs} == {
        (name, width) for name in ("adam", "muon") for width in (8, 16)
    }
    with pytest.raises(InputError, match="target="):
        plan_study(find_config("function"), ["optimizer=adam"], None)
    with pytest.raises(InputError, match="no module"):
        plan_study(find_config("function"), ["target=nothing_here.train"], None)
