"""The report on conventions of other libraries."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import pandas as pd

from adamcmp.conformance.find_convention import NEAR_LIMIT, SAME_LIMIT, ConventionFit, to_frame
from adamcmp.conformance.problems import STEPS, make_problems
from adamcmp.conformance.reference_steps import KERAS
from adamcmp.figures.convention_distance import convention_distance_figure
from adamcmp.report.article import Article, Drawable
from adamcmp.report.sections import Block, Bold, Bullets, Code, CodeBlock, FigureBlock, Line, Section, Table, Text

TABLE_NAME = "conformance"
COUNTED_VERDICTS = ("same", "same but for rounding", "differs", "failed")


def conventions_article(fits: Sequence[ConventionFit], command: str) -> Article:
    """Return the report: sections, a table and a figure."""
    raw = to_frame(fits)
    compared = [fit for fit in fits if fit.optimizer]
    counts = pd.Series([fit.verdict for fit in compared]).value_counts()
    counted = ", ".join(f"{counts[name]} {name}" for name in COUNTED_VERDICTS if name in counts) or "none"
    how = Text(
        f"{len(compared)} optimizers of other libraries take {STEPS} steps on {len(make_problems())} random problems "
        "whose gradients are given: dense, of the size of ε, and sparse with steps without any gradient; with λ from 0 "
        "to 0.3, a learning rate that rises and falls, and ε of 1e-3, large enough to show where it stands. adamcmp's "
        "kernels take the same steps under every decay convention and every other convention that a rule has. A "
        "library follows that under which the updates are nearest: nothing of it is assumed."
    )
    reading = Text(
        "The difference is the largest of an update, relative to the update: max |Δθ − Δθ'| / max |Δθ'| over all "
        f"steps, parameters and problems, in float64. Same: at most {SAME_LIMIT:g}. Same but for rounding: at most "
        f"{NEAR_LIMIT:g}, "
        "if a library keeps some number in float32 (5 % if it multiplies in bfloat16, as torch's Muon). Next: the "
        "difference of the convention that fits second best. Differs: no convention of adamcmp makes these steps, and "
        "the nearest one is shown."
    )
    caption = (
        "The largest relative difference of an update between each optimizer and adamcmp under the convention that it "
        "was found to follow; the gray stroke is the next nearest convention."
    )
    sections = [
        Section("Other libraries against adamcmp", [Text(f"{counted}."), how, FigureBlock(TABLE_NAME, (), caption)]),
        Section("What follows", [Bullets(_consequences(compared))]),
        Section("All optimizers", [Table(_shown(fits)), reading]),
        Section("Made by", _made(fits, command)),
    ]
    facts = {
        "command": command,
        "versions": {fit.library: fit.version or "not installed" for fit in fits},
        "adamcmp": version("adamcmp"),
        "platform": f"{platform.machine()}, Python {platform.python_version()}",
    }
    installed = "; ".join(dict.fromkeys(fit.version for fit in compared))
    return Article(
        "conformance", sections, {TABLE_NAME: (raw, _shown(fits))},
        [Drawable(TABLE_NAME, raw, convention_distance_figure)],
        f"adamcmp {version('adamcmp')}, {installed}", facts,
    )  # fmt: skip


def _shown(fits: Sequence[ConventionFit]) -> pd.DataFrame:
    rows = [
        {
            "optimizer": fit.optimizer or fit.library,
            "follows": fit.convention or (f"nearest: {fit.next_convention}" if fit.next_convention else "–"),
            "in adamcmp": fit.setting or "–",
            "difference": _number(fit.difference),
            "next": _number(fit.next_difference),
            "its defaults": fit.defaults or "–",
            "verdict": f"failed: {fit.error}" if fit.error else fit.verdict,
            "version": fit.version or "–",
        }
        for fit in fits
    ]
    return pd.DataFrame(rows)


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.1e}".replace("e-0", "e-").replace("e+00", "")


def _consequences(fits: Sequence[ConventionFit]) -> list[Line]:
    """Return common pitfalls among the results."""
    lines: list[Line] = []

    def those(name: str, **how: str) -> list[str]:
        return list(
            dict.fromkeys(
                fit.optimizer
                for fit in fits
                if fit.rule == "adam"
                and fit.verdict.startswith("same")
                and name in fit.optimizer
                and all(text in getattr(fit, key) for key, text in how.items())
            )
        )

    decoupled = [
        name for name in those("Adam(", convention="decay ηαλ") if "decouple" not in name and "AdamW" not in name
    ]
    if decoupled:
        lines.append((Bold("An Adam that is AdamW:"), f" {', '.join(decoupled)}: λ does not enter the gradient."))
    before = those("", convention="ε before")
    if before:
        lines.append((Bold("ε before the bias correction:"), f" {', '.join(before)}. Take ", Code(KERAS), "."))
    squared = those("", convention="η²αλ")
    if squared:
        lines.append((Bold("Decay by the square of the rate:"), f" {', '.join(squared)}."))
    usual = sorted({fit.library for fit in fits if fit.rule == "adam" and "decay ηαλ θ;" in fit.convention})
    if usual:
        said = "the learning rate multiplies λ, in none of their AdamW does λ alone come off the weights"
        lines.append((Bold("Decay is ηαλ θ"), f" in {', '.join(usual)}: {said}."))
    ignored = those("", convention="no decay")
    if ignored:
        lines.append((Bold("No decay:"), f" {', '.join(ignored)}."))
    return lines or ["Nothing was compared."]


def _made(fits: Sequence[ConventionFit], command: str) -> list[Block]:
    missing = [fit.library for fit in fits if fit.verdict == "not installed"]
    blocks: list[Block] = [CodeBlock([command])]
    if missing:
        blocks.append(Text(f"Not installed here, and so not compared: {', '.join(missing)}."))
    return blocks
