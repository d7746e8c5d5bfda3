"""A transformers Trainer: adamcmp sweep function target=transformers_trainer.train optimizer=adamw,lion train.steps=60"""

import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments


class Parity(Dataset):
    """Sequences of 0 and 1; the label is whether there are more ones than zeros."""

    def __init__(self, examples, seed):
        self.tokens = torch.randint(0, 2, (examples, 15), generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, i):
        return {"input_ids": self.tokens[i], "labels": (self.tokens[i].sum() > 7).long()}


class Stop(TrainerCallback):
    def __init__(self, trial):
        self.trial = trial

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop |= self.trial.should_stop


def error(prediction):
    return {"error": float((prediction.predictions.argmax(-1) != prediction.label_ids).mean())}


def train(trial):
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    model = BertForSequenceClassification(BertConfig(vocab_size=2, num_labels=2, **size))
    optimizer = trial.optimizer(model)
    arguments = TrainingArguments(
        str(trial.folder),
        max_steps=trial.steps,
        per_device_train_batch_size=32,
        seed=trial.seed,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        logging_strategy="no",
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=Parity(600, 0),
        compute_metrics=error,
        callbacks=[Stop(trial)],
        optimizers=(optimizer, trial.schedule(optimizer)),
    )
    trainer.train()
    validated = trainer.evaluate(Parity(300, 1), metric_key_prefix="validation")
    tested = trainer.evaluate(Parity(300, 2), metric_key_prefix="test")
    return {"step": trial.steps, "validation_error": validated["validation_error"], "test_error": tested["test_error"]}
