"""A stored study in Python: its records, leaderboard, verdicts, report and figures."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adamcmp.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from adamcmp.report.report_input import ReportInput
    from adamcmp.report.verdict_text import ComparisonSettings


@dataclass(frozen=True)
class Study:
    """The stored runs of one or several folders; it shows leaderboard and verdicts in a notebook.

    Numbers are read once, when they are first needed.

    >>> import tempfile, adamcmp
    >>> changes = {"optimizer": ["adam", "adamw"], "study.seeds": 2, "train.steps": 20}
    >>> study = adamcmp.sweep("digits", changes, results_dir=tempfile.mkdtemp(), quiet=True)
    >>> study.verdicts[["a", "b", "verdict"]].values.tolist()
    [['Adam + L2', 'AdamW', 'inconclusive']]
    >>> study.report(formats=["html"]).name
    'report.html'
    """

    folders: tuple[Path, ...]
    """Folders of the study, such as ``results/mnist1d``."""
    notes: tuple[str, ...] = ()
    """Warnings of the command that made it."""
    _given: ReportInput | None = field(default=None, repr=False, compare=False)
    """Contents of a comparison that is not stored."""

    @classmethod
    def open(cls, results: str | Path) -> Study:
        """Return the study in a folder, or all studies below it as one.

        Args:
            results: ``results/<study>``, or the folder above it; or the URL of one.

        Raises:
            adamcmp.errors.InputError: nothing is stored there.

        >>> Study.open("no/folder")
        Traceback (most recent call last):
        adamcmp.errors.InputError: no/folder: no such folder; give results/<study>, or the folder that holds studies
        """
        from adamcmp.storage.backend import open_path
        from adamcmp.storage.records import find_studies

        return cls(tuple(find_studies(open_path(results))))

    @classmethod
    def _of_records(
        cls, records: Sequence[Mapping[str, Any]], notes: Sequence[str], comparison: ComparisonSettings
    ) -> Study:
        """Return records that are not stored as a study."""
        import pyarrow as pa

        from adamcmp.report.report_input import ReportInput
        from adamcmp.storage.schema import CURVE, RECORD, arrow_schema

        table = pa.Table.from_pylist([dict(record) for record in records], arrow_schema(RECORD))
        curves = arrow_schema(CURVE).empty_table().to_pandas()
        return cls((), tuple(notes), ReportInput(table.to_pandas(), curves, comparison=comparison))

    @cached_property
    def _input(self) -> ReportInput:
        if self._given is not None:
            return self._given
        from adamcmp.report.check_table import first_check
        from adamcmp.report.report_input import ReportInput
        from adamcmp.storage.records import read_all, read_outcomes
        from adamcmp.studies import comparison_settings

        stored = read_all(list(self.folders))
        return ReportInput(
            *stored,
            outcomes=read_outcomes(list(self.folders)),
            comparison=comparison_settings(list(self.folders)),
            name=" + ".join(folder.name for folder in self.folders),
            check=first_check(list(self.folders)),
        )

    @property
    def records(self) -> pd.DataFrame:
        """One row per run; docs/reference/records.md lists the columns."""
        return self._input.records

    @property
    def curves(self) -> pd.DataFrame:
        """One row per evaluation."""
        return self._input.curves

    @cached_property
    def leaderboard(self) -> pd.DataFrame:
        """One row per task and optimizer: its selected trial and its errors on held-out seeds."""
        import pandas as pd

        boards = [self._input.board(task).assign(task=task.label) for task in self._input.tasks]
        return pd.concat(boards, ignore_index=True) if boards else pd.DataFrame()

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """One row per task and pair of optimizers: verdict, difference, 95 % confidence interval, p, and a sentence.

        The column ``verdict`` is ``different``, ``equivalent``, ``inconclusive`` or ``untested``. ``mean`` is the
        difference a − b of the metric, ``low`` and ``high`` its interval, ``detectable`` a difference that is found
        with 80 % power, and ``text`` the verdict in a sentence.
        """
        import pandas as pd

        from adamcmp.analysis import task_metrics
        from adamcmp.analysis.verdicts import to_frame
        from adamcmp.report.verdict_text import NAMES, format_verdict

        frames = []
        for task in self._input.tasks:
            verdicts, error = self._input.verdicts(task), task_metrics(task.records).error
            frame = to_frame(verdicts).drop(columns="kind")
            frame.insert(2, "verdict", [NAMES[verdict.kind] for verdict in verdicts])
            frames.append(frame.assign(task=task.label, text=[format_verdict(verdict, error) for verdict in verdicts]))
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    @cached_property
    def pooled_verdicts(self) -> pd.DataFrame:
        """One row per pair of optimizers over several tasks; empty for one task."""
        from adamcmp.analysis.across_tasks import to_frame

        return to_frame(self._input.pooled)

    @property
    def warnings(self) -> list[str]:
        """Problems of the evidence, and the settings that help."""
        from adamcmp.report.warnings import collect_warnings

        source = self._input
        return [
            warning.text
            for task in source.tasks
            for warning in collect_warnings(
                source.board(task), source.trials(task), task.records, source.verdicts(task)
            )
        ]

    @cached_property
    def figures(self) -> Mapping[str, Figure]:
        """Figures of the report by name, such as ``heatmap``, each drawn when it is first asked for."""
        return _Figures(self._input)

    def report(self, folder: str | Path | None = None, *, formats: Sequence[str] | None = None) -> Path:
        """Write the report, and return the path of its page.

        Args:
            folder: where; None: ``report`` in the study's folder.
            formats: some of ``md``, ``csv``, ``tex``, ``png``, ``svg``, ``pdf`` and ``html``; None: all.

        Raises:
            adamcmp.errors.InputError: the study is a comparison that is not stored, and no folder is given.

        >>> import tempfile, adamcmp, pandas as pd
        >>> frame = pd.DataFrame([{"opt": o, "seed": s, "test_acc": 0.9 + 0.01 * s} for o in "ab" for s in range(4)])
        >>> study = adamcmp.compare(frame, optimizer="opt", seed="seed", metric="test_acc")
        >>> study.report(tempfile.mkdtemp(), formats=["md"]).name
        'report.md'
        """
        from adamcmp.report.report_writer import FORMATS, write_report

        if folder is None and not self.folders:
            raise InputError("report: this comparison is not stored; give the folder to write to")
        where = self.folders[0] / "report" if folder is None else Path(folder)
        written = write_report(self._input, where, formats=tuple(formats or FORMATS))
        pages = [where / name for name in ("report.html", "report.md") if where / name in written]
        return pages[0] if pages else written[0]

    def __repr__(self) -> str:
        """Return the folders and the number of runs."""
        return f"Study({', '.join(map(str, self.folders)) or 'not stored'}: {len(self.records):,} runs)"

    def __str__(self) -> str:
        """Return leaderboards and verdicts as text."""
        from adamcmp.analysis import task_metrics
        from adamcmp.report import terminal

        lines = []
        for task in self._input.tasks:
            board, verdicts = self._input.board(task), self._input.verdicts(task)
            lines += [terminal.heading(task.label), *terminal.leaderboard_lines(board)]
            lines += [[("", "")], *terminal.verdict_lines(verdicts, task_metrics(task.records).error), [("", "")]]
        return "\n".join("".join(text for text, _ in line).rstrip() for line in lines).rstrip()

    def _repr_html_(self) -> str:
        """Return leaderboards, verdicts and warnings for a notebook."""
        from adamcmp.report.tables import leaderboard_display

        parts = []
        for task in self._input.tasks:
            sentences = self.verdicts.loc[self.verdicts["task"] == task.label, "text"] if len(self.verdicts) else ()
            items = "".join(f"<li>{html.escape(text)}</li>" for text in sentences)
            board = leaderboard_display(self._input.board(task)).to_html(index=False)
            parts.append(f"<h4>{html.escape(task.label)}</h4>{board}<ul>{items}</ul>")
        listed = "".join(f"<li>{html.escape(text)}</li>" for text in [*self.notes, *self.warnings])
        return "".join(parts) + (f"<b>Warnings</b><ul>{listed}</ul>" if listed else "")


class _Figures(Mapping[str, Any]):
    """Figures of the first task of a report, drawn on demand."""

    def __init__(self, source: ReportInput) -> None:
        self._report = source.reports[0]
        self._drawn: dict[str, Any] = {}

    def _names(self) -> list[str]:
        from adamcmp.figures.registry import FIGURES

        raw = self._report.raw
        return [
            name for name, spec in FIGURES.items() if all(table in raw and len(raw[table]) for table in spec.tables)
        ]

    def __getitem__(self, name: str) -> Any:
        if name not in self._drawn:
            from adamcmp.figures.registry import FIGURES
            from adamcmp.figures.style import FigureSkipped, FigureStyle, layout, render_figure, use_style

            if name not in self._names():
                raise KeyError(f"{name}; this study has {', '.join(self._names())}")
            arms = tuple(sorted(self._report.board["arm"]))
            raw = self._report.raw
            try:
                with use_style(FigureStyle("double", arms, "")):
                    figure = FIGURES[name].draw(*(raw[table] for table in FIGURES[name].tables))
                    layout(figure)
            except FigureSkipped as reason:
                raise KeyError(f"{name}: {reason}") from reason
            # a notebook shows it, whether pyplot is imported or not
            figure._repr_png_ = partial(render_figure, figure, "png")  # type: ignore[attr-defined]
            self._drawn[name] = figure
        return self._drawn[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())
