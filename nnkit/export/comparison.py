"""The outputs of an exported network beside those of the run, on samples of the test split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from nnkit.batches import Batch, first_of
from nnkit.errors import NnkitError
from nnkit.factory.metrics import task_of
from nnkit.network import Network
from nnkit.runs.session import Session

# What a network is called with, in order; see `Network.forward`.
NAMES = ("inputs", "mask", "second")
# Difference from which on a file is not written, in units of the largest output, or of 1 where all are smaller.
LIMIT = 1e-4
# Samples compared, and samples drawn at random where there are none.
_SAMPLES, _DRAWN = 512, 4

# Maps what `NAMES` lists to the outputs.
Runner = Callable[[Mapping[str, Tensor]], Sequence[Tensor]]


class Unequal(NnkitError):
    """An exported network computes something else than the run: exit 1."""


@dataclass(frozen=True)
class Comparand:
    """What both are run on.

    Attributes:
        batch: The samples.
        described: What they are.
    """

    batch: Batch
    described: str

    def arguments(self) -> dict[str, Tensor]:
        """Return what a network is called with, by name."""
        return arguments_of(self.batch)


def arguments_of(batch: Batch) -> dict[str, Tensor]:
    """Return what a network is called with, by name."""
    given = zip(NAMES, batch.network_inputs(), strict=False)
    return {name: tensor for name, tensor in given if tensor is not None}


def samples_of(session: Session) -> Comparand:
    """Return samples of the test split; random ones of the same kind where there are none, and why."""
    data = session.data
    data.num_workers = 0
    try:
        split = data.split("test")
        reason = "" if len(split) else "it is empty"
    except NnkitError as error:
        reason = str(error).splitlines()[0]
    if reason:
        batch = task_of(session.config).example_batch(session.config.data, _DRAWN)
        return Comparand(batch, f"{_DRAWN} random samples, as the test split cannot be had ({reason})")
    batch = next(iter(data.in_order(split)))
    batch = type(batch)(*(part[:_SAMPLES] for part in batch))
    return Comparand(batch, f"{len(batch.indices):,} samples of the test split")


def outputs_of(network: Network, arguments: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """Return the outputs of a network, one or several."""
    with torch.no_grad():
        outputs = network(**arguments)
    return outputs if isinstance(outputs, tuple) else (outputs,)


@contextmanager
def exactly() -> Iterator[None]:
    """Multiply matrices in full float32, as other programs do, whatever the run was trained with."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def difference(run: Runner, own: Runner, samples: Comparand) -> float:
    """Return the largest difference of two outputs, the samples taken at once and the first one alone.

    Args:
        run: Runs the exported network.
        own: Runs the network of the run.
        samples: What both read.

    Raises:
        Unequal: If it is above the limit, or there are other outputs.
    """
    largest = 0.0
    for batch in (samples.batch, first_of(samples.batch)):
        arguments = arguments_of(batch)
        ours = own(arguments)
        theirs = run(arguments)
        if [one.shape for one in ours] != [one.shape for one in theirs]:
            raise Unequal("what was exported has outputs of other sizes than the run: nothing is written")
        for one, other in zip(ours, theirs, strict=True):
            apart = (one.double() - other.double()).abs().max().item()
            # Not a number is below no limit.
            if not apart <= LIMIT * max(1.0, one.abs().max().item()):
                raise Unequal(
                    f"what was exported differs from the run by {apart:.2g} on {samples.described}, "
                    f"and {LIMIT:g} is allowed: nothing is written"
                )
            largest = max(largest, apart)
    return largest
