"""A script with Hydra's own main: optimizer groups in conf/, metrics as text."""

import logging
import random

import hydra
from lib.data import make_data, predict, update

log = logging.getLogger(__name__)


@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(cfg):
    rng = random.Random(cfg.seed)
    train, validation, test = (make_data(n, seed) for n, seed in ((200, 0), (300, 1), (300, 2)))
    weights, state = [rng.gauss(0, 0.5) for _ in range(3)], {}
    for _ in range(cfg.epochs):
        rng.shuffle(train)
        for x, y in train:
            gradient = [(predict(weights, x) - y) * value for value in x]
            update(cfg.optimizer.name, weights, gradient, state, cfg.optimizer.lr, cfg.optimizer.weight_decay)
    for name, part in (("Validation", validation), ("Test", test)):
        accuracy = sum((predict(weights, x) > 0.5) == y for x, y in part) / len(part)
        print(f"{name} accuracy: {100 * accuracy:.2f} %")


if __name__ == "__main__":
    main()
