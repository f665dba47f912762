"""Where YAML files set what: the line of each key, the value as it is written there, and the comment above it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from nnkit.config import catalog
from nnkit.files.yaml_limits import LOADER

COMMAND_LINE = "command line"
Places = dict[str, str]


def places_in_text(text: str, name: str, package: str = "") -> Places:
    """Map every key of one YAML text to the line that sets it.

    Args:
        text: The YAML text.
        name: What the user knows the file by.
        package: Dotted key its content is put under; empty for the top level.
    """
    places: Places = {}
    root = yaml.compose(text, Loader=LOADER)
    if isinstance(root, yaml.MappingNode):
        _collect(root, package, name, places)
    return places


def _collect(node: yaml.MappingNode, prefix: str, name: str, places: Places) -> None:
    for key_node, value_node in node.value:
        key = f"{prefix}.{key_node.value}" if prefix else str(key_node.value)
        places[key] = f"{name}:{key_node.start_mark.line + 1}"
        if isinstance(value_node, yaml.MappingNode):
            _collect(value_node, key, name, places)


def choosers(text: str, name: str, choices: Mapping[str, Any]) -> Places:
    """Map each group to the line of a file's defaults that names the option it ended with.

    Args:
        text: The YAML text.
        name: What the user knows the file by.
        choices: The option each group ended with.
    """
    places: Places = {}
    root = yaml.compose(text, Loader=LOADER)
    values = root.value if isinstance(root, yaml.MappingNode) else []
    for entry in (entry for key, value in values if key.value == "defaults" for entry in value.value):
        for key, value in entry.value if isinstance(entry, yaml.MappingNode) else ():
            group = key.value.removeprefix("override ").lstrip("/").split("@")[0]
            if group in choices and value.value == choices[group]:
                places[group] = f"{name}:{key.start_mark.line + 1}"
    return places


class SetBy(NamedTuple):
    """One place that sets a key.

    Attributes:
        place: File and line, "command line", or "nnkit".
        value: What it sets, as it is written there; empty for a mapping.
        comment: The comment above it, or why it was set.
    """

    place: str
    value: str
    comment: str = ""


def settings_in_text(text: str, name: str, package: str = "") -> Iterator[tuple[str, SetBy]]:
    """Yield the keys that one YAML text sets, and the groups that its defaults choose an option of.

    Args:
        text: The YAML text.
        name: What the user knows the file by.
        package: Dotted key its content is put under; empty for the top level.
    """
    root = yaml.compose(text, Loader=LOADER)
    if isinstance(root, yaml.MappingNode):
        yield from _settings(root, package, name, text)


def _settings(node: yaml.MappingNode, prefix: str, name: str, text: str) -> Iterator[tuple[str, SetBy]]:
    rows = text.splitlines()
    for key_node, value_node in node.value:
        key = f"{prefix}.{key_node.value}" if prefix else str(key_node.value)
        line = key_node.start_mark.line
        if key_node.value == "defaults" and not key_node.start_mark.column:
            yield from _chosen(value_node, name, text)
            continue
        is_inner = isinstance(value_node, yaml.MappingNode)
        value = "" if is_inner else _written(value_node, text)
        # What opens a file describes the file; in one that is put under its group, its first key is the node itself.
        is_head = not _comment(rows[:line]) or all(row.startswith("#") for row in rows[:line])
        comment = "" if is_head and not (prefix and is_inner) else _comment(rows[:line])
        yield key, SetBy(f"{name}:{line + 1}", value, comment)
        if is_inner:
            yield from _settings(value_node, key, name, text)


def _written(node: yaml.Node, text: str) -> str:
    return " ".join(text[node.start_mark.index : node.end_mark.index].split())


def _comment(rows: list[str]) -> str:
    """Return the comment that ends some lines, as one text; lines with commands are left out."""
    found: list[str] = []
    while rows and rows[-1].lstrip().startswith("#") and not rows[-1].startswith(catalog.EDITOR_LINE):
        *rows, last = rows
        found.insert(0, last.lstrip()[1:])
    return " ".join(row.strip() for row in found if not row.startswith(("   ", " @")))


def _chosen(node: yaml.Node, name: str, text: str) -> Iterator[tuple[str, SetBy]]:
    """Yield the options that a file's defaults choose."""
    for entry in node.value if isinstance(node, yaml.SequenceNode) else ():
        for key, value in entry.value if isinstance(entry, yaml.MappingNode) else ():
            group = key.value.removeprefix("override ").lstrip("/").split("@")[0]
            yield group, SetBy(f"{name}:{key.start_mark.line + 1}", _written(value, text))


def shown(path: Path) -> str:
    """Return the path of an option file as a user thinks of it: ``conf/GROUP/NAME.yaml`` where it is ours."""
    if path.is_relative_to(catalog.conf_dir()):
        return str(Path("conf") / path.relative_to(catalog.conf_dir()))
    if path.is_relative_to(Path.cwd()):
        return f"./{path.relative_to(Path.cwd())}"
    return str(path)


def lookup(places: Places, key: str) -> str:
    """Return the place of a key, or of the nearest key above it, or an empty text."""
    while key:
        if key in places:
            return places[key]
        key = key.rpartition(".")[0]
    return ""
