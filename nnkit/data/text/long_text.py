"""What data for language models share: a long text as tokens, dealt out to windows and blocks."""

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from nnkit.batches import Blocks
from nnkit.data.base import DataModule, Preprocessing, Samples, Split
from nnkit.data.splits import check_fractions
from nnkit.data.text.chunks import EvaluationBlocks, TrainingWindows, Windows
from nnkit.data.text.prompts import read_texts
from nnkit.data.text.text_cache import PARTS, PartEnds, Scan, scan, tokens_of, vocabulary_of
from nnkit.data.text.text_reading import Corpus
from nnkit.data.tokenizing import Tokenizer, TokenizerKind, check_tokenizer, tokenizer_from
from nnkit.errors import UserError
from nnkit.suggest import some_of

_logger = logging.getLogger("nnkit")

_SPOKEN = {"train": "training", "val": "validation", "test": "test"}


class LongText(DataModule):
    """Base of data for language models: a subclass says which files the text is made of.

    The text is cut by position: the training part, then validation, then test, at its end. A tokenizer of characters
    has every character of the whole text and no unknown token, as in nanoGPT: nothing else is learnt from the held-out
    parts. Words, bpe and wordpiece are learnt from the training part. Tokens are prepared once, kept in the cache, and
    mapped into memory.

    Args:
        tokenizer: characters, bytes, words, bpe or wordpiece.
        max_vocab: Tokens at most; None: every character, 20,000 words, 4,096 of bpe and wordpiece.
        block_size: Tokens the model reads at a time.
        windows: What is trained on: "random" stretches, drawn anew each epoch, or "blocks" side by side.
        val_fraction: Share of the text held out for validation; 0: none.
        test_fraction: Share of the text held out for the test; 0: none.
        eval_block_size: Tokens read at a time in validation and test; None: block_size.
        batch_size: Stretches in a training batch.
        eval_batch_size: Stretches in a validation or test batch; None: batch_size, as logits are large.
        num_workers: Worker processes; 0 is the fastest here.
        seed: Seed of windows and order.

    Raises:
        ValueError: If an argument is out of range.
    """

    fact_names = ("vocab_size",)
    inherited = ("tokenizer",)
    vouched = True

    def __init__(
        self,
        *,
        tokenizer: TokenizerKind = "characters",
        max_vocab: int | None = None,
        block_size: int = 128,
        windows: Windows = "random",
        val_fraction: float = 0.05,
        test_fraction: float = 0.05,
        eval_block_size: int | None = None,
        batch_size: int = 32,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            eval_batch_size=batch_size if eval_batch_size is None else eval_batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        check_tokenizer(tokenizer, max_vocab)
        check_fractions(val_fraction, test_fraction)
        for name, size in (("block_size", block_size), ("eval_block_size", eval_block_size)):
            if size is not None and size < 1:
                raise ValueError(f"{name} must be at least 1, not {size}")
        if windows not in ("random", "blocks"):
            raise ValueError(f"windows must be random or blocks, not {windows!r}")
        self._kind, self._max_vocab = tokenizer, max_vocab
        self.block_size, self.windows = block_size, windows
        self.eval_block_size = eval_block_size or block_size
        self.val_fraction, self.test_fraction = val_fraction, test_fraction
        self._tokenizer: Tokenizer | None = None
        self._tokens: tuple[NDArray[Any], dict[str, Any]] | None = None

    @abstractmethod
    def corpus(self) -> Corpus:
        """Find or make the files of the text; called again for each verb, so what is made is kept in the cache.

        Raises:
            UserError: If the user named files that cannot be used.
            EnvironmentFault: If they cannot be had.
        """

    def origin(self) -> dict[str, str]:
        """Return what else made the text what it is, by name; shown when it has changed."""
        return {}

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, from `preprocessing`."""
        if self._tokenizer is None:
            self._tokenizer = tokenizer_from(self.preprocessing["tokenizer"])
        return self._tokenizer

    def setup_data(self, preprocessing: Preprocessing | None = None) -> None:
        """Prepare the data, or take over what an earlier run learnt."""
        self._tokenizer = self._tokens = None
        super().setup_data(preprocessing)

    def prepare(self) -> Preprocessing:
        """Read the text, learn a vocabulary, and encode it; or find this done in the cache."""
        corpus = self.corpus()
        scanned = scan(corpus)
        if not scanned.num_characters:
            raise UserError(f"{corpus.title} is empty")
        options = {"val_fraction": self.val_fraction, "test_fraction": self.test_fraction}
        ends = _ends(scanned, options)
        if not ends.train:
            raise UserError(
                f"{corpus.title} has {scanned.num_characters} characters, too few for three parts"
            )
        spec = self.heritage.get("tokenizer") or vocabulary_of(
            corpus, scanned, ends, self._kind, self._max_vocab
        )
        self._tokenizer = tokenizer_from(spec)
        with self.speaking_of_heritage():
            opened = tokens_of(corpus, scanned, ends, self._tokenizer)
        counts = opened.facts["counts"]
        self._tokens = opened.arrays["tokens"], counts
        self._refuse_short(corpus.title, counts)
        self._say(corpus.title, counts)
        return {
            "tokenizer": spec,
            "counts": counts,
            **options,
            **({"origin": self.origin()} if self.origin() else {}),
            "sources": scanned.sources,
            "fingerprint": scanned.fingerprint,
        }

    def facts(self) -> dict[str, Any]:
        """Return the number of different tokens."""
        return {"vocab_size": self.tokenizer.vocab_size}

    def samples(self, split: Split) -> Samples:
        """Open one split of the text as the run that wrote `preprocessing` encoded it.

        Raises:
            UserError: If the text is gone or has changed since.
        """
        if self._tokens is None:
            corpus = self.corpus()
            scanned = scan(corpus)
            if scanned.fingerprint != self.preprocessing["fingerprint"]:
                raise UserError(self._changes(corpus.title, scanned))
            opened = tokens_of(corpus, scanned, _ends(scanned, self.preprocessing), self.tokenizer)
            self._tokens = opened.arrays["tokens"], opened.facts["counts"]
        tokens, counts = self._tokens
        # A part that was not held out has none.
        per_token = counts[split]["characters"] / max(counts[split]["tokens"], 1)
        if split == "train":
            train = tokens[: counts["train"]["tokens"]]
            return TrainingWindows(train, self.block_size, self.windows, self.seed, per_token)
        begin = sum(counts[part]["tokens"] for part in PARTS[: PARTS.index(split)])
        end = begin + counts[split]["tokens"]
        return EvaluationBlocks(tokens, begin, end, self.eval_block_size, per_token)

    def read(self, items: Sequence[str]) -> Iterator[tuple[str, Blocks | str]]:
        """Read texts as batches of one: a text as it stands, a path of a text file, or - for lines of standard input.

        The target is the token that follows; see `DataModule.read`.
        """
        return read_texts(items, self.tokenizer, self._encoding())

    def _encoding(self) -> str | None:
        return None

    def _refuse_short(self, title: str, counts: dict[str, Any]) -> None:
        train, val, test = (counts[part]["tokens"] for part in PARTS)
        held_out = ((val, self.val_fraction), (test, self.test_fraction))
        if train > self.block_size and all(count or not fraction for count, fraction in held_out):
            return
        least = int((self.block_size + 1) / (1 - self.val_fraction - self.test_fraction)) + 1
        raise UserError(
            f"{title} is too short: its {sum(counts[part]['characters'] for part in PARTS):,} characters are "
            f"{train:,} tokens to train on, {val:,} to validate on and {test:,} to test on. "
            f"data.block_size={self.block_size} needs at least {self.block_size + 1:,} to train on and one in each "
            f"other part, about {least:,} in all. Name a longer text or a smaller data.block_size."
        )

    def _say(self, title: str, counts: dict[str, Any]) -> None:
        _logger.info(
            "%s: %d characters; %d tokens to train on, %d for validation, %d for the test, %d different ones",
            title,
            sum(counts[part]["characters"] for part in PARTS),
            *(counts[part]["tokens"] for part in PARTS),
            self.tokenizer.vocab_size,
        )
        for part in PARTS:
            unknown = counts[part].get("unknown", 0)
            if unknown:
                share = 100 * unknown / counts[part]["tokens"]
                _logger.warning(
                    "%d of the %s tokens (%.1f %%) are not in the vocabulary", unknown, _SPOKEN[part], share
                )

    def _changes(self, title: str, scanned: Scan) -> str:
        old = {source["name"]: source for source in self.preprocessing["sources"]}
        new = {source["name"]: source for source in scanned.sources}
        found = [f"{name} is gone" for name in old if name not in new]
        found += [f"{name} is new" for name in new if name not in old]
        for name, source in new.items():
            if name in old and old[name]["sha256"] != source["sha256"]:
                sizes = f"{old[name]['bytes']:,} bytes then, {source['bytes']:,} now"
                found.append(f"{name} is another one ({sizes})")
        then = self.preprocessing.get("origin", {})
        found += [
            f"it was made by {name} {then[name]}, and this is {value}"
            for name, value in self.origin().items()
            if then.get(name, value) != value
        ]
        reasons = some_of(found, 5, "; ") or "its files have another order"
        return (
            f"{title} is not the text the run was trained on: {reasons}. "
            "Put the old text back to go on; a new run takes the new text: nnkit train"
        )


def _ends(scanned: Scan, options: dict[str, Any]) -> PartEnds:
    """Cut by position, in characters."""
    length = scanned.num_characters
    num_test = round(length * options["test_fraction"])
    num_val = round(length * options["val_fraction"])
    return PartEnds(length - num_val - num_test, length - num_test, length)
