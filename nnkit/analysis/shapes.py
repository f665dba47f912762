"""A network walked through layer by layer: shapes, parameters, multiply-adds, bytes kept for the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nnkit.batches import Batch
from nnkit.errors import UserError
from nnkit.factory import build_network
from nnkit.factory.metrics import task_of

if TYPE_CHECKING:
    from omegaconf import DictConfig

Result = TypeVar("Result")


@dataclass(frozen=True)
class Layer:
    """One call of one layer.

    Attributes:
        name: The layer's name in the network, such as "body.c1".
        kind: Its class, such as "Conv2d".
        output: Shape of what it returns, the batch first; () if that is no tensor.
        trainable: Its parameters that are trained; 0 where an earlier call has counted them.
        frozen: Its other parameters, counted likewise.
        multiply_adds: Products added up in its matrix products, convolutions and attention, for the batch.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    trainable: int
    frozen: int
    multiply_adds: int


class ShapeError(UserError):
    """A layer that cannot take what the layer before it gives."""


class _Walk:
    """The calls of a network's modules as they happen."""

    def __init__(self, counter: FlopCounterMode) -> None:
        self.layers: list[Layer] = []
        # Name and inputs of the modules being called, outermost first, with the multiply-adds before each call.
        self.open: list[tuple[str, nn.Module, Any, int]] = []
        self._counter = counter
        self._taken = [0]
        self._seen: set[nn.Module] = set()

    def enter(self, name: str) -> Callable[[nn.Module, Any], None]:
        """Return the hook that notes the start of a call."""

        def hook(module: nn.Module, arguments: Any) -> None:
            self.open.append((name, module, arguments, self._counter.get_total_flops() // 2))
            self._taken.append(0)

        return hook

    def leave(self, module: nn.Module, arguments: Any, output: Any) -> None:
        """Note the end of a call: a layer is a module without others inside, or with work of its own."""
        name, _, _, before = self.open.pop()
        spent = self._counter.get_total_flops() // 2 - before
        own = spent - self._taken.pop()
        if isinstance(module, nn.RNNBase):
            # One call for all steps, which the counter does not look into: each weight is used once a step.
            steps = arguments[0].shape[0] * arguments[0].shape[1]
            own = steps * sum(weight.numel() for weight in module.parameters() if weight.ndim == 2)
        self._taken[-1] += spent
        parameters = list(module.parameters(recurse=False))
        if next(module.children(), None) is not None and not parameters and not own:
            return
        new = [] if module in self._seen else parameters
        self._seen.add(module)
        trainable = sum(parameter.numel() for parameter in new if parameter.requires_grad)
        frozen = sum(parameter.numel() for parameter in new) - trainable
        first = output[0] if isinstance(output, tuple) else output
        shape = tuple(first.shape) if isinstance(first, Tensor) else ()
        self.layers.append(Layer(name, type(module).__name__, shape, trainable, frozen, own))

    def explain(self, error: Exception) -> ShapeError:
        """Raise an error that names the layer and what it refused."""
        name, module, arguments, _ = self.open[-1]
        shapes = " and ".join(format_shape(tuple(a.shape)) for a in arguments if isinstance(a, Tensor))
        reason = " ".join(str(error).split())
        return ShapeError(f"layer {name or 'network'} ({type(module).__name__}) refuses {shapes}: {reason}")


def walk(network: nn.Module, *inputs: Tensor | None) -> list[Layer]:
    """Call a network once and return its layers in the order of their calls.

    Built on the meta device it has shapes but no values, so that a network of any size is walked in no time.

    Args:
        network: The network.
        inputs: What it is called with, on the same device.

    Raises:
        ShapeError: If a layer cannot take what it is given.
    """
    counter = FlopCounterMode(display=False)
    calls = _Walk(counter)
    handles = []
    for name, module in network.named_modules():
        handles.append(module.register_forward_pre_hook(calls.enter(name)))
        handles.append(module.register_forward_hook(calls.leave))
    try:
        with counter, torch.no_grad():
            network(*inputs)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        if not calls.open or looks_at_values(error):
            raise
        raise calls.explain(error) from error
    finally:
        for handle in handles:
            handle.remove()
    return calls.layers


def without_values(compute: Callable[[str], Result]) -> Result:
    """Compute on the meta device; on the CPU where something reads values, which the meta device lacks.

    Args:
        compute: Is called with the name of the device.
    """
    try:
        return compute("meta")
    except RuntimeError as error:
        if not looks_at_values(error):
            raise
    return compute("cpu")


def looks_at_values(error: Exception) -> bool:
    """Return whether an error is that of the meta device, where something reads values; see `without_values`."""
    return isinstance(error, RuntimeError) and "meta" in str(error).lower()


def network_layers(config: DictConfig, size: int = 1) -> list[Layer]:
    """Build a network for evaluation and walk it.

    Args:
        config: A composed config, the facts about the data filled in.
        size: Samples in the batch.

    Raises:
        ShapeError: If a layer cannot take what it is given.
    """

    def on(device: str) -> list[Layer]:
        with torch.device(device):
            network = build_network(config).eval()
        return walk(network, *example_batch(config, size, device).network_inputs())

    return without_values(on)


def format_shape(shape: tuple[int, ...]) -> str:
    """Return a shape as "64 x 6 x 28 x 28"."""
    return " x ".join(map(str, shape)) if shape else "-"


def example_batch(config: DictConfig, size: int, device: str = "meta") -> Batch:
    """Return a batch as the task of a run would be given it; see `nnkit.tasks.base.Task.example_batch`.

    Args:
        config: A composed config, the facts about the data filled in.
        size: Samples in it.
        device: "meta" for shapes without values.
    """
    return task_of(config).example_batch(config.data, size, device)


@contextmanager
def counting_saved(module: nn.Module) -> Iterator[Callable[[], int]]:
    """Count the bytes that autograd keeps for the backward pass of what is computed in the block.

    Args:
        module: Its parameters and buffers are not counted, as they are there anyway.

    Yields:
        A function that returns the bytes so far.
    """
    known = {tensor.untyped_storage()._cdata for tensor in [*module.parameters(), *module.buffers()]}
    # The tensors are held: a freed storage's address would be used again, and what is there taken for known.
    held: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage()._cdata
        if address not in known:
            held[address] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield lambda: sum(tensor.untyped_storage().nbytes() for tensor in held.values())
