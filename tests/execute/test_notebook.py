"""The notebook and the instructions for agents do what they say, in an empty folder."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
SKILL = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "howto" / "agents.md").read_text(), re.DOTALL)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebook_runs_from_an_empty_folder(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "examples" / "results.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.get("data", {}).get("text/plain", "") for output in outputs)
    assert "Adam + L2" in text
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebook_on_own_training_runs(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "examples" / "own_training.ipynb", as_version=4)
    (tmp_path / "train_loop.py").write_bytes((ROOT / "examples" / "train_loop.py").read_bytes())
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    data = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("significantly better" in str(item.get("text/html", "")) for item in data) >= 1
    assert any("image/png" in item for item in data)


@pytest.mark.slow
def test_agents_find_the_verdict_where_they_are_told_to(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4))
    pd.DataFrame({**{f"x{i}": x[:, i] for i in range(4)}, "y": (x.sum(1) > 0).astype(int)}).to_csv(
        tmp_path / "mine.csv", index=False
    )
    answers = []
    for command in SKILL:
        ended = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        answers.append(json.loads(ended.stdout))
    plan, sweep, recommended, report = answers
    assert plan["plans"][0]["to_train"] == 50
    assert sweep["tasks"][0]["verdicts"][0]["kind"] in ("apart", "same", "open")
    assert sweep["tasks"][0]["error"]["better"] == "lower"
    assert {row["stage"] for row in sweep["tasks"][0]["leaderboard"]} == {"confirm"}
    assert "torch.optim" in recommended["recommendation"]["recipes"]["torch"]
    assert recommended["recommendation"]["text"].startswith("Use Adam")
    assert recommended["spent_seconds"] < 1.05 * 40
    assert report["files"]
