"""From config nodes to objects: checked, fenced, constructed, and frozen where the config says so."""

from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn
from torch.optim import Optimizer

from nnkit.adapters.base import Adapter
from nnkit.adapters.names import is_named, unknown
from nnkit.errors import ConfigError, EnvironmentFault, Problem
from nnkit.factory.fence import shipped
from nnkit.factory.nodes import TARGET, blame, nodes_of, read_node, target_of
from nnkit.factory.trainer_checks import trainer_problems
from nnkit.machine.memory import bounded, shortage
from nnkit.network import Network


def refuse_untrusted(config: DictConfig) -> None:
    """Refuse a config that names anything but classes of the right kind from trusted packages, or asks for the absurd.

    A class that one of nnkit's own option files names for the group is imported only where it is built: of an ordinary
    run, neither Lightning nor a network is imported here.

    Args:
        config: A config that may come from anywhere, such as a run directory or a checkpoint.

    Raises:
        ConfigError: With every node that is refused; nothing outside trusted packages was imported. With every value of
            the trainer that is refused too: thousands of threads or processes can bring a machine down.
    """
    nodes = [(node, key, group) for key, group, node in nodes_of(config) if not _is_shipped(node, group)]
    found = [target_of(*node) for node in nodes]
    refused = [problem for problem in found if isinstance(problem, Problem)] + trainer_problems(config)
    if refused:
        raise ConfigError(refused)


def _is_shipped(node: Any, group: str) -> bool:
    # As text: a path that is put together from other keys is none of them.
    raw: Any = node._get_node(TARGET) if isinstance(node, DictConfig) and TARGET in node else None
    named = None if raw is None else raw._value()
    return isinstance(named, str) and named in shipped(group)


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
    """Build the embed of the data's kind, the body and the head, in that order, with fresh weights, then the adapter.

    Parameters that the adapter or `freeze` keep as they are do not ask for a gradient.

    Args:
        config: A composed config with the facts about the data filled in.

    Raises:
        ConfigError: As `build`.
        EnvironmentFault: If the machine has not enough memory for it.
    """
    with bounded():
        network = _assemble(config)
    if config.get("adapter") is not None:
        adapter: Adapter = build(config.adapter, "adapter")
        adapter.adapt(network)
    freeze(network, config.get("freeze") or ())
    return network


def _assemble(config: DictConfig) -> Network:
    (kind,) = config.model.embeds
    embed = build(config.model.embeds[kind], "embeds")
    body = build(config.model, "model", dim_in=embed.dim_out)
    for name, attribute in getattr(target_class(config.head, "head"), "as_body", {}).items():
        # A config from before there was such a key keeps the head's default.
        if name in config.head and config.head[name] is None:
            config.head[name] = getattr(body, attribute, None)
    if "tied" in config.head:
        head = build(config.head, "head", dim_in=body.dim_out, tied_dim=embed.dim_out)
    else:
        head = build(config.head, "head", dim_in=body.dim_out)
    try:
        return Network(embed, body, head)
    except ValueError as error:
        raise ConfigError([blame(error, "head", config.head)]) from error


def freeze(network: nn.Module, patterns: Sequence[str]) -> None:
    """Take parameters out of training.

    Args:
        network: Freshly built; changed in place.
        patterns: Names of parameters, or of the parts of the network that hold them, such as "embed" and
            "body.layers.0"; * matches anything, ? one character.

    Raises:
        ConfigError: If one of them names nothing, or nothing is left to train.
    """
    parameters = dict(network.named_parameters())
    named = {pattern: [name for name in parameters if is_named(pattern, name)] for pattern in patterns}
    problems = [
        unknown("freeze", pattern, parameters, "parameter") for pattern, found in named.items() if not found
    ]
    frozen = {name for found in named.values() for name in found}
    left = [name for name, one in parameters.items() if one.requires_grad and name not in frozen]
    if not problems and not left:
        text = f"all {len(parameters)} parameters are frozen: nothing is left to train"
        problems.append(Problem("freeze", text, "leave out what is to be trained, such as the head"))
    if problems:
        raise ConfigError(problems)
    for name in frozen:
        parameters[name].requires_grad_(False)


def refuse_misfits(optimizer: Optimizer) -> None:
    """Make an optimizer refuse a state that does not fit its parameters.

    A fused step reads and writes past the end of a value that is smaller than its parameter. Whether the step is fused
    is part of the state, so this holds for every optimizer that has such a step.
    """
    if "fused" in optimizer.defaults:
        optimizer.register_load_state_dict_pre_hook(_check)


def _check(optimizer: Optimizer, state: dict[str, Any]) -> None:
    try:
        wrong = next(_misfits(optimizer, state), "")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        wrong = f"it is no state of {type(optimizer).__name__} ({type(error).__name__})"
    if wrong:
        raise EnvironmentFault(f"the checkpoint's optimizer does not fit this network: {wrong}")


def _misfits(optimizer: Optimizer, state: dict[str, Any]) -> Iterator[str]:
    """Return for each value whether it has its parameter's shape and strides; a count of steps has no shape."""
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, parameter in zip(numbers, parameters, strict=True):
        for name, value in state["state"].get(number, {}).items():
            if not isinstance(value, Tensor | int | float | None):
                yield f"{name} is a {type(value).__name__}"
            if not isinstance(value, Tensor) or value.dim() == 0:
                continue
            if (value.shape, value.stride()) != (parameter.shape, parameter.stride()):
                yield f"{name} has shape {tuple(value.shape)}, its parameter {tuple(parameter.shape)}"
