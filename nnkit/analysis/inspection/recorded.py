"""Arrays with names: what was recorded of a network, its axes, and what stands along them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, repr=False)
class Recorded:
    """One array.

    Attributes:
        name: What it is, such as "C1" or "body.layers.0.attention weights".
        values: Its numbers; of one sample, so that no axis is the batch.
        axes: Name of each axis, such as ("head", "query", "key").
        labels: What stands along an axis, such as the tokens along "query".
    """

    name: str
    values: NDArray[np.floating]
    axes: tuple[str, ...]
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.axes) != self.values.ndim:
            raise ValueError(f"{self.name}: {len(self.axes)} axes for an array of shape {self.values.shape}")

    def __repr__(self) -> str:
        """Return its name, shape and axes: "C1: 6 x 28 x 28 (map, row, column)"."""
        return f"{self.name}: {' x '.join(map(str, self.shape))} ({', '.join(self.axes)})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.values.shape

    def along(self, axis: str) -> list[str]:
        """Return what stands along an axis: labels, or numbers counted from 1."""
        if axis in self.labels:
            return list(self.labels[axis])
        return [str(number) for number in range(1, self.shape[self.axes.index(axis)] + 1)]


def as_array(values: Tensor) -> NDArray[np.floating]:
    """Return a tensor's numbers, those that are not finite as they are."""
    array: NDArray[np.floating] = values.detach().float().cpu().numpy()
    return array
