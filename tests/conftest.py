"""Shared by all tests: property tests draw the same examples in every CI run."""

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True)
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # each worker has a core; threads of all on each cost a third more
if os.environ.get("CI"):
    settings.load_profile("ci")


def pytest_collection_modifyitems(items):
    """What takes longest first, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: "/execute/" not in str(item.path))
