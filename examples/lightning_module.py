"""A LightningModule: adamcmp sweep function target=lightning_module.train optimizer=adam,adamw train.steps=100"""

import logging

import lightning
import torch
from torch import nn
from train_loop import loaders

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Classifier(lightning.LightningModule):
    def __init__(self, trial):
        super().__init__()
        self.trial = trial
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch, index):
        x, y = batch
        return nn.functional.cross_entropy(self.net(x), y)

    def _measure(self, batch, name):
        x, y = batch
        self.log(f"{name}_error", (self.net(x).argmax(1) != y).float().mean(), on_epoch=True)

    def validation_step(self, batch, index):
        self._measure(batch, "validation")

    def test_step(self, batch, index):
        self._measure(batch, "test")

    def configure_optimizers(self):
        optimizer = self.trial.optimizer(self)
        schedule = {"scheduler": self.trial.schedule(optimizer), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def train(trial):
    torch.manual_seed(trial.seed)
    train_loader, validation, test = loaders()
    trainer = lightning.Trainer(
        max_steps=trial.steps,
        accelerator="cpu",
        default_root_dir=trial.folder,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    model = Classifier(trial)
    trainer.fit(model, train_loader)
    (validated,) = trainer.validate(model, validation, verbose=False)
    (tested,) = trainer.test(model, test, verbose=False)
    return {"step": trial.steps, **validated, **tested}
