"""Where cohorts run, and how what they leave gets to disk: ``executor`` says what they take."""
