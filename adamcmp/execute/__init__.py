"""Where cohorts run, and how what they leave gets to disk: ``local`` in this process, ``rows`` makes the records."""
