"""Learning rates that fall from the top layer of a network to the bottom one."""

from typing import Any

from torch import nn
from torch.optim import Optimizer

_CONTAINERS = (nn.ModuleList, nn.Sequential)


def rate_scales(network: nn.Module, body: nn.Module, decay: float) -> dict[nn.Parameter, float]:
    """Return what the learning rate of each parameter is multiplied by: decay ^ (depth from the top).

    Clark et al. 2020, "ELECTRA: pre-training text encoders as discriminators rather than generators", appendix A. The
    head, and what of the body follows its last layer, have depth 0, the last layer 1, and so on; below the first layer
    lie the embed and what of the body precedes that layer. An encoder lies below its decoder.

    Args:
        network: What is trained.
        body: Its part with the layers.
        decay: Above 0, and at most 1.

    Raises:
        ValueError: If the body has no layers.
    """
    layers = layers_of(body)
    if not layers:
        raise ValueError(f"{type(body).__name__} has no layers, between which a rate could fall")
    number = {parameter: place for place, layer in enumerate(layers, 1) for parameter in layer}
    top = len(layers) + 1
    scales = {parameter: 1.0 for parameter in network.parameters()}
    scales |= dict.fromkeys(network.get_submodule("embed").parameters(), decay**top)
    passed = 0
    for parameter in body.parameters():
        passed = number.get(parameter, passed)
        # Behind the last layer, where a final normalisation or a pooler belongs to the top.
        place = top if passed == len(layers) and parameter not in number else passed
        scales[parameter] = decay ** (top - place)
    return scales


def layers_of(body: nn.Module) -> list[list[nn.Parameter]]:
    """Return the parameters of each layer of a body, the lowest first.

    Layers are what the outermost lists of modules hold, such as the blocks of a Transformer, the steps that torch's
    recurrent networks number, or else the modules right inside the body.

    Args:
        body: Its modules are registered in the order in which they are called.
    """
    layers = _listed(body)
    return layers or [list(child.parameters()) for child in body.children() if _has_parameters(child)]


def _listed(module: nn.Module) -> list[list[nn.Parameter]]:
    if isinstance(module, nn.RNNBase):
        return _numbered([module])
    inside = list(filter(_has_parameters, module.children()))
    if not isinstance(module, _CONTAINERS):
        return [layer for child in inside for layer in _listed(child)]
    if inside and all(isinstance(child, nn.RNNBase) for child in inside):
        # Both directions of a layer, or all layers in one module.
        return _numbered(inside)
    if isinstance(module, nn.Sequential) and all(next(child.children(), None) is None for child in inside):
        # A matrix and what follows it.
        return [list(module.parameters())]
    return [
        layer
        for child in inside
        for layer in (_listed(child) if isinstance(child, _CONTAINERS) else [list(child.parameters())])
    ]


def _numbered(recurrent: list[nn.Module]) -> list[list[nn.Parameter]]:
    """Return the parameters of each layer of torch's recurrent networks, whose names tell it: weight_ih_l0_reverse."""
    named = [pair for module in recurrent for pair in module.named_parameters()]
    layers: dict[int, list[nn.Parameter]] = {}
    for name, parameter in named:
        layers.setdefault(int(name.partition("_l")[2].partition("_")[0]), []).append(parameter)
    return [layers[number] for number in sorted(layers)]


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def scale_rates(optimizer: Optimizer) -> None:
    """Let an optimizer take each step of a group with the group's rate times its `lr_scale`.

    The rates themselves stay those of the schedule, which knows nothing of it.

    Args:
        optimizer: Its groups have `lr_scale`.
    """
    rates: list[Any] = []

    def begin(*_: Any) -> None:
        rates[:] = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * group["lr_scale"]

    def end(*_: Any) -> None:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    optimizer.register_step_pre_hook(begin)
    optimizer.register_step_post_hook(end)
