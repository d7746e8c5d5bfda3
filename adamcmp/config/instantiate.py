"""Import the objects that ``_target_`` names, and call them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from adamcmp.config.source_hash import add_cwd_to_path
from adamcmp.errors import InputError, one_line, suggest_names
from adamcmp.extras import EXTRAS, missing_extra


def find_target(target: str, what: str) -> Callable[..., Any]:
    """Return the object that a dotted path names.

    Raises:
        InputError: it cannot be imported, or is not callable.
    """
    add_cwd_to_path()
    key = what if what == "target" else f"{what}._target_"
    module_name, _, attribute = target.rpartition(".")
    if not module_name:
        raise InputError(f"{key}={target}: needs a dotted path, such as my_module.MyClass")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # an own module may fail in any way while it is imported
        if isinstance(error, ImportError) and module_name in EXTRAS:
            raise missing_extra(f"{key}={target}", module_name, error) from error
        raise InputError(f"{key}={target}: cannot be imported: {type(error).__name__}: {one_line(error)}") from error
    value = getattr(module, attribute, None)
    if value is None:
        names = [name for name in dir(module) if not name.startswith("_") and callable(getattr(module, name, None))]
        raise InputError(f"{key}={target}: {module_name} has no {attribute!r}; {suggest_names(attribute, names)}")
    if not callable(value):
        raise InputError(f"{key}={target}: is of type {type(value).__name__}, not a class or function")
    return value  # type: ignore[no-any-return]  # callable() does not narrow Any


def call_target(
    target: str, what: str, arguments: Mapping[str, Any], through: Mapping[str, Any] | None = None, **offers: Any
) -> Any:
    """Call a target with its arguments, and with those offers that its signature names.

    An argument that is a mapping with ``_target_`` is built first, as Hydra's ``instantiate`` does.

    Args:
        target: dotted path of a class or function.
        what: the section of the configuration, for errors.
        arguments: those of the configuration.
        through: more offers, for a target that passes any keyword on (``**kwargs``).
        offers: arguments that are given if the signature names them.

    Raises:
        InputError: it cannot be imported, or its call raised anything.
    """
    function = find_target(target, what)
    parameters = _parameters_of(function)
    built = {key: build_nested(value, f"{what}.{key}") for key, value in arguments.items()}
    built |= {k: v for k, v in offers.items() if k in parameters}
    if through and any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        built = {**through, **built}
    try:
        return function(**built)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # a custom class may fail in any way while it is built
        arguments_text = ", ".join(f"{key}={value!r}" for key, value in built.items())
        raise InputError(
            f"{what}: {target}({arguments_text}) failed: {type(error).__name__}: {one_line(error)}"
        ) from error


def build_nested(value: Any, what: str) -> Any:
    """Return a value in which each mapping with ``_target_`` is replaced by the object that it describes."""
    if isinstance(value, Mapping):
        inner = {key: build_nested(item, f"{what}.{key}") for key, item in value.items()}
        if "_target_" not in inner:
            return inner
        target = str(inner.pop("_target_"))
        if inner.pop("_partial_", False):
            return partial(find_target(target, what), **inner)
        return call_target(target, what, inner)
    return [build_nested(item, what) for item in value] if isinstance(value, list | tuple) else value


def nested_targets(value: Any) -> list[str]:
    """Return the ``_target_`` of each mapping inside some arguments."""
    if isinstance(value, Mapping):
        here = [str(value["_target_"])] if "_target_" in value else []
        return here + [target for item in value.values() for target in nested_targets(item)]
    return [target for item in value for target in nested_targets(item)] if isinstance(value, list | tuple) else []


@lru_cache(maxsize=256)
def _parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in callables have no signature
        return {}
