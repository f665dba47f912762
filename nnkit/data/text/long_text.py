"""Data for language models: a long text as token ids, cut into blocks."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import torch
from numpy.typing import NDArray

from nnkit.batches import Batch, BlockBatch
from nnkit.data.base import Preprocessing, Samples, Split
from nnkit.data.cache import Prepared
from nnkit.data.reading.user_files import find_file
from nnkit.data.splits import SPLIT_TITLES, SPLITS
from nnkit.data.text.corpus import (
    Corpus,
    named_texts,
    read_all,
    read_text,
    shown,
    whole_words,
)
from nnkit.data.text.corpus_data import CorpusData, NamedText
from nnkit.data.text.items import Item, read_items, stdin_lines
from nnkit.data.text.samples import EvaluationBlocks, TrainingWindows, Windows
from nnkit.data.text.token_cache import Scan, Write, cached_tokens, learnt_spec, scan
from nnkit.data.tokenizing import (
    Reread,
    Tokenizer,
    TokenizerKind,
    check_tokenizer,
    learn_tokenizer,
    next_cut,
    quoted,
    tokenizer_from,
)
from nnkit.errors import EnvironmentFault, UserError

_logger = logging.getLogger("nnkit")

# Tokens of a text that `nnkit predict` reads, at most.
MAX_TOKENS = 4_096
# Characters of a file that are read: enough for so many tokens, except where tokens are very long.
_MAX_CHARACTERS = 16 * MAX_TOKENS
# How far a border between splits may move to keep a word whole.
_LONGEST_WORD = 100


@dataclass(kw_only=True, eq=False)
class LongText(CorpusData):
    """Base of data for language models: a subclass names the files of the text.

    The text is cut by position: first the training split, then validation, then test. A tokenizer of characters has
    every character of the whole text and no unknown token, as in nanoGPT; nothing else is learnt from the held-out
    splits. Words, bpe and wordpiece are learnt from the training split. Token ids are prepared once, kept in the
    cache, and mapped into memory.

    Attributes:
        block_size: Tokens the model reads at a time.
        windows: What is trained on: blocks at "random" places, drawn anew each epoch, or "blocks" side by side.
        eval_block_size: Tokens read at a time in validation and test; None: block_size.

    Raises:
        ValueError: If an option is out of range.
    """

    block_size: int = 128
    windows: Windows = "random"
    eval_block_size: int | None = None
    encoding: str | None = field(default=None, init=False)

    split_by = ("val_fraction", "test_fraction")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_tokenizer(self.tokenizer, self.max_vocab)
        for name, size in (("block_size", self.block_size), ("eval_block_size", self.eval_block_size)):
            if size is not None and size < 1:
                raise ValueError(f"{name} must be at least 1, not {size}")
        if self.windows not in ("random", "blocks"):
            raise ValueError(f"windows must be random or blocks, not {self.windows!r}")

    def forget(self) -> None:
        """Drop the text."""
        super().forget()
        self._tokenizer: Tokenizer | None = None
        self._tokens: tuple[NDArray[Any], dict[str, Any]] | None = None

    @property
    def learnt_tokenizer(self) -> Tokenizer:
        """The tokenizer, from `preprocessing`."""
        if self._tokenizer is None:
            self._tokenizer = tokenizer_from(self.preprocessing["tokenizer"])
        return self._tokenizer

    def prepare(self) -> Preprocessing:
        """Read the text, learn a vocabulary, and encode it; or find all of this in the cache."""
        corpus, scanned = self.scanned()
        if not scanned.num_characters:
            raise UserError(f"{corpus.title} is empty")
        cut = _cut(corpus, scanned, **self.split_options)
        if not cut.ends[0]:
            raise UserError(
                f"{corpus.title} has {scanned.num_characters} characters, too few for three splits"
            )
        spec = self.pretrained.get("tokenizer") or cut.learn(self.tokenizer, self.max_vocab)
        self._tokenizer = tokenizer_from(spec)
        with self.about_pretrained():
            counts = self._open(cut)
        self._refuse_short(corpus.title, counts)
        self._report(corpus.title, counts)
        return {
            "tokenizer": spec,
            "counts": counts,
            **self.split_options,
            **self.sources_of(scanned),
        }

    def _open(self, cut: "_CutText") -> Any:
        """Open the token ids, and return what each split holds."""
        opened = cut.encoded(self.learnt_tokenizer)
        self._tokens = opened.arrays["tokens"], opened.facts["counts"]
        return opened.facts["counts"]

    def facts(self) -> dict[str, Any]:
        """Return the number of different tokens."""
        return {"vocab_size": self.learnt_tokenizer.vocab_size}

    def samples(self, split: Split) -> Samples:
        """Open one split of the text as the run that wrote `preprocessing` encoded it.

        Raises:
            UserError: If the text is gone or has changed since.
        """
        if self._tokens is None:
            self._open(_cut(*self.scanned(), **self.split_options))
        assert self._tokens is not None
        tokens, counts = self._tokens
        # A split that was not held out has no tokens.
        per_token = counts[split]["characters"] / max(counts[split]["tokens"], 1)
        if split == "train":
            train = tokens[: counts["train"]["tokens"]]
            return TrainingWindows(train, self.block_size, self.windows, self.seed, per_token)
        begin = sum(counts[name]["tokens"] for name in SPLITS[: SPLITS.index(split)])
        end = begin + counts[split]["tokens"]
        return EvaluationBlocks(tokens, begin, end, self.eval_block_size or self.block_size, per_token)

    def labelled_batches(self, path: str) -> Iterable[Batch]:
        """Return the blocks of another text, a file or folder; see `DataModule.labelled_batches`."""
        corpus = named_texts(path, self.encoding)
        opened = _cut(corpus, scan(corpus), val_fraction=0.0, test_fraction=0.0).encoded(
            self.learnt_tokenizer
        )
        counts = opened.facts["counts"]["train"]
        if counts["tokens"] < 2:
            raise UserError(f"{path} has {counts['characters']} characters: there is nothing to predict")
        size, per_token = self.eval_block_size or self.block_size, counts["characters"] / counts["tokens"]
        # Before the first token there is none that it could be predicted from.
        return self.in_order(EvaluationBlocks(opened.arrays["tokens"], 1, counts["tokens"], size, per_token))

    def read(self, items: Sequence[str]) -> Iterator[tuple[str, BlockBatch | str]]:
        """Read texts as batches of one, the target the token that follows; see `DataModule.read`.

        Args:
            items: Texts; paths of text files; "-" for standard input, a text on each line. The first `MAX_TOKENS`
                tokens of a text are read.
        """
        for item in read_items(items, self._read_file):
            try:
                yield item.name, item.problem or _block_of(item.name, item.text, self.learnt_tokenizer)
            except UserError as error:
                yield item.name, str(error)

    def _read_file(self, item: str) -> Iterator[Item]:
        if item == "-":
            yield from stdin_lines(self.encoding)
            return
        text = ""
        for piece in read_text(find_file(item), self.encoding):
            text += piece
            if len(text) > _MAX_CHARACTERS:
                break
        yield Item(item, text)

    def _refuse_short(self, title: str, counts: dict[str, Any]) -> None:
        train, val, test = (counts[split]["tokens"] for split in SPLITS)
        held_out = ((val, self.val_fraction), (test, self.test_fraction))
        if train > self.block_size and all(count or not fraction for count, fraction in held_out):
            return
        least = int((self.block_size + 1) / (1 - self.val_fraction - self.test_fraction)) + 1
        raise UserError(
            f"{title} is too short: its {sum(count['characters'] for count in counts.values()):,} characters are "
            f"{train:,} tokens to train on, {val:,} to validate on and {test:,} to test on. "
            f"data.block_size={self.block_size} needs at least {self.block_size + 1:,} to train on and one in each "
            f"other split, about {least:,} in all. Name a longer text or a smaller data.block_size."
        )

    def _report(self, title: str, counts: dict[str, Any]) -> None:
        _logger.info(
            "%s: %d characters; %d tokens to train on, %d for validation, %d for the test, %d different ones",
            title,
            sum(count["characters"] for count in counts.values()),
            *(counts[split]["tokens"] for split in SPLITS),
            self.learnt_tokenizer.vocab_size,
        )
        for split, name in SPLIT_TITLES.items():
            unknown = counts[split].get("unknown", 0)
            if unknown:
                share = 100 * unknown / counts[split]["tokens"]
                _logger.warning(
                    "%d of the %s tokens (%.1f %%) are not in the vocabulary", unknown, name, share
                )


@dataclass(kw_only=True, eq=False)
class TextFile(NamedText, LongText):
    """A text in files that a user names; each begins on a line of its own."""


@dataclass(frozen=True)
class _CutText:
    """A text cut by position.

    Attributes:
        corpus: The text.
        scanned: What `scan` returns for it.
        ends: Where the splits end, in characters.
    """

    corpus: Corpus
    scanned: Scan
    ends: tuple[int, int, int]

    def pieces(self, title: str) -> Iterator[tuple[Split, str]]:
        """Yield the text in pieces with the split of each; the title is that of the bar."""
        with shown(title, self.corpus) as advance:
            yield from cut_by_position(whole_words(read_all(self.corpus, advance=advance)), self.ends)

    def learn(self, kind: TokenizerKind, max_vocab: int | None) -> dict[str, Any]:
        """Return the spec of a tokenizer: characters of the whole text, the others learnt from its training split."""
        splits = SPLITS if kind == "characters" else SPLITS[:1]

        def learnable() -> Iterator[str]:
            reading = self.pieces("Learning a vocabulary")
            return (text for _, text in takewhile(lambda piece: piece[0] in splits, reading))

        key = [self.scanned.fingerprint, self.corpus.encoding, kind, max_vocab]
        return learnt_spec(
            "vocabulary",
            [*key, None if splits == SPLITS else self.ends],
            lambda: learn_tokenizer(kind, Reread(learnable), max_vocab=max_vocab, with_unknown=False),
        )

    def encoded(self, tokenizer: Tokenizer) -> Prepared:
        """Return the token ids, each split encoded by itself.

        The fact "counts" has the tokens and characters of each split, and how many tokens are the unknown one, if
        there is one.
        """
        key = [self.scanned.fingerprint, self.corpus.encoding, self.ends]
        return cached_tokens("tokens", key, tokenizer, lambda write: (self._encode(tokenizer, write), {}))

    def _encode(self, tokenizer: Tokenizer, write: Write) -> dict[str, Any]:
        names = ("tokens", "characters") if tokenizer.unknown is None else ("tokens", "characters", "unknown")
        counts = {split: dict.fromkeys(names, 0) for split in SPLITS}
        for split, text in self.pieces("Encoding"):
            ids = tokenizer.encode(text)
            counts[split]["tokens"] += len(ids)
            counts[split]["characters"] += len(text)
            if tokenizer.unknown is not None:
                counts[split]["unknown"] += int((ids == tokenizer.unknown).sum())
            write(ids)
        if sum(count["characters"] for count in counts.values()) != self.scanned.num_characters:
            raise EnvironmentFault(f"{self.corpus.title} was changed while it was being read; start again")
        return {"counts": counts}


def _cut(corpus: Corpus, scanned: Scan, val_fraction: float, test_fraction: float) -> _CutText:
    length = scanned.num_characters
    num_test, num_val = round(length * test_fraction), round(length * val_fraction)
    return _CutText(corpus, scanned, (length - num_val - num_test, length - num_test, length))


def cut_by_position(texts: Iterable[str], ends: Sequence[int]) -> Iterator[tuple[Split, str]]:
    """Cut a text that comes in pieces into its splits; a word on a border stays whole, in the split before it.

    Args:
        texts: The pieces, cut between words.
        ends: Where the splits end, in characters.

    Yields:
        The split and a piece of it, cut between words.
    """
    position, number = 0, 0
    for text in texts:
        while number < len(SPLITS) - 1 and position + len(text) > ends[number]:
            begin = ends[number] - position
            place = next_cut(text, begin - 1) if begin > 0 else 0
            if place - begin > min(_LONGEST_WORD, (ends[number + 1] - ends[number]) // 2):
                # A script without blanks, a text without words, or a split as short as a word.
                place = max(begin, 0)
            if place:
                yield SPLITS[number], text[:place]
            position, text, number = position + place, text[place:], number + 1
        if text:
            yield SPLITS[number], text
        position += len(text)


def _block_of(name: str, text: str, tokenizer: Tokenizer) -> BlockBatch | str:
    """Return a batch of one text, or the sentence that tells why there is none."""
    whole, text = text, tokenizer.cleaned(text[:_MAX_CHARACTERS])
    ids = tokenizer.encode(text)
    if tokenizer.unknown is not None and len(ids) and (ids == tokenizer.unknown).all():
        return f"nothing of it is in the vocabulary: {quoted(tokenizer.out_of_vocabulary(text))}"
    if len(ids) < 2:
        return f"at least 2 tokens are needed, one to predict from the other; it has {len(ids)}"
    starts = [*tokenizer.starts(text).tolist(), len(text)]
    if len(ids) > MAX_TOKENS or len(whole) > _MAX_CHARACTERS:
        ids = ids[:MAX_TOKENS]
        _logger.warning("%s: only the first %d tokens are read", name[:80], len(ids))
    characters = torch.tensor([float(starts[len(ids)] - starts[1])])
    row = torch.from_numpy(ids.astype("int64"))[None]
    return BlockBatch(row[:, :-1], row[:, 1:], characters, torch.zeros(1, dtype=torch.int64))
