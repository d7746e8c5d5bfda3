"""Workloads of the benchmarks, and timing of each way to train them."""
