"""A cohort of runs in, their outcomes out.

``sequential`` is the readable definition of a run. ``inputs`` builds what it needs, ``streams`` draws its random
numbers, ``updates`` turns optimizer settings into steps, ``evaluation`` measures, ``outcome`` is what comes back.
"""
