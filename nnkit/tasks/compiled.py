"""Network and loss of a training step as one graph of torch.compile, and how often it was compiled anew."""

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nnkit.batches import Batch

# Compilations after the first that are reported one by one.
_TOLD = 3
# Shapes of batches that are compiled one by one before torch would go on without compiling any more.
_MOST_GRAPHS = 64

_log = logging.getLogger("nnkit")


class Compiled:
    """Computes what a method of a task computes, by compiled code where a batch is one that code is worth making for.

    Which code computes a batch depends on the batch alone, so that a run that is resumed computes each batch by the
    same code as one that was never stopped. Where shapes are few, each has its own. Where lengths vary, code is made
    once, for an example that the data alone decide and with each length and number of samples as a variable; torch
    would otherwise make code for what it happens to see first, and further code for what differs. A batch that the
    code is not valid for, such as one with a single sample, is computed without.

    Args:
        function: Takes a batch; run as it is for other batches, and where compiling fails.
        network: What the function trains.
        rows: Numbers of samples of a batch that is compiled for, such as that of a full batch.
        example: Instead of rows, where lengths vary: returns the batch that code is made for.

    Attributes:
        graphs: Graphs that were made; more than one where the function cannot be seen through as a whole.
        recompiled: How often a later batch has made further ones.
        uncompiled: Batches that were computed without.
        seconds: What making the graphs has taken, the batches' own computation included.
    """

    def __init__(
        self,
        function: Callable[[Batch], Any],
        network: nn.Module,
        rows: Collection[int] = (),
        example: Callable[[], Batch] | None = None,
    ) -> None:
        self._function, self._network = function, network
        self._rows, self._example = rows, example
        self._graph: Callable[[Batch], Any] | None = None
        self.graphs = self.recompiled = self.uncompiled = 0
        self.seconds = 0.0
        self._has_failed = self._was_compiled = False

    @property
    def is_compiled(self) -> bool | None:
        """Whether code was made; None: not yet, False: it could not be. A checkpoint keeps it."""
        if self._has_failed:
            return False
        return True if self.graphs or self._was_compiled else None

    def go_on(self, is_compiled: bool | None) -> None:
        """Go on as a run did until now: what could not be compiled then is not compiled now.

        Args:
            is_compiled: From a checkpoint; None too where that does not have it.
        """
        self._has_failed, self._was_compiled = is_compiled is False, is_compiled is True

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """Return nothing: a copy of a task, as the moving average keeps one, has other weights and is not compiled."""

    def __call__(self, batch: Batch) -> Any:
        """Return what the function returns."""
        if self._has_failed or (self._example is None and len(batch.inputs) not in self._rows):
            self.uncompiled += 1
            return self._function(batch)
        from torch._dynamo.exc import TorchDynamoException

        put_back = None if self.graphs else _kept(self._network, batch)
        try:
            if self._example is None:
                return self._counted(batch)
            if self._graph is None:
                self._make(self._example(), batch)
            with torch.compiler.set_stance("eager_on_recompile"):
                assert self._graph is not None
                return self._graph(_compact(batch))
        except TorchDynamoException as error:
            if put_back is None:
                raise
            self._has_failed = True
            # Of a function that is cut into several graphs, those before may have been run.
            put_back()
            # The first line says what has failed, the second why.
            reason = " ".join(line.strip() for line in str(error).strip().split("\n")[:2])
            _log.warning("torch.compile: %s; the run goes on without it", reason)
            if self._was_compiled:
                from torch._inductor.runtime.cache_dir_utils import cache_dir

                _log.warning(
                    "exact: no, it was compiled until now, so that bits may differ from here on; if a damaged file of "
                    "torch's cache is the cause, remove %s",
                    cache_dir(),
                )
            return self(batch)

    def _make(self, example: Batch, batch: Batch) -> None:
        """Make code for an example, with types and device of a batch that it is to compute; all else stays as it is."""
        fields = (field.to(other) for field, other in zip(example, batch, strict=True))
        like = _compact(type(example)(*fields))
        with _alone(like), _unchanged(self._network, like):
            self._counted(like)

    def _counted(self, batch: Batch) -> Any:
        """Return what the function returns, and count the graphs that are made for it."""
        from torch._dynamo.utils import counters

        if self._graph is None:
            self._graph = self._compile()
        before, start = counters["stats"]["unique_graphs"], time.perf_counter()
        result = self._graph(batch)
        if more := counters["stats"]["unique_graphs"] - before:
            self._count(more, time.perf_counter() - start, batch)
        return result

    def _compile(self) -> Callable[[Batch], Any]:
        import torch._dynamo.config

        # Otherwise a network built like one that this process has trained before would be computed by the code of that
        # one, made for another example.
        torch._dynamo.reset()
        torch._dynamo.config.recompile_limit = _MOST_GRAPHS
        graph: Callable[[Batch], Any] = torch.compile(self._traced, dynamic=self._example is not None)
        return graph

    def _traced(self, batch: Batch) -> Any:
        # What is run here is run without code: the condition is no part of a graph.
        if not torch.compiler.is_compiling():
            self.uncompiled += 1
        return self._function(batch)

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
        counts = {name: getattr(self, name) for name in ("graphs", "recompiled", "uncompiled")}
        return {**counts, "seconds": round(self.seconds, 3)}


def _compact(batch: Batch) -> Batch:
    """Return a batch without views: code for sizes that vary is made for where a view begins, too."""
    fields = (
        field.clone(memory_format=torch.contiguous_format) if _is_view(field) else field for field in batch
    )
    compact: Batch = type(batch)(*fields)
    return compact


def _is_view(field: Tensor) -> bool:
    return bool(field.storage_offset()) or not field.is_contiguous()


@contextmanager
def _alone(example: Batch) -> Iterator[None]:
    """Let the code that torch makes in the block depend on the function and the example alone."""
    import torch._functorch.config
    import torch.compiler.config
    import torch.fx.experimental._config

    sizes = [tuple(field.shape) for field in example]
    settings: list[tuple[Any, str, Any]] = [
        # Sizes that are equal in the example are not equal in each batch.
        (torch.fx.experimental._config, "use_duck_shape", False),
        # The sizes of the example decide how loops are laid out. torch's cache on disk would take code that another
        # run's example has made.
        (torch.compiler.config, "cache_key_tag", f"{torch.compiler.config.cache_key_tag} nnkit {sizes}"),
        # Otherwise made by the first backward pass, which is that of another batch.
        (torch._functorch.config, "force_non_lazy_backward_lowering", True),
    ]
    with ExitStack() as stack:
        for module, name, value in settings:
            stack.enter_context(module.patch(**{name: value}))
        yield


def _kept(network: nn.Module, batch: Batch) -> Callable[[], None]:
    """Return what puts random generators and the buffers of a network back as they are now."""
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    device, generator = batch.inputs.device, torch.get_rng_state()
    on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def put_back() -> None:
        torch.set_rng_state(generator)
        if on_device is not None:
            torch.cuda.set_rng_state(on_device, device)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)

    return put_back


@contextmanager
def _unchanged(network: nn.Module, batch: Batch) -> Iterator[None]:
    """Put random generators and the buffers of a network back at the end of the block."""
    put_back = _kept(network, batch)
    try:
        yield
    finally:
        put_back()
