"""Sentence pairs drawn from documents, some of their tokens masked: what BERT is pre-trained on."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nnkit.batches import IGNORED, SentenceBatch
from nnkit.data.base import Samples
from nnkit.data.counted_random import uniform
from nnkit.data.pairs.documents import EncodedDocuments
from nnkit.data.sampler import Draw
from nnkit.data.tokenizing import BertTokenizer

# [CLS] first [SEP] second [SEP].
NUM_SPECIAL = 3
# Devlin et al. 2019, section 3.1 and appendix A.1 and A.2.
_MASKED, _AS_MASK, _AS_OTHER, _SHORT, _FOLLOWS = 0.15, 0.8, 0.1, 0.1, 0.5
# Random numbers of a pair, which those of its tokens follow.
_FOR_PAIR, _FOR_TOKEN = 6, 3
# Seed and epoch outside training: always the same, whatever the seed of the data.
_FIXED = (0, -1)

Numbers = NDArray[np.int64]


class _Cut(NamedTuple):
    """Where both halves of each pair lie in the tokens, and whether the second follows the first."""

    first: Numbers
    first_length: Numbers
    second: Numbers
    second_length: Numbers
    follows: NDArray[np.bool_]


class SentencePairSamples(Samples):
    """Sentence pairs from the documents of one split.

    As in the paper's own code, sentences of a document are gathered until they fill `max_length`, and cut between two
    of them: half of the pairs keep the text after the cut, the others get as much from another document. One in ten
    is drawn shorter. A first half that is too long loses its beginning, a second half its end, so that both keep the
    text next to the cut. Only the words tell whether the second half follows: it never is the beginning of a
    document, and it is as long as the shorter of both candidates allows.

    In training every pair is drawn anew each epoch, from (seed, epoch, index): where in its block of a document it
    begins, its cut, its second half, its masked tokens. Outside training it is the same each time.

    Args:
        texts: All documents.
        rows: Which of them make up the split, at least two.
        tokenizer: Has the ids of the special tokens.
        max_length: Tokens of a pair at most, special ones included; at least 5.
        seed: Seed of the draw.
        is_next: Label of a pair whose second half follows, 0 or 1; all others have the other label.
    """

    def __init__(
        self,
        texts: EncodedDocuments,
        rows: Numbers,
        tokenizer: BertTokenizer,
        max_length: int,
        *,
        seed: int,
        is_next: int,
    ) -> None:
        self._tokens, self._sentences = texts.tokens, np.asarray(texts.sentences)
        first, end = texts.documents[rows], texts.documents[rows + 1]
        usable = end - first >= 2
        self._first, self._end = np.asarray(first[usable]), np.asarray(end[usable])
        self._tokenizer, self._max_length, self._seed = tokenizer, max_length, seed
        self._is_next = is_next
        # Of each document the sentences that may begin a second half.
        self._later = self._end - self._first - 1
        self._later_ends: Numbers = self._later.cumsum()
        blocks = np.array(list(self._blocks()), np.int64).reshape(-1, 3)
        self._begins, self._stops, self._documents = np.ascontiguousarray(blocks.T)

    def __len__(self) -> int:
        # With one document there is no other for a second half.
        return len(self._begins) if len(self._first) > 1 else 0

    def _blocks(self) -> Iterator[tuple[int, int, int]]:
        """Yield first sentence, end and document of blocks that fill a pair, side by side."""
        room = self._max_length - NUM_SPECIAL
        full = np.searchsorted(self._sentences, self._sentences[:-1] + room).tolist()
        bounds = zip(self._first.tolist(), self._end.tolist(), strict=True)
        for document, (begin, end) in enumerate(bounds):
            while begin <= end - 2:
                stop = min(max(full[begin], begin + 2), end)
                yield begin, stop, document
                begin = stop

    def lengths(self, epoch: int | None) -> torch.Tensor:
        """Return the tokens of each pair as it is drawn in an epoch, or outside training, int64."""
        if not len(self):
            return torch.zeros(0, dtype=torch.int64)
        cut = self._draw(epoch, np.arange(len(self)))
        return torch.from_numpy(cut.first_length + cut.second_length + NUM_SPECIAL)

    def _draw(self, epoch: int | None, rows: Numbers) -> _Cut:
        seed, epoch_key = _FIXED if epoch is None else (self._seed, epoch)
        where, is_short, shortness, cut_at, follows, other = uniform(
            seed, epoch_key, rows, np.arange(_FOR_PAIR)
        ).T
        starts, document = self._sentences, self._documents[rows]
        begin, end = self._begins[rows], self._end[document]
        if epoch is not None:
            begin = begin + _below(where, np.minimum(self._stops[rows], end - 1) - begin)
        most = self._max_length - NUM_SPECIAL
        room = np.where(is_short < _SHORT, 2 + _below(shortness, most - 1), most)
        stop = np.clip(np.searchsorted(starts, starts[begin] + room), begin + 2, end)
        cut = begin + 1 + _below(cut_at, stop - begin - 1)
        elsewhere, elsewhere_end = self._elsewhere(other, document)
        does = follows < _FOLLOWS
        # The shorter of both candidates decides, or the length would tell which of them was taken.
        left = np.minimum(starts[end] - starts[cut], starts[elsewhere_end] - starts[elsewhere])
        first_length = np.minimum(starts[cut] - starts[begin], np.maximum(room - left, room - room // 2))
        second_length = np.minimum(left, room - first_length)
        second = starts[np.where(does, cut, elsewhere)]
        return _Cut(starts[cut] - first_length, first_length, second, second_length, does)

    def _elsewhere(self, drawn: NDArray[np.float64], document: Numbers) -> tuple[Numbers, Numbers]:
        """Return a sentence of another document, not its first one, and the end of that document."""
        own = self._later[document]
        number = _below(drawn, self._later_ends[-1] - own)
        number = np.where(number >= self._later_ends[document] - own, number + own, number)
        other = np.searchsorted(self._later_ends, number, side="right")
        return self._end[other] - (self._later_ends[other] - number), self._end[other]

    def __getitem__(self, draw: Draw) -> SentenceBatch:
        rows = draw.indices.numpy()
        cut = self._draw(draw.epoch, rows)
        inputs, words, segments, mask = self._laid_out(cut)
        shape = (len(rows), inputs.shape[1], _FOR_TOKEN)
        seed, epoch = _FIXED if draw.epoch is None else (self._seed, draw.epoch)
        places = _FOR_PAIR + np.arange(shape[1] * _FOR_TOKEN)
        drawn = uniform(seed, epoch, rows, places).reshape(shape)
        inputs, target = mask_tokens(inputs, words, drawn, self._tokenizer)
        return SentenceBatch(
            inputs=torch.from_numpy(inputs),
            mask=torch.from_numpy(mask),
            segments=torch.from_numpy(segments),
            target=torch.from_numpy(target),
            next_label=torch.from_numpy(np.where(cut.follows, self._is_next, 1 - self._is_next)),
            indices=draw.indices,
        )

    def _laid_out(self, cut: _Cut) -> tuple[Numbers, NDArray[np.bool_], Numbers, NDArray[np.bool_]]:
        """Return token ids, which of them are not special, the segments, and where there is a token."""
        first, second = cut.first_length[:, None], cut.second_length[:, None]
        steps = np.arange(int((first + second).max(initial=0)) + NUM_SPECIAL)
        middle, last = first + 1, first + second + 2
        in_first = (steps > 0) & (steps < middle)
        in_second = (steps > middle) & (steps < last)
        words = in_first | in_second
        places = np.where(in_first, cut.first[:, None] + steps - 1, cut.second[:, None] + steps - middle - 1)
        # Padding has id 0, the first special token.
        inputs = np.where(words, self._tokens[np.where(words, places, 0)], 0).astype(np.int64)
        inputs[:, 0] = self._tokenizer.cls_id
        inputs[(steps == middle) | (steps == last)] = self._tokenizer.sep_id
        mask = steps <= last
        return inputs, words, ((steps > middle) & mask).astype(np.int64), mask


def mask_tokens(
    inputs: Numbers, words: NDArray[np.bool_], drawn: NDArray[np.float64], tokenizer: BertTokenizer
) -> tuple[Numbers, Numbers]:
    """Mask 15 % of the tokens of each text, at least one: 80 % as [MASK], 10 % as a random token, 10 % unchanged.

    Args:
        inputs: Token ids, (batch, time).
        words: Which of them may be masked, (batch, time) bool; at least one a row.
        drawn: Numbers in [0, 1), (batch, time, 3): which are masked, how, and the random token.
        tokenizer: Has the ids of the special tokens.

    Returns:
        The inputs of the network, and its targets, `IGNORED` where nothing is masked.
    """
    counts = np.maximum(np.rint(words.sum(1) * _MASKED), 1)
    order = np.where(words, drawn[..., 0], np.inf).argsort(axis=1, kind="stable")
    chosen = np.zeros_like(words)
    np.put_along_axis(chosen, order, np.arange(words.shape[1]) < counts[:, None], axis=1)
    target = np.where(chosen, inputs, IGNORED)
    how = drawn[..., 1]
    # Of a published vocabulary any token, as in the published code, which does not leave the special ones out.
    other = tokenizer.first + _below(drawn[..., 2], tokenizer.vocab_size - tokenizer.first)
    shown = np.where(how < _AS_MASK, tokenizer.mask_id, np.where(how < _AS_MASK + _AS_OTHER, other, inputs))
    return np.where(chosen, shown, inputs), target


def _below(drawn: NDArray[np.float64], count: Any) -> Numbers:
    """Turn numbers in [0, 1) into whole ones below a count, 0 if it is 0."""
    numbers: Numbers = (drawn * count).astype(np.int64)
    return numbers


def masked_pair(tokenizer: BertTokenizer, texts: Sequence[str]) -> SentenceBatch:
    """Return a batch of one text, or of a pair, in which each [MASK] is a masked token; the target there is 0."""
    rows = [np.concatenate([tokenizer.encode_masked(text), [tokenizer.sep_id]]) for text in texts]
    inputs = torch.from_numpy(np.concatenate([[tokenizer.cls_id], *rows]).astype(np.int64))[None]
    segments = torch.zeros_like(inputs)
    segments[:, 1 + len(rows[0]) :] = 1
    target = torch.full_like(inputs, IGNORED).masked_fill(inputs == tokenizer.mask_id, 0)
    zero = torch.zeros(1, dtype=torch.int64)
    return SentenceBatch(inputs, torch.ones_like(inputs, dtype=torch.bool), segments, target, zero, zero)
