"""A document of all tables and figures of a report, by a real LaTeX."""

from __future__ import annotations

import re
import subprocess

import pytest

from adamcmp import report
from adamcmp.analysis.claim import BELOW_RANGE, Claim
from adamcmp.analysis.intervals import Estimate
from adamcmp.report.findings import StudyFindings
from adamcmp.storage.records import read

HEAD = r"""\documentclass[a4paper]{article}
\usepackage[margin=1.6cm]{geometry}
\usepackage{array,booktabs,longtable,graphicx}
\begin{document}
"""


@pytest.mark.slow
@pytest.mark.needs("latex")
@pytest.mark.parametrize("width", ["single", "double"])
def test_all_tables_and_figures_make_a_document(synthetic, tmp_path, width):
    names = {"Adam + L2": "l2", r"AdamW \input{x} 100% & #1 _^~ <é> ÿ": "lr_scaled", "SGD": "l2"}
    records = synthetic.confirmed(synthetic.make_records(names, lrs=[1e-3, 1e-2, 1e-1]))
    study = synthetic.store(tmp_path / "digits", records, synthetic.make_curves(records, 6))
    claim = Claim("λ* falls as 1/√T · " * 6, "§ 3", "d log λ* " * 9, Estimate(-1.0, -2.0, -0.5), BELOW_RANGE)
    found = report.ReportInput(*read(study), study_findings=StudyFindings([claim] * 3), target_error=0.3, width=width)
    files = report.write_report(found, study / "report", formats=("tex", "pdf"))
    parts = [rf"\noindent\input{{{path}}}" for path in files if path.suffix == ".tex"]
    parts += [rf"\noindent\includegraphics{{{path}}}" for path in files if path.suffix == ".pdf"]
    (tmp_path / "all.tex").write_text(HEAD + "\n\n".join(parts) + "\n\\end{document}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    for _ in range(2):  # longtable takes its widths from the first pass
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, errors="replace")
        assert done.returncode == 0, done.stdout[-3000:]
    too_wide = re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\)", done.stdout)
    assert not [each for each in too_wide if float(each) > 1], done.stdout
    assert (tmp_path / "all.pdf").stat().st_size > 50_000
