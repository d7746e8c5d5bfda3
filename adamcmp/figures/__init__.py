"""Figures: the tables of a report in, pictures out; with matplotlib, numpy and pandas alone.

Nothing here imports another part of adamcmp but ``criteria``, so that ``report/plot_script.py`` can write all of it
into one script beside the tables, with which a reader redraws a figure without adamcmp. Names are unique over these
modules for that. What a figure shows is in its tables, to the last digit.
"""
