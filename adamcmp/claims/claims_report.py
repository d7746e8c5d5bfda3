"""The page of claims: a table of all, and of each its numbers and its figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import NamedTuple

import pandas as pd

from adamcmp.analysis import leaderboard, split_by_task
from adamcmp.analysis.claim import VERDICTS, Claim, lost_after_correction, to_frame
from adamcmp.claims import ClaimTest
from adamcmp.claims.evidence import CLOSED_FORM, ClaimEvidence
from adamcmp.figures.panels import panels_figure
from adamcmp.report.article import Article, Drawable
from adamcmp.report.findings import format_claim_verdict
from adamcmp.report.formatting import format_claim_value, format_seeds, join_unique, runs_hash, wall_seconds
from adamcmp.report.report_input import ReportInput
from adamcmp.report.sections import CLAIM_LEGEND, Block, Bullets, Code, CodeBlock, FigureBlock, Section, Table, Text


class TestedClaim(NamedTuple):
    """A claim, and the evidence on it."""

    statement: ClaimTest
    toy: ClaimEvidence
    training: ClaimEvidence

    @property
    def claims(self) -> list[Claim]:
        """All numbers."""
        return [*self.toy.claims, *self.training.claims]


def run_claim_tests(statement: ClaimTest, reports: Mapping[str, ReportInput]) -> TestedClaim:
    """Run the closed-form test of a claim, and its empirical test on stored runs of its studies, if there are any."""
    toy = statement.closed_form_test()
    toy = toy._replace(claims=[claim._replace(on=CLOSED_FORM) for claim in toy.claims])
    trained = {name: reports[name] for name in statement.studies if name in reports and len(reports[name].records)}
    is_testable = trained or not statement.studies
    return TestedClaim(statement, toy, statement.empirical_test(trained) if is_testable else ClaimEvidence([]))


def claims_article(every: Sequence[TestedClaim], reports: Mapping[str, ReportInput], command: str) -> Article:
    """Return the report of claims: sections, a table and figures."""
    records = pd.concat([input_.records for input_ in reports.values()]) if reports else pd.DataFrame()
    claims = [claim for test in every for claim in test.claims]
    names = [test.statement.name for test in every for _ in test.claims]
    raw = to_frame(claims).assign(claim=names) if claims else pd.DataFrame()
    table = _shown(claims).assign(claim=names) if claims else pd.DataFrame()
    counts = pd.Series([claim.verdict for test in every for claim in test.claims]).value_counts()
    counted = ", ".join(f"{counts[name]} {VERDICTS[name]}" for name in VERDICTS if name in counts)
    intro = Text(
        f"{len(every)} claim{'' if len(every) == 1 else 's'}, each with the range of values that it predicts: "
        f"{counted}. Closed-form tests (toy) use adamcmp's update kernels on gradients given by a formula; all others "
        "train small networks. Wrong statements of common texts are quoted as they are, and are refuted."
    )
    first = table[["claim", *[name for name in table if name != "claim"]]] if len(table) else table
    sections = [Section("Claims about Adam and AdamW", [intro, Table(first), CLAIM_LEGEND])]
    sections += [_section(test, table[table["claim"] == test.statement.name] if claims else table) for test in every]
    sections.append(Section("Provenance", _made(records, reports, command)))
    drawn = [(test, [*test.toy.panels, *test.training.panels]) for test in every]
    figures = [Drawable(test.statement.name, pd.concat(panels, ignore_index=True), panels_figure)
               for test, panels in drawn if panels]  # fmt: skip
    return Article("claims", sections, {"claims": (raw, first)}, figures, _footer(records), _facts(records, command))


def _shown(claims: Sequence[Claim]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "statement": claim.statement,
                "source": claim.source,
                "on": claim.on.partition(" · ")[0] if claim.on != CLOSED_FORM else CLOSED_FORM,
                "measured": claim.measured,
                "value [95 % CI]": format_claim_value(claim.estimate, claim.form, f" {claim.unit}".rstrip()),
                "predicted": _range(claim),
                "verdict": format_claim_verdict(claim, is_marked=mark),
            }
            for claim, mark in zip(claims, lost_after_correction(claims), strict=True)
        ]
    )


def _range(claim: Claim) -> str:
    low, high = (f"{end:.3g}" for end in claim.predicted)
    if low == "-inf":
        return f"below {high}"
    return f"above {low}" if high == "inf" else f"{low} to {high}"


def _section(claim: TestedClaim, table: pd.DataFrame) -> Section:
    blocks: list[Block] = []
    if claim.statement.about:
        blocks.append(Text(claim.statement.about))
    if claim.claims:
        blocks.append(Table(table.drop(columns=["claim", "source"])))
    blocks.append(FigureBlock(claim.statement.name, (), claim.statement.caption))
    blocks.append(CodeBlock([f"adamcmp reproduce claims/{claim.statement.name}"]))
    return Section(f"{claim.statement.text} ({claim.statement.source})", blocks)


def _made(records: pd.DataFrame, reports: Mapping[str, ReportInput], command: str) -> list[Block]:
    blocks: list[Block] = [CodeBlock([command])]
    if records.empty:
        return [*blocks, Text("Nothing was trained.")]
    rows = [
        {
            "study": name,
            "task": join_unique(input_.records["task_label"], 2),
            "optimizers": join_unique(input_.records["arm"], 12),
            "runs": f"{len(input_.records):,}",
            "seeds": format_seeds(input_.records["seed"].dropna().astype(int)),
            "training": f"{wall_seconds(input_.records):,.0f} s",
        }
        for name, input_ in reports.items()
    ]
    blocks.append(Table(pd.DataFrame(rows)))
    blocks.append(
        Text(
            (
                f"{len(records):,} runs, hash of their ids ",
                Code(runs_hash(records)),
                (
                    f"; {wall_seconds(records):,.0f} s of training; {join_unique(records['hardware'])}; adamcmp "
                    f"{join_unique(records['adamcmp_version'])}, torch {join_unique(records['torch_version'])}, git "
                    f"commit {join_unique(records['git_commit'])}."
                ),
            )
        )
    )
    edges = [line for name, input_ in reports.items() for line in _edges(name, input_)]
    if edges:
        blocks += [Text("Best trials at the boundary of their grid; the optimum may be outside:"), Bullets(edges)]
    return blocks


def _edges(name: str, report: ReportInput) -> list[str]:
    """Return notes on studies whose selected trials are at a boundary of the grid."""
    if not (report.records["stage"] == "confirm").any():
        return []
    lines = []
    for task in split_by_task(report.records):
        board = leaderboard(task.records)
        boundaries = [f"{row['arm']} ({row['edge']})" for row in board.to_dict("records") if row["edge"]]
        if boundaries:
            lines.append(f"{name}, {task.label}: {', '.join(boundaries)}")
    return lines


def _footer(records: pd.DataFrame) -> str:
    if records.empty:
        return f"adamcmp {version('adamcmp')}"
    return f"adamcmp {version('adamcmp')}, torch {join_unique(records['torch_version'])}; runs {runs_hash(records)}"


def _facts(records: pd.DataFrame, command: str) -> dict[str, object]:
    facts: dict[str, object] = {"command": command, "adamcmp": version("adamcmp")}
    if len(records):
        facts |= {
            "studies": sorted(set(records["study"])),
            "runs": len(records),
            "runs_hash": runs_hash(records),
            "training_seconds": round(float(records["seconds"].sum()), 1),
            "git_commits": sorted(records["git_commit"].dropna().unique()),
            "torch": sorted(records["torch_version"].unique()),
            "hardware": sorted(records["hardware"].dropna().unique()),
        }
    return facts
