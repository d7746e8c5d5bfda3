"""The end of the test output says which tests were skipped, why, and how to have them run."""

import re

from .conftest import NEEDS, closing_lines, reason


def test_reasons_are_counted_and_the_slow_tests_are_mentioned():
    lines = closing_lines(["no disk", reason("latex"), reason("latex")], are_slow_left_out=True)
    assert lines == [
        "    2 skipped: LaTeX is not available. To run: apt-get install texlive-latex-recommended",
        "    1 skipped: no disk",
        "The slow tests were left out. To run them: scripts/slow",
    ]
    assert closing_lines([], are_slow_left_out=False) == []


def test_every_need_is_a_sentence_with_a_remedy():
    for name in NEEDS:
        assert re.fullmatch(r"[A-Z].+ is not available\. To run: \S.+", reason(name))
