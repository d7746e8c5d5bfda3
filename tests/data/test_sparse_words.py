"""Sparse tasks: made-up words follow their law, and messages in scikit-learn's own format become words."""

from __future__ import annotations

import codecs
import pickle

import numpy as np
import pytest
from sklearn.utils import Bunch

from adamcmp.data.newsgroups import newsgroups
from adamcmp.data.sparse_words import sparse_words
from adamcmp.errors import InputError


def test_word_frequencies_follow_the_power_law():
    x_NL, _ = sparse_words(documents=4000, vocabulary=500, exponent=1.0)["train"]
    counts = np.bincount(x_NL.ravel(), minlength=501)[1:]
    harmonic = (1 / np.arange(1, 501)).sum()
    expected = x_NL.size / np.arange(1, 501) / harmonic
    assert x_NL.min() >= 1
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_words_tell_the_class_as_far_as_the_signal_goes():
    """By the label's own words: a class's mean log-odds from half of the documents classify the other half."""
    accuracies = []
    for signal in (0.0, 3.0):
        x_NL, y_N = sparse_words(documents=20_000, vocabulary=300, signal=signal)["train"]
        counts = np.zeros((4, 301))
        np.add.at(counts, (y_N[:10_000, None], x_NL[:10_000]), 1)
        odds = np.log((counts + 1) / (counts + 1).sum(1, keepdims=True))
        guess = odds[:, x_NL[10_000:]].sum(-1).argmax(0)
        accuracies.append((guess == y_N[10_000:]).mean())
    assert accuracies[0] < 0.35
    assert accuracies[1] > 0.6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"documents": 3}, r"^data\.documents=3: must be ≥ 10"),
        ({"classes": 1}, r"^data\.classes=1: must be ≥ 2"),
        ({"exponent": -1.0}, r"data\.exponent=-1\.0.*: must be ≥ 0"),
        ({"seed": -1}, r"^data\.seed=-1: must be ≥ 0"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        sparse_words(**arguments)


@pytest.fixture
def folder(tmp_path):
    """A cache of scikit-learn's with five messages."""
    names = [f"group{i}" for i in range(20)]
    train = Bunch(
        data=[f"Subject: it\n\n{text}" for text in ("apple apple pear", "pear apple zebra", "apple")],
        target=np.array([0, 1, 19]),
    )
    test = Bunch(data=["Subject: it\n\npear plum", "Subject: it\n\n"], target=np.array([1, 0]))
    for part in (train, test):
        part.target_names, part.filenames = names, np.array([str(i) for i in range(len(part.data))])
    compressed = codecs.encode(pickle.dumps({"train": train, "test": test}), "zlib_codec")
    (tmp_path / "20news-bydate_py3.pkz").write_bytes(compressed)
    return tmp_path


def test_messages_become_words_numbered_by_frequency(folder):
    raw = newsgroups(folder, vocabulary=2, length=3)
    assert raw["num_classes"] == 20
    assert raw["train"][0].tolist() == [[1, 1, 2], [2, 1, 0], [1, 0, 0]]
    assert raw["train"][1].tolist() == [0, 1, 19]
    assert raw["test"][0].tolist() == [[2, 0, 0], [0, 0, 0]]


def test_missing_and_damaged_files_are_refused_in_one_line(folder, tmp_path):
    with pytest.raises(InputError, match=r"data\.download=true"):
        newsgroups(tmp_path / "nowhere")
    stored = folder / "20news-bydate_py3.pkz"
    stored.write_bytes(stored.read_bytes()[:50])
    with pytest.raises(InputError, match="20 newsgroups: cannot be read from") as caught:
        newsgroups(folder)
    assert "\n" not in str(caught.value)
