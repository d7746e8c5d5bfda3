"""Modules that are imported at their first use: commands that train nothing start without them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


class LazyModule:
    """Stands for a module until an attribute of it is read."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name in ("__spec__", "__path__"):  # the import system asks for them
            raise AttributeError(name)
        return getattr(import_module(self._name), name)


@contextmanager
def defer_imports(*names: str) -> Iterator[None]:
    """Let packages that are imported here import some modules at their first use: drawing that is never asked for.

    Modules that are imported already are left as they are.
    """
    stubs: dict[str, LazyModule] = {}
    for name in names:
        parts = name.split(".")
        for n in range(1, len(parts) + 1):
            package = ".".join(parts[:n])
            if package not in sys.modules:
                stubs[package] = sys.modules[package] = LazyModule(package)  # type: ignore[assignment]  # stands for it
                if parent := stubs.get(package.rpartition(".")[0]):
                    setattr(parent, parts[n - 1], stubs[package])
    try:
        yield
    finally:
        for name, stub in stubs.items():
            if sys.modules.get(name) is stub:  # type: ignore[comparison-overlap]  # likewise
                del sys.modules[name]
