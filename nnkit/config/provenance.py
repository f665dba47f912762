"""What an error says of a value: the file and line that set it, and never a value from the environment."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig
from omegaconf.errors import OmegaConfBaseException

from nnkit.config import catalog
from nnkit.config.places import Places, SetBy, choosers, places_in_text, settings_in_text, shown
from nnkit.config.search_path import hydra_loader
from nnkit.errors import Problem


def places_of_files(lines: list[str], choices: Mapping[str, Any], config_dir: Path | None) -> Places:
    """Map every key of a composition, and every group, to the file and line that set it last.

    Args:
        lines: Overrides that choose options, such as ``model=mlp``.
        choices: The option each group ended with.
        config_dir: The directory given with ``--config-dir``.
    """
    places: Places = {}
    for name, text, package in _files(lines, config_dir):
        places |= places_in_text(text, name, package) | choosers(text, name, choices)
    # The files' own lists of defaults are no keys of the result.
    return {key: place for key, place in places.items() if "defaults" not in key.split(".")}


def _files(lines: list[str], config_dir: Path | None) -> Iterator[tuple[str, str, str]]:
    """Yield the name, the text and the package of each file of a composition, in the order in which they count."""
    with hydra_loader(config_dir) as (loader, extra):
        found = loader.compute_defaults_list(catalog.PRIMARY, [*extra, *lines], RunMode.RUN)
    for default in found.defaults:
        path = None if default.config_path is None else _file(default.config_path, config_dir)
        if path is not None:
            package = (default.package or "").removeprefix("_global_").lstrip(".")
            yield shown(path), path.read_text(encoding="utf-8"), package


def history_of_files(lines: list[str], config_dir: Path | None) -> dict[str, list[SetBy]]:
    """Return all places that set each key of a composition, and that choose the option of each group.

    Args:
        lines: Overrides that choose options, such as ``model=mlp``.
        config_dir: The directory given with ``--config-dir``.

    Returns:
        The places by key, in the order of composition: of those that set a value, the last one wins.
    """
    found: dict[str, list[SetBy]] = {}
    for name, text, package in _files(lines, config_dir):
        for key, setting in settings_in_text(text, name, package):
            found.setdefault(key, []).append(setting)
    return found


def _file(config_path: str, config_dir: Path | None) -> Path | None:
    if config_path == catalog.PRIMARY:
        return catalog.conf_dir() / f"{config_path}.yaml"
    group, _, option = config_path.rpartition("/")
    return None if group.split("/")[0] in catalog.NOT_GROUPS else catalog.source(group, option, config_dir)


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
