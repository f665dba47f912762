"""Embed for rows of a table: their numbers as they are, a learnt vector for each rich category."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nnkit.layers.checks import check_all_positive, check_not_negative

_MAX_WIDTH = 50


def width_of(cardinality: int) -> int:
    """Return how long the vectors of a column are: min(50, 1.6 n^0.56) of n categories.

    J. Howard and S. Gugger, "fastai: a layered API for deep learning", 2020 (`fastai.tabular.model.emb_sz_rule`, with
    50 rather than 600 for the widest).
    """
    return min(_MAX_WIDTH, round(1.6 * math.pow(cardinality, 0.56)))


class TableColumns(nn.Module):
    """Puts the vectors of a row's categories behind its numbers.

    C. Guo and F. Berkhahn, "Entity embeddings of categorical variables", 2016. Without cardinalities nothing is learnt
    and rows stay as they are.

    Args:
        num_features: Numbers in a row.
        cardinalities: Number of categories of each column that has vectors.

    Raises:
        ValueError: If there is nothing to read, or a column has no categories.
    """

    def __init__(self, num_features: int, cardinalities: Sequence[int] = ()) -> None:
        super().__init__()
        check_not_negative("num_features", num_features)
        if num_features + len(cardinalities) < 1:
            raise ValueError("num_features must be at least 1 where there are no cardinalities, not 0")
        check_all_positive("cardinalities", cardinalities)
        self.num_features = num_features
        self.vectors = nn.ModuleList(nn.Embedding(size, width_of(size)) for size in cardinalities)
        # How long the vectors of each column are.
        self.widths = [*map(width_of, cardinalities)]
        self.dim_out = num_features + sum(self.widths)

    def forward(self, inputs: Tensor, categories: Tensor | None = None) -> Tensor:
        """Map numbers (batch, num_features) and categories (batch, columns) int64 to vectors (batch, dim_out)."""
        if categories is None:
            return inputs
        found = [vectors(column) for vectors, column in zip(self.vectors, categories.unbind(1), strict=True)]
        return torch.cat([inputs, *found], dim=1)
