"""A timm model with its own loader: adamcmp sweep function target=timm_model.train optimizer=adamw,muon train.steps=30"""

import timm
import timm.optim
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import Dataset


class Digits(Dataset):
    """Images of 8 × 8 pixels as timm's loaders take them."""

    def __init__(self, start, stop):
        digits = load_digits()
        order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))[start:stop]
        self.images = (digits.images[order] * 15.9).astype("uint8")
        self.labels = digits.target[order]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return torch.from_numpy(self.images[i]).float().div(255).expand(3, 8, 8), int(self.labels[i])


def loader(start, stop, *, training=False):
    return torch.utils.data.DataLoader(Digits(start, stop), 32, shuffle=training)


@torch.no_grad()
def accuracy(model, data):
    model.eval()
    right = [(model(x).argmax(1) == y).float() for x, y in data]
    model.train()
    return torch.cat(right).mean()


def train(trial):
    model = timm.create_model("resnet10t", num_classes=10, in_chans=3)
    optimizer = trial.optimizer(timm.optim.param_groups_weight_decay(model, trial.weight_decay))
    schedule = trial.schedule(optimizer)
    step = 0
    while step < trial.steps:
        for x, y in loader(0, 1000, training=True):
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            if step == trial.steps:
                break
    yield {
        "step": step,
        "val_acc": accuracy(model, loader(1000, 1400)),
        "test_acc": accuracy(model, loader(1400, 1797)),
    }
