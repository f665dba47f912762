"""Pieces of example batches: right shapes and types, values drawn at random."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from nnkit.batches import Batch, CategoricalBatch, ImageBatch, SeriesBatch, TableBatch, TextBatch

# The batch of each kind of data whose inputs are real numbers, and the facts that are their shape.
_REAL: dict[str, tuple[Callable[[Tensor, Tensor, Tensor], Batch], tuple[str, ...]]] = {
    "pictures": (ImageBatch, ("in_channels", "height", "width")),
    "series": (SeriesBatch, ("window", "num_channels")),
    "table": (TableBatch, ("num_features",)),
}


def example_for(target: Tensor, facts: Mapping[str, Any]) -> Batch:
    """Return a batch for targets, (batch, ...), with the inputs of the data's kind.

    Args:
        target: A target for each sample.
        facts: The config of the data, with their facts.
    """
    indices = torch.arange(len(target), device=target.device)
    if facts["kind"] == "tokens":
        tokens = example_tokens(len(target), facts["max_length"], facts["vocab_size"], target.device)
        return TextBatch(tokens, torch.ones_like(tokens, dtype=torch.bool), target, indices)
    make, names = _REAL[facts["kind"]]
    shape = [facts[name] for name in names]
    inputs = torch.randn(len(target), *shape, device=target.device)
    if sizes := facts.get("cardinalities"):
        columns = [example_tokens(len(target), 1, size, target.device) for size in sizes]
        return CategoricalBatch(inputs, torch.cat(columns, dim=1), target, indices)
    return make(inputs, target, indices)


def example_tokens(size: int, length: int, vocab_size: int, device: torch.device | str) -> Tensor:
    """Return token numbers, (size, length) int64."""
    rows, steps = torch.arange(size, device=device), torch.arange(length, device=device)
    return (rows[:, None] + steps) % vocab_size
