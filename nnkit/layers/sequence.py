"""Bases of all bodies that read sequences, and how they sum a sequence up."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn


class SequenceBody(nn.Module, ABC):
    """Base of bodies that map a sequence of features to a sequence of features.

    Attributes:
        dim_out: Width of the features of each step.
        causal: Whether the features of step t never depend on steps after t.
        ties_head: Whether the family scores tokens with the vectors that it reads them by, unless the user says
            otherwise (Press and Wolf 2017, "Using the output embedding to improve language models").
        head_bias: Whether a head of its own that scores tokens has a bias, unless the user says otherwise.
    """

    dim_out: int
    causal: bool
    ties_head: ClassVar[bool] = False
    head_bias: ClassVar[bool] = True

    @abstractmethod
    def forward(self, features: Tensor, mask: Tensor | None = None, state: Any = None) -> tuple[Tensor, Any]:
        """Map features (batch, time, dim_in) to (batch, time, dim_out) and the state to continue with.

        Args:
            features: One vector a step.
            mask: True where there is a step, (batch, time) bool, padded on the right; None: everywhere.
            state: What an earlier call returned, to continue where that ended; only without a mask.
        """

    @abstractmethod
    def summary(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Sum up what `forward` returned, (batch, time, dim_out), in one vector a sequence, (batch, dim_out)."""


class EncoderDecoder(nn.Module, ABC):
    """Base of bodies that read one sequence and write another.

    Attributes:
        dim_out: Width of the features of each step that is written.
        ties_head: As for `SequenceBody`.
        head_bias: As for `SequenceBody`.
    """

    dim_out: int
    ties_head: ClassVar[bool] = False
    head_bias: ClassVar[bool] = True

    @abstractmethod
    def encode(self, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map the features of a source (batch, source_time, dim_in) to its memory (batch, source_time, dim).

        Args:
            source: One vector a step.
            mask: True where there is a step, (batch, source_time) bool, padded on the right; None: everywhere.
        """

    @abstractmethod
    def decode(
        self, prefix: Tensor, memory: Tensor, mask: Tensor | None = None, state: Any = None
    ) -> tuple[Tensor, Any]:
        """Map what is written so far (batch, time, dim_in) to (batch, time, dim_out) and the state to continue with.

        The features of step t depend on the memory and on steps up to t only.

        Args:
            prefix: One vector for each token, the beginning-of-sequence token first.
            memory: What `encode` returned.
            mask: That of the source.
            state: What an earlier call returned, to continue where that ended; nested tuples and lists of tensors, each
                with the batch as its first dimension.
        """


def pool(features: Tensor, mask: Tensor | None, how: Literal["first", "last", "mean", "max"]) -> Tensor:
    """Sum up features (batch, time, dim) in one vector a sequence, (batch, dim).

    Args:
        features: One vector a step.
        mask: True where there is a step, (batch, time) bool, padded on the right; None: everywhere.
        how: The "first" or the "last" step, or the "mean" or the "max" over all.
    """
    if how == "first":
        return features[:, 0]
    if how == "last":
        if mask is None:
            return features[:, -1]
        return features[torch.arange(features.shape[0], device=features.device), mask.sum(1) - 1]
    if mask is None:
        return features.mean(1) if how == "mean" else features.amax(1)
    real = mask.unsqueeze(-1)  # (batch, time, 1)
    if how == "max":
        return features.masked_fill(~real, -torch.inf).amax(1)
    return features.masked_fill(~real, 0.0).sum(1) / real.sum(1)
