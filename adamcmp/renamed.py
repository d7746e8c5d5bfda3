"""Names of earlier versions, which custom rules, metrics, configurations and notebooks may use.

Importing an old module gives its successor, and reading an old name of a module gives the new one. Both warn once.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MODULES: Mapping[str, str] = {
    "adamcmp.criteria": "adamcmp.metrics.spec",
    "adamcmp.losses": "adamcmp.metrics.losses",
    "adamcmp.optim.frameworks": "adamcmp.optim.framework_conventions",
    "adamcmp.records": "adamcmp.storage.records",
    "adamcmp.settings": "adamcmp.base_settings",
    "adamcmp.store": "adamcmp.storage.backend",
}
"""Old module and its successor."""
NAMES: Mapping[str, Mapping[str, str]] = {
    "adamcmp.criteria": {"Criteria": "TaskMetrics", "ErrorMetric": "MetricSpec", "criteria_of": "task_metrics"},
    "adamcmp.records": {"studies": "find_studies"},
    "adamcmp.settings": {"Group": "ParamGroup"},
    "adamcmp.store": {"at": "open_path"},
}
"""Names of old modules that their successors call otherwise."""


class RenamedModules(MetaPathFinder, Loader):
    """Importer of old module names."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a specification for an old module, None for every other one."""
        return ModuleSpec(fullname, self) if fullname in MODULES else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return a module whose names are those of its successor."""
        new = MODULES[spec.name]
        warnings.warn(f"{spec.name} has moved to {new}", FutureWarning, stacklevel=2)
        module = ModuleType(spec.name)
        module.__getattr__ = renamed_names(new, NAMES.get(spec.name, {}))  # type: ignore[method-assign]
        return module

    def exec_module(self, _module: ModuleType) -> None:
        """Do nothing: the successor is imported when a name is read."""


def renamed_names(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` that finds names of a module under their old names too.

    Args:
        module: the module that has the new names.
        names: old name and new one.
    """

    def read(name: str) -> Any:
        if name in names:
            warnings.warn(f"{name} is now {module}.{names[name]}", FutureWarning, stacklevel=2)
        elif name.startswith("__"):
            raise AttributeError(name)
        return getattr(import_module(module), names.get(name, name))

    return read


def install() -> None:
    """Let Python import old module names."""
    if not any(isinstance(finder, RenamedModules) for finder in sys.meta_path):
        sys.meta_path.append(RenamedModules())
