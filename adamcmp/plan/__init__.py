"""A study becomes runs, and runs become run groups: ``expand`` turns search spaces into settings, ``runs`` names
them.
"""
