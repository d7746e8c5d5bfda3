"""Every snippet of docs/howto/recipes.md does what it says, run as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "howto" / "recipes.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"## (… [^\n]+)\n(.*?)(?=\n## |\Z)", TEXT, flags=re.DOTALL))


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture
def files(tmp_path):
    """What a user would have."""
    draw = np.random.default_rng(0)
    area, rooms = draw.uniform(30, 200, 120), draw.integers(1, 9, 120)
    price = 3 * area + 10 * rooms + draw.normal(0, 20, 120)
    houses = pd.DataFrame({"price": price, "area": area, "rooms": rooms, "town": draw.choice(["A", "B"], 120)})
    houses.to_csv(tmp_path / "houses.csv", index=False)
    size, weight = draw.normal(size=(2, 120))
    red, round_ = size > 0, weight > 0.3
    tags = [";".join(name for name, has in (("red", r), ("round", o)) if has) for r, o in zip(red, round_, strict=True)]
    frame = pd.DataFrame(
        {"size": size, "weight": weight, "red": red.astype(int), "round": round_.astype(int), "tags": tags}
    )
    frame.drop(columns="tags").to_csv(tmp_path / "tags.csv", index=False)
    frame.drop(columns=["red", "round"]).to_csv(tmp_path / "shapes.csv", index=False)


def test_there_are_recipes():
    assert len(RECIPES) > 20
    assert all(blocks(text, "sh") for text in RECIPES.values())


NEW = ("… carry λ and ε from another framework or a paper?", "… see what weight decay does in my training?")
SOME = [each for i, each in enumerate(RECIPES) if i % 4 == 0 and "how soon" not in each]
"""That are run each time; the others take a minute, and are run with the slow tests."""


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=[pytest.mark.slow] * (each not in (*SOME, *NEW))) for each in RECIPES]
)
def test_a_recipe_runs(cli, tmp_path, files, name):
    for code in blocks(RECIPES[name], "python"):
        title, _, text = code.partition("\n")
        (tmp_path / title.removeprefix("# ")).write_text(text)
    for line in blocks(RECIPES[name], "sh")[0].strip().splitlines():
        weights = next(iter(tmp_path.glob("results/first/weights/*.safetensors")), None)
        line = line.replace("WEIGHTS", str(weights))
        ended = cli(*shlex.split(line)[1:])
        assert ended.code == 0, f"{line}\n{ended.err}"
        assert ended.out
