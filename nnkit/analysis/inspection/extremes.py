"""The samples that make one unit of a network fire most and least."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nnkit.analysis.inspection.capture import recording
from nnkit.analysis.inspection.health import probe_named
from nnkit.errors import UserError
from nnkit.layers.probing import first_tensor, probes_of
from nnkit.suggest import did_you_mean

if TYPE_CHECKING:
    from nnkit.batches import Batch
    from nnkit.network import Network
    from nnkit.tasks.base import Task


@dataclass(frozen=True)
class Firing:
    """How strongly a unit fires for one sample.

    Attributes:
        value: Its largest output over the pixels or steps of the sample.
        place: Where that is: () of a vector, (step,) or (row, column).
        sample: A batch of one.
    """

    value: float
    place: tuple[int, ...]
    sample: Batch


def parsed(network: Network, text: str) -> tuple[str, int]:
    """Return the layer and the number of the unit, counted from 0, that "LAYER:INDEX" names; there it begins at 1.

    Raises:
        UserError: If it is no such text, or there is no such layer.
    """
    layer, colon, number = text.rpartition(":")
    names = [probe.name for probe in probes_of(network.body)]
    if not colon or not number.isdecimal() or int(number) < 1:
        example = f"{names[0]}:1" if names else "body:1"
        raise UserError(f"--unit must be LAYER:INDEX, the first unit 1, such as {example!r}, not {text!r}")
    if probe_named(network, layer) is None:
        raise UserError(
            f"--unit {text}: there is no layer {layer!r}{did_you_mean(layer, names)}\n"
            f"    layers: {', '.join(names)}; or the path of a module, as nnkit summary shows it"
        )
    return layer, int(number) - 1


def extremes(
    task: Task, batches: Iterable[Batch], layer: str, unit: int, count: int = 4
) -> tuple[list[Firing], list[Firing]]:
    """Return the samples for which a unit fires most, and those for which it fires least, the extreme ones first.

    Args:
        task: A trained task, in evaluation mode.
        batches: The samples.
        layer: Name of the layer; see `parsed`.
        unit: Number of the unit: of a map, or of a place in a vector.
        count: Samples of each.

    Raises:
        UserError: If the layer has not so many units, or was not called.
    """
    probe = probe_named(task.network, layer)
    assert probe is not None
    most: list[Firing] = []
    least: list[Firing] = []
    for batch in batches:
        with torch.no_grad(), recording([probe.module]) as calls:
            task.network(*batch.network_inputs())
        made = calls.get(probe.module, ())
        output = first_tensor(made[probe.call][1]) if probe.call < len(made) else None
        if output is None or output.ndim < 2:
            raise UserError(f"--unit {layer}: the layer puts out nothing that has units")
        values, places = _largest(output, unit, layer, getattr(batch, "mask", None))
        for found, sign in ((most, -1), (least, 1)):
            for row in (sign * values).argsort()[:count].tolist():
                alone: Any = type(batch)(*(part[row : row + 1] for part in batch))
                found.append(Firing(float(values[row]), places[row], task.first_sample(alone)))
        most.sort(key=lambda one: -one.value)
        least.sort(key=lambda one: one.value)
        del most[count:], least[count:]
    return most, least


def _largest(
    output: Tensor, unit: int, layer: str, mask: Tensor | None
) -> tuple[Tensor, list[tuple[int, ...]]]:
    """Return the largest output of a unit for each sample, (samples,), and where it is."""
    units = output.shape[1] if output.ndim == 4 else output.shape[-1]
    if unit >= units:
        raise UserError(
            f"--unit {layer}:{unit + 1}: the layer has {units} units, the last is {layer}:{units}"
        )
    if output.ndim == 2:
        return output[:, unit].float().cpu(), [()] * len(output)
    if output.ndim == 4:
        of_unit = output[:, unit].float().cpu()
        values, places = of_unit.flatten(1).max(1)
        width = of_unit.shape[-1]
        return values, [divmod(place, width) for place in places.tolist()]
    of_unit = output[..., unit].float().cpu()
    if mask is not None and mask.shape == of_unit.shape:
        of_unit = of_unit.masked_fill(~mask.cpu(), -torch.inf)
    values, places = of_unit.max(1)
    return values, [(place,) for place in places.tolist()]
