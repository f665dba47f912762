"""What of a network can be seen while it computes: a family names the tensors that a reader of its paper asks for."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

# Names of the axes behind that of the batch.
MAPS, UNITS, STEPS = ("map", "row", "column"), ("unit",), ("step", "unit")


class Probe(NamedTuple):
    """One tensor to be seen: what a module returns.

    Attributes:
        name: What the family calls it, such as "C1".
        module: Returns it; of a tuple, the first part is meant.
        axes: Names of its axes behind that of the batch.
        call: Which call of the module, where one is called several times in a forward pass.
        read: Turns it into the features that the head reads of the last layer, so that the prediction after each layer
            can be had ("logit lens"); None: the head cannot read it.
    """

    name: str
    module: nn.Module
    axes: tuple[str, ...]
    call: int = 0
    read: Callable[[Tensor], Tensor] | None = None


def probes_of(body: nn.Module) -> list[Probe]:
    """Return what can be seen of a body: what its method `probe` returns, or else what its direct parts return.

    The axes of those are found out by their number; see `axes_of`.
    """
    probe: Callable[[], list[Probe]] | None = getattr(body, "probe", None)
    if probe is not None:
        return probe()
    return [Probe(name, part, ()) for name, part in body.named_children()]


def axes_of(values: Tensor) -> tuple[str, ...]:
    """Return names for the axes of (batch, ...) behind that of the batch."""
    usual = {2: UNITS, 3: STEPS, 4: MAPS}
    return usual.get(values.ndim, tuple(f"axis {number}" for number in range(1, values.ndim)))


def first_tensor(output: Any) -> Tensor | None:
    """Return what a module returned, or the first part of it; None where that is no tensor."""
    first = output[0] if isinstance(output, tuple) and output else output
    return first if isinstance(first, Tensor) else None
