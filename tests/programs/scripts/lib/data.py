"""Data and updates of the script next to this folder."""

import math
import random


def make_data(count, seed):
    rng = random.Random(seed)
    pairs = []
    for _ in range(count):
        y = rng.randint(0, 1)
        pairs.append(((rng.gauss(2 * y - 1, 1.5), rng.gauss(y - 0.5, 1.0), 1.0), y))
    return pairs


def predict(weights, x):
    return 1 / (1 + math.exp(-max(-30, min(30, sum(w * v for w, v in zip(weights, x, strict=True))))))


def update(name, weights, gradient, state, lr, decay):
    t = state["t"] = state.get("t", 0) + 1
    m, v = state.setdefault("m", [0.0] * 3), state.setdefault("v", [0.0] * 3)
    for i, g in enumerate(gradient):
        if name == "adamw":
            weights[i] -= lr * decay * weights[i]
        else:
            g += decay * weights[i]
        if name == "sgd":
            weights[i] -= lr * g
            continue
        m[i] = 0.9 * m[i] + 0.1 * g
        v[i] = 0.999 * v[i] + 0.001 * g * g
        weights[i] -= lr * (m[i] / (1 - 0.9**t)) / (math.sqrt(v[i] / (1 - 0.999**t)) + 1e-8)
