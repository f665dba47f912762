"""What an error says of a value: the file and line that set it, and never a value from the environment."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig
from omegaconf.errors import OmegaConfBaseException

from nnkit.config import catalog
from nnkit.config.search_path import hydra_loader
from nnkit.errors import Problem

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


_FROM_ENVIRONMENT = "${oc.env:"
# A shorter value occurs in many messages by chance; it is hidden only in messages about its own key.
_MIN_LENGTH = 6


def veil(config: DictConfig, problems: Iterable[Problem]) -> list[Problem]:
    """Return problems in which no value from the environment is written out, be it in the text or in the hint.

    Args:
        config: With its interpolations.
        problems: As found.
    """
    found = list(problems)
    secrets = list(_secrets(config, "")) if found else []
    return [_veiled(problem, secrets) for problem in found]


def _secrets(node: DictConfig | ListConfig, path: str) -> Iterator[tuple[str, str, str]]:
    """Find what is taken from the environment: key, value, and what is written in the config."""
    if node._is_none() or node._is_missing() or node._is_interpolation():
        return
    names: Iterable[Any] = node.keys() if isinstance(node, DictConfig) else range(len(node))
    for name in list(names):
        child = node._get_node(name)
        key = f"{path}.{name}".removeprefix(".")
        if isinstance(child, DictConfig | ListConfig) and not child._is_interpolation():
            yield from _secrets(child, key)
            continue
        raw = getattr(child, "_value", lambda: None)()
        if isinstance(raw, str) and _FROM_ENVIRONMENT in raw:
            try:
                yield key, str(node[name]), raw
            # A resolver of Hydra's own (`${hydra:...}`) raises ValueError outside its application.
            except (OmegaConfBaseException, ValueError):
                # What cannot be filled in has no value that could be shown.
                continue


def _veiled(problem: Problem, secrets: Iterable[tuple[str, str, str]]) -> Problem:
    text = problem.text
    for key, value, raw in secrets:
        is_own = f"{key}.".startswith(f"{problem.key}.") or f"{problem.key}.".startswith(f"{key}.")
        if value and (is_own or len(value) >= _MIN_LENGTH):
            text = text.replace(value, raw).replace(repr(value)[1:-1], raw)
    # What to type instead of a value is often built of it.
    return replace(problem, text=text, hint=problem.hint if text == problem.text else "")
