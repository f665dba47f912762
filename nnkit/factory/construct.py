"""From config nodes to objects: checked, fenced, then constructed."""

from typing import Any

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from torch.optim import Optimizer

from nnkit.errors import ConfigError, EnvironmentFault, Problem
from nnkit.factory.freezing import freeze
from nnkit.factory.memory import bounded, shortage
from nnkit.factory.nodes import blame, nodes_of, read_node, target_of
from nnkit.factory.optimizer_state import refuse_misfits
from nnkit.factory.trainer_checks import trainer_problems
from nnkit.network import Network


def refuse_untrusted(config: DictConfig) -> None:
    """Refuse a config that names anything but classes of the right kind from trusted packages, or asks for the absurd.

    Args:
        config: A config that may come from anywhere, such as a run directory or a checkpoint.

    Raises:
        ConfigError: With every node that is refused; nothing outside trusted packages was imported. With every value of
            the trainer that is refused too: thousands of threads or processes can bring a machine down.
    """
    found = [target_of(node, key, group) for key, group, node in nodes_of(config)]
    refused = [problem for problem in found if isinstance(problem, Problem)] + trainer_problems(config)
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
        EnvironmentFault: If there is not enough memory for it.
    """
    key = _key(node, group)
    try:
        checked, found = read_node(node, key, group, injected)
    except OmegaConfBaseException as error:
        raise ConfigError([Problem(key, f"cannot be filled in: {str(error).splitlines()[0]}")]) from error
    if checked is None or found:
        raise ConfigError(found)
    try:
        built = checked.target(**checked.arguments, **injected)
    except ValueError as error:
        raise ConfigError([blame(error, key, checked.arguments)]) from error
    except (RuntimeError, TypeError, MemoryError) as error:
        if (lack := shortage(error)) is None:
            raise
        raise EnvironmentFault(f"{key}: memory does not suffice: {lack}") from error
    if isinstance(built, Optimizer):
        refuse_misfits(built)
    return built


def _key(node: DictConfig, group: str) -> str:
    return str(node._get_full_key(None)) or group


def build_network(config: DictConfig) -> Network:
    """Build the embed of the data's kind, the body and the head, in that order, with fresh weights.

    Parameters that `freeze` names do not ask for a gradient.

    Args:
        config: A composed config with the facts about the data filled in.

    Raises:
        ConfigError: As `build`.
        EnvironmentFault: If the machine has not enough memory for it.
    """
    with bounded():
        network = _assemble(config)
    freeze(network, config.get("freeze") or ())
    return network


def _assemble(config: DictConfig) -> Network:
    (kind,) = config.model.embeds
    embed = build(config.model.embeds[kind], "embeds")
    body = build(config.model, "model", dim_in=embed.dim_out)
    for name in getattr(target_class(config.head, "head"), "as_body", ()):
        # A config from before there was such a key keeps the head's default.
        if name in config.head and config.head[name] is None:
            config.head[name] = getattr(body, name, None)
    if "tied" in config.head:
        if config.head.tied is None:
            config.head.tied = getattr(body, "ties_head", False)
        head = build(config.head, "head", dim_in=body.dim_out, tied_dim=embed.dim_out)
    else:
        head = build(config.head, "head", dim_in=body.dim_out)
    try:
        return Network(embed, body, head)
    except ValueError as error:
        raise ConfigError([blame(error, "head", config.head)]) from error
