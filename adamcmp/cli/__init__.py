"""The command line: parse, call, print. Everything heavy is imported inside the command that needs it."""

from collections.abc import Callable

from adamcmp.cli import choices, evidence, recommending, results, training
from adamcmp.cli.app import app, main

__all__ = ["app", "main"]

COMMANDS: dict[str, Callable[..., None]] = {
    "run": training.run,
    "sweep": training.sweep,
    "reproduce": training.reproduce,
    "recommend": recommending.recommend,
    "report": results.report,
    "watch": results.watch,
    "compare": results.compare,
    "settle": training.settle,
    "work": training.work,
    "conformance": evidence.conformance,
    "convert": evidence.convert,
    "export": results.export,
    "merge": results.merge,
    "remove": results.remove,
    "list": choices.list_,
    "show": choices.show,
    "show-data": choices.show_data,
}
"""In the order of ``--help``."""
for name, command in COMMANDS.items():
    app.command(name)(command)
