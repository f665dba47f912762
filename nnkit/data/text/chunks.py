"""Stretches of a long text: windows and blocks to train on, blocks that score every token once."""

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from nnkit.batches import IGNORED, Blocks
from nnkit.data.base import Samples
from nnkit.data.counted_random import private_generator
from nnkit.data.sampler import Draw

# Keeps the starts of windows apart from the order of samples, which is drawn from (seed, epoch).
_WINDOWS = 0x77696E646F7773

Windows = Literal["random", "blocks"]


class TrainingWindows(Samples):
    """Stretches to train on, each full.

    Args:
        tokens: Tokens of the training part, (tokens,) of an unsigned type.
        block_size: Tokens of a stretch.
        windows: "random": as many as fit side by side, each beginning anywhere, drawn anew each epoch from (seed,
            epoch, index); "blocks": side by side, what is left at the end unused.
        seed: Seed of the draw.
        per_token: Characters that a token of the part stands for, on average.
    """

    def __init__(
        self, tokens: NDArray[Any], block_size: int, windows: Windows, seed: int, per_token: float
    ) -> None:
        self._tokens, self._block_size, self._seed = tokens, block_size, seed
        self._random = windows == "random"
        self._per_token = per_token
        self._starts: tuple[int, NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return (len(self._tokens) - (not self._random)) // self._block_size

    def __getitem__(self, draw: Draw) -> Blocks:
        numbers = draw.indices.numpy()
        # What is looked at outside training is where the blocks lie, the same each time.
        drawn = self._random and draw.epoch is not None
        begins = self._drawn(draw.epoch or 0)[numbers] if drawn else numbers * self._block_size
        begins = np.minimum(begins, len(self._tokens) - self._block_size - 1)
        found = torch.from_numpy(
            self._tokens[begins[:, None] + np.arange(self._block_size + 1)].astype(np.int64)
        )
        characters = torch.full((len(begins),), self._per_token * self._block_size)
        return Blocks(found[:, :-1].contiguous(), found[:, 1:].contiguous(), characters, draw.indices)

    def _drawn(self, epoch: int) -> NDArray[np.int64]:
        if self._starts is None or self._starts[0] != epoch:
            generator = private_generator(self._seed, epoch, _WINDOWS)
            choices = len(self._tokens) - self._block_size
            self._starts = epoch, torch.randint(choices, (len(self),), generator=generator).numpy()
        return self._starts[1]


class EvaluationBlocks(Samples):
    """Stretches side by side that score every token of a part once, the last one filled up with `IGNORED`.

    Args:
        tokens: Tokens of the whole text, (tokens,) of an unsigned type.
        begin: First token of the part; the one before is what it is predicted from.
        end: Where the part ends.
        block_size: Tokens of a stretch.
        per_token: Characters that a token of the part stands for, on average: over the whole part they add up to its
            characters.
    """

    def __init__(self, tokens: NDArray[Any], begin: int, end: int, block_size: int, per_token: float) -> None:
        self._tokens, self._begin, self._end, self._block_size = tokens, begin, end, block_size
        self._per_token = per_token

    def __len__(self) -> int:
        return -(-(self._end - self._begin) // self._block_size)

    def __getitem__(self, draw: Draw) -> Blocks:
        firsts = self._begin + draw.indices.numpy() * self._block_size
        places = firsts[:, None] + np.arange(-1, self._block_size)
        found = self._tokens[np.minimum(places, self._end - 1)].astype(np.int64)
        inputs, target = found[:, :-1].copy(), found[:, 1:].copy()
        beyond = places[:, 1:] >= self._end
        inputs[beyond], target[beyond] = 0, IGNORED
        characters = torch.from_numpy((~beyond).sum(1) * self._per_token).float()
        return Blocks(torch.from_numpy(inputs), torch.from_numpy(target), characters, draw.indices)
