"""Samples of texts: blocks of a long one, and padded batches of many short ones."""

import logging
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnkit.batches import IGNORED, BlockBatch, TextBatch
from nnkit.data.base import Samples
from nnkit.data.counted_random import private_generator
from nnkit.data.sampler import Draw
from nnkit.data.tokenizing import BertTokenizer, Tokenizer, quoted
from nnkit.errors import UserError

_logger = logging.getLogger("nnkit")

# Keeps the starts of windows apart from the order of samples, which is drawn from (seed, epoch).
_WINDOWS = 0x77696E646F7773
# Texts that are encoded at once.
_CHUNK = 10_000
# Share of texts or tokens beyond which a loss is worth a warning.
_MUCH = 0.03


Windows = Literal["random", "blocks"]


class TrainingWindows(Samples):
    """Blocks to train on, each full.

    Args:
        tokens: Token ids of the training split, (tokens,) of an unsigned type.
        block_size: Tokens of a block.
        windows: "random": as many as fit side by side, each beginning anywhere, drawn anew each epoch from (seed,
            epoch, index); "blocks": side by side, the tokens left at the end unused.
        seed: Seed of the draw.
        per_token: Mean number of characters of a token.
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

    def __getitem__(self, draw: Draw) -> BlockBatch:
        rows = draw.indices.numpy()
        # Outside training the blocks lie side by side, the same each time.
        drawn = self._random and draw.epoch is not None
        begins = self._drawn(draw.epoch or 0)[rows] if drawn else rows * self._block_size
        begins = np.minimum(begins, len(self._tokens) - self._block_size - 1)
        found = torch.from_numpy(
            self._tokens[begins[:, None] + np.arange(self._block_size + 1)].astype(np.int64)
        )
        characters = torch.full((len(begins),), self._per_token * self._block_size)
        return BlockBatch(found[:, :-1].contiguous(), found[:, 1:].contiguous(), characters, draw.indices)

    def _drawn(self, epoch: int) -> NDArray[np.int64]:
        if self._starts is None or self._starts[0] != epoch:
            generator = private_generator(self._seed, epoch, _WINDOWS)
            choices = len(self._tokens) - self._block_size
            self._starts = epoch, torch.randint(choices, (len(self),), generator=generator).numpy()
        return self._starts[1]


class EvaluationBlocks(Samples):
    """Blocks side by side that score every token of a split once, the last one filled up with `IGNORED`.

    Args:
        tokens: Token ids of the whole text, (tokens,) of an unsigned type.
        begin: First token of the split, which is predicted from the one before it.
        end: Where the split ends.
        block_size: Tokens of a block.
        per_token: Mean number of characters of a token; over the whole split they add up to its characters.
    """

    def __init__(self, tokens: NDArray[Any], begin: int, end: int, block_size: int, per_token: float) -> None:
        self._tokens, self._begin, self._end, self._block_size = tokens, begin, end, block_size
        self._per_token = per_token

    def __len__(self) -> int:
        return -(-(self._end - self._begin) // self._block_size)

    def __getitem__(self, draw: Draw) -> BlockBatch:
        firsts = self._begin + draw.indices.numpy() * self._block_size
        places = firsts[:, None] + np.arange(-1, self._block_size)
        found = self._tokens[np.minimum(places, self._end - 1)].astype(np.int64)
        inputs, target = found[:, :-1].copy(), found[:, 1:].copy()
        beyond = places[:, 1:] >= self._end
        inputs[beyond], target[beyond] = 0, IGNORED
        characters = torch.from_numpy((~beyond).sum(1) * self._per_token).float()
        return BlockBatch(torch.from_numpy(inputs), torch.from_numpy(target), characters, draw.indices)


class EncodedTexts(NamedTuple):
    """Token ids of many texts.

    Attributes:
        tokens: Those of all texts, one after the other, (tokens,) int32.
        starts: Where each text begins, (texts,) int64.
        lengths: How many tokens it has, (texts,) int64.
        cut: Which texts were longer, (texts,) bool.
    """

    tokens: Tensor
    starts: Tensor
    lengths: Tensor
    cut: Tensor

    def gather(self, rows: Tensor, room: int = 0) -> tuple[Tensor, Tensor]:
        """Return the token ids of texts, 0 behind them, and a mask that is True at tokens.

        Args:
            rows: The texts, (...) int64.
            room: Further steps at the end.

        Returns:
            Both (..., time): int64 and bool.
        """
        lengths = self.lengths[rows]
        steps = torch.arange((int(lengths.max()) if lengths.numel() else 0) + room)
        mask = steps < lengths[..., None]
        places = (self.starts[rows][..., None] + steps).masked_fill_(~mask, 0)
        return self.tokens[places].long().masked_fill_(~mask, 0), mask


def encode_texts(
    tokenizer: Tokenizer, texts: Sequence[str], max_length: int, *, special_tokens: bool = False
) -> EncodedTexts:
    """Encode texts and cut them to `max_length` tokens.

    Args:
        tokenizer: Encodes them; for special tokens a `BertTokenizer`.
        texts: The texts.
        max_length: Tokens of a text at most, special ones included.
        special_tokens: Whether [CLS] begins and [SEP] ends each text that has a token.
    """
    begin, end = np.empty(0, np.int32), np.empty(0, np.int32)
    if special_tokens:
        assert isinstance(tokenizer, BertTokenizer)
        begin, end = np.array([tokenizer.cls_id], np.int32), np.array([tokenizer.sep_id], np.int32)
    most = max_length - len(begin) - len(end)
    chunks = (texts[start : start + _CHUNK] for start in range(0, len(texts), _CHUNK))
    encoded = list(chain.from_iterable(map(tokenizer.encode_batch, chunks)))
    full = torch.tensor([len(ids) for ids in encoded], dtype=torch.int64)
    lengths = torch.where(full > 0, full.clamp(max=most) + len(begin) + len(end), 0)
    rows = [row for ids in encoded if len(ids) for row in (begin, ids[:most], end)]
    tokens = np.concatenate([np.empty(0, np.int32), *rows])
    return EncodedTexts(torch.from_numpy(tokens), lengths.cumsum(0) - lengths, lengths, full > most)


class UserTexts:
    """Encodes texts that a user names; warns of the first that is cut, and of the first with unknown tokens.

    Args:
        tokenizer: As in `encode_texts`, like the last two.
        noun: What messages call the texts that the vocabulary was learnt from.
        max_length: As in `encode_texts`.
        special_tokens: As in `encode_texts`.
    """

    def __init__(
        self, tokenizer: Tokenizer, noun: str, max_length: int, *, special_tokens: bool = False
    ) -> None:
        self._tokenizer, self._noun, self._max_length = tokenizer, noun, max_length
        self._special_tokens = special_tokens
        self._warned = set[str]()

    def encode(self, texts: Sequence[str]) -> EncodedTexts:
        """Encode texts.

        Raises:
            UserError: If one has no token, or one is out of vocabulary and there is no unknown token.
        """
        encoded = encode_texts(self._tokenizer, texts, self._max_length, special_tokens=self._special_tokens)
        if empty := (encoded.lengths == 0).nonzero().flatten().tolist():
            raise UserError(f"there is nothing to read in it: {texts[empty[0]][:40]!r}")
        if cut := encoded.cut.nonzero().flatten().tolist():
            sentence = "longer than %d tokens and cut there: %r and maybe others"
            self._warn(sentence, int(encoded.lengths[cut[0]]), texts[cut[0]][:40])
        unknown = self._tokenizer.unknown
        if unknown is not None and (places := (encoded.tokens == unknown).nonzero()).numel():
            text = texts[int((encoded.starts <= places[0]).sum()) - 1]
            lacking = quoted(self._tokenizer.out_of_vocabulary(text))
            sentence = "not in the %s, counts as unknown: %s in %r; maybe in others as well"
            self._warn(sentence, self._noun, lacking, text[:40])
        return encoded

    def _warn(self, sentence: str, *values: object) -> None:
        if sentence not in self._warned:
            self._warned.add(sentence)
            _logger.warning(sentence, *values)


class LabelledTextSamples(Samples):
    """One split of labelled texts.

    Args:
        texts: All texts.
        target: Class of each text, (texts,) int64; or which labels each has, (texts, classes) bool.
        rows: Which texts make up the split, int64.

    Attributes:
        lengths: Tokens of each text of the split, int64.
    """

    def __init__(self, texts: EncodedTexts, target: Tensor, rows: Tensor) -> None:
        self._texts, self._target, self._rows = texts, target, rows
        self.lengths = texts.lengths[rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, draw: Draw) -> TextBatch:
        rows = self._rows[draw.indices]
        inputs, mask = self._texts.gather(rows)
        return TextBatch(inputs, mask, self._as_target(rows), draw.indices)

    def targets(self) -> Tensor:
        """Return the target of each text."""
        return self._as_target(self._rows)

    def _as_target(self, rows: Tensor) -> Tensor:
        target = self._target[rows]
        return target.float() if target.dtype == torch.bool else target


def report_share(count: int, of: int, what: str) -> None:
    """Log that so many of all texts or tokens are affected, as a warning where they are more than 3 %."""
    if count:
        level = logging.WARNING if count > _MUCH * of else logging.INFO
        _logger.log(level, "%s of %s (%.1f %%) %s", f"{count:,}", f"{of:,}", 100 * count / of, what)


def report_unknown(noun: str, tokenizer: Tokenizer, encoded: EncodedTexts, texts: Iterable[str]) -> None:
    """Log how many tokens are out of vocabulary, and some of them.

    Args:
        noun: What messages call the tokens.
        tokenizer: Has encoded them.
        encoded: The tokens.
        texts: The texts that they are of.
    """
    if tokenizer.unknown is None:
        return
    count = int((encoded.tokens == tokenizer.unknown).sum())
    if count:
        lacking = dict.fromkeys(word for text in texts for word in tokenizer.out_of_vocabulary(text))
        what = f"{noun} are not in the vocabulary and count as unknown: {quoted([*lacking])}"
        report_share(count, len(encoded.tokens), what)
