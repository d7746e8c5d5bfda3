"""What the benchmarks train and how each way to train it is timed; every module says which part it is."""
