"""The command line: parse, call, print. Everything heavy is imported inside the command that needs it."""

from collections.abc import Callable
from typing import NamedTuple

from adamcmp.cli import (
    code,
    compare,
    conformance,
    convert,
    docs,
    export,
    import_results,
    list_configs,
    merge,
    recommend,
    remove,
    report,
    reproduce,
    run,
    settle,
    show,
    show_data,
    sweep,
    verify,
    watch,
    work,
)
from adamcmp.cli.app import app, help_, main
from adamcmp.cli.usage import Command

__all__ = ["app", "main"]


class Entry(NamedTuple):
    """A command and the example that its help ends with."""

    call: Callable[..., None]
    example: str


TRAIN, INSPECT, MAINTAIN, CONVENTIONS = (
    "Train and compare",
    "Inspect results",
    "Export and maintain",
    "Optimizer conventions",
)
PANELS: dict[str, dict[str, Entry]] = {
    TRAIN: {
        "run": Entry(run.run, "adamcmp run digits optimizer=adamw optimizer.lr=3e-3"),
        "sweep": Entry(sweep.sweep, "adamcmp sweep mnist1d optimizer=adam,adamw optimizer.lr=1e-3,1e-2"),
        "recommend": Entry(recommend.recommend, "adamcmp recommend table data.path=my.csv data.label=y --budget 30m"),
        "settle": Entry(settle.settle, "adamcmp settle adam adamw --margin 0.5"),
        "reproduce": Entry(reproduce.reproduce, "adamcmp reproduce figure2 --scale smoke"),
    },
    INSPECT: {
        "report": Entry(report.report, "adamcmp report results/mnist1d --open"),
        "compare": Entry(compare.compare, "adamcmp compare adam adamw"),
        "watch": Entry(watch.watch, "adamcmp watch results"),
        "code": Entry(code.code, "adamcmp code results/mnist1d --optimizer AdamW --framework torch"),
        "show": Entry(show.show, "adamcmp show digits optimizer=sgd"),
        "show-data": Entry(show_data.show_data, "adamcmp show-data table data.path=my.csv data.label=price"),
        "list": Entry(list_configs.list_, "adamcmp list optimizers"),
        "docs": Entry(docs.docs, "adamcmp docs verdicts"),
    },
    MAINTAIN: {
        "export": Entry(export.export, "adamcmp export results/digits --to csv"),
        "import": Entry(
            import_results.import_results,
            "adamcmp import results.csv --optimizer opt --lr learning_rate --seed seed --validation val_acc",
        ),
        "merge": Entry(merge.merge, "adamcmp merge laptop/results server/results --out results"),
        "remove": Entry(remove.remove, "adamcmp remove results --status failed"),
        "verify": Entry(verify.verify, "adamcmp verify results/mnist1d"),
    },
    CONVENTIONS: {
        "convert": Entry(convert.convert, "adamcmp convert --from keras --to torch learning_rate=3e-4"),
        "conformance": Entry(conformance.conformance, "adamcmp conformance torch optax"),
    },
}
"""In the order of ``--help``."""
for panel, commands in PANELS.items():
    for name, entry in commands.items():
        app.command(name, cls=Command, rich_help_panel=panel, epilog=f"Example:  {entry.example}")(entry.call)
app.command("work", cls=Command, hidden=True)(work.work)
app.command("help", cls=Command, hidden=True)(help_)
