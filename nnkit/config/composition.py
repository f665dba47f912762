"""From a command line to one config: composed by Hydra, every mistake collected, torch not imported."""

import io
import json
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from nnkit.config import catalog
from nnkit.config.catalog import conf_dir as conf_dir
from nnkit.config.choices import Choices, sort_out
from nnkit.config.keys import apply
from nnkit.config.migration import ADDED, migrate
from nnkit.config.overrides import parse
from nnkit.config.places import COMMAND_LINE, Places, lookup
from nnkit.config.provenance import places_of_files, veil
from nnkit.config.search_path import State, hydra_loader, state_of, states_noted
from nnkit.config.settle import can_do_without, settle, shape_problems
from nnkit.errors import ConfigError, Problem, UserError
from nnkit.files.paths import check_file, expand
from nnkit.files.yaml_limits import MAX_BYTES, check_yaml
from nnkit.suggest import hint

# What option files came to inside `loading_once`, pickled, by the words that chose them; with the state that each of
# the user's files had which it depends on. Ours do not change.
_LOADED: ContextVar[dict[Any, tuple[dict[Path, State | None], bytes]] | None] = ContextVar(
    "loaded", default=None
)


@dataclass(frozen=True)
class Composition:
    """A composed config and where it came from.

    Attributes:
        config: All nodes but Hydra's own, interpolations kept; ``model.embeds`` holds the chosen kind only.
        choices: The option of each group, ``{"model": "lenet5", "callbacks": ["checkpoint"], ...}``.
        overrides: The arguments it was composed from, in Hydra's grammar.
        broken: What was wrong already when it was composed: groups that have their default instead, keys that are null
            instead of a reference to nothing. Only `examine` returns a config that has any.
    """

    config: DictConfig
    choices: dict[str, str | list[str] | None]
    overrides: tuple[str, ...] = ()
    broken: frozenset[str] = frozenset()
    config_dir: Path | None = None
    typed: tuple[Override, ...] = field(default=(), repr=False)

    @cached_property
    def _places(self) -> Places:
        groups = set(catalog.groups())
        lines = [o.input_line for o in self.typed if o.key_or_group in groups and o.input_line]
        return places_of_files(lines, self.choices, self.config_dir)

    @property
    def typed_keys(self) -> frozenset[str]:
        """Keys and groups that the arguments set."""
        return frozenset(override.key_or_group for override in self.typed)

    def where(self, key: str) -> str:
        """Return what set a key last: ``conf/model/lenet5.yaml:7`` or ``command line``; empty if unknown."""
        for override in self.typed:
            typed = override.key_or_group
            above = key.startswith(f"{typed}.") and typed not in catalog.groups()
            # A constructor names data.augment where data.augment.rotate was typed.
            below = "." in key and typed.startswith(f"{key}.")
            if key == typed or above or below:
                return COMMAND_LINE
        return lookup(self._places, key)

    def is_broken(self, key: str) -> bool:
        """Return whether a key, or one above it, was wrong already when the config was composed."""
        return any(key == wrong or key.startswith(f"{wrong}.") for wrong in self.broken)

    def to_yaml(self) -> str:
        """Return the config as YAML text with its interpolations, so that no secret is written out."""
        return OmegaConf.to_yaml(self.config)


def compose(overrides: Sequence[str], config_dir: str | Path | None = None) -> Composition:
    """Compose the config of one run.

    Args:
        overrides: Arguments in Hydra's grammar, such as ``model=mlp`` and ``optimizer.lr=1e-3``.
        config_dir: A directory with more option files; it adds and shadows none.

    Raises:
        ConfigError: With all mistakes that can be found without building anything.
    """
    composition, problems = examine(overrides, config_dir)
    if problems or composition is None:
        raise ConfigError(problems)
    return composition


def examine(
    overrides: Sequence[str], config_dir: str | Path | None = None
) -> tuple[Composition | None, list[Problem]]:
    """Compose as far as possible and return the mistakes beside it, so that later checks can add theirs.

    Args:
        overrides: As for `compose`.
        config_dir: As for `compose`.

    Returns:
        The composition without the arguments that were wrong (None if nothing could be composed), and one
        problem for each mistake.
    """
    directory = None if config_dir is None else expand(config_dir).absolute()
    if directory is not None and not directory.is_dir():
        return None, [Problem("", f"--config-dir {config_dir}: there is no such directory")]
    words = parse(overrides)
    choices = sort_out(words.overrides, directory)
    problems = [*words.problems, *choices.problems]
    try:
        config, chosen = _load(choices, directory)
    except ConfigError as error:
        return None, [*problems, *error.problems]
    except RecursionError:
        return None, [*problems, Problem("defaults", "they lead back to the file they stand in")]
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError, TypeError) as error:
        return None, [*problems, _said_by_hydra(error, choices, directory)]
    applied: list[Override] = []
    for override in choices.values:
        problem = apply(config, override)
        if problem is None:
            applied.append(override)
        elif choices.may_judge(override.key_or_group):
            problems.append(problem)
    typed = (*choices.chosen, *applied)
    lines = tuple(override.input_line for override in typed if override.input_line)
    composition = Composition(config, chosen, lines, choices.broken, directory, typed)
    found = shape_problems(config)
    wrong = frozenset(problem.key for problem in found)
    problems += veil(config, (replace(problem, where=composition.where(problem.key)) for problem in found))
    if not all(map(can_do_without, wrong)):
        return None, problems
    # So that the checks that follow find the other mistakes too.
    for key in wrong:
        OmegaConf.update(config, key, None)
    found, empty = settle(config, chosen, choices.broken, directory)
    problems += veil(config, (replace(problem, where=composition.where(problem.key)) for problem in found))
    return replace(composition, broken=choices.broken | wrong | empty), problems


def from_yaml(text: str) -> DictConfig:
    """Read a saved config back; nothing in it is trusted.

    Args:
        text: What `Composition.to_yaml` returned, JSON included.

    Raises:
        ConfigError: If the text is too large, too deep, no YAML, or does not hold the keys of a config.
    """
    check_yaml(text, "config.yaml")
    try:
        config = OmegaConf.load(io.StringIO(text))
        if isinstance(config, DictConfig):
            content = plain(config)
            if (current := migrate(content)) != content:
                config = OmegaConf.create(current)
    # OmegaConf calls a text that is neither a list nor a mapping an input error.
    except (OmegaConfBaseException, yaml.YAMLError, ValueError, TypeError, OSError) as error:
        raise ConfigError([Problem("", f"config.yaml: {str(error).splitlines()[0]}")]) from error
    if not isinstance(config, DictConfig):
        raise ConfigError([Problem("", "config.yaml holds no keys")])
    for key, value in ADDED.items():
        config.setdefault(key, value)
    OmegaConf.set_struct(config, True)
    problems = shape_problems(config) or settle(config, {}, frozenset(), None)[0]
    if problems:
        raise ConfigError(problems)
    return config


@contextmanager
def loading_once() -> Iterator[None]:
    """Let Hydra compose the same option files once in the block, for many configs that differ in values alone.

    A block inside another one shares what that has.
    """
    loaded = _LOADED.get()
    token = _LOADED.set({} if loaded is None else loaded)
    try:
        yield
    finally:
        _LOADED.reset(token)


def _load(choices: Choices, config_dir: Path | None) -> tuple[DictConfig, dict[str, Any]]:
    """Let Hydra compose the chosen option files; single values are applied afterwards, one by one."""
    lines = [override.input_line or "" for override in choices.chosen]
    loaded = _LOADED.get()
    if loaded is None:
        return _load_files(lines, config_dir)
    key = (tuple(lines), config_dir, catalog.user_dir())
    states, content = loaded.get(key, ({}, b""))
    if not content or any(state_of(path) != state for path, state in states.items()):
        with states_noted() as states:
            content = pickle.dumps(_load_files(lines, config_dir))
        loaded[key] = states, content
    found: tuple[DictConfig, dict[str, Any]] = pickle.loads(content)
    return found


def _load_files(lines: list[str], config_dir: Path | None) -> tuple[DictConfig, dict[str, Any]]:
    with hydra_loader(config_dir) as (loader, extra):
        config = loader.load_configuration(catalog.PRIMARY, [*extra, *lines], RunMode.RUN, from_shell=False)
    chosen: Any = OmegaConf.to_container(config.hydra.runtime.choices)
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    OmegaConf.set_struct(config, True)
    # Hydra does not say what a list of options came to; their nodes do.
    several = {group: list(config.get(group) or {}) for group in catalog.lists()}
    return config, {group: chosen.get(group) for group in catalog.groups()} | several


def _said_by_hydra(error: Exception, choices: Choices, config_dir: Path | None) -> Problem:
    """Turn an error from inside Hydra, about an option file, into a sentence of one line."""
    lines = [line.strip() for line in str(error.__cause__ or error).splitlines() if line.strip()]
    missing = getattr(error, "missing_cfg_file", None)
    if isinstance(missing, str) and "/" in missing:
        group, _, option = missing.rpartition("/")
        known = catalog.options(group, config_dir) or catalog.groups()
        return Problem("defaults", lines[0], hint(option, known, f"{group}: {{}}"))
    return Problem("", " ".join(lines[:3]) or type(error).__name__)


def plain(config: DictConfig, *, resolve: bool = False) -> dict[str, Any]:
    """Return a config as plain dicts and lists, interpolations as text, or filled in where `resolve` says so."""
    content = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def copy(config: DictConfig) -> DictConfig:
    """Return a copy of a whole config; a node that belongs to one has a `copy` of its own."""
    # Takes a third of the time of a deep copy, which is what OmegaConf makes.
    copied: DictConfig = pickle.loads(pickle.dumps(config))
    return copied


def set_values(node: DictConfig, **values: Any) -> None:
    """Set values of a node, also those that it does not have yet."""
    with open_dict(node):
        for name, value in values.items():
            node[name] = value


def remove(node: DictConfig, *names: str) -> None:
    """Remove keys of a node, those that it has."""
    with open_dict(node):
        for name in names:
            node.pop(name, None)


def to_yaml(config: DictConfig, resolve: bool = False) -> str:
    """Return a config as YAML text.

    Args:
        config: The config.
        resolve: Whether references are filled in; never for what is saved, or a secret would be written out.
    """
    return OmegaConf.to_yaml(config, resolve=resolve)


def to_json(config: DictConfig) -> str:
    """Return a config as text that `from_yaml` reads, with its interpolations: JSON wherever that can hold it."""
    try:
        return json.dumps(plain(config), allow_nan=False)
    except (ValueError, TypeError):
        # JSON has no infinity, which Python writes as YAML takes for a text, and no bytes.
        return to_yaml(config)


def load(path: Path) -> DictConfig:
    """Read the saved config of a run; nothing in it is trusted.

    Args:
        path: The file ``config.yaml`` of a run directory.

    Raises:
        ConfigError: As `from_yaml`.
        UserError: If the file cannot be read.
    """
    try:
        check_file(path, MAX_BYTES)
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return from_yaml(text)
