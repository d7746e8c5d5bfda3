"""Losses and metrics: their descriptions, their functions, and per-example values of a metric."""
