"""Texts of different lengths as one row of token numbers, gathered into padded batches."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nnkit.batches import Tokens
from nnkit.data.base import Samples
from nnkit.data.sampler import Draw
from nnkit.data.tokenizing import Tokenizer, WithSpecialTokens

# Texts that are encoded at once.
_CHUNK = 10_000


class EncodedTexts(NamedTuple):
    """Token numbers of many texts.

    Attributes:
        tokens: Those of all texts, one after the other, (tokens,) int32.
        starts: Where each text begins, (texts,) int64.
        lengths: How many tokens of it there are, (texts,) int64.
        cut: Which texts were longer, (texts,) bool.
    """

    tokens: Tensor
    starts: Tensor
    lengths: Tensor
    cut: Tensor


def encode_texts(
    tokenizer: Tokenizer, texts: Sequence[str], max_length: int, *, markers: bool = False
) -> EncodedTexts:
    """Encode texts and cut them to `max_length` tokens.

    Args:
        tokenizer: Encodes them; with markers a `WithSpecialTokens` one.
        texts: The texts.
        max_length: Tokens of a text at most, marks included.
        markers: Whether [CLS] stands before and [SEP] behind each text that has a token.
    """
    begin, end = np.empty(0, np.int32), np.empty(0, np.int32)
    if markers:
        assert isinstance(tokenizer, WithSpecialTokens)
        begin, end = np.array([tokenizer.cls_id], np.int32), np.array([tokenizer.sep_id], np.int32)
    most = max_length - len(begin) - len(end)
    encoded = list(
        chain.from_iterable(
            tokenizer.encode_batch(texts[start : start + _CHUNK]) for start in range(0, len(texts), _CHUNK)
        )
    )
    full = torch.tensor([len(numbers) for numbers in encoded], dtype=torch.int64)
    lengths = full.clamp(max=most)
    if markers:
        lengths = torch.where(full > 0, lengths + 2, 0)
    rows = [row for numbers in encoded if len(numbers) for row in (begin, numbers[:most], end)]
    tokens = np.concatenate([np.empty(0, np.int32), *rows])
    return EncodedTexts(torch.from_numpy(tokens), lengths.cumsum(0) - lengths, lengths, full > most)


class TextSamples(Samples):
    """One split of labelled texts.

    Args:
        texts: All texts.
        target: Class of each text, (texts,) int64.
        rows: Which texts make up the split, int64.

    Attributes:
        lengths: Tokens of each text of the split, int64.
    """

    def __init__(self, texts: EncodedTexts, target: Tensor, rows: Tensor) -> None:
        self._tokens = texts.tokens
        self._starts = texts.starts[rows]
        self.lengths = texts.lengths[rows]
        self._target = target[rows]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, draw: Draw) -> Tokens:
        lengths = self.lengths[draw.indices]
        steps = torch.arange(int(lengths.max()) if len(lengths) else 0)
        mask = steps < lengths[:, None]
        places = (self._starts[draw.indices, None] + steps).masked_fill_(~mask, 0)
        inputs = self._tokens[places].long().masked_fill_(~mask, 0)
        return Tokens(inputs, mask, self._target[draw.indices], draw.indices)
