"""Which file and line set a key: worked out only when an error has to say so."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra.types import RunMode

from nnkit.config import catalog
from nnkit.config.search_path import hydra_loader

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Places = dict[str, str]


def places_in_text(text: str, name: str, package: str = "") -> Places:
    """Map every key of one YAML text to the line that sets it.

    Args:
        text: The YAML text.
        name: What the user knows the file by.
        package: Dotted key its content is put under; empty for the top level.
    """
    places: Places = {}
    root = yaml.compose(text, Loader=_Loader)
    if isinstance(root, yaml.MappingNode):
        _collect(root, package, name, places)
    return places


def _collect(node: yaml.MappingNode, prefix: str, name: str, places: Places) -> None:
    for key_node, value_node in node.value:
        key = f"{prefix}.{key_node.value}" if prefix else str(key_node.value)
        places[key] = f"{name}:{key_node.start_mark.line + 1}"
        if isinstance(value_node, yaml.MappingNode):
            _collect(value_node, key, name, places)


def places_of_files(lines: list[str], choices: Mapping[str, Any], config_dir: Path | None) -> Places:
    """Map every key of a composition, and every group, to the file and line that set it last.

    Args:
        lines: Overrides that choose options, such as ``model=mlp``.
        choices: The option each group ended with.
        config_dir: The directory given with ``--config-dir``.
    """
    places: Places = {}
    with hydra_loader(config_dir) as (loader, extra):
        found = loader.compute_defaults_list(catalog.PRIMARY, [*extra, *lines], RunMode.RUN)
    for default in found.defaults:
        path = None if default.config_path is None else _file(default.config_path, config_dir)
        if path is not None:
            name = shown(path)
            text = path.read_text(encoding="utf-8")
            package = (default.package or "").removeprefix("_global_").lstrip(".")
            places |= places_in_text(text, name, package) | _choosers(text, name, choices)
    # The files' own lists of defaults are no keys of the result.
    return {key: place for key, place in places.items() if "defaults" not in key.split(".")}


def _choosers(text: str, name: str, choices: Mapping[str, Any]) -> Places:
    """Map each group to the line of a file's defaults that names the option it ended with."""
    places: Places = {}
    root = yaml.compose(text, Loader=_Loader)
    values = root.value if isinstance(root, yaml.MappingNode) else []
    for entry in (entry for key, value in values if key.value == "defaults" for entry in value.value):
        for key, value in entry.value if isinstance(entry, yaml.MappingNode) else ():
            group = key.value.removeprefix("override ").lstrip("/").split("@")[0]
            if group in choices and value.value == choices[group]:
                places[group] = f"{name}:{key.start_mark.line + 1}"
    return places


def shown(path: Path) -> str:
    """Return the path of an option file as a user thinks of it: ``conf/GROUP/NAME.yaml`` where it is ours."""
    if path.is_relative_to(catalog.conf_dir()):
        return str(Path("conf") / path.relative_to(catalog.conf_dir()))
    if path.is_relative_to(Path.cwd()):
        return f"./{path.relative_to(Path.cwd())}"
    return str(path)


def _file(config_path: str, config_dir: Path | None) -> Path | None:
    if config_path == catalog.PRIMARY:
        return catalog.conf_dir() / f"{config_path}.yaml"
    group, _, option = config_path.rpartition("/")
    return None if group.split("/")[0] in catalog.NOT_GROUPS else catalog.source(group, option, config_dir)


def lookup(places: Places, key: str) -> str:
    """Return the place of a key, or of the nearest key above it, or an empty text."""
    while key:
        if key in places:
            return places[key]
        key = key.rpartition(".")[0]
    return ""
