"""Figures of claims: every series of a table in its panel."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from adamcmp.analysis.intervals import Estimate
from adamcmp.claims.evidence import PanelAxes, value_panels
from adamcmp.conformance.find_convention import ConventionFit, to_frame
from adamcmp.figures.convention_distance import convention_distance_figure
from adamcmp.figures.panels import panels_figure
from adamcmp.figures.style import FigureSkipped


def test_each_series_is_drawn_as_its_kind_says():
    axes = PanelAxes("left", "x", "y")
    x = [1.0, 10.0, 100.0, 1000.0]
    table = pd.concat([
        axes.series("line", "line", x, [1, 2, 3, 4], [0.5, 1, 2, 3], [2, 3, 4, 5]),
        axes.series("dots", "dots", x, [2, 3, 4, 5], [1, 2, 3, 4], [3, 4, 5, 6]),
        axes.series("points", "points", x, [3, 4, 5, 6]),
        axes.series("rule", "predicted", x, [1, 1, 1, 1]),
        *value_panels("right", "difference", {"a": Estimate(1.0, 0.5, 2.0), "b": Estimate(-1.0, -2.0, -0.5)}),
    ])  # fmt: skip
    fig = panels_figure(table)
    left, right = fig.axes
    assert (left.get_xscale(), left.get_title(loc="left")) == ("log", "left")
    assert {line.get_label() for line in left.get_lines()} >= {"line", "dots", "points", "rule"}
    assert len(left.collections) >= 2  # the band, and the bars
    assert [text.get_text() for text in right.get_yticklabels()] == ["a", "b"]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["line", "dots", "points", "rule"]


def test_a_figure_of_names_alone_has_no_legend_and_none_of_nothing():
    fig = panels_figure(pd.concat(value_panels("only", "x", {"a": Estimate(1.0, 1.0, 1.0)})))
    assert not fig.legends
    with pytest.raises(FigureSkipped):
        panels_figure(pd.DataFrame(columns=["panel"]))


def test_agreement_has_a_row_an_optimizer_and_none_for_what_is_not_installed():
    rows = [
        ConventionFit("PyTorch", "2", "torch.optim.AdamW", "adam", "c", "s", 1e-14, "n", 1e-2, "", "same"),
        ConventionFit("PyTorch", "2", "torch.optim.SparseAdam", "adam", "", "", 1.0, "n", 1.0, "", "differs"),
        ConventionFit("Apex", ""),
    ]
    (ax,) = convention_distance_figure(to_frame(rows)).axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["torch.optim.AdamW", "torch.optim.SparseAdam"]
    with pytest.raises(FigureSkipped):
        convention_distance_figure(to_frame(rows[2:]))
    assert math.isnan(rows[2].difference)
