"""Data sets: one a file, each a function from keywords to plain arrays (`RawData`).

`prepare` turns what such a function returns, ours or a user's, into a `Dataset`: train, validation and test
parts cut by a fixed seed, normalized with training statistics, and a fingerprint of the bytes. A new data set
is one function and one YAML under ``configs/data/``; nothing here lists them.
"""

from adamcmp.data.dataset import Dataset, RawData, Split, make_dataset

__all__ = ["Dataset", "RawData", "Split", "make_dataset"]
