"""Whatever is wrong with a command, its user reads one line that says so; nothing is stored and nothing trained."""

from __future__ import annotations

import os
import struct

import pytest

from adamcmp.data.idx import FILES

from .execute.conftest import QUICK, CommandLine, Ended


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def assert_refused(ended: Ended, *says: str) -> None:
    lines = ended.err.splitlines()
    assert lines, "nothing is said"
    assert lines[0].startswith("adamcmp: "), ended.err
    assert len(lines) == 1, ended.err
    assert "defect in adamcmp" not in ended.err
    assert "Traceback" not in ended.err
    assert ended.code == 2
    assert not ended.out
    for text in says:
        assert text in lines[0]


def contents(folder) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


# settings on the command line: (override, what the line must say beside the override's own key)
SETTINGS = [
    ("optimizer=adamm", "did you mean adam"),
    ("optimizer=zzz", "closest of"),
    ("model=mpl", "did you mean mlp"),
    ("optimizer.lrr=1", "did you mean optimizer.lr"),
    ("train.step=1", "did you mean train.steps"),
    ("foo=1", "foo: no such setting"),
    ("optimizer.lr=0", "greater than 0"),
    ("optimizer.lr=-0.1", "optimizer.lr=-0.1: must be greater than 0"),
    ("optimizer.lr=nan", "finite"),
    ("optimizer.lr=inf", "finite"),
    ("optimizer.lr=fast", "valid number"),
    ("optimizer.lr=", "optimizer.lr"),
    ("optimizer.lr=null", "optimizer.lr"),
    ("optimizer.lr=[1]", "optimizer.lr"),
    ("optimizer.lr={a:1}", "optimizer.lr"),
    ("optimizer.lr=???", "optimizer.lr"),
    ("optimizer.lr=${nowhere}", "nowhere"),
    ("optimizer.lr=${optimizer.lr}", "optimizer.lr"),
    ("optimizer.lr=" + "9" * 5000, "optimizer.lr"),
    ("optimizer.lr=" + "x" * 20000, "optimizer.lr"),
    ("optimizer.weight_decay=-1e-9", "greater than or equal to 0"),
    ("optimizer.weight_decay=nan", "finite"),
    ("optimizer.betas=[0.9,1.0]", "less than 1"),
    ("optimizer.betas=[-0.1,0.9]", "greater than or equal to 0"),
    ("optimizer.betas=[nan,0.9]", "betas"),
    ("optimizer.betas=[0.9]", "betas"),
    ("optimizer.betas=0.9", "betas"),
    ("optimizer.eps=-1", "optimizer.eps=-1"),
    ("optimizer.decay=decoupled", "'lr_scaled'"),
    ("optimizer.decay=''", "'lr_scaled'"),
    ("optimizer=", "optimizer"),
    ("optimizer=5", "optimizer=5"),
    ("model=3.5", "model=3.5"),
    ("data=true", "data=true"),
    ("schedule=null", "schedule=null"),
    ("optimizer=[adam]", "optimizer=[adam]"),
    ("study=5", "study"),
    ("train=5", "train"),
    ("~train", "train"),
    ("~optimizer.lr", "optimizer.lr: is missing"),
    ("train.steps=0", "train.steps=0"),
    ("train.steps=-5", "train.steps=-5"),
    ("train.steps=1.5", "train.steps=1.5"),
    ("train.steps=null", "train.epochs"),
    ("train.epochs=0", "train.epochs=0"),
    ("train.epochs=nan", "train.epochs=nan"),
    ("train.epochs=1e300", "train.epochs"),
    ("train.steps=1000000000000000", "train.steps"),
    ("train.batch_size=0", "train.batch_size=0"),
    ("train.batch_size=1080", "has 1079 training examples"),
    ("train.batch_size=half", "full"),
    ("train.evaluations=0", "train.evaluations=0"),
    ("train.precision=fp8", "'fp32', 'bf16' or 'fp64'"),
    ("schedule.warmup_steps=500", "less than the budget of 500 steps"),
    ("schedule.warmup_steps=-1", "schedule.warmup_steps=-1"),
    ("execute.device=gpu", "give auto, cpu"),
    ("execute.device=''", "device"),
    ("execute.device=meta", "meta"),
    ("seed=-1", "seed=-1"),
    ("seed=1.5", "seed=1.5"),
    ("seed=one", "seed=one"),
    ("seed=99999999999999999999", "seed=99999999999999999999"),
    ("study.seeds=[0,99999999999999999999]", "study.seeds"),
    ("study.seeds=0", "study.seeds=0"),
    ("study.seeds=[]", "at least 1"),
    ("study.seeds=[0,-1]", "greater than or equal to 0"),
    ("study.seeds=[a]", "study.seeds"),
    ("study.name=a/b", "study.name"),
    ("study.name=../b", "study.name"),
    ("study.name=..", "study.name"),
    ("study.name=.", "study.name"),
    ("study.name=" + "n" * 300, "study.name"),
    ("study.name=5", "study.name"),
    ("study.spaces=5", "study.spaces"),
    ("+study.foo=1", "study.foo: no such setting"),
    ("train.loss=-1", "train.loss=-1: must be a valid dictionary"),
    ("train.loss=0.5", "train.loss=0.5: must be a valid dictionary"),
    ("model.hidden=[0]", "model.hidden"),
    ("model.hidden=32", "model.hidden=32: must be a list of sizes, such as [32]"),
    ("model.activation=relo", "did you mean relu"),
    ("model._target_=nowhere.Net", "nowhere"),
    ("model._target_=Net", "Net"),
    ("model._target_=torch.nn.Liner", "did you mean Linear"),
    ("model._target_=builtins.dict", "nn.Module"),
    ("data.validation_fraction=1", "data.validation_fraction=1"),
    ("data.train_examples=99999", "give at most"),
    ("data=modular_addition", "modular_mlp"),
    ("optimizer.lr", "write key=value"),
    ("=3", "=3"),
    ("", "write key=value"),
    ("☃=1", "☃=1"),
    ("optimizer.lr=☃", "optimizer.lr=☃"),
    ("optimizer.lr=\x00", "optimizer.lr"),
    ("optimizer.lr=1\n2", "optimizer.lr"),
]


def shortened(value: str) -> str:
    return ascii(value)[1:40]


@pytest.mark.parametrize(("override", "says"), SETTINGS, ids=[shortened(override) for override, _ in SETTINGS])
def test_a_bad_setting(cli, override, says):
    ended = cli("sweep", "digits", override, *([] if override.startswith(("train", "schedule")) else QUICK))
    assert_refused(ended, says)
    assert contents(cli.folder) == {}
    assert len(ended.err) < 3000, "a line for people"


GRIDS = [
    ("optimizer.lr=choice()", "empty"),
    ("optimizer.lr=range(1,1)", "an empty grid; give at least one value"),
    ("optimizer.lr=geomspace(0,1,3)", "start > 0"),
    ("optimizer.lr=geomspace(-1,1,3)", "start > 0"),
    ("optimizer.lr=geomspace(1,-1,3)", "stop > 0"),
    ("optimizer.lr=geomspace(1e-3,1,0)", "num >= 1"),
    ("optimizer.lr=geomspace(1e-3,1,2.5)", "num"),
    ("optimizer.lr=geomspace(1e-3,1)", "num"),
    ("optimizer.lr=geomspac(1e-3,1,3)", "geomspace"),
    ("optimizer.lr=geomspace(nan,1,3)", "optimizer.lr"),
    ("optimizer.lr=geomspace(1e-3,inf,3)", "optimizer.lr"),
    ("optimizer.lr=interval(0,1)", "geomspace(low, high, n)"),
    ("optimizer.lr=1e-3,-1", "optimizer.lr=-1: must be greater than 0"),
    ("optimizer.lr=1e-3,fast", "optimizer.lr=fast"),
    ("optimizer.lr=1e-3,", "optimizer.lr=1e-3,"),
    ("optimizer.lrr=1e-3,1e-2", "did you mean"),
    ("optimizer=adam,nosuch", "optimizer=nosuch"),
    ("optimizer=adam,5", "optimizer=5"),
    ("train.steps=5,-5", "train.steps=-5"),
    ("foo=1,2", "foo"),
    ("seed=0,-1", "seed=-1"),
    ("seed=0,1.5", "seed=1.5"),
    ("seed=0,one", "seed=one"),
]


@pytest.mark.parametrize(("override", "says"), GRIDS, ids=[override for override, _ in GRIDS])
def test_a_bad_grid(cli, override, says):
    assert_refused(cli("sweep", "digits", override, *([] if override.startswith("train") else QUICK)), says)
    assert contents(cli.folder) == {}


def test_a_sweep_given_to_run(cli):
    ended = cli("run", "digits", "optimizer.lr=1e-3,1e-2")
    assert_refused(ended, "adamcmp sweep digits optimizer.lr=1e-3,1e-2")
    assert_refused(cli("run", "figure2"), "use `adamcmp sweep figure2`")


def test_show_and_sweep_refuse_with_the_same_words(cli):
    """``show`` is where users look for what is wrong."""
    for override in ("optimizer.lr", "optimizer.lr=0", "optimizer=zzz", "foo=1"):
        assert cli("show", "digits", override).err == cli("sweep", "digits", override).err
    ended = cli("show", "digits", "optimizer.lr=1,2")
    assert_refused(ended, "optimizer.lr=1,2")
    assert "--multirun" not in ended.err


COMMANDS = [
    (("run", "digts"), "did you mean digits"),
    (("run", ""), "closest of"),
    (("run", "☃"), "closest of"),
    (("run", "/"), "closest of"),
    (("run", "nowhere.yaml"), "no such file"),
    (("sweep", "figure22"), "did you mean figure2"),
    (("show", "figure22"), "did you mean figure2"),
    (("reproduce", "figure22"), "did you mean figure2"),
    (("report", "nowhere"), "no such folder"),
    (("report", "."), "no stored runs here"),
    (("run", "digits", "--config-dir", "nowhere"), "no such folder"),
    (("list", "--config-dir", "nowhere"), "no such folder"),
    (("show", "digits", "--config-dir", "nowhere"), "no such folder"),
    (("run", "digits", "--device", "gpu"), "give auto, cpu"),
    (("run", "digits", "--device", "cuda:99"), "give auto, cpu"),
    (("run", "digits", "--device", ""), "device"),
    (("sweep", "digits", "--limit", "0"), "--limit"),
    (("sweep", "digits", "--limit", "-3"), "--limit"),
    (("sweep", "digits", "--limit", "few"), "--limit"),
    (("report", "results", "--format", "jpg"), "'png'"),
    (("list", "optimisers"), "did you mean optimizers?"),
    (("run",), "Example: `adamcmp run digits"),
    (("train", "digits"), "Did you mean run or sweep?"),
    (("run", "digits", "--devise", "cpu"), "Did you mean --device?"),
    (("run", "digits", "-device", "cpu"), "Did you mean --device?"),
    (("run", "digits", "--optimizer", "adam"), "Settings have no dashes: optimizer=VALUE"),
    (("run", "digits", "--weight-decay=0.1"), "Settings have no dashes: weight_decay=VALUE"),
    (("run", "digits", "adamw"), "write optimizer=adamw"),
    (("sweep", "digits", "optimizer=adam,", "adamw"), "without spaces: optimizer=v1,v2"),
    (("sweep", "optimizer=adam"), "`adamcmp sweep digits optimizer=adam`"),
    (("run", "+train.steps=5"), "`adamcmp run digits +train.steps=5`"),
    (("swep", "digits"), "Did you mean 'sweep'?"),
    (("digits",), "Did you mean `adamcmp sweep digits` or `adamcmp run digits`?"),
    (("mine.yaml",), "Did you mean `adamcmp sweep mine.yaml`"),
    (("optimizer=adam",), "`adamcmp run digits optimizer=adam`"),
    (("--verison",), "--version"),
    (("code", "results"), "--optimizer"),
]


@pytest.mark.parametrize(("args", "says"), COMMANDS, ids=[" ".join(args) for args, _ in COMMANDS])
def test_a_bad_command(cli, args, says):
    assert_refused(cli(*args), says)
    assert contents(cli.folder) == {}


FROM_DIGITS = "defaults: [digits, _self_]\n"
FILES_OF_USERS = [
    ("broken", "a: [1\n", "broken.yaml"),
    ("tabs", "train:\n\tsteps: 5\n", "tabs.yaml"),
    ("no mapping", "- a\n- b\n", "mapping"),
    ("a number", "5\n", "mapping"),
    ("empty", "", "defaults"),
    ("without defaults", "seed: 1\n", "defaults"),
    ("circular", "defaults: [study, _self_]\n", "defaults"),
    ("circle of two", "defaults: [other]\n", "defaults"),
    ("unknown default", "defaults: [nowhere, _self_]\n", "nowhere"),
    ("twice", "seed: 1\nseed: 2\n", "duplicate key seed"),
    ("unknown section", FROM_DIGITS + "trian: {steps: 5}\n", "trian: no such setting; did you mean train?"),
    ("unknown key", FROM_DIGITS + "train: {step: 5}\n", "train.step: no such setting; did you mean steps"),
    ("space key", FROM_DIGITS + "study: {spaces: [{optimizer: adam, optimizer.lrr: '1,2'}]}\n", "did you mean lr"),
    ("space key 2", FROM_DIGITS + "study: {spaces: [{optimizer: adam, foo: 1}]}\n", "foo: no such setting"),
    ("space empty", FROM_DIGITS + "study: {spaces: [{optimizer.lr: []}]}\n", "empty"),
    ("space value", FROM_DIGITS + "study: {spaces: [{optimizer.lr: [1, a]}]}\n", "optimizer.lr=a"),
    ("space null", FROM_DIGITS + "study: {spaces: [{optimizer.lr: null}]}\n", "optimizer.lr"),
    ("space number", FROM_DIGITS + "study: {spaces: [{optimizer: 5}]}\n", "optimizer=5"),
    ("space list", FROM_DIGITS + "study: {spaces: [[1]]}\n", "study.spaces.0"),
    ("space grammar", FROM_DIGITS + "study: {grid: {optimizer.lr: 'geomspace(1,2'}}\n", "geomspace(1,2"),
    ("space geomspace", FROM_DIGITS + "study: {grid: {optimizer.lr: 'geomspace(0,1,3)'}}\n", "start > 0"),
    ("seeds", FROM_DIGITS + "study: {seeds: 0}\n", "study.seeds=0"),
    ("name", FROM_DIGITS + "study: {name: ../../elsewhere}\n", "study.name"),
]


@pytest.mark.parametrize(("content", "says"), [case[1:] for case in FILES_OF_USERS], ids=[c[0] for c in FILES_OF_USERS])
def test_a_bad_file(cli, content, says):
    name = says if says.endswith(".yaml") else "study.yaml"
    (cli.folder / name).write_text(content)
    (cli.folder / "other.yaml").write_text("defaults: [study]\n")
    before = contents(cli.folder)
    assert_refused(cli("sweep", name, "train.evaluations=1"), says)
    assert contents(cli.folder) == before


def test_a_file_that_is_no_text(cli):
    (cli.folder / "study.yaml").write_bytes(bytes(range(128, 256)))
    assert_refused(cli("sweep", "study.yaml"), "study")


def test_a_yml_file_is_read_or_refused_with_a_reason(cli):
    (cli.folder / "study.yml").write_text(FROM_DIGITS)
    ended = cli("show", "study.yml")
    if ended.code:
        assert_refused(ended, ".yaml")


def test_a_study_that_would_leave_the_results_folder(cli):
    for name in ("../up", "/", str(cli.folder / "absolute")):
        assert_refused(cli("run", "digits", f"study.name='{name}'", *QUICK, "--results-dir", "a/b"), "study.name")
    assert contents(cli.folder) == {}


def test_results_that_cannot_be_written(cli):
    (cli.folder / "results").write_text("a file")
    before = contents(cli.folder)
    assert_refused(cli("run", "digits", *QUICK), "results", "cannot be written")
    assert_refused(cli("sweep", "digits", *QUICK), "results", "cannot be written")
    assert_refused(cli("report", "results"), "no such folder")
    assert contents(cli.folder) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="Root can write to every folder. To run: use another user")
def test_a_folder_that_is_read_only(cli):
    cli.folder.chmod(0o500)
    assert_refused(cli("run", "digits", *QUICK), "Permission denied")
    cli.folder.chmod(0o700)


def test_a_file_in_the_place_of_the_records(cli):
    (cli.folder / "results" / "digits").mkdir(parents=True)
    (cli.folder / "results" / "digits" / "records").write_text("a file")
    assert_refused(cli("report", "results"), "no stored runs here")


# data folders


def write_idx(folder, train: int = 20, test: int = 10) -> None:
    folder.mkdir(parents=True)
    for part, count in (("train", train), ("test", test)):
        images, labels = FILES[part]
        pixels = bytes(i % 251 for i in range(count * 28 * 28))
        (folder / images).write_bytes(struct.pack(">4I", 0x803, count, 28, 28) + pixels)
        (folder / labels).write_bytes(struct.pack(">2I", 0x801, count) + bytes(i % 10 for i in range(count)))


MNIST = ("run", "digits", "data=mnist", "data.folder=idx", "train.batch_size=5", *QUICK)


def test_idx_files_as_they_should_be(cli):
    write_idx(cli.folder / "idx")
    assert cli(*MNIST).code == 0


DAMAGE = {
    "missing folder": (None, None, "no MNIST files in"),
    "missing file": ("t10k-labels-idx1-ubyte", None, "lacks t10k-labels-idx1-ubyte"),
    "truncated images": ("train-images-idx3-ubyte", slice(None, -1), "train-images-idx3-ubyte: truncated"),
    "truncated labels": ("t10k-labels-idx1-ubyte", slice(None, -1), "t10k-labels-idx1-ubyte: truncated"),
    "header alone": ("train-images-idx3-ubyte", slice(None, 16), "train-images-idx3-ubyte"),
    "empty file": ("train-images-idx3-ubyte", slice(0), "starts with nothing"),
    "no IDX": ("train-labels-idx1-ubyte", slice(4, None), "IDX label file"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_idx_files(cli, damage):
    file, kept, says = DAMAGE[damage]
    if file:
        write_idx(cli.folder / "idx")
        path = cli.folder / "idx" / file
        content = path.read_bytes()
        path.unlink()
        if kept is not None:
            path.write_bytes(content[kept])
    before = contents(cli.folder)
    assert_refused(cli(*MNIST), says)
    assert contents(cli.folder) == before


def test_products_that_would_be_rounded_are_refused_before_anything_is_trained(cli, monkeypatch):
    monkeypatch.setattr("adamcmp.execute.execution_plan.onednn_rounds_to_bf16", lambda: True)
    ended = cli("run", "digits", "execute.matmul=onednn")
    assert_refused(ended, "execute.matmul=onednn: would round fp32 products to bf16")
    assert not list(cli.folder.glob("results/digits/*/*.parquet"))
