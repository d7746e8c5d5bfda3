"""Engines: train the runs of a group, and return their results.

``sequential`` is the readable definition of a run; ``vectorized`` trains many runs in one program, with the same
results. ``loading`` builds data, models and devices, ``random_streams`` draws random numbers, ``optimizer_step`` turns
optimizer settings into steps, ``evaluation`` measures, ``run_result`` is the result, and ``strategy`` decides how to
train.
"""
