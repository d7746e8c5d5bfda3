"""Logistic regression on two Gaussians: a script with argparse that knows nothing of adamcmp."""

import argparse
import json
import os
import random
import sys
import time

from lib.data import make_data, predict, update


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--optimizer", choices=["adam", "adamw", "sgd"], default="adam")
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--wd", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--out")
    parser.add_argument("--sleep", type=float, default=0.0)
    parser.add_argument("--started", help="append a line to this file when training starts")
    args = parser.parse_args()
    if args.started:
        with open(args.started, "a") as file:  # noqa: PTH123
            file.write(f"{os.getpid()} {args.seed} {args.lr}\n")
    rng = random.Random(args.seed)
    train, validation, test = (make_data(n, seed) for n, seed in ((200, 0), (300, 1), (300, 2)))
    weights, state = [rng.gauss(0, 0.5) for _ in range(3)], {}
    for epoch in range(1, args.epochs + 1):
        rng.shuffle(train)
        for x, y in train:
            keep = [float(rng.random() >= args.dropout) for _ in x]
            gradient = [(predict(weights, x) - y) * v * k for v, k in zip(x, keep, strict=True)]
            update(args.optimizer, weights, gradient, state, args.lr, args.wd)
        time.sleep(args.sleep)
        wrong = {
            name: [float((predict(weights, x) > 0.5) != y) for x, y in part]
            for name, part in (("val", validation), ("test", test))
        }
        print(
            json.dumps({"epoch": epoch, **{f"{name}_error": sum(v) / len(v) for name, v in wrong.items()}}), flush=True
        )
    if args.out:
        with open(os.path.join(args.out, "test_errors.json"), "w") as file:  # noqa: PTH118, PTH123
            json.dump(wrong["test"], file)


if __name__ == "__main__":
    sys.exit(main())
