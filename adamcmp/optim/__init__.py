"""Update rules, decay conventions and learning-rate schedules: no configuration files, no loop.

``rule`` defines an update rule and everything that all rules share; ``rules`` has one file per rule; ``decay``
describes where λθ enters and converts λ between conventions; ``schedules`` computes η_t. Nothing here imports torch:
kernels use methods of the tensors that they receive.
"""
