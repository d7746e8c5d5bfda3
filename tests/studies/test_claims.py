"""Statements as measurements: each is whole, its toy gives what its formula says, and the command writes a page."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from adamcmp import claims as package
from adamcmp.analysis.claim import ABOVE_RANGE, BELOW_RANGE, Claim, exact_value
from adamcmp.analysis.intervals import Estimate
from adamcmp.claims import claim_tests, resolve_claims, studies_needed
from adamcmp.claims.claims_report import run_claim_tests
from adamcmp.claims.evidence import PanelAxes, least_squares_slope, mean_over_seeds
from adamcmp.cli import app
from adamcmp.config.compose import compose
from adamcmp.config.lookup import find_config, list_group
from adamcmp.config.validate import validate_config
from adamcmp.errors import InputError
from adamcmp.figures.panels import PANEL_COLUMNS

EVERY = claim_tests()
NEEDS_OTHERS = {"frameworks"}
"""Which run libraries in processes of their own: tests/conformance does so."""


def test_every_statement_has_its_place():
    assert tuple(each.name for each in EVERY) == package.ORDER
    assert len({each.text for each in EVERY}) == len(EVERY) == 21


@pytest.mark.parametrize("statement", EVERY, ids=lambda each: each.name)
def test_a_statement_is_whole(statement):
    assert 20 < len(statement.text) < 160
    assert not statement.text.endswith(".")
    assert statement.source
    assert len(statement.caption) > 60
    for study in statement.studies:
        assert study in list_group("study")
        for scale in ("laptop", "smoke"):
            source = find_config(study)
            assert validate_config(compose(source, [f"scale={scale}"]), source).study.figure is None


TOYS = {
    "sparse_features": ["supported", "supported"],
    "bias_correction": ["supported", "refuted", "refuted", "refuted", "supported", "supported"],
    "weaker_decay": ["refuted"],
    "decay_step_size": ["refuted", "supported"],
    "consistent_decay": ["supported"],
    "generalization": None,
    "separable": None,
    "rotation": ["supported", "supported", "supported", "refuted", None],
    "scale_free": ["supported", "supported"],
    "timescale": ["supported"],
    "sensitivity": ["supported", "supported"],
    "bounded": ["supported"],
    "l2_moments": ["supported", "supported"],
    "normalized_layers": ["supported", "supported"],
    "grokking": ["supported"],
    "decay_vs_run_length": None,
    "gain_of_decay": None,
    "flipping_ranks": None,
    "cautious": None,
    "late_gradients": ["supported", "supported"],
}
"""What a closed form says has to come out; None where only the experiment knows."""


@pytest.mark.parametrize("name", TOYS)
def test_a_toy_measures_and_finds_what_its_formula_says(name):
    found = run_claim_tests(next(each for each in EVERY if each.name == name), {}).toy
    assert found.claims
    for claim in found.claims:
        assert claim.on == "toy"
        assert claim.verdict != "none"
    for panel in found.panels:
        assert list(panel.columns) == list(PANEL_COLUMNS)
        assert panel["kind"].isin(["line", "points", "dots", "predicted"]).all()
    expected = TOYS[name] or [None] * len(found.claims)
    assert len(found.claims) == len(expected)
    for claim, verdict in zip(found.claims, expected, strict=True):
        assert verdict in (None, claim.verdict), claim


def test_toys_have_a_toy_each():
    assert set(TOYS) | NEEDS_OTHERS == set(package.ORDER)


def test_toys_give_the_same_numbers_each_time():
    toy = next(each for each in EVERY if each.name == "timescale").closed_form_test
    assert [each.estimate for each in toy().claims] == [each.estimate for each in toy().claims]


def test_a_training_without_runs_tells_nothing():
    for each in EVERY:
        if each.name not in NEEDS_OTHERS:
            assert not run_claim_tests(each, {}).training.claims, each.name


def test_claims_are_chosen_by_name():
    assert resolve_claims("claims") == EVERY
    assert [each.name for each in resolve_claims("claims/rotation")] == ["rotation"]
    assert studies_needed(resolve_claims("claims/consistent_decay")) == ["claims_decay", "claims_norm"]
    with pytest.raises(InputError, match="claims/rotatoin: no such claim; did you mean rotation"):
        resolve_claims("claims/rotatoin")


def test_an_inconclusive_number_tells_what_it_could_have_seen():
    open_ = Claim("s", "p", "m", Estimate(0.5, -0.5, 2.5), ABOVE_RANGE)
    assert open_.verdict == "inconclusive"
    assert open_.detectable == pytest.approx(2.0 * (1.959964 + 0.841621) / 1.959964, rel=1e-5)
    assert Claim("s", "p", "m", exact_value(-1.0), BELOW_RANGE).verdict == "supported"
    assert Claim("s", "p", "m", exact_value(1.0), BELOW_RANGE).verdict == "refuted"
    assert math.isnan(Claim("s", "p", "m", Estimate(1.0), BELOW_RANGE).detectable)


def test_values_without_spread_are_exact_and_slopes_need_two_points():
    assert mean_over_seeds([2.0, 2.0, math.nan]) == exact_value(2.0)
    assert mean_over_seeds([1.0, 3.0]).value == 2.0
    assert least_squares_slope(
        pd.Series([0.0, 1.0, 2.0]).to_numpy(), pd.Series([1.0, 3.0, 5.0]).to_numpy()
    ) == pytest.approx(2.0)
    assert math.isnan(least_squares_slope(pd.Series([1.0, 1.0]).to_numpy(), pd.Series([1.0, 2.0]).to_numpy()))


def test_bands_on_a_logarithmic_axis_are_of_logarithms():
    axes = PanelAxes("p", "x", "y", "linear", "log")
    made = axes.over_seeds("s", [1.0], pd.DataFrame([[1.0], [100.0]]).to_numpy())
    assert made["y"].item() == pytest.approx(10.0)
    assert made["low"].item() * made["high"].item() == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("name", "studies"), [("scale_free", 1), pytest.param("consistent_decay", 2, marks=pytest.mark.slow)]
)
def test_the_command_trains_what_a_statement_needs_and_writes_its_page(tmp_path, monkeypatch, capsys, name, studies):
    monkeypatch.setattr("sys.argv", ["adamcmp", "reproduce", f"claims/{name}", "--scale", "smoke"])
    words = ["reproduce", f"claims/{name}", "--scale", "smoke", "--results-dir", str(tmp_path)]
    formats = [word for each in ("md", "csv", "html") for word in ("--format", each)]
    assert app([*words, *formats], standalone_mode=False) in (0, None)
    folder = tmp_path / "claims_smoke" / name
    table = pd.read_csv(folder / "claims.csv")
    assert set(table["claim"]) == {name}
    assert {"supported", "refuted", "inconclusive", "none"} >= set(table["verdict"])
    assert (table["on"] != "toy").any()
    assert len(list(tmp_path.glob("claims_*_smoke"))) + len(list(tmp_path.glob("claims_*/records"))) >= studies
    page = (folder / "report.md").read_text()
    assert f"adamcmp reproduce claims/{name}" in page
    assert (folder / "report.html").stat().st_size > 10_000
    assert f"{name}.csv" in {path.name for path in folder.iterdir()}
    assert "Paper claims" in capsys.readouterr().out


def test_a_dry_run_plans_every_study(tmp_path, capsys):
    app(["reproduce", "claims/consistent_decay", "--dry-run", "--scale", "smoke", "--results-dir", str(tmp_path)],
        standalone_mode=False)  # fmt: skip
    assert capsys.readouterr().out.count("to train, about") >= 2
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_all_claims_at_smoke_scale(tmp_path):
    app(["reproduce", "claims", "--scale", "smoke", "--results-dir", str(tmp_path), "--format", "csv"],
        standalone_mode=False)  # fmt: skip
    table = pd.read_csv(tmp_path / "claims_smoke" / "claims.csv")
    assert set(table["claim"]) == set(package.ORDER)


def test_the_committed_page_has_a_verdict_for_every_network_and_comparison():
    """A study with two arms named AdamW once left its network out without a word."""
    from adamcmp.claims.generalization import NETWORKS

    told = pd.read_csv(Path(__file__).parents[2] / "results" / "claims" / "claims.csv")["statement"]
    for network in NETWORKS.values():
        assert told.str.fullmatch(rf"AdamW generali[sz]es better than Adam with L2: {network}").any(), network
    assert told.str.startswith("The gain is larger for").sum() == 2
