"""The command line as its users see it: exit codes, what is printed, what is stored, and what is not imported."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest

from adamcmp import load
from adamcmp.cli.app import print_note
from adamcmp.cli.json_values import JSON_LEADERBOARD_COLUMNS
from adamcmp.storage.records import read_records

from .execute.conftest import QUICK, CommandLine

COMMANDS = ("run", "sweep", "report", "reproduce", "list", "show")


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def files(folder) -> list[str]:
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(str(path) for path in paths if "drivers" not in path.parts)


# help, version, and staying quick


def test_help_names_every_command_and_the_exit_codes(cli):
    ended = cli("--help")
    assert ended.code == 0
    assert all(command in ended.out for command in COMMANDS)
    assert "0 done, 1 some run failed, 2 bad input" in ended.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli, command):
    ended = cli(command, "-h")
    assert ended.code == 0
    assert "Usage: adamcmp" in ended.out
    assert not ended.err


def test_version_is_the_installed_one(cli):
    assert cli("--version") == (0, f"adamcmp {version('adamcmp')}\n", "")


def test_torch_is_not_imported_where_nothing_is_trained(cli):
    """Commands that train nothing, one after the other in one new process."""
    assert cli("sweep", "digits", "optimizer.lr=1e-3,1e-2", "study.seeds=2", *QUICK).code == 0
    script = (
        "import json, shlex, sys\n"
        "from adamcmp.cli import main\n"
        "for words in map(shlex.split, sys.argv[1:]):\n"
        "    sys.argv = ['adamcmp', *words]\n"
        "    try:\n        main()\n"
        "    except SystemExit as end:\n        code = end.code\n"
        "    print(json.dumps(['ended', code, 'torch' in sys.modules]))"
    )
    words = ["--help", "--version", "list", "show figure2", "report results --format md --format svg"]
    command = [sys.executable, "-c", script, *words]
    ended = subprocess.run(command, cwd=cli.folder, capture_output=True, text=True, timeout=60)
    ends = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith('["ended"')]
    assert ends == [["ended", 0, False]] * len(words), ended.stderr


# run


def test_run_stores_a_record_and_a_curve_and_shows_them(cli):
    ended = cli("run", "digits", "train.steps=6", "train.evaluations=3", "seed=4")
    assert ended.code == 0
    assert "Result   AdamW, lr 0.001, λ 0.01 (lr_scaled), seed 4: 6 steps in " in ended.out
    records, curves = load(cli.folder / "results")
    row = records.iloc[0]
    assert f"Stored   results/digits (run {row['run_id']})" in ended.out
    assert re.search(rf"^  test +{100 * row['final_test_error']:.2f} +{row['final_test_loss']:.4f} ", ended.out, re.M)
    assert curves["step"].tolist() == [2, 4, 6]
    assert curves["test_error"].iloc[-1] == row["final_test_error"]
    assert curves["validation_error"].min() == row["best_validation_error"]


def test_run_of_a_stored_run_trains_nothing_and_shows_it(cli):
    first = cli("run", "digits", *QUICK)
    stored = files(cli.folder)
    second = cli("run", "digits", *QUICK)
    assert second.code == 0
    assert second.out == first.out
    assert "nothing to train" in second.err
    assert files(cli.folder) == stored


def test_a_run_is_the_same_run_by_whatever_name_its_settings_come(cli):
    (cli.folder / "mine.yaml").write_text("defaults: [digits, _self_]\ntrain: {steps: 5, evaluations: 1}\n")
    outputs = [cli("run", "digits", *QUICK).out, cli("run", "mine.yaml").out, cli("run", "config", *QUICK).out]
    ids = {found for out in outputs for found in re.findall(r"\(run (\w+)\)$", out, re.MULTILINE)}
    assert len(ids) == 1


def test_results_dir_by_option_and_by_environment(cli):
    assert cli("run", "digits", *QUICK, "--results-dir", "here/and there").code == 0
    assert len(read_records(cli.folder / "here" / "and there" / "digits")) == 1
    assert not (cli.folder / "results").exists()


# sweep


SWEEPS = {
    "optimizer.lr=1e-3,1e-2": {0.001, 0.01},
    "optimizer.lr=choice(0.001,0.1)": {0.001, 0.1},
    "optimizer.lr=range(1,4)": {1, 2, 3},
    "optimizer.lr=range(0.25,1,0.25)": {0.25, 0.5, 0.75},
    "optimizer.lr=geomspace(1e-4,1e-2,3)": {1e-4, 1e-3, 1e-2},
    "optimizer.weight_decay=geomspace(1e-2,1,3,zero=true)": {0, 0.01, 0.1, 1},
}


@pytest.mark.parametrize("override", SWEEPS)
def test_hydras_sweep_syntax_spans_the_grid(cli, override):
    assert cli("sweep", "digits", override, *QUICK).code == 0
    column = override.partition("=")[0].removeprefix("optimizer.")
    assert sorted(read_records(cli.folder / "results" / "digits")[column]) == pytest.approx(sorted(SWEEPS[override]))


def test_several_sweeps_make_the_product(cli):
    ended = cli("sweep", "digits", "optimizer=adam,adamw", "optimizer.lr=1e-3,1e-2", "seed=0,1,2", *QUICK)
    assert ended.code == 0
    assert "12 runs" in ended.err
    records = read_records(cli.folder / "results" / "digits")
    assert records.groupby(["arm", "lr"])["seed"].apply(sorted).tolist() == [[0, 1, 2]] * 4
    assert records["run_id"].is_unique


def test_static_settings_can_be_swept_too(cli):
    overrides = ("model.hidden=[8],[16]", "schedule=constant,cosine", "train.batch_size=50,full")
    assert cli("sweep", "digits", *overrides, *QUICK).code == 0
    records = read_records(cli.folder / "results" / "digits")
    assert len(records) == 8
    assert records["parameters"].nunique() == 2
    assert set(records["batch_size"]) == {50, 1079}
    assert set(records["schedule"]) == {"constant", "cosine"}


def test_sweep_ends_with_the_leaderboard_and_says_how_to_go_on(cli):
    ended = cli("sweep", "digits", "optimizer=adam,adamw", "study.seeds=2", *QUICK)
    assert ended.code == 0
    assert "Adam + L2" in ended.out
    assert "AdamW" in ended.out
    assert "\nNext     adamcmp report results/digits   write report.html" in ended.out
    again = cli("sweep", "digits", "optimizer=adam,adamw", "study.seeds=2", *QUICK)
    assert again.code == 0
    assert again.out == ended.out
    assert "nothing to train" in again.err


@pytest.mark.parametrize("command", [("sweep", "figure2"), ("reproduce", "figure2")])
def test_dry_run_shows_the_plan_and_leaves_no_trace(cli, command):
    ended = cli(*command, *QUICK, "--dry-run")
    assert ended.code == 0
    assert re.search(r"^  Tuning +([\d,]+) runs .+ \1 to train, about .+$", ended.out, re.MULTILINE)
    for arm in ("SGD + L2", "SGDW", "Adam + L2", "AdamW"):
        assert arm in ended.out
    assert list(cli.folder.iterdir()) == []


def test_a_reproduction_at_another_scale_has_its_verdict_and_so_has_a_later_report(cli):
    ended = cli("reproduce", "figure2", "scale=smoke", "--format", "md")
    assert ended.code == 0, ended.err
    line = "Adam + L2: fewer than three learning rates"
    assert line not in ended.out
    folder = cli.folder / "results" / "figure2_smoke"
    assert f"\n- {line}" in (folder / "report" / "report.md").read_text().partition("## Verdict\n")[2]
    assert "## Leaderboard" in (folder / "report" / "report.md").read_text()
    renamed = folder.rename(folder.with_name("mine"))
    assert f" ·  {line}" in cli("report", str(renamed), "--format", "md", "-v").out


def test_a_study_of_no_known_figure_is_refused_before_it_trains(cli):
    refused = cli("sweep", "figure2", "scale=smoke", "study.figure=figure22")
    assert refused.code == 2
    assert "figure22: nothing to reproduce by that name; did you mean figure2" in refused.err
    assert not (cli.folder / "results").exists()


def test_a_dry_run_times_nothing(cli, monkeypatch, tmp_path):
    def refuse(*_):
        raise AssertionError("a dry run starts no process")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    monkeypatch.setattr("adamcmp.execute.execution_plan.start_pool", refuse)
    monkeypatch.setattr("adamcmp.execute.session.start_fork_server", refuse)
    ended = cli("sweep", "digits", "optimizer.lr=geomspace(1e-4,1,40)", "study.seeds=5", "--dry-run")
    assert ended.code == 0, ended.err
    assert "(rough upper estimate; adamcmp benchmarks strategies when training starts)" in ended.out


def test_the_paper_s_scale_is_planned_without_its_data(cli, monkeypatch, tmp_path):
    """FLOPs by hand: 26 2x64d costs 1.7 GMAC an image forward, so 3 · 2 · 1.7 G a step and image."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    ended = cli("sweep", "figure2", "scale=paper", "--dry-run")
    assert ended.code == 0, ended.err
    runs = [int(count) for count in re.findall(r"(\d+) to train, about", ended.out)]
    assert runs[0] == 484
    flops = float(re.search(r"([\d.e+]+) FLOPs", ended.out)[1])
    assert flops == pytest.approx(sum(runs) * 35_100 * 128 * 6 * 1.7e9, rel=0.1)
    assert re.search(r"Memory +training up to [\d.]+ GB of [\d.]+ \wB; data [\d.]+ MB; [\d.]+ GB per run", ended.out)
    assert re.search(r"\w+ at the [\d,]+ GFLOP/s of this machine, \d+ h \d\d min at 1 PFLOP/s", ended.out)
    assert "cifar10 is not here, and is planned by its official size" in ended.out
    refused = cli("sweep", "figure2", "scale=paper")
    assert refused.code == 2
    assert "data.download=true" in refused.err


def test_memory_is_bounded_and_stated(cli):
    """70 MB of images under a bound of 0.2 GB, of which data may have a quarter."""
    np.lib.format.open_memmap(cli.folder / "x.npy", mode="w+", dtype=np.uint8, shape=(25_000, 2_800)).flush()  # sparse
    (cli.folder / "zeros.py").write_text(
        "import numpy as np\n"
        "def zeros():\n"
        f"    return {{'train': (np.load({str(cli.folder / 'x.npy')!r}, mmap_mode='r'), np.arange(25_000) % 10)}}\n"
    )
    (cli.folder / "own" / "data").mkdir(parents=True)
    (cli.folder / "own" / "data" / "zeros.yaml").write_text("_target_: zeros.zeros\n")
    words = ("digits", "data=zeros", "optimizer.lr=1e-3,1e-2", *QUICK, "--config-dir", "own")
    planned = cli("sweep", *words, "execute.memory_gb=0.2", "--dry-run")
    assert planned.code == 0, planned.err
    assert "data 200.0 kB, 70.0 MB more on disk" in planned.out
    assert "of 199.6 MB;" in planned.out
    assert "data 70.2 MB;" in cli("sweep", *words, "execute.memory_gb=1", "--dry-run").out
    assert cli("sweep", *words, "execute.memory_gb=0.2").code == 0
    assert "nothing to train" in cli("sweep", *words, "execute.memory_gb=1").err  # the same runs


def test_dry_run_counts_what_is_stored(cli):
    assert cli("sweep", "digits", "optimizer.lr=1e-3", *QUICK).code == 0
    stored = files(cli.folder)
    ended = cli("sweep", "digits", "optimizer.lr=1e-3,1e-2", *QUICK, "--dry-run")
    assert "1 stored, 1 to train" in ended.out
    assert files(cli.folder) == stored


# own files


OWN = {
    "net.py": """
        from torch import nn

        class Net(nn.Sequential):
            def __init__(self, input_shape, num_classes, width):
                super().__init__(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, num_classes))
        """,
    "points.py": """
        import numpy as np

        def points(classes):
            rng = np.random.default_rng(0)
            return {"train": (rng.standard_normal((300, 1, 8, 8)), np.arange(300) % classes)}
        """,
    "sign.py": """
        import torch

        class Sign(torch.optim.Optimizer):
            def __init__(self, params, lr):
                super().__init__(params, {"lr": lr})

            @torch.no_grad()
            def step(self, closure=None):
                for group in self.param_groups:
                    for p in group["params"]:
                        p.add_(p.grad.sign(), alpha=-group["lr"])
        """,
    "yaml/model/net.yaml": "_target_: net.Net\nwidth: 4\n",
    "yaml/data/points.yaml": "# Points of my own\n_target_: points.points\nclasses: 3\n",
    "yaml/optimizer/sign.yaml": "_target_: sign.Sign\nlr: 0.01\nlabel: Sign descent\n",
    "study.yaml": """
        defaults:
          - config
          - override data: points
          - override model: net
          - _self_
        train: {steps: 5, evaluations: 1}
        study:
          name: mine
          seeds: [3, 5]
          spaces:
            - optimizer: sign
              optimizer.lr: geomspace(1e-3, 1e-1, 3)
            - optimizer: adamw
              optimizer.lr: [0.01, 0.1]
              optimizer.weight_decay: 0.1
        """,
}


def write_own(folder) -> None:
    for name, content in OWN.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = content.splitlines()
        indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
        path.write_text("\n".join(line[indent:] for line in lines) + "\n")


def test_own_study_model_data_and_optimizer_from_the_working_folder(cli):
    write_own(cli.folder)
    ended = cli("sweep", "study.yaml", "--config-dir", "yaml")
    assert ended.code == 0, ended.err
    records = read_records(cli.folder / "results" / "mine")
    assert records.groupby("arm").size().to_dict() == {"AdamW": 4, "Sign descent": 6}
    assert set(records["seed"]) == {3, 5}
    assert (records["status"] == "completed").all()
    assert records["parameters"].unique().tolist() == [64 * 4 + 4 + 4 * 3 + 3]
    signs = records[records["arm"] == "Sign descent"]
    assert set(signs["lr"]) == {0.001, 0.01, 0.1}
    assert signs["rule"].unique().tolist() == ["sign.Sign"]
    assert "Sign descent" in cli("report", "results/mine", "--format", "md").out


def test_editing_an_own_class_makes_new_runs(cli):
    write_own(cli.folder)
    assert cli("sweep", "study.yaml", "--config-dir", "yaml").code == 0
    (cli.folder / "sign.py").write_text((cli.folder / "sign.py").read_text() + "# edited\n")
    assert "4 stored, 6 trained" in cli("sweep", "study.yaml", "--config-dir", "yaml").err


def test_an_own_optimizer_is_shown_without_nonsense(cli):
    write_own(cli.folder)
    ended = cli("run", "digits", "optimizer=sign", "--config-dir", "yaml", *QUICK)
    assert ended.code == 0, ended.err
    assert "nan" not in ended.out.lower()


def settings(out: str) -> dict[str, tuple[str, str]]:
    """Value and source of every setting that ``show`` prints."""
    head, *lines = out.splitlines()
    source, value = head.index("from"), head.index("value")
    return {
        line[:source].strip(): (line[value:].strip(), line[source:value].strip()) for line in lines if line[0] != " "
    }


def test_own_files_are_listed_and_found_by_name(cli):
    write_own(cli.folder)
    listed = cli("list", "--config-dir", "yaml").out
    for name in ("points", "Points of my own", "net", "sign", "adamw", "figure2", "digits"):
        assert name in listed
    shown = cli("show", "digits", "optimizer=sign", "seed=9", "--config-dir", "yaml")
    assert shown.code == 0
    where = settings(shown.out)
    assert where["optimizer.lr"] == ("0.01", "optimizer/sign.yaml")
    assert where["seed"] == ("9", "command line")
    assert where["model.hidden"] == ("[32]", "model/mlp.yaml")


# report, list, show


def test_report_writes_the_formats_asked_for(cli):
    assert cli("sweep", "digits", "optimizer=adam,adamw", "optimizer.lr=1e-3,1e-2", "study.seeds=2", *QUICK).code == 0
    ended = cli("report", "results", "--format", "csv", "--out", "out")
    assert ended.code == 0
    written = files(cli.folder / "out")
    assert written
    assert {name.rpartition(".")[2] for name in written} <= {"csv", "json"}
    assert any(name.endswith(".csv") for name in written)
    assert "out/" in ended.out
    assert not (cli.folder / "results" / "digits" / "report").exists()


def test_report_says_what_sweep_said(cli):
    swept = cli("sweep", "digits", "optimizer=adam,adamw", "study.seeds=2", *QUICK)
    reported = cli("report", "results/digits", "--format", "md")
    shown = swept.out.partition("Leaderboard")[2].partition("\nNext ")[0]
    assert "AdamW" in shown
    assert shown in reported.out


def leaderboard_of(cli: CommandLine) -> pd.DataFrame:
    assert cli("report", "results/digits", "--format", "csv", "--out", "out").code == 0
    return pd.read_csv(cli.folder / "out" / "leaderboard.csv")


@pytest.mark.parametrize(
    "override",
    ["schedule=constant", "optimizer.betas=[0.5,0.9]", "optimizer.eps=1e-2", "optimizer.decayed=no_bias_norm"],
)
def test_runs_of_other_settings_are_never_taken_for_seeds_of_one(cli, override):
    """Two commands store into one study: same lr, λ and seed, and nothing that varied within one of the commands."""
    assert cli("run", "digits", *QUICK).code == 0
    assert cli("run", "digits", override, *QUICK).code == 0
    assert len(read_records(cli.folder / "results" / "digits")) == 2
    assert leaderboard_of(cli)["n"].tolist() == [1, 1]


def test_one_optimizer_is_one_arm_in_whatever_order_its_grid_was_trained(cli):
    assert cli("sweep", "digits", "schedule=constant,cosine", "optimizer.lr=1e-3", *QUICK).code == 0
    assert cli("sweep", "digits", "schedule=constant,cosine", "optimizer.lr=1e-3,1e-2", *QUICK).code == 0
    assert cli("sweep", "digits", "schedule=constant", "optimizer.lr=1e-3,1e-2,1e-1", *QUICK).code == 0
    assert sorted(leaderboard_of(cli)["trials"]) == [2, 3]


@pytest.mark.slow
def test_a_report_is_drawn_at_the_width_asked_for_and_tells_whether_it_is_whole(cli):
    sweep = ("sweep", "digits", "optimizer=adam,adamw", "optimizer.lr=1e-3,1e-2", *QUICK, "report.width=single")
    assert cli(*sweep).code == 0
    sizes = {}
    for width in ("", "single", "double"):
        words = ["--width", width] if width else []
        assert cli("report", "results/digits", "--format", "svg", *words).code == 0
        drawing = (cli.folder / "results" / "digits" / "report" / "error_vs_lr.svg").read_text()
        sizes[width] = float(re.search(r'width="([\d.]+)pt"', drawing)[1])
    assert sizes["single"] == sizes[""] == 3.5 * 72 < sizes["double"] <= 7 * 72
    assert cli("report", "results/digits", "--width", "triple").code == 2
    whole = cli("report", "results/digits", "--verify")
    assert whole.code == 0
    assert re.search(r"all \d+ files are as they were written", whole.out)
    (cli.folder / "results" / "digits" / "report" / "error_vs_lr.svg").write_text("")
    broken = cli("report", "results/digits", "--verify")
    assert broken.code == 1
    assert "error_vs_lr.svg: changed" in broken.out
    nothing = cli("report", str(cli.folder), "--verify")
    assert nothing.code == 2
    assert "no MANIFEST.json here" in nothing.err


def test_a_file_that_starts_from_a_study_is_reproduced(cli):
    (cli.folder / "mine.yaml").write_text(
        "defaults: [/scale/cnn/smoke, _self_]\nstudy: {name: mine, spaces: [{optimizer: 'adam,adamw'}]}\n"
    )
    ended = cli("reproduce", "mine.yaml", "--format", "csv")
    assert ended.code == 0, ended.err
    assert (cli.folder / "results" / "mine" / "report" / "leaderboard.csv").is_file()


def test_a_run_that_is_taken_over_has_the_name_that_it_has_here(cli):
    assert cli("run", "digits", "optimizer.label=Mine", "study.name=first", *QUICK).code == 0
    again = cli("run", "digits", *QUICK)
    assert "1 run of another study in the same folder is reused" in again.err
    assert read_records(cli.folder / "results" / "digits")["arm"].tolist() == ["AdamW"]


def test_report_of_all_studies_below_a_folder(cli):
    for name in ("one", "two"):
        assert cli("run", "digits", f"study.name={name}", *QUICK).code == 0
    ended = cli("report", "results", "--format", "md", "--out", "out")
    assert ended.code == 0
    assert {path.name for path in (cli.folder / "out").iterdir()} == {"one", "two"}


@pytest.mark.parametrize("group", ["configs", "frameworks", "models", "studies", "claims"])
def test_list_shows_one_group(cli, group):
    ended = cli("list", group)
    assert ended.code == 0
    assert ended.out.splitlines()[0].split() == ["name", "description"]
    assert len(ended.out.splitlines()) > 2


def test_show_names_the_last_word_on_every_value(cli):
    ended = cli("show", "figure2", "optimizer.lr=0.5", "train.epochs=2")
    assert ended.code == 0
    where = settings(ended.out)
    assert where["optimizer.lr"] == ("0.5", "command line")
    assert where["train.epochs"] == ("2", "command line")
    assert where["train.steps"][0] == "null"
    assert where["schedule.kind"] == ("cosine", "schedule/cosine.yaml")
    assert all(origin for _, origin in where.values())
    assert not list(cli.folder.iterdir())


def test_debug_shows_the_traceback(cli):
    with pytest.raises(Exception, match="must be greater than 0"):
        cli("run", "digits", "optimizer.lr=0", "--debug")


def test_no_arguments_show_the_help(cli):
    assert "Usage: adamcmp" in cli().out


def test_on_a_terminal_lines_break_between_words_but_for_what_may_be_pasted(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    words = " ".join(["reading"] * 20)
    print_note(words, err=False)
    assert capsys.readouterr().out == f"{words}\n"
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes this for a terminal
    print_note(words, err=False)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40
    assert " ".join(lines).split() == words.split()
    print_note(words, err=False, whole=True)
    assert capsys.readouterr().out == f"{words}\n"


def test_answers_as_json_have_every_column_of_the_leaderboard(cli):
    words = ("optimizer=adam,adamw", "schedule=cosine", "optimizer.lr=1e-3,1e-2", "study.seeds=2", *QUICK)
    ended = cli("sweep", "digits", *words, "--json")
    assert ended.code == 0, ended.err
    (task,) = json.loads(ended.out)["tasks"]
    for row in task["leaderboard"]:
        assert set(row) == set(JSON_LEADERBOARD_COLUMNS)
        assert (row["schedule"], row["trials"]) == ("cosine", 2)
    assert {row["optimizer"] for row in task["leaderboard"]} == {"adam", "adamw"}


def test_a_reproduction_with_one_tuning_seed_prints_no_infinite_interval(cli):
    ended = cli("reproduce", "figure2", "scale=smoke", "study.seeds=1", "study.confirm.seeds=2", "--format", "csv")
    assert ended.code == 0, ended.err
    assert "inf" not in ended.out.replace("inferred", "")
