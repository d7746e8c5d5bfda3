"""A study becomes runs, and runs become cohorts: ``expand`` turns search spaces into settings, ``runs`` names them."""
