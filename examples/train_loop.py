"""A plain training loop: adamcmp sweep function target=train_loop.train optimizer=adam,adamw train.steps=300"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


def loaders(batch_size=64):
    digits = load_digits()
    data = TensorDataset(torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target))
    parts = random_split(data, [0.6, 0.2, 0.2], torch.Generator().manual_seed(0))  # the same split for every seed
    return [DataLoader(part, batch_size, shuffle=i == 0) for i, part in enumerate(parts)]


@torch.no_grad()
def errors(model, loader):
    return torch.cat([(model(x).argmax(1) != y).float() for x, y in loader])


def train(trial):
    train_loader, validation, test = loaders()
    model = nn.Sequential(nn.Linear(64, trial.params.get("width", 64)), nn.ReLU(), nn.LazyLinear(10))
    model(torch.zeros(1, 64))
    optimizer = trial.optimizer(model)
    schedule = trial.schedule(optimizer)
    step = 0
    if state := trial.load():  # an interrupted run continues here
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        step = state["step"]
    while step < trial.steps:
        for x, y in train_loader:
            if trial.should_stop:
                states = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
                trial.save(states | {"schedule": schedule.state_dict(), "step": step})
                return
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if trial.due(step):
                of_test = errors(model, test)
                trial.report(
                    step + 1,
                    train_loss=loss,
                    validation_error=errors(model, validation).mean(),
                    test_error=of_test.mean(),
                )
                trial.report_examples(of_test)
            step += 1
            if step == trial.steps:
                break
