"""A custom data set: two interleaved spirals."""

import numpy as np


def spirals(examples=1000, turns=1.5, noise=0.05, seed=0):
    draw = np.random.default_rng(seed)
    label = draw.integers(2, size=examples)
    radius = np.sqrt(draw.uniform(0.05, 1, examples))
    angle = 2 * np.pi * turns * radius + np.pi * label
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return {"train": (x + noise * draw.standard_normal(x.shape), label)}
