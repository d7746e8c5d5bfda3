"""How a run group is trained: its cost, benchmarks of strategies, and the selection of one."""
