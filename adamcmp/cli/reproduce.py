"""The command reproduce: train a study or test claims, and show the findings."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from adamcmp.cli.app import (
    DEFAULT_RESULTS,
    EXIT_OK,
    ConfigDir,
    Debug,
    Device,
    DryRun,
    Format,
    Formats,
    Json,
    Limit,
    Overrides,
    Quiet,
    ResultsDir,
    Verbose,
    print_note,
)
from adamcmp.cli.spinner import show_status
from adamcmp.cli.summary import load_report_input, report_on, show_claim_tests, show_claims
from adamcmp.cli.sweep_stages import exit_code_of, open_study, run_sweep, show_plan


def reproduce(
    figure: Annotated[
        str,
        typer.Argument(
            metavar="STUDY",
            help="figure1 … figure4, another study (see `adamcmp list studies`), a YAML file based on one, all, claims "
            "or claims/NAME.",
        ),
    ],
    overrides: Overrides = None,
    scale: Annotated[
        str | None,
        typer.Option(help="Size preset: smoke (seconds), laptop (minutes, default) or paper (as published)."),
    ] = None,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    config_dir: ConfigDir = None,
    device: Device = None,
    dry_run: DryRun = False,
    limit: Limit = None,
    formats: Formats = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Reproduce a figure of the AdamW paper or test published claims."""
    all_overrides = [*(overrides or []), *([f"scale={scale}"] if scale is not None else [])]
    if figure.partition("/")[0] == "claims" and not figure.endswith((".yaml", ".yml")):
        raise typer.Exit(
            test_claims(figure, all_overrides, scale, results_dir, config_dir, device, dry_run, limit, formats)
        )
    names, codes, claims = [figure], [EXIT_OK], list[Any]()
    if figure == "all":
        from adamcmp.studies import ordered_studies

        names = [study.name for study in ordered_studies()]
    for i, name in enumerate(names):
        if len(names) > 1:
            print_note(f"{'' if i == 0 else chr(10)}{name} ({i + 1} of {len(names)})", "bold")

        def study_name(name: str = name) -> str:
            from adamcmp.studies import study_of

            # study.figure names the findings, also in a file that starts from a shipped one
            return name if name.endswith((".yaml", ".yml")) else study_of(name)

        opened = open_study(study_name, all_overrides, results_dir, config_dir, device, dry_run=dry_run)
        opened.words = sweep_words(name, figure, sys.argv[1:])
        if dry_run:
            show_plan(opened, limit)
            continue
        records = run_sweep(opened, limit)
        codes.append(exit_code_of(records))
        claims += report_on([opened.study_dir], formats, None, title=False).study_findings.claims
    if len(names) > 1 and not dry_run:
        show_claims(claims, results_dir, formats)
    raise typer.Exit(max(codes))


def test_claims(
    figure: str,
    overrides: list[str],
    scale: str | None,
    results_dir: Path,
    config_dir: Path | None,
    device: str | None,
    dry_run: bool,
    limit: int | None,
    formats: list[Format] | None,
) -> int:
    """Train what statements need, test each, and write a page of them."""
    with show_status("starting"):
        from adamcmp.claims import resolve_claims, studies_needed

        statements = resolve_claims(figure)
    codes, reports = [EXIT_OK], dict[str, Any]()
    studies = studies_needed(statements)
    for i, study in enumerate(studies):
        print_note(f"{'' if i == 0 else chr(10)}{study} ({i + 1} of {len(studies)})", "bold")
        opened = open_study(lambda study=study: study, overrides, results_dir, config_dir, device, dry_run=dry_run)  # type: ignore[misc]  # mypy does not infer a default's type
        options = ["--config-dir", str(config_dir)] if config_dir else []
        opened.words = ["sweep", study, *overrides, *options, "--results-dir", str(results_dir)]
        if dry_run:
            show_plan(opened, limit)
            continue
        records = run_sweep(opened, limit)
        codes.append(exit_code_of(records))
        reports[study] = load_report_input(opened.study_dir, records)
    if not dry_run:
        suffix = "" if scale is None else f"_{scale}"
        _, _, name = figure.partition("/")
        show_claim_tests(statements, reports, results_dir / f"claims{suffix}" / name, formats)
    return max(codes)


def sweep_words(name: str, figure: str, typed: Sequence[str]) -> list[str]:
    """Return a ``sweep`` command for this study alone, with its preset among the overrides.

    >>> sweep_words("figure1", "all", ["reproduce", "all", "--scale", "smoke", "--results-dir", "all"])
    ['reproduce', 'figure1', 'scale=smoke', '--results-dir', 'all']
    """
    words = list(typed)
    for i, word in enumerate(words):
        if word == "--scale" and i + 1 < len(words):
            words[i : i + 2] = [f"scale={words[i + 1]}"]
        elif word.startswith("--scale="):
            words[i] = word.removeprefix("--")
    if figure in words:  # not where another program has called the command
        words[words.index(figure)] = name
    return words
