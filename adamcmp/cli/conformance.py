"""The command ``conformance``: which convention each library follows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adamcmp import garbage_collection
from adamcmp.cli.app import (
    EXIT_OK,
    EXIT_RUN_FAILED,
    Debug,
    Format,
    Formats,
    Json,
    add_json,
    current_command,
    print_line,
    print_table,
)
from adamcmp.cli.spinner import show_status
from adamcmp.storage.backend import open_path


def conformance(
    libraries: Annotated[
        list[str] | None,
        typer.Argument(metavar="LIBRARY…", help="torch, keras, optax, timm, … Default: all."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Output folder.", parser=open_path)] = Path("results/conformance"),
    formats: Formats = None,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Check which weight-decay and ε convention other libraries use."""
    with show_status("starting"):
        from adamcmp.conformance.convention_report import conventions_article
        from adamcmp.conformance.find_convention import check_libraries, resolve_libraries
        from adamcmp.conformance.libraries import LIBRARIES
        from adamcmp.report.article import write_article

        resolved = resolve_libraries(libraries or [])
    from adamcmp.cli import plan_view, progress

    garbage_collection.restore_thresholds()
    with progress.item_progress(len(resolved), "libraries") as bar:
        fits = list(check_libraries(resolved, lambda library: bar(LIBRARIES[library])))
    add_json(optimizers=[{"library": fit.library, "optimizer": fit.optimizer, "convention": fit.convention,
                        "setting": fit.setting, "difference": fit.difference, "verdict": fit.verdict,
                        "error": fit.error} for fit in fits])  # fmt: skip
    print_table(plan_view.conformance_table(fits))
    absent = [fit.library for fit in fits if fit.verdict == "not installed"]
    if absent:
        print_line(
            f"Not installed: {', '.join(absent)}. Run: pip install 'adamcmp[conformance]' (all that PyPI still offers)"
        )
    files = write_article(
        conventions_article(fits, current_command()), out, [format_.value for format_ in formats or Format]
    )
    print_line(f"\nReport   {files[-2]}  (+ {len(files) - 1} files)")
    raise typer.Exit(EXIT_RUN_FAILED if any(fit.error for fit in fits) else EXIT_OK)
