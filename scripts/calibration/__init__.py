"""Calibrate the verdicts on real trainings: the parts of ``scripts/calibrate``."""
