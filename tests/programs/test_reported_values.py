"""Values that programs report: parsing of lines and files, and which of them are metrics."""

import json
import math

import numpy as np
import pytest

from adamcmp.config.program import MetricSettings
from adamcmp.engine.line_parser import LineParser
from adamcmp.engine.reported_values import (
    falling_steps,
    find_metrics,
    pack_examples,
    read_examples,
    read_metric_file,
    read_reported_files,
    time_of,
    to_evaluations,
)
from adamcmp.errors import InputError


def parsed(*lines, pattern=None):
    parser = LineParser(pattern)
    for line in lines:
        parser.feed(line)
    return parser.records


@pytest.mark.parametrize(
    ("lines", "records"),
    [
        (['{"val_error": 0.1, "epoch": 3}'], [{"val_error": 0.1, "epoch": 3.0}]),
        (["INFO 12:00 {'eval_loss': '0.5', 'epoch': 1.0}"], [{"eval_loss": 0.5, "epoch": 1.0}]),
        (['{"val": {"acc": 0.9}, "name": "x"}'], [{"val.acc": 0.9}]),
        (["val_acc: 0.91", "test_acc: 0.90"], [{"val_acc": 0.91, "test_acc": 0.90}]),
        (["val_acc: 0.91", "val_acc: 0.92"], [{"val_acc": 0.91}, {"val_acc": 0.92}]),
        (["Epoch 3 | train loss 0.5 | val acc 91.2%"], [{"train_loss": 0.5, "val_acc": 0.912, "epoch": 3.0}]),
        (["step 100: validation accuracy 0.7"], [{"validation_accuracy": 0.7, "step": 100.0}]),
        (["Test accuracy: 12.5 %"], [{"test_accuracy": 0.125}]),
        (["val_loss=nan"], [{"val_loss": math.nan}]),
        (['{"val_loss": NaN}'], [{"val_loss": math.nan}]),
        (["{'eval_loss': nan, 'epoch': 1.0}"], [{"eval_loss": math.nan, "epoch": 1.0}]),
        (["\x1b[32mval_acc\x1b[0m: \x1b[1m0.9\x1b[0m"], [{"val_acc": 0.9}]),
        (['{"val_error": 1' + "0" * 400 + "}"], [{"val_error": math.inf}]),
        (["loading 3 files from /tmp/x", "", "{broken", "100%|####| 3/3"], []),
        (["x" * 5000], []),
        (
            ["Test set: Average loss: 0.02, Accuracy: 97/100 (97%)"],
            [{"test_average_loss": 0.02, "test_accuracy": 0.97}],
        ),
        (["Test:  Acc@1 76.1 Acc@5 92.8"], [{"test_acc@1": 76.1, "test_acc@5": 92.8}]),
        (["Train: loss 0.3 acc 0.9 | Val: loss 0.4"], [{"train_loss": 0.3, "train_acc": 0.9, "val_loss": 0.4}]),
        (["Accuracy of the network on the 10000 test images: 54 %"], [{"test_accuracy": 0.54}]),
        (
            ["Accuracy on test set: 0.9", "loss on the validation data = 2"],
            [{"test_accuracy": 0.9, "validation_loss": 2.0}],
        ),
        (["[valid] loss=0.4, acc=0.9"], [{"valid_loss": 0.4, "valid_acc": 0.9}]),
        (["| End of training | test loss 5.5"], [{"test_loss": 5.5}]),
        (["val_acc=0.9, loss=0.3, lr=0.1"], [{"val_acc": 0.9, "loss": 0.3, "lr": 0.1}]),
        (["Test: [ 3/78] Loss: 1.2 (1.3)"], [{"loss": 1.2}]),
        (["│  test_acc  │  0.91  │", "│  test_loss  │  3e-1  │"], [{"test_acc": 0.91, "test_loss": 0.3}]),
        (["test_examples 10000", "val 0.5", "loading test 3"], [{"test_examples": 10000.0}]),
        (["val_loss: 1,234.5", "test_loss: 12,345"], [{"val_loss": 1234.5, "test_loss": 12345.0}]),
        (["val_acc: 91,2 %", "val_acc: 0,912"], []),
        (["best validation accuracy: 0.9"], [{"best_validation_accuracy": 0.9}]),
        (["**val_acc**: 0.9", "test acc -> 0.8"], [{"val_acc": 0.9, "test_acc": 0.8}]),
        (["Epoch 2 step 30: val_loss=1"], [{"val_loss": 1.0, "epoch": 2.0, "step": 30.0}]),
        (
            ["epoch  valid_loss  time", "0   0.5  00:10", "1  0.4  00:20"],
            [{"epoch": 0.0, "valid_loss": 0.5}, {"epoch": 1.0, "valid_loss": 0.4}],
        ),
        (["| epoch | val_acc | tta_val_acc |", "| 0 | 0.5 |  |"], [{"epoch": 0.0, "val_acc": 0.5}]),
        (["step,val_acc", "1,0.5", "2,0.6"], [{"step": 1.0, "val_acc": 0.5}, {"step": 2.0, "val_acc": 0.6}]),
        (['{"val_acc": 0.5} {"lr": 1}'], [{"val_acc": 0.5}, {"lr": 1.0}]),
        (['[{"val_acc": 0.5}, {"val_acc": 0.6}]'], [{"val_acc": 0.5}, {"val_acc": 0.6}]),
        (["epoch 2 extras {} val_error: 0.1"], [{"val_error": 0.1, "epoch": 2.0}]),
        (['{"val_acc": 0.5, "all": "' + "x" * 70_000 + '"}'], [{"val_acc": 0.5}]),
        (
            ['{"train_loss": [3, 2, 1], "val_acc": [0.8, 0.9], "test_acc": 0.85}'],
            [
                {"train_loss": 3.0},
                {"train_loss": 2.0},
                {"train_loss": 1.0},
                {"val_acc": 0.8},
                {"val_acc": 0.9},
                {"test_acc": 0.85},
            ],
        ),
        (
            ["Validation accuracy at epoch 1: 0.8", "Test accuracy after 1 epoch was 70 %"],
            [{"validation_accuracy": 0.8, "epoch": 1.0, "test_accuracy": 0.7}],
        ),
        (["Best val acc at epoch 12: 0.9"], [{"best_val_acc": 0.9, "epoch": 12.0}]),
        (["epoch train_loss val_acc", "1 0.5 0.8", "2 0.4 saved"], [{"epoch": 1.0, "train_loss": 0.5, "val_acc": 0.8}]),
        (["computing val_loss now", "1 2 3"], []),
        (["Best val acc: 0.80, test acc at best val acc: 0.75"], [{"best_val_acc": 0.8, "test_acc": 0.75}]),
        (
            ["Train Loss: 0.5 Acc: 0.9 | Val Loss: 0.6 Acc: 0.8"],
            [{"train_loss": 0.5, "train_acc": 0.9, "val_loss": 0.6, "val_acc": 0.8}],
        ),
        (
            ["epoch  train_loss  valid_loss  accuracy", "0  0.5  0.6  0.9"],
            [{"epoch": 0.0, "train_loss": 0.5, "valid_loss": 0.6, "valid_accuracy": 0.9}],
        ),
        (["Test set results: loss= 0.7 accuracy= 0.82"], [{"test_loss": 0.7, "test_accuracy": 0.82}]),
        (["{'val_acc': np.float64(0.91), 'x': tensor(0.5, device='cpu')}"], [{"val_acc": 0.91, "x": 0.5}]),
        (['{"val_acc": "91%"}'], [{"val_acc": 0.91}]),
        (["{", '  "val_acc": 0.91,', '  "test_acc": 0.9', "}"], [{"val_acc": 0.91, "test_acc": 0.9}]),
        (["Validation accuracy: 0.91."], [{"validation_accuracy": 0.91}]),
        (["Val Accuracy (%): 85.0", "Test Acc [%]: 84"], [{"val_accuracy": 0.85, "test_acc": 0.84}]),
        (["acc (val): 0.85", "Test accuracy (top-1): 0.8"], [{"validation_acc": 0.85, "test_accuracy": 0.8}]),
        (
            ["The validation accuracy is 0.85", "Test set accuracy 0.9"],
            [{"validation_accuracy": 0.85, "test_set_accuracy": 0.9}],
        ),
        (["Eval step 100: loss=0.5 acc=0.8"], [{"eval_loss": 0.5, "eval_acc": 0.8, "step": 100.0}]),
        (["valAcc: 0.8"], [{"val_acc": 0.8}]),
        (["val: 100%|###| 10/10 [00:01, acc=0.91]"], [{"acc": 0.91}]),
        (["Val: 4550/5000 (91.00%)"], [{"val": 0.91}]),
        (['epoch 5 {"val_acc": 0.9}'], [{"epoch": 5.0, "val_acc": 0.9}]),
        (["Epoch 5/10", "----", "val_acc: 0.8"], [{"val_acc": 0.8, "epoch": 5.0}]),
        (["val_acc=0.5 step 5 ms"], [{"val_acc": 0.5}]),
        (["{'val_acc': [0.5, 0.6], 'loss': [1, 2]}"], [{"val_acc": 0.5, "loss": 1.0}, {"val_acc": 0.6, "loss": 2.0}]),
    ],
)
def test_lines_become_records(lines, records):
    assert repr(parsed(*lines)) == repr(records)


def test_a_pattern_takes_the_place_of_guessing():
    pattern = r"V\[(?P<validation>[\d.]+)\] T\[(?P<test>[\d.]+)\]"
    assert parsed("val_acc: 1", "V[0.5] T[0.6]", pattern=pattern) == [{"validation": 0.5, "test": 0.6}]


@pytest.mark.parametrize(
    ("record", "validation", "test", "higher", "unit", "factor"),
    [
        ({"val_error": 0.1, "test_error": 0.2}, "val_error", "test_error", False, "%", 1.0),
        ({"val_acc": 91.0, "test_acc": 90.0, "val_loss": 0.3}, "val_acc", "test_acc", True, "%", 0.01),
        ({"eval_accuracy": 0.9, "eval_loss": 0.3, "eval_runtime": 2.0}, "eval_accuracy", None, True, "%", 1.0),
        ({"validation_loss": 2.5}, "validation_loss", None, False, "", 1.0),
        ({"val/rmse": 12.0, "test/rmse": 13.0}, "val/rmse", "test/rmse", False, "", 1.0),
        ({"dev_f1": 0.8, "test_f1": 0.7}, "dev_f1", "test_f1", True, "%", 1.0),
        ({"best_val_acc": 0.9, "test_acc": 0.8}, "best_val_acc", "test_acc", True, "%", 1.0),
        ({"best_val_acc": 0.9, "val_acc": 0.8, "test_acc": 0.8}, "val_acc", "test_acc", True, "%", 1.0),
        ({"val_acc@1": 76.0, "val_acc@5": 93.0, "test_acc@1": 75.0}, "val_acc@1", "test_acc@1", True, "%", 0.01),
        ({"validation_return": 120.0, "test_return": 110.0}, "validation_return", "test_return", True, "", 1.0),
    ],
)
def test_metrics_are_found_by_name(record, validation, test, higher, unit, factor):
    found = find_metrics([[record]], MetricSettings())
    assert (found.validation, found.test) == (validation, test)
    assert (found.higher_is_better, found.unit, found.factor) == (higher, unit, factor)


@pytest.mark.parametrize(
    ("record", "settings", "message"),
    [
        ({}, {}, "nothing was found"),
        ({"accuracy": 0.9}, {}, "metrics.validation=NAME"),
        ({"test_acc": 0.9}, {}, "no validation metric.*metrics.validation=test_acc"),
        ({"val_zorp": 0.9}, {}, "metrics.better"),
        ({"val_zorp": 0.9, "val_blip": 1.0}, {}, "metrics.validation=NAME"),
        ({"val_acc": 0.9}, {"validation": "val_ac"}, "val_acc"),
        ({"val_acc": 0.9}, {"test": "test_acc"}, "metrics.test"),
        ({"eval_epoch": 3.0}, {}, "no validation metric"),
    ],
)
def test_missing_metrics_are_one_line_with_the_fix(record, settings, message):
    with pytest.raises(InputError, match=message) as caught:
        find_metrics([[record]], MetricSettings(**settings))
    assert "\n" not in str(caught.value)


def test_metrics_may_be_given_as_they_are_printed():
    records = parsed("Val Acc: 0.9, Final test accuracy: 91 %")
    assert find_metrics([records], MetricSettings(validation="Val Acc")).validation == "val_acc"
    assert find_metrics([records], MetricSettings()).test == "test_accuracy"


def test_each_metric_has_its_own_scale():
    for values in ({"val_wer": 1.02, "test_wer": 0.98}, {"val_error": 0.91, "test_error": 1.02}, {"val_error": 1.3}):
        with pytest.raises(InputError, match=r"Give metrics\.unit"):
            find_metrics([[values]], MetricSettings())
    assert find_metrics([[{"val_error": 0.0, "test_error": 15.0}]], MetricSettings()).factor == 0.01
    assert find_metrics([[{"val error %": 0.15}]], MetricSettings()).factor == 0.01
    found = find_metrics([[{"val_acc": 0.9, "test_acc": 91.0}]], MetricSettings())
    evaluation = to_evaluations([{"val_acc": 0.9, "test_acc": 91.0}], found)[0]
    assert (evaluation.validation_error, evaluation.test_error) == (0.9, 0.91)
    with pytest.raises(InputError, match=r"val_acc: some runs have shares \(0.9\), others percentages \(91\)"):
        find_metrics([[{"val_acc": 0.9}], [{"val_acc": 91.0}]], MetricSettings())
    assert find_metrics([[{"val_error": 12.0}], [{"val_error": 0.8}]], MetricSettings(unit="percent")).factor == 0.01
    assert find_metrics([[{"val_error": 1.2}]], MetricSettings(unit="none")).unit == ""
    with pytest.raises(ValueError, match="folder of the run"):
        MetricSettings(file="/tmp/shared.json")
    assert MetricSettings(file="{folder}/metrics.json").file
    assert find_metrics([[{"val_acc": -0.9}]], MetricSettings()).unit == ""


def test_a_summary_without_a_step_replaces_no_test_metric():
    lines = [f"Epoch {i}: val acc {90 + i}% test acc {80 + i}%" for i in (1, 2)]
    for summary in ("Best val acc: 93%", "val acc: 93%"):
        records = parsed(*lines, summary)
        evaluations = to_evaluations(records, find_metrics([records], MetricSettings()))
        assert [(e.step, e.validation_error, e.test_error) for e in evaluations] == [(1, 0.91, 0.81), (2, 0.92, 0.82)]
    records = parsed(*lines, "Final: val acc: 93% test acc: 94%")
    assert to_evaluations(records, find_metrics([records], MetricSettings()))[-1].test_error == 0.94


@pytest.mark.parametrize(
    ("summary", "last"),
    [
        ("Best epoch: 2, val acc: 0.9", (3, 0.85, 0.75)),
        ("Val acc at epoch 2: 0.9", (3, 0.85, 0.75)),
        ("Best epoch: 2 | val acc: 0.9 | test acc: 0.8", (3, 0.9, 0.8)),
    ],
)
def test_a_summary_of_an_earlier_epoch_loses_neither_steps_nor_test_metric(summary, last):
    epochs = [(1, 0.8, 0.7), (2, 0.9, 0.8), (3, 0.85, 0.75)]
    records = parsed(*(f"Epoch {i}: val acc {val}, test acc {test}" for i, val, test in epochs), summary)
    reported = find_metrics([records], MetricSettings())
    evaluations = to_evaluations(records, reported)
    assert [(e.step, e.validation_error, e.test_error) for e in evaluations] == [*epochs[:2], last]
    assert (time_of(records, reported), falling_steps(records, reported)) == ("epoch", None)


def test_evaluations_of_one_step_are_one_and_falling_steps_are_numbered():
    for steps, expected in (((100, 200, 200, 300), [100, 200, 300]), ((5, 5, 3), [1, 2, 3])):
        records = [{"step": float(s), "val_loss": float(i)} for i, s in enumerate(steps)]
        reported = find_metrics([records], MetricSettings())
        evaluations = to_evaluations(records, reported)
        assert [e.step for e in evaluations] == expected
        assert evaluations[-1].validation_error == len(steps) - 1
        assert falling_steps(records, reported) == ("step" if steps[-1] == 3 else None)


def test_settings_among_metrics_are_not_taken_for_them():
    record = parsed(
        '{"config": {"val_fraction": 0.1}, "metrics": {"val": {"acc": 0.9, "loss": 1}, "test": {"acc": 0.8}}}'
    )
    found = find_metrics([record], MetricSettings())
    assert (found.validation, found.test) == ("metrics.val.acc", "metrics.test.acc")
    found = find_metrics([[{"eval_accuracy": 0.9, "predict_accuracy": 0.8}]], MetricSettings())
    assert (found.validation, found.test) == ("eval_accuracy", "predict_accuracy")


def test_a_test_metric_may_select_if_it_is_given():
    found = find_metrics([[{"test_acc": 0.9}]], MetricSettings(validation="test_acc"))
    assert (found.validation, found.test) == ("test_acc", None)


def test_curves_have_the_reported_steps():
    records = parsed('{"epoch": 1, "val_loss": 3}', '{"epoch": 2, "val_loss": 2}', '{"val_loss": 2, "test_loss": 2.5}')
    evaluations = to_evaluations(records, find_metrics([records], MetricSettings()))
    assert [e.step for e in evaluations] == [1, 2]
    assert [e.validation_error for e in evaluations] == [3, 2]
    assert evaluations[-1].test_error == 2.5
    assert math.isnan(evaluations[0].test_error)


def test_a_test_metric_after_the_training_belongs_to_the_last_evaluation():
    records = parsed("step 10: val_acc=0.5", "step 20: val_acc=0.6", "test_acc: 0.55")
    evaluations = to_evaluations(records, find_metrics([records], MetricSettings()))
    assert [e.step for e in evaluations] == [10, 20]
    assert evaluations[-1].test_error == 0.55


def test_steps_that_are_no_whole_numbers_are_counted():
    for step in (1e30, -1, 0.5, math.nan):
        records = [{"step": step, "val_loss": 3.0}]
        assert [e.step for e in to_evaluations(records, find_metrics([records], MetricSettings()))] == [1]


def test_many_lines_do_not_fill_memory():
    parser = LineParser()
    for i in range(60_000):
        parser.feed(f"loss: {i}")
    parser.feed("val_acc: 0.5")
    assert len(parser.records) <= 20_001
    assert any("val_acc" in record for record in parser.records)


def test_files_of_the_folder_are_read(tmp_path):
    (tmp_path / "other.json").write_text('{"lr": 1}')
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "deep" / "state.json").write_text('{"val_acc": 0.1}')
    (tmp_path / "test_results.json").write_text('{"test_acc": 0.7}')
    (tmp_path / "log.csv").write_text("step,val_acc\n1,0.5\n2,0.6\n")
    records = read_reported_files(tmp_path, MetricSettings(), None, None)
    assert records == [{"step": 1, "val_acc": 0.5}, {"step": 2, "val_acc": 0.6}, {"test_acc": 0.7}]
    (tmp_path / "log.csv").unlink()
    assert read_reported_files(tmp_path, MetricSettings(), None, None) == [{"val_acc": 0.1}, {"test_acc": 0.7}]


def test_parsing_is_fast_enough_for_logs_of_any_text():
    parser = LineParser()
    for text in (
        "x" * 60_000 + ":",
        "a/" * 30_000 + "=",
        "1x" * 2000 + ":",
        "val " * 1000,
        "12 34 " * 600,
        "{" * 60_000,
    ):
        parser.feed(text)
    assert parser.records == []


def test_tensorboard_events_are_read(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    with tensorboard.SummaryWriter(str(tmp_path / "tb")) as writer:
        for step in (1, 2):
            writer.add_scalar("val/acc", 0.5 + step / 10, step)
    records = read_reported_files(tmp_path, MetricSettings(), None, "tb")
    assert [record["step"] for record in records] == [1, 2]
    assert records[-1]["val/acc"] == pytest.approx(0.7)


def test_a_damaged_file_is_one_line(tmp_path):
    (tmp_path / "m.json").write_text("{")
    with pytest.raises(InputError, match=r"m\.json"):
        read_metric_file(tmp_path / "m.json")


@pytest.mark.parametrize("ending", ["npy", "csv", "json", "txt"])
def test_example_errors_are_stored(tmp_path, ending):
    values = np.array([0.0, 1.0, 1.0, 0.0])
    path = tmp_path / f"test_errors.{ending}"
    if ending == "npy":
        np.save(path, values)
    elif ending == "json":
        path.write_text(json.dumps(values.tolist()))
    else:
        np.savetxt(path, values)
    stored = read_examples(tmp_path, "auto", 0.5)
    assert (stored.kind, stored.length) == ("bits", 4)


def test_example_errors_must_agree_with_the_test_metric():
    with pytest.raises(InputError, match="the mean of 2 values"):
        pack_examples([0, 1], 0.25, "test_errors.npy")


def test_example_errors_may_accompany_an_accuracy():
    stored = pack_examples([0, 1, 0, 0], 0.75, "test_errors.npy", is_accuracy=True)
    assert np.unpackbits(np.frombuffer(stored.values, np.uint8))[:4].tolist() == [1, 0, 1, 1]
    with pytest.raises(InputError, match="the mean of 4 values"):
        pack_examples([0, 1, 0, 0], 0.75, "test_errors.npy")
