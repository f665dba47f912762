"""Random numbers by their place: each is a pure function of (seed, epoch, sample, place), however batches are cut."""

import numpy as np
from numpy.typing import NDArray

# Constants of splitmix64 (Steele et al. 2014, "Fast splittable pseudorandom number generators").
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def uniform(
    seed: int, epoch: int, samples: NDArray[np.int64], places: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return numbers in [0, 1).

    Args:
        seed: Any integer, like `epoch`.
        epoch: Another epoch, other numbers.
        samples: Sample numbers, (samples,).
        places: Which of a sample's numbers are wanted, (places,).

    Returns:
        (samples, places) float64.
    """
    keys = np.array([[seed & (2**64 - 1)], [epoch & (2**64 - 1)]], np.uint64)
    state = _mixed(_mixed(_mixed(keys[0]) + keys[1]) + samples.astype(np.uint64))
    bits = _mixed(state[:, None] + places.astype(np.uint64) * _GOLDEN)
    # As many bits as a double has.
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = state + _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    return mixed ^ (mixed >> np.uint64(31))
