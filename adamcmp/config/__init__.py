"""Hydra configurations in, typed settings out.

``compose`` finds and merges YAML files and overrides, ``schema`` validates the result into frozen objects,
``build`` turns a ``_target_`` into the object that it names. Nothing here imports torch.
"""
