"""Random numbers that are pure functions of what they are for, such as (seed, epoch, sample); nothing needs saving."""

import numpy as np
import torch
from numpy.typing import NDArray

# splitmix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_WORD = 2**64 - 1
_SHORT = np.uint64(2**16 - 1)


def private_generator(*numbers: int) -> torch.Generator:
    """Return a generator seeded from a tuple of integers, apart from torch's global one."""
    state = 0
    for number in numbers:
        state = ((state ^ (number & _WORD)) * int(_GOLDEN) + 1) & _WORD
        state ^= state >> 31
    return torch.Generator().manual_seed(state)


def uniform(
    seed: int, epoch: int, samples: NDArray[np.int64], places: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return numbers in [0, 1), however samples are cut into batches.

    Args:
        seed: Any integer, like `epoch`.
        epoch: Another epoch, other numbers.
        samples: Sample numbers, (samples,).
        places: Which of a sample's numbers are wanted, (places,).

    Returns:
        (samples, places) float64.
    """
    state = _mixed(_mixed(_mixed(_word(seed)) + _word(epoch)) + samples.astype(np.uint64))
    bits = _mixed(state[:, None] + places.astype(np.uint64) * _GOLDEN)
    # As many bits as a double has.
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def coarse_uniform(seed: int, epoch: int, samples: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return eight multiples of 2^-16 in [0, 1) for each sample; a stream apart from that of `uniform`.

    Args:
        seed: Any integer, like `epoch`.
        epoch: Another epoch, other numbers.
        samples: Sample numbers, (samples,).

    Returns:
        (8, samples) float64.
    """
    stream = _numbered(_numbered(_word(seed)) + _word(epoch))
    bits = _numbered(samples.view(np.uint64) ^ stream)
    # Each word gives four numbers. NumPy, because its calls on a few dozen numbers cost a third of torch's.
    parts = [word >> np.uint64(16 * part) for word in (bits, _numbered(bits)) for part in range(4)]
    return (np.stack(parts) & _SHORT) / 2.0**16


def _word(number: int) -> NDArray[np.uint64]:
    # An array, (1,): overflow of a NumPy scalar warns.
    return np.array([number & _WORD], np.uint64)


def _numbered(counter: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the splitmix64 outputs of these numbers, each as if its predecessors had been drawn."""
    return _mixed(counter * _GOLDEN)


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the next splitmix64 output of each state."""
    mixed = state + _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    return mixed ^ (mixed >> np.uint64(31))
