"""From config nodes to objects: checked, fenced, then constructed."""

from typing import Any

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from nnkit.build.nodes import blame, nodes_of, read_node, target_of
from nnkit.errors import ConfigError, Problem
from nnkit.network import Network


def refuse_untrusted(config: DictConfig) -> None:
    """Refuse a config that names anything but classes of the right kind from trusted packages.

    Args:
        config: A config that may come from anywhere, such as a run directory or a checkpoint.

    Raises:
        ConfigError: With every node that is refused; nothing outside trusted packages was imported.
    """
    found = [target_of(node, key, group) for key, group, node in nodes_of(config)]
    refused = [problem for problem in found if isinstance(problem, Problem)]
    if refused:
        raise ConfigError(refused)


def target_class(node: DictConfig, group: str) -> type:
    """Return the class a node names.

    Args:
        node: A node of the config.
        group: Its group.

    Raises:
        ConfigError: If it is refused.
    """
    target = target_of(node, _key(node, group), group)
    if isinstance(target, Problem):
        raise ConfigError([target])
    return target


def build(node: DictConfig, group: str, **injected: Any) -> Any:
    """Construct the object a node describes.

    Args:
        node: A node of the config, attached to it so that references resolve.
        group: Its group, ``embeds`` for a node of ``model.embeds``.
        injected: Arguments that do not come from the config.

    Raises:
        ConfigError: If the class is refused, an argument does not fit its signature, or the constructor
            raises ValueError.
    """
    key = _key(node, group)
    try:
        checked, found = read_node(node, key, group, injected)
    except OmegaConfBaseException as error:
        raise ConfigError([Problem(key, f"cannot be filled in: {str(error).splitlines()[0]}")]) from error
    if checked is None:
        raise ConfigError(found)
    try:
        return checked.target(**checked.arguments, **injected)
    except ValueError as error:
        raise ConfigError([blame(error, key, checked.arguments)]) from error


def _key(node: DictConfig, group: str) -> str:
    return str(node._get_full_key(None)) or group


def build_network(config: DictConfig) -> Network:
    """Build the embed of the data's kind, the body and the head, in that order, with fresh weights.

    Args:
        config: A composed config with the facts about the data filled in.

    Raises:
        ConfigError: As `build`.
    """
    (kind,) = config.model.embeds
    embed = build(config.model.embeds[kind], "embeds")
    body = build(config.model, "model", dim_in=embed.dim_out)
    head = build(config.head, "head", dim_in=body.dim_out)
    return Network(embed, body, head)
