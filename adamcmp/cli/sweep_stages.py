"""Stages of a sweep in one module, since they share the session, the order of output and the command's words.

The stages plan, tune, extend the grid, search, and train held-out runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from adamcmp import garbage_collection
from adamcmp.cli.app import EXIT_OK, EXIT_RUN_FAILED, add_json, is_quiet, is_verbose, print_line, print_note
from adamcmp.cli.spinner import show_status
from adamcmp.cli.summary import show_summary
from adamcmp.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from adamcmp.config.schema import ExecutionSettings
    from adamcmp.execute.execution_plan import ExecutionPlan
    from adamcmp.execute.job_queue import Listener
    from adamcmp.execute.leases import Leases
    from adamcmp.execute.run_writer import Provenance
    from adamcmp.execute.session import Session
    from adamcmp.plan.runs import Run


def collect_stored(opened: Session) -> pd.DataFrame:
    """Return the stored records of planned runs, and print how many are missing."""
    from adamcmp.execute.leases import DriverRegistry
    from adamcmp.execute.next_runs import held_out_runs
    from adamcmp.execute.study_dir import missing_runs
    from adamcmp.plan.runs import has_selection
    from adamcmp.storage.merging import merge_parts
    from adamcmp.storage.records import read_records

    merge_parts(opened.study_dir)
    runs, records = list(opened.plan.runs), read_records(opened.study_dir)
    lacking = missing_runs(runs, opened.study_dir)
    seeds = opened.plan.config.study.confirm.seeds
    if seeds and has_selection(runs) and not lacking:
        fresh = held_out_runs(runs, records, seeds)
        lacking += missing_runs(fresh, opened.study_dir)
        runs += fresh
    at_work = len(DriverRegistry(opened.study_dir).alive())
    if lacking or at_work:
        drivers = f"{at_work} driver{'' if at_work == 1 else 's'} at work"
        add_json(planned=len(runs), missing=len(lacking), drivers=at_work)
        print_note(
            f"{opened.study_dir}: {len(lacking):,} of {len(runs):,} runs are still to be trained, {drivers}", "yellow"
        )
    return records[records["run_id"].isin({run.id for run in runs})]


def open_study(
    name: Callable[[], str],
    overrides: list[str] | None,
    results_dir: Path,
    config_dir: Path | None,
    device: str | None,
    *,
    dry_run: bool = False,
    only_failed: bool = False,
) -> Session:
    """Plan a configuration by its name, with a status line meanwhile."""
    with show_status("starting") as say:
        from adamcmp.execute.session import open_session

        opened = open_session(
            name(),
            overrides or [],
            results_dir=results_dir,
            config_dir=config_dir,
            device=device,
            dry_run=dry_run,
            only_failed=only_failed,
            say=say,
        )
        if opened.plan.config.study.figure is not None:
            from adamcmp.studies import check_study_name

            check_study_name(opened.plan.config.study.figure)  # before anything is trained
        return opened


def show_plan(opened: Session, limit: int | None, only_failed: bool = False) -> None:
    """Print a plan with its estimated costs; from the cache if it was made before."""
    from adamcmp.execute import dataset_cache, plan_cache
    from adamcmp.execute.study_dir import missing_runs

    runs, config = opened.plan.runs, opened.plan.config
    lacking = missing_runs(runs, opened.study_dir, only_failed=only_failed)
    todo = lacking[:limit]
    held_out = [] if only_failed or limit is not None else plan_held_out(opened, is_tuned=not lacking)
    ids = [run.id for run in (*runs, *todo, *held_out)]
    key = plan_cache.key_of(
        ids, config.study.name, config.execute, opened.plan.duplicates, opened.study_dir, is_verbose()
    )
    cached = None if opened.datasets else plan_cache.load(key)  # data are loaded if their metadata is not cached
    if cached is None:
        cached = plan_as_json(opened, todo, held_out, lacking)
        if all(dataset_cache.load_metadata(data) for data in {run.task.key: run.task.data for run in runs}.values()):
            plan_cache.save(key, cached)
    for text, style in cached["lines"]:
        print_note(text, style, err=False, whole=not style)
    add_json(**cached["answer"])
    if config.execute.where == "slurm":
        from adamcmp.execute.slurm_jobs import submission_script

        print_line(f"\n{submission_script(config.execute.slurm, opened.study_dir)}")


def plan_as_json(
    opened: Session, todo: Sequence[Run], held_out: Sequence[Run], lacking: Sequence[Run]
) -> dict[str, Any]:
    """Return the lines of a dry run with their styles, and what ``--json`` prints."""
    from adamcmp.cli import plan_view, progress
    from adamcmp.engine.strategy.benchmark import matmul_gflops
    from adamcmp.execute.execution_plan import prepare_execution

    runs, tuned = opened.plan.runs, len({run.seed for run in opened.plan.runs})
    with show_status("planning") as doing, ExitStack() as stack:
        opened.prepare([*todo, *(run for run in held_out if run.task.facts.fingerprint not in opened.datasets)], doing)
        how, judged = (
            stack.enter_context(
                prepare_execution(
                    stage,
                    opened.datasets,
                    opened.device,
                    opened.plan.config.execute,
                    dry_run=True,
                    study_dir=opened.study_dir,
                )
            )
            for stage in (todo, held_out)
        )
        rate = matmul_gflops(opened.device)
    summary = opened.unseen_summaries([*todo, *held_out])
    lines = [(header_text(opened, "dry run"), ""), *((line, "") for line in plan_view.summary_lines(summary))]
    lines += [(note, "yellow") for note in opened.notes]
    lines += [("", ""), *((line, "") for line in plan_view.format_plan(runs, todo))]
    lines += [(repeated_text(opened.plan.duplicates), "yellow")] if opened.plan.duplicates else []
    lines.append(("", ""))
    for name, stage, plan_ in (("Tuning", todo, how), ("Held-out", held_out, judged)):
        if stage:
            stored_text = (
                f"{len(runs) - len(lacking):,} stored, " if name == "Tuning" and len(lacking) < len(runs) else ""
            )
            is_known = plan_.limits is None or plan_.check is not None
            time = f"about {progress.format_duration(plan_.estimate.seconds)}" if is_known else "time not known yet"
            about = f"{stored_text}{len(stage):,} to train, {time}"
            lines.append((plan_view.format_stage(name, stage, about), ""))
    lines += [(line, "") for line in plan_view.format_cost(how, judged, rate)]
    lines += [(line, "") for line in plan_view.format_strategies(how) if is_verbose()]
    warnings = [*how.estimate.notes, plan_view.tuning_warning(len({run.arm for run in held_out}), tuned)]
    lines += [(line, "yellow") for line in warnings if line]
    plan = {
        "study": opened.plan.config.study.name, "folder": str(opened.study_dir), "planned": len(runs),
        "missing": len(lacking), "to_train": len(todo), "seconds": how.estimate.seconds, "flops": how.estimate.flops,
        "bytes_a_run": how.estimate.run_bytes, "device": str(opened.device),
    }  # fmt: skip
    summary_lines = [{"heading": heading, "text": text} for heading, text in summary]
    return {"lines": lines, "answer": {"summary": summary_lines, "plans": [plan]}}


def plan_held_out(opened: Session, *, is_tuned: bool) -> list[Run]:
    """Return the runs that are still to judge what tuning chooses; as many of any trials while that is not known."""
    from adamcmp.execute.held_out_seeds import placeholder_runs
    from adamcmp.execute.study_dir import missing_runs
    from adamcmp.plan.runs import has_selection

    runs, seeds = opened.plan.runs, opened.plan.config.study.confirm.seeds
    if not seeds or not has_selection(runs):
        return []
    if not is_tuned:
        return placeholder_runs(runs, seeds)
    from adamcmp.execute.next_runs import held_out_runs
    from adamcmp.storage.records import read_records

    return missing_runs(held_out_runs(runs, read_records(opened.study_dir), seeds), opened.study_dir)


def run_sweep(opened: Session, limit: int | None, only_failed: bool = False) -> pd.DataFrame:
    """Train the missing tuning runs, then the held-out runs of selected trials; return the records of all planned
    runs.
    """
    from adamcmp.cli import plan_view
    from adamcmp.storage.records import read_records

    runs = list(opened.plan.runs)
    trained = train(opened, runs, limit, only_failed=only_failed)
    if limit is None and not only_failed:
        runs += extend_grid(opened, runs) if opened.plan.searching is None else run_search(opened)
    held_out = [] if only_failed else train_held_out(opened, runs, None if limit is None else limit - trained)
    records = read_records(opened.study_dir)
    planned = records[records["run_id"].isin({run.id for run in (*runs, *held_out)})]
    counts = planned["status"].value_counts().to_dict()
    add_json(studies=[{"study": opened.plan.config.study.name, "folder": str(opened.study_dir), "runs": counts}])
    for line in plan_view.format_failures(planned[planned["status"] == "failed"]):
        print_note(line, "red")
    return planned


def submitted_elsewhere(opened: Session) -> None:
    """Refuse a study whose runs jobs of a cluster train: a function waits for its results.

    Raises:
        InputError: ``execute=slurm``.
    """
    if opened.plan.config.execute.where == "slurm":
        raise InputError("execute=slurm: submit jobs by `adamcmp sweep`, and open the study when they have ended")


def extend_grid(opened: Session, runs: Sequence[Run]) -> list[Run]:
    """Extend grids whose selected trial is at a boundary, as often as the study allows; return the added runs."""
    from adamcmp.execute.next_runs import extended_grid_runs
    from adamcmp.storage.records import read_records

    added: list[Run] = []
    most = opened.plan.config.study.extend
    while most and (wider := extended_grid_runs(runs, read_records(opened.study_dir), most)):
        added += wider
        if not train(opened, wider, None, label="Extended"):
            break  # they failed before, or no runs can say more about them
    return added


def run_search(opened: Session) -> list[Run]:
    """Ask for batch after batch until each optimizer has had its trials; the runs that this took beyond the first
    batch.
    """
    from adamcmp.storage.records import read_records

    searching = opened.plan.searching
    assert searching is not None
    added: list[Run] = []
    most = searching.settings.trials
    while batch := searching.more(read_records(opened.study_dir)):
        added += batch
        tried = max(len(arm.trials) for arm in searching.arms)
        train(opened, batch, None, rest=f"{searching.settings.method}, trial {tried:,} of {most:,}")
    return added


def train_held_out(opened: Session, runs: Sequence[Run], limit: int | None) -> list[Run]:
    """Train the selected trials on held-out seeds once tuning is complete; return these runs."""
    from adamcmp.execute.next_runs import held_out_runs
    from adamcmp.execute.study_dir import missing_runs
    from adamcmp.plan.runs import has_selection
    from adamcmp.storage.records import read_records

    seeds = opened.plan.config.study.confirm.seeds
    if not seeds or not has_selection(runs):
        return []
    records = read_records(opened.study_dir)
    left = len(missing_runs(runs, opened.study_dir)) - int((records["status"] == "failed").sum())
    if left > 0:
        print_note(f"{opened.study_dir}: {left:,} tuning runs are missing; held-out runs follow once they are stored")
        return []
    held_out = held_out_runs(runs, records, seeds)
    if limit is None or limit > 0:
        train(opened, held_out, limit, label="Held-out")
    return held_out


def execution_settings(opened: Session) -> ExecutionSettings:
    """Return how to train: runs that are compared while they are in training have to be one program."""
    execute = opened.plan.config.execute
    together = (
        opened.plan.config.search.method == "asha" and execute.engine == "auto" and opened.plan.config.program is None
    )
    return execute.model_copy(update={"engine": "vectorised"}) if together else execute


def exit_code_of(records: pd.DataFrame) -> int:
    """Return the exit code of a command that trained these runs."""
    return EXIT_RUN_FAILED if (records["status"] == "failed").any() else EXIT_OK


def show_header(opened: Session) -> None:
    """Print the study, its task and device, once."""
    if is_quiet() or opened.is_announced:
        return
    opened.is_announced = True
    print_line(header_text(opened))
    if repeated := opened.plan.duplicates:
        print_note(repeated_text(repeated))


def repeated_text(count: int) -> str:
    """Return a line on runs of a grid that are equal."""
    runs, are = ("run equals", "is") if count == 1 else ("runs equal", "are")
    return f"{count:,} {runs} another one of the grid (only the label may differ) and {are} left out"


def header_text(opened: Session, more: str = "") -> str:
    """Return the study, its task and device: ``mnist1d · mlp_100_100 · 360 steps × 100 · cpu``."""
    tasks = list(dict.fromkeys(run.task.label for run in opened.plan.runs))
    task = tasks[0] if len(tasks) == 1 else f"{len(tasks)} tasks"
    name = opened.plan.config.study.name
    start = [] if task.startswith(f"{name} · ") else [name]
    return " · ".join([*start, task, str(opened.device), *([more] if more else [])])


def train(
    opened: Session,
    runs: Sequence[Run],
    limit: int | None,
    *,
    only_failed: bool = False,
    label: str = "",
    rest: str = "",
    benchmarks: bool = True,
) -> int:
    """Train the missing runs that no other process trains, with a progress bar; return how many were missing.

    Args:
        opened: the study.
        runs: of one stage.
        limit: train at most this many; None: all.
        only_failed: train only runs that failed before.
        label: the stage; empty: ``Tuning``, or ``Training`` if no optimizer has a second trial.
        rest: more about it.
        benchmarks: benchmark strategies; else rough estimates select them.
    """
    from adamcmp.execute.study_dir import copy_from_siblings, join_as_driver, missing_runs, write_config
    from adamcmp.storage.part_files import part_files

    if opened.plan.config.execute.where == "slurm":
        raise InputError("execute=slurm: jobs train what `adamcmp sweep` plans; this command trains here, or on Ray")
    from adamcmp.plan.runs import has_selection

    study_dir, label = opened.study_dir, label or ("Tuning" if has_selection(runs) else "Training")
    with join_as_driver(study_dir) as leases:
        leases.begin(part_files(study_dir))
        lacking = missing_runs(runs, study_dir, only_failed=only_failed)
        if not only_failed and (
            adopted := copy_from_siblings(lacking, study_dir, lambda line: print_note(line, "yellow"))
        ):
            whose = "run of another study" if adopted == 1 else "runs of other studies"
            print_note(f"{study_dir}: {adopted:,} {whose} in the same folder {'is' if adopted == 1 else 'are'} reused")
            lacking = missing_runs(runs, study_dir)
        todo = lacking[:limit]
        write_config(study_dir, opened.plan.resolved)
        from adamcmp.cli import plan_view, progress

        if not todo:
            stored = "no run has failed, nothing to train" if only_failed else "all stored, nothing to train"
            show_header(opened)
            if runs and not is_quiet():
                print_note(plan_view.format_stage(label, runs, stored), whole=True)
            return 0
        from adamcmp.execute.execution_plan import prepare_execution
        from adamcmp.execute.progress_file import ProgressWriter
        from adamcmp.execute.protocol import StoreTarget
        from adamcmp.execute.run_writer import Provenance
        from adamcmp.execute.scheduler import train_missing_runs

        tunes = opened.plan.searching is not None and all(run.stage == "tune" for run in todo)
        search = opened.plan.config.search if tunes else None
        with ExitStack() as stack:
            with show_status("planning") as doing:
                opened.prepare(todo, doing)
                summaries = {run.task.key: opened.summary(run.task) for run in todo}
                provenance = Provenance.here(opened.plan.config.study.name, opened.words)
                provenance = replace(provenance, summaries=summaries)
                store = StoreTarget(study_dir, provenance)
                how = stack.enter_context(
                    prepare_execution(
                        todo,
                        opened.datasets,
                        opened.device,
                        execution_settings(opened),
                        store=store,
                        search=search,
                        say=doing,
                        benchmarks=benchmarks,
                    )
                )
            show_header(opened)
            if how.check is not None:
                todo = store_checked(opened, how, provenance, leases)
            show_summary(opened, todo)
            before = len(runs) - len(lacking) + len(how.checked)
            if not todo:
                return len(lacking)
            print_strategies(plan_view.format_stage(label, runs, rest), before, len(todo), how, opened.printed)
            importing = Thread(target=import_module, args=("adamcmp.report.preload_figures",), daemon=True)
            if how.executor is not None:  # while others train
                importing.start()
            with progress.ProgressBar(todo, label=label, compiles=how.estimate.compiles) as bar, ExitStack() as inner:
                name = opened.plan.config.study.name
                what = "" if label in ("Tuning", "Training") else f"{label.lower()} runs, "
                listener: Listener = inner.enter_context(ProgressWriter(bar, leases, how, len(runs), what, name))
                if trackers := opened.plan.config.log:
                    from adamcmp.execute.tracker_sync import TrackerListener

                    listener = inner.enter_context(TrackerListener(listener, study_dir, trackers))
                garbage_collection.restore_thresholds()
                train_missing_runs(how, todo, study_dir, provenance, listener, leases)
            if not is_quiet():
                print_note(
                    plan_view.format_stage(label, runs, bar.done_text(before) + (f"; {rest}" if rest else "")),
                    whole=True,
                )
            if importing.ident is not None:
                importing.join()  # two threads that import parts of one package may each get half of it
        return len(todo)


def store_checked(opened: Session, how: ExecutionPlan, provenance: Provenance, leases: Leases) -> list[Run]:
    """Store the planned runs that the check of a program has trained; return the runs that are left.

    Prints the findings of the check, once per session.
    """
    from adamcmp.cli import plan_view
    from adamcmp.execute.run_writer import RunWriter

    assert how.check is not None
    writer = RunWriter(opened.study_dir, provenance, leases.release)
    writer.add(how.checked)
    writer.store()
    if how.is_checked_now:
        for line in plan_view.format_check(how.check, is_new=not is_quiet()):
            print_note(line, "" if line.startswith("  ") else "yellow")
    return how.runs


MIN_SECONDS_TO_ANNOUNCE = 60.0
"""Seconds of training from which on a line is printed before it, for logs without a progress bar."""


def print_strategies(line: str, stored: int, todo: int, how: ExecutionPlan, printed: set[str]) -> None:
    """Print a stage before it is trained: in a log if it takes long, and its strategies if details were requested.

    Notes in ``printed`` are left out; the others are added to it.
    """
    from adamcmp.cli import plan_view, progress

    seconds = how.estimate.seconds
    if is_verbose() or (seconds > MIN_SECONDS_TO_ANNOUNCE and not sys.stderr.isatty() and not is_quiet()):
        stored_text = f"{stored:,} stored, " if stored else ""
        print_note(f"{line}  {stored_text}{todo:,} to train, about {progress.format_duration(seconds)}", whole=True)
    lines = plan_view.format_strategies(how) if is_verbose() else []
    for text in [*lines, *(note for note in how.estimate.notes if note not in printed)]:
        print_note(text, "" if text.startswith("  ") else "yellow")
    printed.update(how.estimate.notes)
