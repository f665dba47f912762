"""The outline every config has: nodes where nodes must stand, and the keys that nnkit itself reads."""

from collections.abc import Callable, Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nnkit.config import catalog
from nnkit.errors import Problem

_Test = Callable[[Any], bool]


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_text(name) and name != "???" for name in value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# Key -> (whether it must be there, what it must be, in words).
_OWN_KEYS: dict[str, tuple[bool, _Test, str]] = {
    "model.embeds": (True, OmegaConf.is_dict, "a mapping from kinds of input to embeds"),
    "data.kind": (True, _is_text, "the kind of input the data are, pictures or table"),
    "data.tasks": (False, _is_names, "a list of tasks"),
    "data.max_epochs": (False, _is_length, "a whole number, or -1 for no limit"),
    "head.fits": (False, _is_names, "a list of tasks"),
    "loss.takes": (False, _is_names, "a list out of index, one_hot and real"),
    "task.targets": (False, _is_names, "a list out of index, one_hot and real"),
    "task.monitor": (False, _is_text, "the name of a metric"),
    "scheduler.interval": (False, lambda value: value in ("step", "epoch"), "step or epoch"),
}


def shape_problems(config: DictConfig) -> list[Problem]:
    """Return what keeps a config from being read at all: nodes that are missing or are no nodes.

    Args:
        config: With the values from the command line set.
    """
    return [*_missing(config), *_flat(config)]


def own_key_problems(config: DictConfig) -> list[Problem]:
    """Return what is wrong with the keys that nnkit itself reads.

    Args:
        config: With the values from the command line set and without problems of shape.
    """
    return list(_own_keys(config))


def can_do_without(key: str) -> bool:
    """Return whether a key that nnkit itself reads may be null."""
    return key in _OWN_KEYS and not _OWN_KEYS[key][0]


def _missing(config: DictConfig) -> Iterator[Problem]:
    needed = [group for group, default in catalog.defaults().items() if isinstance(default, str)]
    for key in [*needed, *catalog.plain_keys()]:
        # `in` would deny a key whose value is still missing.
        if key not in list(config.keys()):
            yield Problem(key, "is missing")


def _flat(config: DictConfig) -> Iterator[Problem]:
    """Find values where keys must stand."""
    nodes = [*catalog.groups(), *(key for key in catalog.plain_keys() if catalog.is_node(key))]
    for key in [name for name in nodes if name in list(config.keys())]:
        node = config._get_node(key)
        if node is not None and (not isinstance(node, DictConfig) or node._is_none()):
            yield Problem(key, f"must hold keys, not {node}")


def _own_keys(config: DictConfig) -> Iterator[Problem]:
    for key, (needed, test, words) in _OWN_KEYS.items():
        group, _, name = key.partition(".")
        try:
            value = config[group].get(name)
            # Not the embeds: those of other kinds may refer to facts that these data do not have.
            plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_list(value) else value
        # A resolver of Hydra's own (`${hydra:...}`) raises ValueError outside its application.
        except (OmegaConfBaseException, ValueError) as error:
            yield Problem(key, f"cannot be filled in: {str(error).splitlines()[0]}")
            continue
        if (needed or plain is not None) and not test(plain):
            yield Problem(key, f"must be {words}, not {plain!r}")
