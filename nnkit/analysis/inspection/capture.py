"""One forward pass of one sample, and what every layer that can be seen does in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nnkit.analysis.inspection.recorded import Recorded, as_array
from nnkit.layers.gates import gates_of
from nnkit.layers.probing import Probe, axes_of, first_tensor, probes_of

if TYPE_CHECKING:
    from nnkit.batches import Batch
    from nnkit.network import Network
    from nnkit.tasks.base import Task
    from nnkit.tasks.outcome import NamedScores


@dataclass(frozen=True)
class Capture:
    """What a network does with one sample.

    Attributes:
        sample: The sample, a batch of one, with what the task added to it.
        outcome: What the network says, with names.
        layers: What each layer puts out that the family shows, in the order of computation.
        attention: The weights of each layer of attention, (head, query, key).
        gates: Gates and states of recurrent layers, (unit, step).
        lens: What the head makes of the features after each layer, by the layer's name; of the last layer, the outcome.
        embedded: What the embed makes of the sample.
    """

    sample: Batch
    outcome: NamedScores
    layers: Sequence[Recorded]
    attention: Sequence[Recorded]
    gates: Sequence[Recorded]
    lens: Mapping[str, NamedScores]
    embedded: Recorded

    @property
    def arrays(self) -> dict[str, Recorded]:
        """All that was recorded, by name."""
        return {one.name: one for one in (self.embedded, *self.layers, *self.attention, *self.gates)}


@contextmanager
def recording(modules: Sequence[nn.Module]) -> Iterator[dict[nn.Module, list[tuple[Any, Any]]]]:
    """Yield what modules are called with and return, call by call, while the block runs."""
    calls: dict[nn.Module, list[tuple[Any, Any]]] = {}

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        calls.setdefault(module, []).append((inputs, output))

    with ExitStack() as stack:
        for module in dict.fromkeys(modules):
            stack.callback(module.register_forward_hook(keep).remove)
        yield calls


@contextmanager
def attention_recorded(network: nn.Module) -> Iterator[dict[str, Any]]:
    """Yield the layers of attention by name; they keep their weights while the block runs."""
    layers: dict[str, Any] = {
        name: module
        for name, module in network.named_modules()
        if hasattr(module, "record") and hasattr(module, "weights")
    }
    for layer in layers.values():
        layer.record = True
    try:
        yield layers
    finally:
        for layer in layers.values():
            layer.record, layer.weights = False, None


def capture(task: Task, sample: Batch, data: Any) -> Capture:
    """Call a network once, in evaluation mode and without gradients, and keep what can be seen.

    Args:
        task: A trained task, in evaluation mode.
        sample: A batch of one, without padding.
        data: The data module of the run.

    Raises:
        UserError: If the task cannot name what the network puts out.
    """
    network = task.network
    probes = probes_of(network.body)
    cells = recurrent_cells(network)
    with torch.no_grad():
        sample = task.completed(sample, data)
        inputs = sample.network_inputs()
        watched = [network.embed, *(probe.module for probe in probes), *(cell for cell, _ in cells.values())]
        with recording(watched) as calls, attention_recorded(network) as attention:
            outputs = network(*inputs)
            weights = _attention(task, attention, sample, data)
        seen = dict(_seen(probes, calls))
        layers = [
            Recorded(probe.name, as_array(values[0]), _axes(probe, values)) for probe, values in seen.items()
        ]
        gates = [gate for name, cell in cells.items() for gate in _gates(name, *cell, calls)]
        layers, gates = ([_labelled(one, task, sample, data) for one in some] for some in (layers, gates))
        lens = {
            probe.name: task.outcome(_read(network, probe, values, inputs), sample, data)
            for probe, values in seen.items()
            if probe.read is not None
        }
        outcome = task.outcome(outputs, sample, data)
    embedded = calls[network.embed][0][1]
    return Capture(
        sample,
        outcome,
        layers,
        weights,
        gates,
        lens,
        Recorded("input of the body", as_array(embedded[0]), axes_of(embedded)),
    )


def recurrent_cells(network: nn.Module) -> dict[str, tuple[nn.RNNBase, bool]]:
    """Return torch's recurrent cells by name, each with whether it reads backwards."""
    found: dict[str, tuple[nn.RNNBase, bool]] = {}
    known: set[nn.Module] = set()
    for name, module in network.named_modules():
        if callable(part := getattr(module, "cells", None)):
            for own, (cell, is_reversed) in part().items():
                known.add(cell)
                found[f"{name} {own}".strip()] = cell, is_reversed
        elif isinstance(module, nn.RNNBase) and module not in known:
            found[name] = module, False
    return {name.removeprefix("body").strip(". "): cell for name, cell in found.items()}


def _seen(
    probes: Sequence[Probe], calls: Mapping[nn.Module, Sequence[tuple[Any, Any]]]
) -> Iterator[tuple[Probe, Tensor]]:
    for probe in probes:
        made = calls.get(probe.module, ())
        values = first_tensor(made[probe.call][1]) if probe.call < len(made) else None
        if values is not None and values.ndim > 1:
            yield probe, values


def _axes(probe: Probe, values: Tensor) -> tuple[str, ...]:
    return probe.axes or axes_of(values)


def _read(network: Network, probe: Probe, values: Tensor, inputs: Sequence[Any]) -> Any:
    assert probe.read is not None
    mask = inputs[1] if len(inputs) > 1 else None
    return network.read(probe.read(values), mask)


def _labelled(found: Recorded, task: Task, sample: Batch, data: Any) -> Recorded:
    """Name the steps of an array that has steps."""
    if "step" not in found.axes:
        return found
    length = found.shape[found.axes.index("step")]
    names, _ = task.attention_axes(found.name.replace(" ", "."), False, (length, length), sample, data)
    return replace(found, labels={"step": names})


def _attention(task: Task, layers: Mapping[str, Any], sample: Batch, data: Any) -> list[Recorded]:
    found = []
    for name, layer in layers.items():
        if layer.weights is None:
            continue
        weights = layer.weights[0]  # (heads, queries, keys)
        queries, keys = task.attention_axes(name, layer.is_cross, weights.shape[1:], sample, data)
        found.append(
            Recorded(
                f"{name.removeprefix('body.')} weights",
                as_array(weights),
                ("head", "query", "key"),
                {"query": queries, "key": keys},
            )
        )
    return found


def _gates(
    name: str,
    cell: nn.RNNBase,
    is_reversed: bool,
    calls: Mapping[nn.Module, Sequence[tuple[Any, Any]]],
) -> Iterator[Recorded]:
    """Compute the gates of a cell from what it was called with, where it was called for each step, call by call."""
    parts: list[list[dict[str, Tensor]]] = [
        gates_of(cell, given[0], given[1] if len(given) > 1 else None) for given, _ in calls.get(cell, ())
    ]
    for number, layers in enumerate(zip(*parts, strict=True), 1):
        title = f"{name} layer {number}" if cell.num_layers > 1 else name
        for gate in layers[0]:
            values = torch.cat([layer[gate] for layer in layers], dim=1)[0]  # (time, dim)
            values = values.flip(0) if is_reversed else values
            yield Recorded(f"{title} {gate}".strip(), as_array(values.T), ("unit", "step"))
