"""Finds where numbers stop being finite: in the batch, a layer, a parameter or a gradient."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nnkit.batches import Batch, listed, not_finite
from nnkit.callbacks.state import generator_states, set_generator_states
from nnkit.distributed.sharded import gathered, local_rows
from nnkit.tasks.base import Task

Cause = Literal["batch", "layer", "parameter", "gradient", "size", "unknown"]


@dataclass(frozen=True)
class Diagnosis:
    """Where numbers stop being finite.

    Attributes:
        cause: What kind of place it is.
        text: The place, for a line of its own.
        samples: Numbers of the samples it concerns; empty where that is all of them or cannot be told.
    """

    cause: Cause
    text: str
    samples: list[int] = field(default_factory=list)


def triage(
    task: Task,
    batches: Iterable[Batch],
    context: Callable[[], AbstractContextManager[Any]],
    gradients: bool = True,
) -> Diagnosis:
    """Find the first place, in the order of computation, at which something is not finite.

    The forward pass is run once more on the batches; weights, buffers and random numbers are as before afterwards.
    Where only dropout made the numbers infinite, the second pass may not see it.

    Args:
        task: The task, its gradients still there.
        batches: What the gradients were computed from, the most suspicious batch first.
        context: Makes the context of a forward pass, such as autocast.
        gradients: Whether gradients must be finite; those of a loss scaler need not be.
    """
    batches = list(batches)
    watch = _Watch(task)
    # Processes that share the weights gather them together, whatever each of them examines.
    with gathered(task):
        looks = chain(map(_look_at_batch, batches), (_forward(task, one, watch, context) for one in batches))
        found = next((one for one in looks if one is not None), None)
    if found is not None:
        return found
    if bad := [_name(name) for name, parameter in task.named_parameters() if not _finite(parameter)]:
        return Diagnosis("parameter", f"the parameter {bad[0]} is not finite{_and_more(len(bad))}")
    if gradients and (found := _look_at_gradients(task, watch.order)) is not None:
        return found
    return Diagnosis("unknown", "nothing: computed a second time, with other dropout, all is finite")


def _look_at_batch(batch: Batch) -> Diagnosis | None:
    """Return which samples of a batch are not finite themselves; None if all are finite."""
    for name, mask in not_finite(batch).items():
        samples = batch.indices[mask.to(batch.indices.device)].tolist()
        which = f"{name} of training samples {listed(samples)} ({len(samples)} of {len(mask)})"
        return Diagnosis("batch", f"in the batch itself, {which}", samples)
    return None


class _Watch:
    """Hooks on every module of a task: in which order they are called, and where numbers stop being finite."""

    def __init__(self, task: Task) -> None:
        self.order: dict[nn.Module, None] = {}
        self.place: tuple[str, Tensor] | None = None
        self._names = {module: _name(name) for name, module in task.named_modules()}
        self._open: list[nn.Module] = []

    def enter(self, module: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        # Minus infinity is what masks are made of.
        bad = [one for one in _tensors((positional, named)) if bool((one.isnan() | (one == torch.inf)).any())]
        if bad and self.place is None:
            inside = f" in {self._call(self._open[-1])}" if self._open else ""
            self.place = f"what {self._call(module)} is given{inside} is not finite", bad[0]
        self._open.append(module)

    def leave(self, module: nn.Module, positional: Any, output: Any) -> None:
        self._open.pop()
        # The last call counts, for one that is called twice.
        self.order.pop(module, None)
        self.order[module] = None
        bad = [one for one in _tensors(output) if not _finite(one)]
        if bad and self.place is None:
            own = [
                name for name, parameter in module.named_parameters(recurse=False) if not _finite(parameter)
            ]
            masked = any(bool((one == -torch.inf).any()) for one in _tensors(positional))
            because = f", as its {own[0]} is not" if own else ", given minus infinity" if masked else ""
            self.place = f"what {self._call(module)} returns is not finite{because}", bad[0]

    def _call(self, module: nn.Module) -> str:
        return f"{self._names[module] or 'the task'} ({type(module).__name__})"


def _forward(
    task: Task, batch: Batch, watch: _Watch, context: Callable[[], AbstractContextManager[Any]]
) -> Diagnosis | None:
    """Run the forward pass once more, watched; None where everything is finite."""
    try:
        with _undone(task), _watched(task, watch), torch.no_grad(), context():
            loss, _ = task.score(batch)
    except RuntimeError as error:
        # What is known must be said, even if memory does not suffice to find out more.
        return Diagnosis(
            "unknown", f"not found: the batch cannot be computed again: {str(error).splitlines()[0]}"
        )
    if watch.place is not None:
        text, culprit = watch.place
        samples = _samples(batch, culprit)
        which = f", for training samples {listed(samples)} ({len(samples)} of {len(batch.indices)})"
        return Diagnosis("layer", text + which if samples else text, samples)
    if not _finite(loss):
        return Diagnosis("layer", f"the loss that {type(task).__name__} computes from finite outputs")
    return None


def _samples(batch: Batch, culprit: Tensor) -> list[int]:
    """Return the samples that are not finite in a tensor that has a row for each; empty if that is all of them."""
    if culprit.ndim == 0 or len(culprit) != len(batch.indices):
        return []
    bad = ~torch.isfinite(culprit.reshape(len(culprit), -1)).all(1)
    return [] if bad.all() else batch.indices[bad.to(batch.indices.device)].tolist()


@contextmanager
def _watched(task: Task, watch: _Watch) -> Iterator[None]:
    """Call the watch at every module, none of them compiled: hooks inside a compiled one are not called."""
    handles, compiled = [], {}
    for module in task.modules():
        if module is task:
            continue
        compiled[module] = module._compiled_call_impl
        module._compiled_call_impl = None
        handles.append(module.register_forward_pre_hook(watch.enter, with_kwargs=True))
        handles.append(module.register_forward_hook(watch.leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, call in compiled.items():
            module._compiled_call_impl = call


@contextmanager
def _undone(task: Task) -> Iterator[None]:
    """Put buffers (batch norm's statistics) and random numbers back afterwards."""
    buffers = list(task.buffers())
    copies, states = [buffer.clone() for buffer in buffers], generator_states()
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, copy in zip(buffers, copies, strict=True):
                buffer.copy_(copy)
        set_generator_states(states)


def _look_at_gradients(task: Task, order: Iterable[nn.Module]) -> Diagnosis | None:
    """Find the layer nearest to the loss whose gradient is not finite."""
    names = {parameter: _name(name) for name, parameter in task.named_parameters()}
    called = [parameter for module in order for parameter in module.parameters(recurse=False)]
    # What no module that was called holds is taken in the order of its definition, farthest from the loss.
    found = set(called)
    ordered = [parameter for parameter in names if parameter not in found] + called
    rows = [(names[one], local_rows(one.grad)) for one in reversed(ordered) if one.grad is not None]
    graded = [(name, gradient) for name, gradient in rows if gradient.numel()]
    bad = [name for name, gradient in graded if not _finite(gradient)]
    if bad:
        return Diagnosis("gradient", f"the gradient of {bad[0]} is not finite{_and_more(len(bad))}")
    if not graded:
        return None
    largest = max(graded, key=lambda pair: float(pair[1].abs().max()))
    size = float(largest[1].abs().max())
    if size < 1e15:
        return None
    return Diagnosis(
        "size", f"the gradient is finite, its norm is not: {largest[0]} has elements of {size:.1e}"
    )


def _and_more(count: int) -> str:
    return f", nor are those of {count - 1} more" if count > 1 else ""


def _name(name: str) -> str:
    """Return a name as `nnkit summary` prints it."""
    return name.removeprefix("network.")


def _finite(value: Tensor) -> bool:
    return bool(torch.isfinite(local_rows(value)).all())


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors of real numbers inside what a module takes or returns."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from _tensors(inner)
