"""Figures: drawn from the tables of a report with matplotlib, numpy and pandas alone.

Nothing here imports another part of adamcmp but ``metrics.spec``, so that ``report/plot_script.py`` can write all of it
into one script next to the tables, which redraws figures without adamcmp. For that, names are unique over these
modules. A figure shows only numbers of its tables, to the last digit.
"""
