"""Network and loss of a training step as one graph of torch.compile, and how often it was compiled anew."""

import logging
import time
from collections.abc import Callable, Collection
from typing import Any

from nnkit.batches import Batch

# Compilations after the first that are reported one by one.
_TOLD = 3
# Shapes of batches that are compiled one by one before torch would go on without compiling any more.
_MOST_GRAPHS = 64

_log = logging.getLogger("nnkit")


class Compiled:
    """Computes what a method of a task computes, by compiled code where a batch is one that code is worth making for.

    Which batches these are depends on a batch alone, and each shape has its own code where shapes are few: a run that
    is resumed computes each batch by the same code as one that was never stopped.

    Args:
        function: Takes a batch; run as it is for other batches, and where compiling fails.
        rows: Numbers of samples of a batch that is compiled for, such as that of a full batch; None: any number and any
            length, by code for shapes that vary.

    Attributes:
        graphs: Graphs that were made; more than one where the function cannot be seen through as a whole.
        recompiled: How often a later batch has made further ones.
        seconds: What making them has taken, the batches' own computation included.
    """

    def __init__(self, function: Callable[[Batch], Any], rows: Collection[int] | None) -> None:
        self._function = function
        self._rows = rows
        self._graph: Callable[[Batch], Any] | None = None
        self.graphs = self.recompiled = 0
        self.seconds = 0.0
        self._has_failed = False

    def __call__(self, batch: Batch) -> Any:
        """Return what the function returns."""
        if self._has_failed or (self._rows is not None and len(batch.inputs) not in self._rows):
            return self._function(batch)
        if self._graph is None:
            self._graph = self._compile()
        from torch._dynamo.exc import TorchDynamoException
        from torch._dynamo.utils import counters

        before, start = counters["stats"]["unique_graphs"], time.perf_counter()
        try:
            result = self._graph(batch)
        except TorchDynamoException as error:
            if self.graphs:
                raise
            self._has_failed = True
            # The first line says what has failed, the second why.
            reason = " ".join(line.strip() for line in str(error).strip().split("\n")[:2])
            _log.warning("torch.compile: %s; the run goes on without it", reason)
            return self._function(batch)
        if more := counters["stats"]["unique_graphs"] - before:
            self._count(more, time.perf_counter() - start, batch)
        return result

    def _compile(self) -> Callable[[Batch], Any]:
        import torch
        import torch._dynamo.config

        torch._dynamo.config.recompile_limit = _MOST_GRAPHS
        graph: Callable[[Batch], Any] = torch.compile(self._function, dynamic=self._rows is None)
        return graph

    def _count(self, more: int, seconds: float, batch: Batch) -> None:
        is_first = not self.graphs
        self.graphs += more
        self.seconds += seconds
        shape = " x ".join(map(str, batch.inputs.shape))
        if is_first:
            _log.info("compiled for batches of %s in %.1f s, %d graphs", shape, seconds, more)
            return
        self.recompiled += 1
        if self.recompiled <= _TOLD:
            last = "; further ones are only counted" if self.recompiled == _TOLD else ""
            _log.warning("compiled again for a batch of %s in %.1f s%s", shape, seconds, last)

    def facts(self) -> dict[str, Any]:
        """Return the counts as plain data, for the record of a run."""
        return {"graphs": self.graphs, "recompiled": self.recompiled, "seconds": round(self.seconds, 3)}
