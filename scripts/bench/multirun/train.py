"""One run of the digits MLP as a Hydra app: as a user writes it for `--multirun` without adamcmp.

    python scripts/bench/multirun/train.py --multirun optimizer=adam,adamw lr=0.001,0.01 seed=0,1

Same model, cut, budget, schedule and number of evaluations as `adamcmp sweep digits`; the result is metrics.json in
the job's folder. One thread, which is the quickest for a model of this size.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

Part = tuple[Tensor, Tensor]


def parts() -> tuple[Part, Part, Part]:
    """Train, validation and test: 60, 20 and 20 % of the images, normalized by the training part."""
    bunch = load_digits()
    x, y = torch.tensor(bunch.data, dtype=torch.float32), torch.tensor(bunch.target)
    test, validation, train = torch.randperm(len(y), generator=torch.Generator().manual_seed(0)).split([359, 359, 1079])
    x = (x - x[train].mean()) / x[train].std()
    return (x[train], y[train]), (x[validation], y[validation]), (x[test], y[test])


def optimizer_of(model: nn.Module, cfg: DictConfig) -> torch.optim.Optimizer:
    """The optimizer of that name; SGDW's decay is done in the loop, since torch has none."""
    params, lr, weight_decay = model.parameters(), cfg.lr, cfg.weight_decay
    match cfg.optimizer:
        case "sgd":
            return torch.optim.SGD(params, lr, momentum=0.9, weight_decay=weight_decay, fused=True)
        case "sgdw":
            return torch.optim.SGD(params, lr, momentum=0.9, fused=True)
        case "adam":
            return torch.optim.Adam(params, lr, weight_decay=weight_decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(params, lr, weight_decay=weight_decay, fused=True)
    raise ValueError(f"optimizer={cfg.optimizer}: must be sgd, sgdw, adam or adamw")


@torch.no_grad()
def evaluate(model: nn.Module, part: Part) -> tuple[float, float]:
    """Mean cross-entropy and error."""
    logits = model(part[0])
    return functional.cross_entropy(logits, part[1]).item(), (logits.argmax(1) != part[1]).float().mean().item()


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg: DictConfig) -> None:
    """Train, evaluate as often as asked, store the measurements."""
    torch.set_num_threads(1)
    torch.manual_seed(cfg.seed)
    train, validation, test = parts()
    x, y = train
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = optimizer_of(model, cfg)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: (1 + math.cos(math.pi * t / cfg.steps)) / 2)
    per_epoch, measured = len(y) // cfg.batch_size, []
    for t in range(cfg.steps):
        if t % per_epoch == 0:
            batches = torch.randperm(len(y)).split(cfg.batch_size)
        batch = batches[t % per_epoch]
        optimizer.zero_grad()
        functional.cross_entropy(model(x[batch]), y[batch]).backward()
        if cfg.optimizer == "sgdw":
            with torch.no_grad():
                for p in model.parameters():
                    p.mul_(1 - schedule.get_last_lr()[0] * cfg.weight_decay)
        optimizer.step()
        schedule.step()
        if (t + 1) % (cfg.steps // cfg.evaluations) == 0:
            measured.append([t + 1, *(evaluate(model, part) for part in (train, validation, test))])
    Path(HydraConfig.get().runtime.output_dir, "metrics.json").write_text(json.dumps(measured))


if __name__ == "__main__":
    main()
