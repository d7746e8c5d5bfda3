"""The page of a study, used as people use it: in Debian's Chromium, without a window."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import expect

from adamcmp import report
from adamcmp.analysis import TRIAL_KEY, split_by_task, trials_table
from adamcmp.figures.style import arm_styles
from adamcmp.report.code_recipes import training_code
from adamcmp.report.findings import Finding, StudyFindings
from adamcmp.storage.records import read

pytestmark = pytest.mark.needs("chromium")
AXE = (Path(__file__).parent / "axe.min.js").read_text(encoding="utf-8")
LATER = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture
def page(study, visit):
    return visit(study / "report" / "report.html")


def cell(page, arm, lr, decay):
    """A heatmap's cell, by what a screen reader says of it."""
    return page.locator(f'td[data-cell][aria-label^="{arm}, lr {lr}, λ {decay}:"]')


def table_of(records):
    return trials_table(split_by_task(records)[0].records).set_index(TRIAL_KEY)


def pins(page):
    return page.locator("[data-pin]")


def curves(page):
    return page.locator("svg[data-chart=curves] path[fill=none]")


def test_it_answers_at_the_top_who_won_by_how_much_how_sure_and_where(page, records):
    table = table_of(records)
    best = table[table["rank"] == 1].reset_index()
    (lead,) = page.locator(".lead").all_inner_texts()
    assert lead.startswith("No significant difference between ") or " is significantly better than " in lead
    assert all(arm in lead for arm in best["arm"])
    (verdict,) = page.locator(".verdicts summary").all_inner_texts()
    assert "pp [95 % CI " in verdict
    assert page.locator(".five li").count() == 5
    assert page.locator("svg[data-chart=errors] path").count() >= 2


def test_nothing_can_run_or_load_that_the_page_did_not_bring(page):
    policy = page.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    loaded = page.evaluate("[...document.querySelectorAll('[src], link, iframe, object')].map(each => each.src ?? '')")
    assert [each for each in loaded if not each.startswith("blob:")] == []


def test_pointing_at_a_cell_tells_all_of_it(page, records):
    target = cell(page, "AdamW", "0.01", "1e-3")
    target.hover()
    told = page.locator("#tip").inner_text()
    row = table_of(records).loc[("AdamW", 0.01, 1e-3)]
    for text in ("AdamW", "0.01 (constant)", "1e-3 (decoupled, ηαλ per step)", "0–2 (n = 3 of 3)", "validation loss",
                 "generalization gap", "best evaluation", "top5"):  # fmt: skip
        assert text in told
    assert f"{100 * row['final_test_error']:.2f}" in told
    page.mouse.move(5, 5)
    assert page.locator("#tip").is_hidden()


def test_a_click_opens_curves_beside_those_of_others_and_another_click_closes_them(page):
    page.locator("[data-unpin]").click()
    assert pins(page).count() == 0
    cell(page, "AdamW", "0.01", "1e-3").click()
    cell(page, "Adam + L2", "0.1", "1e-4").click()
    expect(curves(page)).to_have_count(8)
    assert pins(page).count() == 2
    assert page.locator("td.pinned").count() == 2
    colours = {each.get_attribute("stroke") for each in curves(page).all()}
    assert len(colours) == 2
    widths = sorted(each.get_attribute("stroke-width") for each in curves(page).all())
    assert widths == ["0.8"] * 6 + ["2.2"] * 2
    cell(page, "AdamW", "0.01", "1e-3").click()
    assert pins(page).count() == 1
    page.locator("[data-pin] button[aria-label^=Remove]").click()
    assert pins(page).count() == 0
    assert "Adam + L2, lr 0.1, λ 1e-4" in page.evaluate("document.activeElement.getAttribute('aria-label')")


def test_all_of_it_goes_by_keyboard(page):
    page.locator("[data-unpin]").click()
    page.locator("select[name=when]").focus()
    page.keyboard.press("Tab")
    focused = page.evaluate("document.activeElement.dataset.cell")
    assert focused is not None
    assert page.locator("#tip").is_visible()
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.dataset.cell") != focused
    page.keyboard.press("Home")
    assert ", λ 0:" in page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("Enter")
    assert pins(page).count() == 1
    assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()
    page.keyboard.press("Enter")
    assert pins(page).count() == 0


def test_what_happened_in_a_diverged_and_in_a_failed_cell_is_told(page):
    diverged = page.locator('td[data-cell][aria-label*="2 of 3 diverged"]').first
    assert "✕" in diverged.get_attribute("data-marks")
    diverged.hover()
    assert "seed 0 diverged: the loss was not finite at step 17" in page.locator("#tip").inner_text()
    failed = cell(page, "AdamW", "1e-3", "0.01")
    assert "!" in failed.get_attribute("data-marks")
    failed.hover()
    told = page.locator("#tip").inner_text()
    assert "seed 1 failed: RuntimeError: no more memory" in told
    assert "Traceback" not in told
    assert "not eligible" in told


@pytest.mark.parametrize(
    ("switched", "metric", "factor", "unit"),
    [
        ({"part": "validation"}, "final_validation_error", 100, "%"),
        ({"part": "train", "when": "best"}, "best_train_error", 100, "%"),
        ({"measure": "loss"}, "final_test_loss", 1, "nat"),
        ({"measure": "gap"}, "final_gap", 100, "pp"),
    ],
)
def test_switches_show_another_metric_on_one_scale(page, records, switched, metric, factor, unit):
    before = cell(page, "AdamW", "0.01", "1e-3").evaluate("each => each.style.background")
    for name, value in switched.items():
        page.locator(f"select[name={name}]").select_option(value)
    table = table_of(records)
    for arm in ("AdamW", "Adam + L2"):
        told = cell(page, arm, "0.01", "1e-3").get_attribute("aria-label")
        shown = float(told.partition(": ")[2].partition(" ± ")[0].split()[-1])
        assert shown == pytest.approx(factor * table.loc[(arm, 0.01, 1e-3), metric], abs=0.006, rel=0.1)
        assert told.partition(" ± ")[2].split()[1].rstrip(",") == unit
    assert cell(page, "AdamW", "0.01", "1e-3").evaluate("each => each.style.background") != before


def test_a_metric_on_request_can_be_shown(page):
    page.locator("select[name=measure]").select_option(label="test top5 error")
    assert "test top5 error 0.125" in cell(page, "AdamW", "0.01", "1e-3").get_attribute("aria-label")


def test_the_leaderboard_is_sorted_by_any_column(page):
    table = page.locator("[data-part=leaderboard] table.data").first
    head = table.locator("th", has_text="test error").first
    column = head.evaluate("each => each.cellIndex")
    head.locator("button").click()
    rising = [float(row.split()[0]) for row in table.locator(f"tbody tr > :nth-child({column + 1})").all_inner_texts()]
    assert rising == sorted(rising)
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").click()
    falling = [float(row.split()[0]) for row in table.locator(f"tbody tr > :nth-child({column + 1})").all_inner_texts()]
    assert falling == rising[::-1]
    assert head.get_attribute("aria-sort") == "descending"


def test_cells_are_filtered_sorted_and_copied_with_all_their_digits(study, visit, records):
    page = visit(study / "report" / "report.html", permissions=["clipboard-read", "clipboard-write"])
    count = page.locator("[data-count]")
    table = table_of(records)
    assert count.inner_text() == f"{len(table)} trials"
    page.locator("select[name=status]").select_option("diverged")
    assert count.inner_text() == f"{(table['diverged'] > 0).sum()} trials"
    page.locator("select[name=status]").select_option("failed")
    assert count.inner_text() == "1 trials"
    page.locator("select[name=status]").select_option("")
    page.locator("select[name=schedule]").select_option("cosine")
    assert set(page.locator("[data-cells] tbody th").all_inner_texts()) == {"Adam + L2"}
    page.locator("select[name=schedule]").select_option("")
    page.locator("[data-filters] select[name=arm]").select_option("AdamW")
    page.locator("[data-filters] select[name=metrics]").select_option("all")
    page.locator('[data-key="final_validation_error"] button').click()
    page.locator("[data-filters] button", has_text="Copy").click()
    expect(page.locator("#said")).to_have_text("Table copied")
    copied = pd.read_csv(io.StringIO(page.evaluate("navigator.clipboard.readText()")))
    own = table.loc["AdamW"].sort_values("final_validation_error")
    assert copied["final validation error (%)"].to_list() == pytest.approx(
        (100 * own["final_validation_error"]).to_list(), rel=1e-5, nan_ok=True
    )
    assert copied["test loss at the best epoch (nat)"].notna().sum() == len(own) - 1
    assert copied["lr"].to_list() == own.reset_index()["lr"].to_list()


def test_a_cells_curves_open_from_the_table_too(page):
    page.locator("[data-unpin]").click()
    page.locator("[data-cells] tbody button").nth(3).click()
    assert pins(page).count() == 1
    assert page.locator("tr.is-pinned").count() == 1


def test_a_cell_comes_with_its_command_and_its_code_for_each_framework(page, records):
    page.locator("[data-unpin]").click()
    cell(page, "AdamW", "0.1", "0.01").click()
    pin = pins(page).first
    pin.locator("summary", has_text="Train it again").click()
    command = pin.locator(".command").inner_text()
    assert command.startswith("adamcmp sweep study=synthetic ")
    assert "optimizer.lr=0.1 optimizer.weight_decay=0.01 study.seeds=3" in command
    pin.locator("summary", has_text="your own script").click()
    runs = split_by_task(records)[0].records
    run = runs[(runs["arm"] == "AdamW") & (runs["lr"] == 0.1) & (runs["weight_decay"] == 0.01)].iloc[0]
    for name, framework in (("PyTorch", "torch"), ("optax", "optax"), ("Keras", "keras")):
        pin.locator("select").select_option(name)
        title = "AdamW, lr 0.1, λ 0.01, a trial of digits, mlp, 1000 steps, batch 100, fp32"
        assert pin.locator("pre.code:not(.command)").text_content() == training_code(run, framework, title)


def test_colours_follow_the_system_and_a_choice_is_kept(study, visit):
    background = "getComputedStyle(document.body).backgroundColor"
    page = visit(study / "report" / "report.html", color_scheme="dark")
    dark = page.evaluate(background)
    button = page.locator("#theme")
    button.click()
    light = page.evaluate(background)
    assert light != dark
    assert button.get_attribute("aria-label") == "Colors: light"
    page.reload()
    page.wait_for_selector("html[data-ready=yes]")
    assert page.evaluate(background) == light
    button.click()
    assert page.evaluate(background) == dark


def test_it_prints(page, tmp_path):
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    assert 20_000 < len(pdf) < 3_000_000
    page.emulate_media(media="print")
    for gone in (".top", ".switches", ".table-tools"):
        assert page.locator(gone).first.is_hidden()
    assert page.locator(".lead").is_visible()


@pytest.mark.parametrize("width", [375, 1280, 3840])
def test_it_fits_phones_and_walls_and_nothing_moves_while_it_loads(study, visit, width, chromium):
    path = study / "report" / "report.html"
    page = visit(path, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.add_init_script(
        "new PerformanceObserver(list => { for (const each of list.getEntries()) "
        "window.moved = (window.moved ?? 0) + each.value; }).observe({type: 'layout-shift', buffered: true})"
    )
    page.reload()
    page.wait_for_selector("html[data-ready=yes]")
    page.evaluate(LATER)
    assert page.evaluate("window.moved ?? 0") < 0.01


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(study, visit, scheme):
    page = visit(study / "report" / "report.html", color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:300]) for each in found] == []


def test_what_users_named_is_text(synthetic, visit, tmp_path):
    name = (
        "<script>alert(1)</script> \"q\" 'a' </script> \\input{x} | <img src=x onerror=alert(2)> =1+1 \x1b[31mred\nline"
    )
    records = synthetic.make_records(arms={name: "l2", "AdamW": "lr_scaled"}, lrs=[1e-3, 1e-2], lambdas=[0.0, 1e-3])
    failed = (records["lr"] == 1e-3) & (records["weight_decay"] == 0)
    records = synthetic.confirmed(synthetic.end(records, failed, "failed", "<b>bold</b> & \x1b[1m"))
    records["study"], records["data"] = "<i>study</i>", 'data"><script>alert(3)</script>'
    folder = tmp_path / "digits"  # records on disk are refused with such names: pages do not count on that
    found = report.ReportInput(
        records,
        synthetic.make_curves(records, 4),
        study_findings=StudyFindings(findings=[Finding("<u>finding</u>", None)]),
    )
    report.write_report(found, folder / "report", formats=["html"])
    page = visit(folder / "report" / "report.html")
    text = page.locator("body").inner_text()
    for shown in ("<script>alert(1)</script>", "\\input{x} |", "\\x1b[31mred line", "<i>study</i>", "<u>finding</u>"):
        assert shown in text
    assert page.locator("main script, main b, main i, main u, main img[src=x]").count() == 0
    page.locator("[data-unpin]").click()
    page.locator("td[data-cell]").first.click()
    page.locator('td[data-cell][aria-label*="failed"]').first.hover()
    assert "<b>bold</b>" in page.locator("#tip").inner_text()


def test_without_scripts_verdict_leaderboard_and_protocol_can_be_read(study, visit):
    page = visit(study / "report" / "report.html", java_script_enabled=False)
    text = page.locator("main").inner_text()
    assert "switched off here" in text
    assert "No significant difference between" in text
    assert page.locator("[data-part=leaderboard] table").first.locator("tbody tr").count() == 2


def test_several_tasks_are_shown_one_at_a_time(synthetic, visit, tmp_path):
    small = {"arms": {"AdamW": "lr_scaled", "SGDW": "lr_scaled"}, "lrs": [1e-3, 1e-2], "lambdas": [0.0, 1e-3]}
    one = synthetic.make_records(**small, task="aaaa", task_label="digits, one")
    two = synthetic.make_records(**small, task="bbbb", task_label="digits, two", epochs=200.0)
    both = pd.concat([one, two], ignore_index=True)
    folder = synthetic.store(tmp_path / "digits", both, synthetic.make_curves(both, 4))
    report.write_report(report.ReportInput(*read(folder)), folder / "report", formats=["html"])
    assert [path.name for path in (folder / "report").rglob("*.html")] == ["report.html"]
    page = visit(folder / "report" / "report.html")
    titles = page.locator("article:visible .question").all_inner_texts()
    assert len(titles) == 1
    page.locator("#task").select_option(index=1)
    expect(page.locator("article:not([hidden]) td[data-cell]")).to_have_count(8)
    assert page.locator("article:visible .question").all_inner_texts() != titles
    page.locator("article:visible summary", has_text="Train it again").first.click()
    assert "train.epochs=200" in page.locator("article:visible .command").first.inner_text()
    page.locator(".leads a").first.click()
    expect(page.locator("article:not([hidden]) .question")).to_have_text(titles[0])


def test_arms_look_as_in_the_figures(page):
    colours = page.evaluate("[...document.querySelectorAll('.legend line')].map(each => each.getAttribute('stroke'))")
    assert colours == [look.colour for look in arm_styles(["Adam + L2", "AdamW"]).values()]


def test_the_same_runs_give_the_same_bytes(study, tmp_path):
    report.write_report(report.ReportInput(*read(study)), tmp_path, formats=["html"])
    assert (tmp_path / "report.html").read_bytes() == (study / "report" / "report.html").read_bytes()


def reported(visit, folder, **said):
    report.write_report(report.ReportInput(*read(folder), **said), folder / "report", formats=["html"])
    return visit(folder / "report" / "report.html")


SMALL = {"arms": {"Adam + L2": "l2", "AdamW": "lr_scaled"}, "lrs": [1e-3, 1e-2], "lambdas": [0.0, 1e-3]}


def test_where_every_run_has_failed_the_page_says_so(synthetic, visit, tmp_path):
    records = synthetic.make_records(**SMALL)
    records = synthetic.end(records, records["seed"] >= 0, "failed", "no data")
    page = reported(visit, synthetic.store(tmp_path / "digits", records, synthetic.make_curves(records, 3)))
    assert "No trial can be selected" in page.locator(".lead").inner_text()
    assert page.locator("td.broken").count() == 8
    page.locator("td[data-cell]").first.click()
    assert "seed 0 failed: no data" in pins(page).first.inner_text()


def test_one_run_alone_has_a_page_too(synthetic, visit, tmp_path):
    records = synthetic.make_records(arms={"AdamW": "lr_scaled"}, lrs=[1e-2], lambdas=[1e-3], seeds=[7])
    page = reported(visit, synthetic.store(tmp_path / "digits", records, synthetic.make_curves(records, 3)))
    assert "on 1 tuning seed" in page.locator(".lead").inner_text()
    assert page.locator("td[data-cell]").count() == 1
    assert pins(page).count() == 1


def test_an_error_of_which_more_is_better_is_dark_where_it_is_high(synthetic, visit, tmp_path):
    records = synthetic.confirmed(synthetic.make_records(**SMALL, error_metric="r2", error_unit="", loss="mse"))
    page = reported(visit, synthetic.store(tmp_path / "digits", records, synthetic.make_curves(records, 3)))
    assert "is significantly better than" in page.locator(".lead").inner_text()
    cells_ = page.evaluate(
        "[...document.querySelectorAll('td[data-cell]')].map(each => "
        "[Number(each.ariaLabel.match(/test R² ([\\d.]+)/)[1]), each.style.background.match(/\\d+/g).map(Number)])"
    )
    best, worst = max(cells_), min(cells_)
    assert sum(best[1]) < sum(worst[1])


def test_a_study_without_curves_still_tells_of_its_cells(synthetic, visit, tmp_path):
    records = synthetic.confirmed(synthetic.make_records(**SMALL))
    page = reported(visit, synthetic.store(tmp_path / "digits", records))
    page.locator("td[data-cell]").first.click()
    assert pins(page).count() >= 1
