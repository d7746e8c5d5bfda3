"""Execution: workers that train run groups, and the results folder that they write to."""
