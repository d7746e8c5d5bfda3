"""Figures at both widths, ``plot.py`` which draws them again, and the manifest which says whether files are whole."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import venv

import matplotlib.text
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.testing.compare import compare_images
from PIL import Image

from adamcmp import report
from adamcmp.errors import InputError
from adamcmp.figures.registry import FIGURES
from adamcmp.figures.style import (
    FLAG_COLOR,
    SMALLEST_FONT,
    WIDTHS,
    FigureSkipped,
    FigureStyle,
    layout,
    render_figure,
    use_style,
)
from adamcmp.report import manifest
from adamcmp.report.findings import StudyFindings, StudyTable
from adamcmp.report.plot_script import plot_script
from adamcmp.storage.records import read

ARMS = ("Adam + L2", "AdamW")


def decay_curves():
    rows = [
        (arm, decay, decay == 0.01, step, float(step), np.exp(-step / 5) + decay, 0.3 + decay + 1 / (step + 2))
        for arm in ARMS for decay in (0.0, 0.01, 0.1) for step in range(1, 11)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["arm", "weight_decay", "best", "step", "epoch", "train_loss", "test_error"])


def anytime():
    steps = np.arange(1, 31)
    parts = [
        pd.DataFrame({
            "arm": arm, "step": steps, "epoch": steps / 2.0, "test_error": 0.3 + 1 / (steps + i),
            "test_error_half_width": 0.01, "test_top5_error": 0.05 + 0.1 / steps, "test_top5_error_half_width": 0.01,
            "restarts": "1 3 7" if i else "",
        })
        for i, arm in enumerate(("AdamW", "AdamWR"))
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def budgets():
    xs = (15.0, 60.0, 240.0)
    profile = [
        (x, decay, 0.3 + abs(np.log(decay * x)) / 100, 0.01, "profile")
        for x in xs for decay in (1e-3, 1e-2, 1e-1)
    ]  # fmt: skip
    rows = pd.DataFrame(profile, columns=["x", "weight_decay", "test", "half_width", "part"])
    best = pd.DataFrame({"x": xs, "best": 0.5 / np.array(xs), "low": 0.3 / np.array(xs), "high": 0.9 / np.array(xs),
                         "side": [0, 0, -1], "part": "optimum"})  # fmt: skip
    both = pd.concat([rows, best], ignore_index=True)
    return pd.concat([both.assign(convention=name) for name in ("raw", "normalised")], ignore_index=True)


def optima():
    parts = [
        pd.DataFrame({"by": by, "x": xs, "best": [0.4, 0.2, 0.1], "low": [0.3, 0.1, np.nan], "high": [0.6, 0.4, np.nan],
                      "side": [0, 0, 1]})
        for by, xs in (("epochs", [15.0, 60.0, 240.0]), ("training examples", [900.0, 1800.0, 3600.0]))
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def gains():
    return pd.DataFrame({"x": [15.0, 60.0, 240.0], "gain": [-0.5, -1.0, -2.0], "gain_low": [-1.0, -1.5, np.nan],
                         "gain_high": [0.1, -0.5, np.nan], "unit": "pp"})  # fmt: skip


def steps_to_generalise():
    rows = [
        (arm, 1e-3, decay, 100 * (i + 2), 90, 100 * (i + 3), 5 * (decay > 0), 5, 2400.0)
        for i, arm in enumerate(ARMS) for decay in (0.0, 1e-3, 1e-2, 1e-1)
    ]  # fmt: skip
    columns = ["arm", "lr", "weight_decay", "median", "fastest", "slowest", "reached", "n", "budget"]
    return pd.DataFrame(rows, columns=columns)


OWN = {each.__name__: each for each in (decay_curves, anytime, budgets, optima, gains, steps_to_generalise)}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", OWN)
def test_a_study_s_figure_has_its_width_and_room_for_all_of_it(name, width):
    with use_style(FigureStyle(width, footer="Made from: " + "x " * 100)):
        fig = FIGURES[name].draw(OWN[name]())
        layout(fig)
        render_figure(fig, "png")
    assert fig.get_figwidth() <= WIDTHS[width]
    footer = fig.texts[0].get_window_extent()
    boxes = [ax.get_tightbbox() for ax in fig.axes]
    floor = fig.legends[0].get_window_extent().y1 if fig.legends else footer.y1
    for i, box in enumerate(boxes):
        assert box.y0 >= floor - 2
        assert box.x0 >= fig.bbox.x0 - 1
        assert box.x1 <= fig.bbox.x1 + 2
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])
    texts = [each for each in fig.findobj(matplotlib.text.Text) if each.get_text().strip() and each.get_visible()]
    assert min(each.get_fontsize() for each in texts) >= SMALLEST_FONT
    assert not any("$" in each.get_text() for each in texts)  # its exponents would be smaller


@pytest.mark.parametrize("name", OWN)
def test_what_has_nothing_to_show_is_not_drawn(name):
    with pytest.raises(FigureSkipped):
        FIGURES[name].draw(OWN[name]().iloc[:0])


@pytest.fixture(scope="module")
def study(synthetic, tmp_path_factory):
    small = {"lrs": [1e-3, 1e-2, 1e-1], "lambdas": [0.0, 1e-4, 1e-3, 1e-2]}
    records = synthetic.confirmed(synthetic.make_records({"Adam + L2": "l2", 'Adam"W_%': "lr_scaled"}, **small))
    asked = json.dumps({"test_top5_error": 0.1, "weight_norms_a.weight": 2.0, "updates_a.weight_ratio": 1e-3})
    curves = synthetic.make_curves(records, 6).assign(metrics=asked)
    folder = synthetic.store(tmp_path_factory.mktemp("redraw") / "digits", records.assign(metrics=asked), curves)
    told = StudyFindings(exhibits=[StudyTable(name, make(), "A caption.", None) for name, make in OWN.items()])
    report.write_report(
        report.ReportInput(*read(folder), study_findings=told, has_plot_script=True),
        folder / "report",
        formats=("md", "csv", "svg"),
    )
    return folder


@pytest.fixture(scope="module")
def pictures(study):
    """The folder of its figures as PNG and SVG."""
    told = StudyFindings(exhibits=[StudyTable(name, make(), "A caption.", None) for name, make in OWN.items()])
    report.write_report(
        report.ReportInput(*read(study), study_findings=told, has_plot_script=True),
        study / "pictures",
        formats=("csv", "png", "svg"),
    )
    return study / "pictures"


def test_every_figure_but_that_of_several_tasks_is_there_at_both_widths(study):
    assert {path.stem for path in study.glob("report/*.svg")} == FIGURES.keys() - {"profiles"}
    page = (study / "report" / "report.md").read_text()
    assert page.count("A caption.") == len(OWN)


def without_us(plot, out, python=sys.executable, *more):
    """Run ``plot.py`` where importing adamcmp, or what it needs and plot.py does not, is an error."""
    refuse = (
        "import sys, runpy\n"
        "class Refuse:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.split('.')[0] in {'adamcmp', 'torch', 'scipy', 'pyarrow', 'pydantic', 'yaml', 'rich'}:\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "plot, *sys.argv[1:] = sys.argv[1:]\n"
        "sys.argv[0] = plot\n"
        "runpy.run_path(plot, run_name='__main__')\n"
    )
    command = [python, "-c", refuse, str(plot), "--out", str(out), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_script_draws_one_picture_without_us(pictures, tmp_path):
    done = without_us(pictures / "plot.py", tmp_path, sys.executable, "verdicts", "--format", "svg")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "verdicts.svg").read_bytes() == (pictures / "verdicts.svg").read_bytes()
    assert without_us(pictures / "plot.py", tmp_path, sys.executable, "nothing").returncode == 2


@pytest.mark.slow
def test_the_script_draws_the_same_pictures_without_us(pictures, tmp_path):
    done = without_us(pictures / "plot.py", tmp_path, sys.executable, "--format", "png", "svg")
    assert done.returncode == 0, done.stderr
    for path in pictures.glob("*.svg"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
        assert compare_images(str(path.with_suffix(".png")), str(tmp_path / f"{path.stem}.png"), 0) is None


@pytest.mark.slow
def test_the_script_needs_an_environment_of_matplotlib_and_pandas_alone(pictures, tmp_path):
    venv.create(tmp_path / "empty", with_pip=True)
    python = tmp_path / "empty" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "matplotlib", "pandas"], check=True)
    plot = pictures / "plot.py"
    for width in WIDTHS:
        out = tmp_path / width
        command = [python, plot, "--width", width, "--format", "png", "--out", out]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert not done.stderr
    for path in pictures.glob("*.png"):
        assert compare_images(str(path), str(tmp_path / "double" / path.name), 2) is None


def test_a_palette_keeps_rare_colours():
    fig = Figure(figsize=(3, 2))
    ax = fig.subplots()
    ax.pcolormesh(np.random.default_rng(0).random((40, 40)))
    ax.plot(20, 20, marker="*", ms=12, color=FLAG_COLOR)
    with Image.open(io.BytesIO(render_figure(fig, "png"))) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int).reshape(-1, 3)
    wanted = np.array([int(FLAG_COLOR[i : i + 2], 16) for i in (1, 3, 5)])
    assert (np.abs(pixels - wanted).max(1) <= 17).sum() > 100


def test_the_script_is_plain_python_of_which_each_name_is_defined_once():
    text = plot_script(FigureStyle("single", ("A", "B'"), 'foot"er'), FIGURES)
    compile(text, "plot.py", "exec")
    assert "adamcmp." not in text.partition("FOOTER")[0]
    assert "import adamcmp" not in text


def test_the_script_holds_what_its_figures_need_and_no_more():
    text = plot_script(FigureStyle("single", ("A",), ""), ["heatmap"])
    assert "def heatmap" in text
    assert "def basin_figure" not in text


def test_a_manifest_tells_what_was_changed_lost_and_added(study, tmp_path):
    assert manifest.verify_report(study).is_whole
    folder = study / "report"
    told = json.loads((folder / "MANIFEST.json").read_text())
    assert told["runs"] == len(read(study).records)
    assert told["seeds"]
    assert set(told["versions"]) == {"adamcmp", "torch", "python"}
    assert set(told["files"]) == {p.name for p in folder.iterdir()} - {"MANIFEST.json"}
    before = (folder / "grid.csv").read_bytes()
    (folder / "grid.csv").write_bytes(before + b"\n")
    (folder / "mine.txt").write_text("of the reader")
    lost = (folder / "grid.md").rename(tmp_path / "grid.md")
    try:
        found = manifest.verify_report(folder)
        assert (found.changed, found.missing, found.others) == (["grid.csv"], ["grid.md"], ["mine.txt"])
        assert not found.is_whole
    finally:
        (folder / "grid.csv").write_bytes(before)
        (folder / "mine.txt").unlink()
        lost.rename(folder / "grid.md")
    with pytest.raises(InputError, match=r"no MANIFEST\.json here"):
        manifest.verify_report(tmp_path)
    (tmp_path / "MANIFEST.json").write_text("[]")
    with pytest.raises(InputError, match="cannot be read"):
        manifest.verify_report(tmp_path)
