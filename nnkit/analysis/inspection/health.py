"""Weights, gradients and units of a trained network: how they are distributed, and which units say nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nnkit.analysis.inspection.capture import recording
from nnkit.layers.probing import Probe, probes_of

if TYPE_CHECKING:
    from nnkit.batches import Batch
    from nnkit.network import Network
    from nnkit.tasks.base import Task

# Numbers of an array that its distribution is drawn from.
_MOST = 100_000
# Activations with bounds, and how near to one of them a unit is saturated.
_BOUNDS: dict[type[nn.Module], tuple[float, float]] = {
    nn.Tanh: (-1.0, 1.0),
    nn.Hardtanh: (-1.0, 1.0),
    nn.Sigmoid: (0.0, 1.0),
}
_ACTIVATIONS = (*_BOUNDS, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus)
NEAR = 0.01
# Share of its outputs from which on a unit counts as saturated, and the range below which it is dead.
MOSTLY, CONSTANT = 0.95, 1e-6


def weights_of(network: nn.Module) -> dict[str, NDArray[Any]]:
    """Return the weights of each layer, without biases and normalisations, by the layer's name."""
    return {
        short(name): _some(parameter) for name, parameter in network.named_parameters() if parameter.ndim > 1
    }


def gradients_of(task: Task, batch: Batch) -> dict[str, NDArray[Any]]:
    """Return the gradient of the loss of a batch by each layer's weights, as `weights_of` names them.

    Args:
        task: The task, in evaluation mode: nothing is dropped out.
        batch: Samples with their targets.
    """
    named = [(name, one) for name, one in task.network.named_parameters() if one.ndim > 1]
    required = [parameter.requires_grad for _, parameter in named]
    for _, parameter in named:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            loss, _ = task.score(batch)
            found = torch.autograd.grad(loss, [one for _, one in named], allow_unused=True)
    finally:
        for (_, parameter), before in zip(named, required, strict=True):
            parameter.requires_grad_(before)
    return {
        short(name): _some(gradient)
        for (name, _), gradient in zip(named, found, strict=True)
        if gradient is not None
    }


def _some(values: Tensor) -> NDArray[Any]:
    """Return the numbers of a tensor, evenly spaced ones where there are many."""
    flat = values.detach().float().cpu().flatten()
    found: NDArray[Any] = flat[:: -(-len(flat) // _MOST)].numpy()
    return found


def short(name: str) -> str:
    """Return the name of a layer or a weight without what all have in common."""
    return name.removeprefix("body.").removesuffix(".weight")


@dataclass
class Activity:
    """What the units of one activation did over several batches.

    Attributes:
        low: Smallest output of each unit, (units,).
        high: Largest one.
        saturated: How many outputs of each unit lie near a bound.
        count: How many outputs each unit had.
        bounded: Whether the activation has bounds.
    """

    low: Tensor
    high: Tensor
    saturated: Tensor
    count: int
    bounded: bool

    @property
    def dead(self) -> NDArray[np.bool_]:
        """Which units always put out the same, (units,)."""
        found: NDArray[np.bool_] = (self.high - self.low < CONSTANT).numpy()
        return found

    @property
    def stuck(self) -> NDArray[np.bool_]:
        """Which units are saturated: nearly all of their outputs lie near a bound, and they are not dead."""
        found: NDArray[np.bool_] = (self.saturated > MOSTLY * self.count).numpy() & ~self.dead
        return found


def activity(network: Network, batches: Iterable[Batch]) -> dict[str, Activity]:
    """Watch every activation of a network, in evaluation mode, over batches.

    A unit is a map of a picture, or a place in a vector; each pixel and each step is an output of it, padding is none.

    Args:
        network: The network.
        batches: What it is called with.

    Returns:
        By the name of the layer, as its family calls it where it does.
    """
    layers = {module: name for name, module in network.named_modules() if type(module) in _ACTIVATIONS}
    titles = _titles(network, layers)
    found: dict[str, Activity] = {}
    for batch in batches:
        with torch.no_grad(), recording(list(layers)) as calls:
            network(*batch.network_inputs())
        mask = getattr(batch, "mask", None)
        for module, made in calls.items():
            for call, (_, output) in enumerate(made):
                name = titles.get((module, call)) or _numbered(layers[module], call)
                _add(found, name, _units(output, mask), _BOUNDS.get(type(module)))
    return found


def _titles(network: Network, layers: Mapping[nn.Module, str]) -> dict[tuple[nn.Module, int], str]:
    """Return what the family calls an activation: the name of the tensor that it makes, or is the last step of."""
    found: dict[tuple[nn.Module, int], str] = {}
    for probe in probes_of(network.body):
        inside = [module for module in probe.module.modules() if module in layers]
        # More of them are parts of something larger, each with a name of its own.
        if len(inside) == 1:
            found[inside[0], probe.call] = probe.name
    return found


def _numbered(name: str, call: int) -> str:
    return short(name) + (f", call {call + 1}" if call else "")


def _units(output: Tensor, mask: Tensor | None) -> Tensor:
    """Return outputs as (outputs, units)."""
    if output.ndim == 4:
        return output.transpose(0, 1).flatten(1).T
    if mask is not None and output.shape[:-1] == mask.shape:
        return output[mask]
    return output.reshape(-1, output.shape[-1])


def _add(found: dict[str, Activity], name: str, outputs: Tensor, bounds: tuple[float, float] | None) -> None:
    low, high = outputs.amin(0).float().cpu(), outputs.amax(0).float().cpu()
    near = torch.zeros(outputs.shape[1])
    if bounds is not None:
        margin = NEAR * (bounds[1] - bounds[0])
        near = ((outputs < bounds[0] + margin) | (outputs > bounds[1] - margin)).float().sum(0).cpu()
    if name not in found:
        found[name] = Activity(low, high, near, len(outputs), bounds is not None)
        return
    one = found[name]
    one.low, one.high = torch.minimum(one.low, low), torch.maximum(one.high, high)
    one.saturated, one.count = one.saturated + near, one.count + len(outputs)


def summary(found: Mapping[str, Activity]) -> list[tuple[str, int, int, int]]:
    """Return for each layer its name, its units, and how many of them are dead and saturated."""
    return [(name, len(one.low), int(one.dead.sum()), int(one.stuck.sum())) for name, one in found.items()]


def first(batches: Iterable[Batch], samples: int, sizes: list[int]) -> Iterator[Batch]:
    """Yield the first samples.

    Args:
        batches: All samples.
        samples: How many are wanted; the last batch is cut.
        sizes: Is given the size of each batch.
    """
    for batch in batches:
        some: Any = batch
        if len(batch.indices) > samples:
            some = type(batch)(*(part[:samples] for part in some))
        sizes.append(len(some.indices))
        yield some
        samples -= sizes[-1]
        if samples <= 0:
            return


def probe_named(network: Network, name: str) -> Probe | None:
    """Return the tensor that a family or a layer's path calls so, whatever the case; None if there is none."""
    wanted = name.casefold()
    for probe in probes_of(network.body):
        if probe.name.casefold() == wanted:
            return probe
    modules: Sequence[tuple[str, nn.Module]] = [*network.named_modules()]
    for path, module in modules:
        if path and wanted in (path.casefold(), short(path).casefold()):
            return Probe(path, module, ())
    return None
