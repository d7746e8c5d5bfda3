"""Results from elsewhere: files and trackers of other programs become records like any other."""
