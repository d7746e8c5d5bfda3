"""Text classification in the manner of the transformers examples: HfArgumentParser, Trainer, files in --output_dir."""

from dataclasses import dataclass, field

import torch
from torch.utils.data import Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    set_seed,
)


@dataclass
class ModelArguments:
    hidden_size: int = field(default=16)


class Majority(Dataset):
    def __init__(self, examples, seed):
        self.tokens = torch.randint(0, 2, (examples, 9), generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, i):
        return {"input_ids": self.tokens[i], "labels": (self.tokens[i].sum() > 4).long()}


def compute_metrics(prediction):
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def main():
    model_args, training_args = HfArgumentParser((ModelArguments, TrainingArguments)).parse_args_into_dataclasses()
    set_seed(training_args.seed)
    config = BertConfig(
        vocab_size=2,
        num_labels=2,
        hidden_size=model_args.hidden_size,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    trainer = Trainer(
        BertForSequenceClassification(config),
        training_args,
        train_dataset=Majority(400, 0),
        eval_dataset=Majority(200, 1),
        compute_metrics=compute_metrics,
    )
    result = trainer.train()
    trainer.save_metrics("train", result.metrics)
    trainer.save_metrics("eval", trainer.evaluate())
    trainer.save_metrics("test", trainer.evaluate(Majority(200, 2), metric_key_prefix="test"))


if __name__ == "__main__":
    main()
