"""One update rule a file: its docstring has the formula, the source and the conventions; nothing else names it."""
