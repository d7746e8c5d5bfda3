"""The command ``run``: train one run, and print its result."""

from __future__ import annotations

import typer

from adamcmp.cli.app import (
    DEFAULT_RESULTS,
    EXIT_OK,
    EXIT_RUN_FAILED,
    ConfigDir,
    ConfigName,
    Debug,
    Device,
    Json,
    Overrides,
    Quiet,
    ResultsDir,
    Verbose,
    add_json,
    print_line,
    print_lines,
)
from adamcmp.cli.sweep_stages import open_study, train
from adamcmp.errors import InputError, command_text


def run(
    config: ConfigName,
    overrides: Overrides = None,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    config_dir: ConfigDir = None,
    device: Device = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Train a single configuration and print its metrics."""

    def alone() -> str:
        from adamcmp.config.overrides import require_single_run

        require_single_run(config, overrides or [])
        return config

    opened = open_study(alone, overrides, results_dir, config_dir, device)
    if len(opened.plan.runs) > 1:
        raise InputError(f"{config}: is a study of {len(opened.plan.runs)} runs; use {command_text('sweep', config)}")
    train(opened, opened.plan.runs, limit=None)
    from adamcmp.cli.run_result import run_lines
    from adamcmp.storage.records import read_records

    records = read_records(opened.study_dir)
    record = records[records["run_id"] == opened.plan.runs[0].id].iloc[0]
    print_lines(run_lines(record.to_dict()))
    print_line(f"Stored   {opened.study_dir} (run {record['run_id']})")
    add_json(folder=str(opened.study_dir), run=record.to_dict())
    raise typer.Exit(EXIT_RUN_FAILED if record["status"] == "failed" else EXIT_OK)
