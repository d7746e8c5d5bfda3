"""The command ``verify``: check report files against their checksums."""

from __future__ import annotations

import typer

from adamcmp.cli.app import EXIT_OK, EXIT_RUN_FAILED, Debug, Json, ResultFolders, add_json, print_line


def verify(
    results: ResultFolders,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Check report files against their checksums; write nothing."""
    from adamcmp.report import manifest

    verified = [manifest.verify_report(folder) for folder in results]
    for result in verified:
        for text, names in (
            ("changed", result.changed),
            ("missing", result.missing),
            ("not a file of the report", result.others),
        ):
            for name in names:
                print_line(f"{result.folder / name}: {text}")
        state = f"all {result.files} files are as they were written" if result.is_whole else "not as it was written"
        print_line(f"{result.folder}: {state}")
    add_json(reports=[{"folder": str(result.folder), "whole": result.is_whole, "changed": result.changed,
                     "missing": result.missing, "others": result.others} for result in verified])  # fmt: skip
    raise typer.Exit(EXIT_OK if all(result.is_whole for result in verified) else EXIT_RUN_FAILED)
