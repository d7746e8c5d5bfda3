"""20 newsgroups: 18,846 messages to tell the group of, as lists of words."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adamcmp.data.idx import cache_folder
from adamcmp.data.raw import RawData
from adamcmp.errors import InputError, one_line


def newsgroups(
    folder: str | Path | None = None, download: bool = False, vocabulary: int = 10_000, length: int = 200
) -> RawData:
    """Load words x int64 (11314, L) for training and (7532, L) for testing, 0 after the end of a message; y 0 to 19.

    Headers, footers and quotes are removed. The `vocabulary` most frequent words of the training messages are
    numbered from 1 by falling frequency; others are left out, and the first `length` of the rest are kept.

    scikit-learn keeps the messages as a pickle and reads it by unpickling, which can run code: give a `folder` that
    only this user writes to.

    Args:
        folder: scikit-learn's data folder, which holds ``20news-bydate_py3.pkz``; the user's cache without it.
        download: fetch the messages when they are not there.
        vocabulary: number of distinct words.
        length: L.

    Source: K. Lang, NewsWeeder: Learning to filter netnews, ICML 1995, in the version "bydate" of
    ``sklearn.datasets.fetch_20newsgroups``.

    Raises:
        InputError: the files are missing or damaged, or the download fails.
    """
    from sklearn.datasets import fetch_20newsgroups
    from sklearn.feature_extraction.text import CountVectorizer

    for option, value in {"vocabulary": vocabulary, "length": length}.items():
        if type(value) is not int or value < 1:
            raise InputError(f"data.{option}={value}: must be ≥ 1 and whole")
    home = Path(folder).expanduser() if folder is not None else cache_folder()
    parts = {}
    for part in ("train", "test"):
        try:
            parts[part] = fetch_20newsgroups(
                data_home=str(home), subset=part, remove=("headers", "footers", "quotes"), shuffle=False,
                download_if_missing=download,
            )  # fmt: skip
        except Exception as error:  # scikit-learn unpickles the file, which may fail in any way
            raise InputError(
                f"20 newsgroups: cannot be read from {home} ({type(error).__name__}: {one_line(error)}); set "
                "data.download=true, or data.folder=<where 20news-bydate_py3.pkz lies>; data=sparse_words needs no file"
            ) from error
    counter = CountVectorizer(max_features=vocabulary)
    counts = counter.fit_transform(parts["train"].data)
    by_frequency = np.argsort(-np.asarray(counts.sum(0)).ravel(), kind="stable")
    names = counter.get_feature_names_out()
    number = {names[column]: rank + 1 for rank, column in enumerate(by_frequency)}
    split = counter.build_analyzer()

    def words(messages: list[str]) -> np.ndarray:
        x_NL = np.zeros((len(messages), length), np.int64)
        for row, message in zip(x_NL, messages, strict=True):
            indices = [number[word] for word in split(message) if word in number][:length]
            row[: len(indices)] = indices
        return x_NL

    train, test = ((words(part.data), np.asarray(part.target)) for part in (parts["train"], parts["test"]))
    return {"train": train, "test": test, "num_classes": 20}
