"""Results of other programs become records: tables, folders, trackers."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import adamcmp
from adamcmp.errors import InputError
from adamcmp.importing.roles import find_roles
from adamcmp.importing.sources import path_expression, read_runs
from adamcmp.importing.to_records import ImportOptions, to_records
from adamcmp.storage.records import Results
from adamcmp.trackers import to_tracked_runs


def table(optimizers=("adam", "adamw"), lrs=(1e-3, 1e-2), seeds=6, scale=1.0, **columns):
    draw = np.random.default_rng(0)
    return pd.DataFrame([
        {"opt": o, "learning_rate": lr, "wd": 0.1, "seed": s, **columns,
         **{f"{split}_acc": scale * (0.8 + 0.02 * (o == "adamw") - 0.05 * (lr < 5e-3) + draw.normal(0, 0.004))
            for split in ("val", "test")}}
        for o in optimizers for lr in lrs for s in range(seeds)
    ])  # fmt: skip


def imported(frame, options=None, **given):
    roles, guessed = find_roles(frame, given)
    return to_records(frame, roles, options or ImportOptions("study")), roles, guessed


def test_roles_are_guessed_by_name():
    _, roles, guessed = imported(table())
    assert roles.columns == {
        "optimizer": "opt", "lr": "learning_rate", "weight_decay": "wd", "seed": "seed", "validation": "val_acc",
        "test": "test_acc",
    }  # fmt: skip
    assert guessed == set(roles.columns)


def test_records_have_shares_and_half_of_the_seeds_are_held_out():
    result, _, _ = imported(table(scale=100.0))
    records = pd.DataFrame(result.records)
    assert records["final_test_error"].between(0.6, 0.9).all()
    assert set(records["error_better"]) == {"higher"}
    assert records.groupby("stage")["seed"].agg(lambda s: sorted(set(s))).to_dict() == {
        "tune": [0, 1, 2], "confirm": [3, 4, 5],
    }  # fmt: skip
    assert any("held out" in note for note in result.notes)


def test_verdicts_follow_and_a_table_can_be_compared_at_once():
    frame = table()
    study = adamcmp.compare(frame, optimizer="opt", seed="seed", metric="test_acc", validation="val_acc")
    assert study.verdicts["verdict"].tolist() == ["different"]
    assert study.leaderboard["lr"].tolist() == [1e-2, 1e-2]
    assert "adamw is significantly better" in str(study)
    assert "<table" in study._repr_html_()
    one = adamcmp.compare(frame[frame["learning_rate"] == 1e-2], optimizer="opt", seed="seed", metric="test_acc")
    assert one.verdicts["verdict"].tolist() == ["different"]


@pytest.mark.parametrize(
    ("drop", "note"),
    [
        (["val_acc"], "no validation metric"),
        (["test_acc"], "no test metric"),
        (["seed"], "no seeds"),
        (["learning_rate"], "no learning rates"),
    ],
)
def test_what_is_missing_is_said(drop, note):
    frame = table(lrs=(1e-2,)).drop(columns=drop)
    result, _, _ = imported(frame)
    assert any(note in text for text in result.notes)
    assert any("per test example" in text for text in result.notes)


def test_each_column_has_its_own_unit():
    frame = table(lrs=(1e-2,))
    result, _, _ = imported(frame.assign(test_acc=100 * frame["test_acc"]))
    assert result.scales == {"validation": "shares of 1", "test": "percentages"}
    values = [(r["final_validation_error"], r["final_test_error"], r["error_unit"]) for r in result.records]
    assert all(0.7 < v < 0.9 and 0.7 < t < 0.9 and unit == "1" for v, t, unit in values)


def test_runs_without_a_test_metric_are_left_out_and_lost_ones_are_said():
    frame = table(lrs=(1e-2,))
    frame.loc[frame["seed"] == 0, "test_acc"] = np.nan
    frame.loc[frame["seed"] == 1, ["val_acc", "test_acc"]] = np.nan
    result, _, _ = imported(frame)
    assert {(r["seed"], r["status"]) for r in result.records} == {
        (1, "diverged"),
        *((s, "completed") for s in (2, 3, 4, 5)),
    }
    notes = " ".join(result.notes)
    assert "2 runs without test_acc: left out" in notes
    assert "2 of 10 runs have no finite metric" in notes


def test_rows_without_a_seed_are_left_out():
    frame = table(lrs=(1e-2,))
    frame["seed"] = frame["seed"].astype(float).where(frame.index > 0)
    result, _, _ = imported(frame)
    assert len(result.records) == len(frame) - 1
    assert "1 row without seed: left out" in result.notes


def test_names_and_decays_that_are_changed_are_said():
    frame = table(lrs=(1e-2,)).replace({"opt": {"adamw": "adam "}}).assign(wd=np.nan)
    frame.loc[0, "wd"] = 0.1
    frame.loc[frame["opt"] == "adam", "opt"] = "Adam"
    notes = " ".join(imported(frame)[0].notes)
    for part in ("spaces around names", "differ in case only", "11 rows without wd count with λ = 0"):
        assert part in notes


def test_equal_differences_are_not_tested_whatever_their_rounding():
    frame = table(lrs=(1e-2,), optimizers=("adamw",)).drop(columns=["val_acc", "learning_rate", "wd"])
    other = frame.assign(opt="adam", test_acc=frame["test_acc"] - 0.02)
    verdicts = adamcmp.compare(pd.concat([frame, other]), optimizer="opt", seed="seed", metric="test_acc").verdicts
    assert verdicts["verdict"].tolist() == ["untested"]


def test_advice_on_imported_runs_names_no_setting_of_a_sweep():
    study = adamcmp.compare(table(), optimizer="opt", seed="seed", metric="test_acc")
    close = table().assign(opt=lambda f: f["opt"] + "2")
    study = adamcmp.compare(pd.concat([table(), close]), optimizer="opt", seed="seed", metric="test_acc")
    assert "study." not in " ".join([*study.verdicts["text"], *study.warnings])


def test_runs_without_seeds_are_not_paired():
    frame = table(lrs=(1e-2,)).drop(columns="seed")
    study = adamcmp.compare(frame, optimizer="opt", metric="test_acc")
    assert not study.verdicts["paired"].any()


def test_few_seeds_of_several_trials_are_not_tested():
    result, _, _ = imported(table(seeds=2))
    assert any("tuned on the seeds it is judged on" in note for note in result.notes)
    assert adamcmp.compare(table(seeds=2), optimizer="opt", seed="seed", metric="test_acc").verdicts.empty


def logged(*, train=True):
    """Rows as loggers write them: metrics of training, validation and test data in separate rows."""
    rows = []
    for name, seed in [(name, seed) for name in ("adam", "sgd") for seed in range(4)]:
        run = {"optimizer": name, "seed": seed}
        for step in (10, 20, 30):
            rows.append({**run, "step": step, "val_acc": 0.5 + step / 100 + seed / 1000 - 0.1 * (name == "sgd")})
            rows += [{**run, "step": step + 5, "train_loss": 0.3}] if train else []
        rows.append({**run, "step": 30, "test_acc": 0.7 + seed / 500 - 0.1 * (name == "sgd")})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("train", [True, False])
def test_metrics_in_rows_of_their_own_count_as_of_their_last_step(train):
    result, _, _ = imported(logged(train=train))
    records = pd.DataFrame(result.records)
    assert (records["status"] == "completed").all()
    adam = records[records["optimizer"] == "adam"].sort_values("seed")
    assert adam["final_validation_error"].tolist() == pytest.approx([0.8, 0.801, 0.802, 0.803])
    assert adam["final_test_error"].tolist() == pytest.approx([0.7, 0.702, 0.704, 0.706])
    curves = pd.DataFrame(result.curves).dropna(subset="validation_error")
    assert curves.groupby("run_id")["step"].agg(list).tolist() == [[10, 20, 30]] * 8


def test_a_run_that_lost_its_metric_before_others_has_diverged():
    frame = logged()
    lost = (frame["optimizer"] == "sgd") & (frame["seed"] == 2) & (frame["step"] >= 20)
    frame.loc[lost, "val_acc"] = np.nan
    records = pd.DataFrame(imported(frame.drop(columns="test_acc").dropna(subset="step"))[0].records)
    status = records.set_index(["optimizer", "seed"])["status"]
    assert status[status == "diverged"].index.tolist() == [("sgd", 2)]
    records = pd.DataFrame(imported(logged()[lambda f: ~((f["seed"] == 1) & f["test_acc"].notna())])[0].records)
    assert set(records["seed"]) == {0, 2, 3}  # without a test metric


def test_runs_that_end_early_are_said():
    frame = logged(train=False).drop(columns="test_acc").dropna()
    early = frame[~((frame["seed"] == 2) & (frame["step"] > 20))]
    note = "2 of 8 runs end before others, such as at step 20 of 30: their last evaluation counts"
    assert note in imported(early)[0].notes
    assert not any("end before" in note for note in imported(frame)[0].notes)
    renamed = frame.rename(columns={"step": "place"})
    roles = {"optimizer": "optimizer", "seed": "seed", "metric": "val_acc"}
    with pytest.raises(InputError, match="repeat a run"):
        adamcmp.compare(renamed, **roles)
    assert adamcmp.compare(renamed, **roles, step="place").records["final_test_error"].min() == pytest.approx(0.7)


def test_a_repeated_step_is_said():
    frame = logged(train=False)
    result, _, _ = imported(pd.concat([frame, frame[frame["step"] == 10].assign(val_acc=0.1)]))
    assert any(note.startswith("8 evaluations repeat the step of their run") for note in result.notes)


def test_all_trials_are_selected_on_the_same_seeds():
    frame = table(seeds=8)
    late = frame[(frame["opt"] == "adam") | (frame["seed"] >= 4)]
    records = pd.DataFrame(imported(late)[0].records)
    stages = records.groupby(["optimizer", "stage"])["seed"].agg(lambda s: sorted(set(s))).to_dict()
    assert stages == {
        ("adam", "tune"): [4, 5], ("adam", "confirm"): [0, 1, 2, 3, 6, 7],
        ("adamw", "tune"): [4, 5], ("adamw", "confirm"): [6, 7],
    }  # fmt: skip
    apart = frame.assign(seed=frame["seed"] + 100 * (frame["opt"] == "adamw"))
    result, _, _ = imported(apart)
    records = pd.DataFrame(result.records)
    assert records.groupby(["optimizer", "stage"])["seed"].nunique().tolist() == [4, 4, 4, 4]
    assert any(note.startswith("adamw: 4 seeds (100 to 103) select trials") for note in result.notes)
    with pytest.raises(InputError, match="trials of adam have 8 seeds in common"):
        imported(apart, ImportOptions("study", tuning_seeds=8))
    several = pd.concat([frame.assign(task="a"), frame.assign(task="b", seed=frame["seed"] + 50)])
    records = pd.DataFrame(imported(several)[0].records)
    assert records.groupby(["data", "stage"])["seed"].nunique().tolist() == [4, 4, 4, 4]


def test_an_optimizer_whose_runs_select_no_trial_is_said():
    frame = table().assign(stage=lambda f: np.where((f["seed"] < 3) & (f["opt"] == "adam"), "tune", "held-out"))
    assert "adamw: no run selects its trial, so that it is not compared" in imported(frame, stage="stage")[0].notes


def test_held_out_runs_of_single_trials_are_compared():
    frame = table(lrs=(1e-2,), seeds=8).assign(stage=lambda f: np.where(f["seed"] < 3, "tune", "held-out"))
    frame.loc[frame["seed"] < 3, ["val_acc", "test_acc"]] = frame["opt"].map({"adam": 0.99, "adamw": 0.5})
    result, _, _ = imported(frame, stage="stage")
    assert {record["seed"] for record in result.records} == {3, 4, 5, 6, 7}
    assert "6 tuning runs select nothing, since every optimizer has one trial: left out" in result.notes
    study = adamcmp.compare(frame, optimizer="opt", seed="seed", metric="test_acc", stage="stage")
    assert study.leaderboard["arm"].tolist() == ["adamw", "adam"]
    lost = frame[(frame["opt"] == "adamw") | (frame["stage"] == "tune")]
    assert any("with them adam, which has no held-out run" in note for note in imported(lost, stage="stage")[0].notes)


def test_imported_runs_of_unknown_duration_are_exported():
    study = adamcmp.compare(table(), optimizer="opt", seed="seed", metric="test_acc")
    stored = Results(study.records, pd.DataFrame(columns=["run_id", "step"]))
    assert {run.seconds for run in to_tracked_runs(stored)} == {0.0}


def test_a_null_next_to_numbers_is_a_missing_value(tmp_path):
    for seed in range(4):
        values = {"opt": "a", "seed": seed, "val_error": 0.2, "test_error": None if seed == 3 else 0.2}
        (tmp_path / f"{seed}.json").write_text(json.dumps(values))
    runs = read_runs([tmp_path])
    result, roles, _ = imported(runs.frame)
    assert roles.test == "test_error"
    assert "1 run without test_error: left out" in result.notes
    with pytest.raises(InputError, match="brace is not closed"):
        read_runs([tmp_path], "{task/{optimizer}/{seed}.json")


@pytest.mark.parametrize("state", ["crashed", "FAILED", "RunStatus.KILLED"])
def test_runs_that_did_not_finish_are_left_out(state):
    frame = table()
    bad = (frame["opt"] == "adam") & (frame["seed"] == 5)
    frame["State"] = np.where(bad, state, "finished")
    frame.loc[bad, "test_acc"] = 0.1
    result, _, _ = imported(frame)
    assert len(result.records) == 22
    name = state.rpartition(".")[2].lower()
    assert f"2 rows of runs that did not finish ({name}): left out" in result.notes
    none_ended, _, _ = imported(frame.assign(State=state))
    assert len(none_ended.records) == 24
    assert f"State: no run has finished ({name}); they count as they are" in none_ended.notes


@pytest.mark.parametrize(
    ("change", "given", "message"),
    [
        (lambda f: f, {"optimizer": "nope"}, "no such column"),
        (lambda f: f.drop(columns="opt"), {}, "--optimizer COLUMN"),
        (lambda f: f.drop(columns=["val_acc", "test_acc"]), {}, "--validation"),
        (lambda f: pd.concat([f, f]), {}, "rows repeat a run"),
        (lambda f: f.assign(seed="x").assign(lr="fast"), {"lr": "lr"}, "is not a number"),
        (lambda f: f.rename(columns={"val_acc": "val_zorp", "test_acc": "test_zorp"}), {}, "--better"),
        (lambda f: f.assign(stage="other"), {"stage": "stage"}, "neither tune nor held-out"),
        (lambda f: f.assign(test_acc=f["test_acc"] * (1 + 99 * (f["opt"] == "adam"))), {}, "others percentages"),
        (lambda f: f.assign(val_acc=f["val_acc"].map("{:.3f}".format).str.replace(".", ",")), {}, "texts such as '0,7"),
        (lambda f: f.assign(test_acc=pd.Timestamp("2020")), {"test": "test_acc"}, "dates, not numbers"),
        (lambda f: f.assign(test_acc=f["test_acc"] > 0.8), {"test": "test_acc"}, "true and false"),
        (lambda f: f.assign(test_acc=np.nan), {"test": "test_acc"}, "no number"),
    ],
)
def test_bad_tables_are_one_line(change, given, message):
    with pytest.raises(InputError, match=message) as caught:
        imported(change(table()), **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda f: f, {"better": "up"}, "lower, higher or auto"),
        (lambda f: f, {"margin": -1}, "positive"),
        (lambda f: f, {"margin": "a"}, "positive"),
        (lambda f: f, {"reference": "zzz"}, "no such optimizer"),
        (lambda f: f, {"tuning_seeds": 0}, "at least 1"),
        (lambda f: f, {"unit": 5}, "text of a unit"),
        (lambda f: f.iloc[:0], {}, "no rows"),
        (lambda f: f.assign(opt=None), {}, "optimizer"),
        (lambda f: f.set_axis(["opt", *f.columns[1:-1], "seed"], axis=1), {}, "several columns"),
        (lambda f: f.assign(test_acc=1j), {}, "test_acc"),
        (lambda f: f.assign(wd=np.inf), {}, "not finite"),
        (lambda f: f.assign(learning_rate=0.0), {}, "no rows are left"),
        (lambda f: f.to_dict(), {}, "DataFrame"),
        (lambda f: f.rename(columns={"opt": 0}), {"optimizer": 1}, "optimizer=1: no such column"),
        (lambda f: f, {"metric": "test_ac"}, "metric=test_ac: no such column"),
    ],
)
def test_bad_comparisons_are_one_line(change, options, message):
    arguments = {"optimizer": "opt", "seed": "seed", "metric": "test_acc", **options}
    with pytest.raises(InputError, match=message) as caught:
        adamcmp.compare(change(table()), **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.assign(**{"5": 1}).rename(columns={"5": 5}),
        lambda f: f.set_index("seed", drop=False),
        lambda f: f.astype({"opt": "category"}),
        lambda f: f.assign(test_acc=f["test_acc"].astype("Float64")),
        lambda f: f.assign(step=1e30),
        lambda f: f.assign(test_acc=[f"{100 * v:.2f} %" for v in f["test_acc"]]),
    ],
)
def test_tables_of_other_shapes_are_compared(change):
    study = adamcmp.compare(change(table()), optimizer="opt", seed="seed", metric="test_acc")
    assert study.verdicts["verdict"].tolist() == ["different"]


def test_a_column_distinguishes_repeated_rows():
    frame = pd.concat([table(width=8), table(width=16)])
    with pytest.raises(InputError, match="--setting width"):
        imported(frame)
    result, _, _ = imported(frame, settings=("width",))
    assert len({record["variant"] for record in result.records}) == 4


def test_rows_may_be_evaluations():
    frame = pd.concat([table(lrs=(1e-2,)).assign(epoch=e) for e in (1, 2, 3)])
    result, _, _ = imported(frame)
    assert len(result.records) == 12
    assert len(result.curves) == 36
    assert {record["steps"] for record in result.records} == {3}


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "jsonl", "json"])
def test_kinds_of_tables(tmp_path, ending):
    frame, path = table(), tmp_path / f"results.{ending}"
    match ending:
        case "parquet":
            frame.to_parquet(path)
        case "jsonl":
            frame.to_json(path, orient="records", lines=True)
        case "json":
            frame.to_json(path, orient="records")
        case _:
            frame.to_csv(path, index=False, sep="\t" if ending == "tsv" else ",")
    read = read_runs([path]).frame
    assert len(read) == len(frame)
    np.testing.assert_allclose(read["val_acc"], frame["val_acc"])


@pytest.mark.parametrize("content", ["", "a,b\n", "{", "\x00\x01"])
def test_damaged_tables_are_one_line(tmp_path, content):
    for ending in ("csv", "json", "parquet", "jsonl"):
        (tmp_path / f"x.{ending}").write_text(content)
        with pytest.raises(InputError, match="x"):
            imported(read_runs([tmp_path / f"x.{ending}"]).frame)


def test_a_folder_of_many_files_has_a_pooled_verdict_in_one_command(tmp_path):
    draw, folder = np.random.default_rng(0), tmp_path / "foreign"
    for t in range(5):
        for o in range(4):
            (folder / f"table{t}").mkdir(parents=True, exist_ok=True)
            rows = [{"seed": s, "val_acc": v, "test_acc": v + draw.normal(0, 0.01)}
                    for s in range(5) for v in [0.7 + 0.05 * o + 0.02 * t + draw.normal(0, 0.01)]]  # fmt: skip
            (folder / f"table{t}" / f"opt{o}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = [sys.executable, "-m", "adamcmp", "import", str(folder), "--pattern", "{task}/{optimizer}.jsonl", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert answer["exit_code"] == 0, done.stderr
    assert answer["runs"] == 100
    assert len(answer["tasks"]) == 5
    assert "Over 5 tasks: opt3 is significantly better" in " ".join(done.stderr.split())
    again = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert json.loads(again.stdout)["runs"] == 100
    assert len(adamcmp.load(tmp_path / "results").records) == 100
    done = subprocess.run(
        [sys.executable, "-m", "adamcmp", "report", "results/foreign"], capture_output=True, text=True, check=False,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_path_patterns():
    expression = path_expression("runs/*/{optimizer}_lr{lr}/s{seed}.json")
    assert expression.fullmatch("runs/a/adam_lr0.1/s3.json").groupdict() == {
        "optimizer": "adam",
        "lr": "0.1",
        "seed": "3",
    }
    with pytest.raises(InputError, match="names in braces"):
        path_expression("*.json")


def test_optuna_storages_are_read(tmp_path):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = f"sqlite:///{tmp_path / 'o.db'}"
    study = optuna.create_study(study_name="s", storage=url, direction="maximize")

    def objective(trial):
        trial.suggest_categorical("optimizer", ["adam", "adamw"])
        trial.set_user_attr("test_acc", 0.5)
        trial.set_user_attr("seed", trial.number)
        return trial.suggest_float("lr", 1e-4, 1e-1, log=True)

    study.optimize(objective, n_trials=6)
    runs = read_runs([tmp_path / "o.db"])
    assert runs.kind == "Optuna"
    roles, _ = find_roles(runs.frame, {})
    assert (roles.optimizer, roles.lr, roles.validation) == ("optimizer", "lr", "validation_value") or roles.test


def test_tensorboard_folders_with_hyperparameters_are_read(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    for name in ("adam", "adamw"):
        with tensorboard.SummaryWriter(str(tmp_path / name)) as writer:
            writer.add_scalar("val/acc", 0.6, 1)
            writer.add_scalar("val/acc", 0.7, 2)
            writer.add_hparams({"optimizer": name, "lr": 0.1, "seed": 0}, {"test/acc": 0.65}, run_name="hparams")
    runs = read_runs([tmp_path])
    assert runs.kind == "TensorBoard"
    assert sorted(runs.frame["optimizer"]) == ["adam", "adamw"]
    np.testing.assert_allclose(runs.frame["val/acc"], 0.7, rtol=1e-6)
    np.testing.assert_allclose(runs.frame["test/acc"], 0.65, rtol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("is_folder", [True, False])
def test_mlflow_stores_are_read(tmp_path, monkeypatch, is_folder):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    store = "mlruns" if is_folder else "mlflow.db"
    mlflow.set_tracking_uri(f"file://{tmp_path / store}" if is_folder else f"sqlite:///{tmp_path / store}")
    for seed in range(2):
        with mlflow.start_run():
            mlflow.log_params({"optimizer": "adam", "lr": 0.1, "seed": seed})
            mlflow.log_metric("val_acc", 0.9)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    runs = read_runs([tmp_path / store])
    assert runs.kind == "MLflow"
    assert runs.frame["val_acc"].tolist() == [0.9, 0.9]
    assert set(runs.frame["status"]) == {"FINISHED"}


def test_offline_runs_of_wandb_are_read(tmp_path):
    pytest.importorskip("wandb")
    program = (
        "import wandb\nfor seed in range(2):\n"
        "    run = wandb.init(mode='offline', project='p', config={'optimizer': 'adam', 'lr': 0.1, 'seed': seed})\n"
        "    run.log({'val_acc': 0.8}); run.log({'val_acc': 0.9, 'test_acc': 0.85})\n"
        "    run.finish(exit_code=seed)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, check=True, timeout=120)
    runs = read_runs([tmp_path])
    assert runs.kind == "Weights & Biases"
    assert runs.frame["val_acc"].tolist() == [0.9, 0.9]
    assert sorted(zip(runs.frame["seed"], runs.frame["state"], strict=True)) == [(0, "finished"), (1, "failed")]


def test_trained_studies_are_not_overwritten(tmp_path):
    table(lrs=(1e-2,)).to_csv(tmp_path / "digits.csv", index=False)
    adamcmp.sweep("digits", ["train.steps=5"], results_dir=tmp_path / "results", quiet=True)
    done = subprocess.run(
        [sys.executable, "-m", "adamcmp", "import", "digits.csv"], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--study" in done.stderr
