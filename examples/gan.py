"""A model with two optimizers: adamcmp sweep function target=gan.train optimizer=adam,adamw train.steps=200"""

import torch
from torch import nn


def real(count, generator=None):
    """A ring of eight Gaussians."""
    angle = torch.randint(0, 8, (count,), generator=generator) * (torch.pi / 4)
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(count, 2, generator=generator)


def network(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, outputs))


def distance(fake, true):
    """Energy distance of two samples: 0 for equal distributions."""
    return 2 * torch.cdist(fake, true).mean() - torch.cdist(fake, fake).mean() - torch.cdist(true, true).mean()


def train(trial):
    generator, critic = network(2, 2), network(2, 1)
    of_generator = trial.optimizer(generator)
    of_critic = trial.optimizer(critic, lr_scale=trial.params.get("critic_lr", 1.0))
    loss = nn.functional.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(128, 1), torch.zeros(128, 1)
    held_out = [real(500, torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    for step in range(trial.steps):
        fake = generator(torch.randn(128, 2))
        critic_loss = loss(critic(real(128)), ones) + loss(critic(fake.detach()), zeros)
        of_critic.zero_grad()
        critic_loss.backward()
        of_critic.step()
        generator_loss = loss(critic(fake), ones)
        of_generator.zero_grad()
        generator_loss.backward()
        of_generator.step()
        if trial.due(step):
            with torch.no_grad():
                made = generator(torch.randn(500, 2, generator=torch.Generator().manual_seed(3)))
                validation, test = (distance(made, true) for true in held_out)
            trial.report(step + 1, train_loss=generator_loss, validation_loss=validation, test_loss=test)
