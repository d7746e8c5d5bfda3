"""Settings as they are typed in a shell, for the ends of error messages."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from adamcmp.text_safety import quote_hydra


def list_setting(option: str, names: Sequence[object]) -> str:
    """Return a setting that takes a list of names, quoted if a shell or Hydra would misread them.

    >>> print(list_setting("drop", ["name", "id"]), list_setting("drop", ["Individual ID"]))
    data.drop=[name,id] 'data.drop=["Individual ID"]'
    """
    texts = [str(name) for name in names]
    if all(re.fullmatch(r"[\w.-]+", text, re.ASCII) for text in texts):
        return f"data.{option}=[{','.join(texts)}]"
    return shlex.quote(f"data.{option}=[{','.join(map(quote_hydra, texts))}]")
