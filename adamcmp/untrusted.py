"""JSON and YAML that may come from anybody: read as plain data of bounded size and depth.

A text of a kilobyte may nest a thousand lists, or name one list by an alias in another one until there are billions.
"""

from __future__ import annotations

import json
from typing import Any

import yaml

MAX_NODES = 200_000
"""Values of a YAML file with all aliases written out, at most."""


def load_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


def load_object(text: str | bytes) -> dict[str, Any]:
    """Return the value of a JSON text that is an object.

    Raises:
        ValueError: it is none.
    """
    content = load_json(text)
    if not isinstance(content, dict):
        raise ValueError(f"JSON of a {type(content).__name__}, not of an object")
    return content


def load_yaml(text: str) -> Any:
    """Return the value of a YAML text, of plain types alone.

    Raises:
        ValueError: it is not YAML, nested too deeply, or its aliases stand for more than ``MAX_NODES`` values.
    """
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _count_nodes(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError:
        raise ValueError("YAML that is nested too deeply, or contains itself") from None
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _count_nodes(node: yaml.Node, depths: dict[int, int]) -> int:
    """Return the number of values that a node stands for, each alias counted as often as it is used."""
    if id(node) in depths:
        return depths[id(node)]
    children: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        children = [child for pair in node.value for child in pair]
    total = 1 + sum(_count_nodes(child, depths) for child in children)
    if total > MAX_NODES:
        raise ValueError(f"YAML whose aliases stand for more than {MAX_NODES:,} values")
    depths[id(node)] = total
    return total
