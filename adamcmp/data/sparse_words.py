"""Made-up documents whose words follow a power law: most features are rare, and the rare ones tell the class."""

from __future__ import annotations

import numpy as np

from adamcmp.data.raw import RawData
from adamcmp.errors import InputError


def sparse_words(
    documents: int = 20_000,
    vocabulary: int = 5000,
    length: int = 30,
    classes: int = 4,
    exponent: float = 1.0,
    signal: float = 5.0,
    seed: int = 0,
) -> RawData:
    """Return words x int64 (N, L) from 1 to `vocabulary` (0 is no word), y 0 to C−1.

    The word of rank r occurs with probability ∝ r^−`exponent` (Zipf's law). Word w speaks for class c by
    a_wc ~ N(0, 1), the more the rarer it is: each document's class is drawn from softmax_c(`signal` · Σ_l a_wc s_w /
    √Σ_l s_w²), with s_w = log(1/p_w), as in inverse document frequency.

    Raises:
        InputError: for sizes, an exponent, a signal or a seed that cannot be used.
    """
    sizes = {
        "documents": (documents, 10),
        "vocabulary": (vocabulary, 2),
        "length": (length, 1),
        "classes": (classes, 2),
    }
    for option, (value, least) in sizes.items():
        if type(value) is not int or value < least:
            raise InputError(f"data.{option}={value}: must be ≥ {least} and whole")
    if exponent < 0 or signal < 0:
        raise InputError(f"data.exponent={exponent}, data.signal={signal}: must be ≥ 0")
    if type(seed) is not int or seed < 0:
        raise InputError(f"data.seed={seed}: must be ≥ 0 and whole")
    draw = np.random.default_rng(seed)
    frequency_V = np.arange(1, vocabulary + 1, dtype=np.float64) ** -exponent
    frequency_V /= frequency_V.sum()
    words_NL = draw.choice(vocabulary, size=(documents, length), p=frequency_V)
    weight_V = -np.log(frequency_V)
    meaning_VC = draw.standard_normal((vocabulary, classes))
    said_NC = (meaning_VC[words_NL] * weight_V[words_NL, None]).sum(1)
    size_N1 = np.sqrt((weight_V[words_NL] ** 2).sum(1, keepdims=True))
    y_N = (signal * said_NC / size_N1 + draw.gumbel(size=(documents, classes))).argmax(1)
    return {"train": (words_NL + 1, y_N), "num_classes": classes}
