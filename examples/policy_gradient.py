"""Reinforcement learning: adamcmp sweep function target=policy_gradient.train optimizer=adam,sgd train.steps=60"""

import torch
from torch import nn

LENGTH, MOST_STEPS = 8, 24


def play(policy, episodes, seed):
    """Walk on a line from its middle to the right end: a reward of 1 − steps/24 there, none elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    position = torch.full((episodes,), LENGTH // 2)
    alive, rewards = torch.ones(episodes, dtype=torch.bool), torch.zeros(episodes)
    log_probabilities = torch.zeros(episodes)
    for step in range(MOST_STEPS):
        logits = policy(nn.functional.one_hot(position, LENGTH).float())
        probabilities = logits.softmax(1)
        action = torch.multinomial(probabilities.detach(), 1, generator=generator).squeeze(1)
        chosen = probabilities.gather(1, action[:, None]).squeeze(1).log()
        log_probabilities = log_probabilities + torch.where(alive, chosen, torch.zeros(()))
        position = torch.where(alive, (position + 2 * action - 1).clamp(0, LENGTH - 1), position)
        arrived = alive & (position == LENGTH - 1)
        rewards[arrived] = 1 - step / MOST_STEPS
        alive = alive & ~arrived
    return rewards, log_probabilities


def train(trial):
    policy = nn.Sequential(nn.Linear(LENGTH, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = trial.optimizer(policy)
    for step in range(trial.steps):
        rewards, log_probabilities = play(policy, 32, trial.seed * 100_003 + step)
        loss = -((rewards - rewards.mean()) * log_probabilities).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if trial.due(step):
            with torch.no_grad():
                validation, test = (play(policy, 200, 10_000_000 + i)[0].mean() for i in (0, 1))
            trial.report(step + 1, validation_return=validation, test_return=test)
