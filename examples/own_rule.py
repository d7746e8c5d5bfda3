"""A custom update rule for vectorized training: Lion (arXiv 2302.06675). The YAML file sets its decay."""

from adamcmp.base_settings import Beta
from adamcmp.optim.rule import Rule, zeros


class Lion(Rule):
    betas: tuple[Beta, Beta]

    def coefficients(self, steps):
        return {"lr": steps.lr, "beta1": self.betas[0], "beta2": self.betas[1]}

    def start(self, param, part):
        return {"m": zeros(param)}

    @classmethod
    def step(cls, param, grad, s, c):
        step = c.lr * (c.beta1 * s.m + (1 - c.beta1) * grad).sign()
        s.m.mul_(c.beta2).add_((1 - c.beta2) * grad)
        return step
