"""Code that repeats a run of a user's program: the command of a script, or the optimizer of a function."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pprint import pformat
from typing import Any

import yaml

from adamcmp.config.lookup import list_group
from adamcmp.config.program import fill_placeholders
from adamcmp.text_safety import to_one_line

HIDDEN = ("name", "label", "rule", "source", "target", "built", "decay_given", "has_decay", "choice", "arguments")
WIDTH = 100


@cache
def shipped_settings(name: str) -> frozenset[str]:
    """Return the settings of an optimizer configuration that adamcmp ships."""
    path = list_group("optimizer").get(name)
    return frozenset() if path is None else frozenset(yaml.safe_load(path.read_text(encoding="utf-8")) or {})


def program_code(settings: Mapping[str, Any], record: Mapping[Any, Any], framework: str, title: str) -> str:
    """Return Python code that trains like a run of a script or function, or says that the code is not known.

    Args:
        settings: of the run, whose texts have no line breaks.
        record: of the run.
        framework: ``torch``, ``optax`` or ``keras``.
        title: the first line.
    """
    head = [f"# {to_one_line(title)}", f"# study {to_one_line(str(record['study']))}"]
    optimizer = settings["optimizer"]
    program = settings.get("program")
    if program is None:
        listed = {key: optimizer[key] for key in ("name", "lr", "weight_decay") if key in optimizer}
        return "\n".join([*head, f"# imported from elsewhere: its training code is not known; {listed}", ""])
    params = settings.get("params", {})
    if program["kind"] == "script":
        values = {
            **optimizer.get("arguments", {}),
            **{f"params.{key}": value for key, value in params.items()},
            "optimizer": optimizer["choice"], "lr": optimizer["lr"], "weight_decay": optimizer["weight_decay"],
            "seed": settings["seed"], "split_seed": settings["seed"], "steps": settings["steps"], "folder": ".",
        }  # fmt: skip
        values |= {f"optimizer.{key}": value for key, value in optimizer.get("arguments", {}).items()}
        shell = bool(program.get("shell"))
        words = [fill_placeholders(word, values, quote=shell) for word in program["command"]]
        command = pformat(words[0] if shell else words, width=WIDTH)
        extra = ", shell=True" if shell else ""
        return "\n".join([*head, "import subprocess", "", f"subprocess.run({command}, check=True{extra})", ""])
    head.append(f"# called by {to_one_line(program['target'])}" + (f" with params {params!r}" if params else ""))
    if framework != "torch":
        return "\n".join([*head, "# the function trains in PyTorch", ""])
    accepted = {"lr", "weight_decay", *shipped_settings(str(optimizer["name"])), *optimizer.get("arguments", {})}
    arguments = {key: value for key, value in {**optimizer, **optimizer.get("arguments", {})}.items()
                 if key in accepted and key not in HIDDEN and value not in ([], None)}  # fmt: skip
    inner = ", ".join(f"{key}={value!r}" for key, value in arguments.items() if key.isidentifier())
    call = f"optimizer = adamcmp.optimizer({optimizer['name']!r}, model.named_parameters(), {inner})"
    return "\n".join([*head, "import adamcmp", "", call, ""])
