"""Modules that the fork server imports for scripts and functions of the user: no compiler, which takes seconds."""

import gc

gc.disable()

import adamcmp.execute.worker  # noqa: E402

__all__ = ["adamcmp"]

gc.freeze()
gc.enable()
