"""The shipped configurations of pytorch_optimizer's classes: what they say of decay, and how they are evaluated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml

from adamcmp.config.instantiate import find_target

CONFIGS = Path(__file__).parents[2] / "configs" / "optimizer"
SHIPPED = {
    path.stem: text
    for path in sorted(CONFIGS.glob("*.yaml"))
    if "pytorch_optimizer." in (text := path.read_text(encoding="utf-8"))
}


def test_there_are_some():
    assert len(SHIPPED) > 10


def stepped(text, weight_decay, gradient, steps):
    """A matrix before and after the last of some steps on one gradient, and the optimizer."""
    settings = yaml.safe_load(text)
    kind = find_target(settings.pop("_target_"), "optimizer")
    del settings["label"]
    p = torch.nn.Parameter(torch.linspace(1, 2, 12, dtype=torch.float64).view(4, 3))
    optimizer = kind([p], **{**settings, "lr": 0.1, "weight_decay": weight_decay})
    if hasattr(optimizer, "train"):
        optimizer.train()
    for _ in range(steps):
        before = p.detach().clone()
        p.grad = torch.full_like(p, gradient)
        optimizer.step()
    return before, p.detach()


@pytest.mark.parametrize("name", SHIPPED)
def test_decay_is_what_the_file_says(name):
    """Without a gradient, a weight loses lr λ of itself in each step; of AdamP a tenth, as its file says."""
    text = SHIPPED[name]
    assert re.search(r"^weight_decay: .*# decay: (\w+)", text, re.MULTILINE)[1] == "lr_scaled"
    if name == "prodigy":  # which does nothing without a gradient, and begins with an estimate of 1e-6
        (before, free), (_, decayed) = (stepped(text, weight_decay, 1e-3, 1) for weight_decay in (0.0, 0.5))
        assert ((free - decayed) / before).mean().item() == pytest.approx(1e-6 * 0.1 * 0.5, rel=1e-6)
        return
    steps = 1 if name == "schedule_free_sgd" else 3  # later its average holds something back
    before, after = stepped(text, 0.5, 0.0, steps)
    lost = (1 - after / before).mean().item()
    assert lost == pytest.approx(0.1 * 0.5 * (0.1 if name == "adamp" else 1.0), rel=0.03)
