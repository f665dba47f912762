"""A network as a program of torch.export, which needs no code of nnkit to run."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from nnkit.errors import UserError
from nnkit.export.comparison import Runner
from nnkit.layers.sequence import EncoderDecoder, SequenceBody
from nnkit.network import Network

# Samples that a network is traced with: sizes of 0 and 1 would be taken for constants.
TRACED = 3


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what exporters tell their own developers."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def first_line(error: Exception) -> str:
    """Return the first line of what an error says."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def sizes_that_vary(network: Network, arguments: Mapping[str, Tensor]) -> dict[str, dict[int, str]]:
    """Return which dimensions of the arguments vary, by name: the batch, and the length of texts.

    Args:
        network: Its body tells whether it reads sequences.
        arguments: What it is called with, by name.
    """
    are_texts = arguments["inputs"].ndim == 2 and not arguments["inputs"].is_floating_point()
    if are_texts and isinstance(network.body, EncoderDecoder):
        # What is written so far comes second, and has a length of its own.
        return {name: {0: "batch", 1: "time" if name == "second" else "source_time"} for name in arguments}
    if are_texts and isinstance(network.body, SequenceBody):
        return {name: {0: "batch", 1: "time"} for name in arguments}
    return {name: {0: "batch"} for name in arguments}


def varying_shapes(network: Network, arguments: Mapping[str, Tensor]) -> dict[str, dict[int, Any]]:
    """Return `sizes_that_vary` as torch.export takes them."""
    dims = {name: Dim(name, max=network.max_len) for name in ("time", "source_time")}
    dims["batch"] = Dim("batch")
    varying = sizes_that_vary(network, arguments)
    return {name: {place: dims[dim] for place, dim in some.items()} for name, some in varying.items()}


def traced(network: Network, arguments: Mapping[str, Tensor]) -> ExportedProgram:
    """Return a network as a program whose batch and length vary.

    Args:
        network: In evaluation mode.
        arguments: What it is called with, by name; `TRACED` samples at least.

    Raises:
        UserError: If torch cannot trace it.
    """
    try:
        with torch.no_grad(), quiet():
            shapes = varying_shapes(network, arguments)
            return torch.export.export(network, (), dict(arguments), dynamic_shapes=shapes)
    # Tracing runs code of torch and of the user's, which may raise anything.
    except Exception as error:
        line = first_line(error)
        if line.startswith("Constraints violated") and "time" in line:
            line = (
                f"{type(network.body).__name__} would read texts of one length only, as torch.export writes the steps "
                "of recurrent layers out\n    --format safetensors writes the weights"
            )
        raise UserError(f"torch.export cannot trace this network: {line}") from error


def encode(network: Network, arguments: Mapping[str, Tensor]) -> bytes:
    """Return a network as the bytes of a .pt2 file; arguments as for `traced`."""
    buffer = io.BytesIO()
    with quiet():
        torch.export.save(traced(network, arguments), buffer)
    return buffer.getvalue()


def runner(content: bytes) -> Runner:
    """Return what runs the bytes of a .pt2 file that was just made."""
    module = torch.export.load(io.BytesIO(content)).module()

    def run(arguments: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        with torch.no_grad():
            outputs = module(**arguments)
        return outputs if isinstance(outputs, tuple) else (outputs,)

    return run
