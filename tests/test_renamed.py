"""Names of earlier versions still work, with a warning that says the new ones."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from adamcmp import renamed


@pytest.mark.parametrize("old", renamed.MODULES)
def test_an_old_module_gives_its_successor(old, monkeypatch):
    monkeypatch.delitem(sys.modules, old, raising=False)
    new = import_module(renamed.MODULES[old])
    with pytest.warns(FutureWarning, match=f"{old} has moved to {renamed.MODULES[old]}"):
        module = import_module(old)
    public = [name for name in vars(new) if not name.startswith("_")]
    assert all(getattr(module, name) is getattr(new, name) for name in public)
    for former, name in renamed.NAMES.get(old, {}).items():
        with pytest.warns(FutureWarning, match=f"{former} is now {new.__name__}.{name}"):
            assert getattr(module, former) is getattr(new, name)


def test_a_name_that_never_was_is_still_an_error(monkeypatch):
    monkeypatch.delitem(sys.modules, "adamcmp.settings", raising=False)
    with pytest.raises(ModuleNotFoundError):
        import_module("adamcmp.no_such_module")
    with pytest.warns(FutureWarning), pytest.raises(ImportError):
        exec("from adamcmp.settings import NoSuchName")
