"""What data made of the files of a text share: the files, and that they are those that a run was prepared with."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nnkit.data.base import DataModule
from nnkit.data.text.corpus import Corpus, check_named, named_texts
from nnkit.data.text.token_cache import Scan, changes, scan
from nnkit.data.tokenizing import TokenizerKind


@dataclass(kw_only=True, eq=False)
class CorpusData(DataModule):
    """Base of data whose samples are cut from the files of a text, tokens in the cache.

    As logits are large, an evaluation batch is as large as a training batch by default.

    Attributes:
        tokenizer: characters, bytes, words, bpe or wordpiece.
        max_vocab: Tokens at most, special ones included; None: every character, 20,000 words, 4,096 of bpe and
            wordpiece.
        val_fraction: Share of the text held out for validation; 0: none.
        test_fraction: Share of the text held out for the test; 0: none.
    """

    tokenizer: TokenizerKind = "characters"
    max_vocab: int | None = None
    val_fraction: float = 0.05
    test_fraction: float = 0.05
    batch_size: int = 32

    fact_names = ("vocab_size",)
    inherited = ("tokenizer",)
    is_checked = True
    least_eval_batch = 1

    @abstractmethod
    def corpus(self) -> Corpus:
        """Find or make the files of the text; called again for each verb, so what is made is kept in the cache.

        Raises:
            UserError: If the user named files that cannot be used.
            EnvironmentFault: If they cannot be had.
        """

    def scanned(self) -> tuple[Corpus, Scan]:
        """Return the text and what `scan` returns for it.

        Raises:
            UserError: If it is another one than that which the run was prepared with.
        """
        corpus = self.corpus()
        scanned = scan(corpus)
        reasons = changes(scanned, self.preprocessing.get("sources", scanned.sources))
        self.unchanged(corpus.title, scanned.fingerprint, reasons)
        return corpus, scanned

    def sources_of(self, scanned: Scan) -> dict[str, Any]:
        """Return what a run saves of the files: what made them, their hashes, and one over all."""
        origin = {"origin": self.origin()} if self.origin() else {}
        return {**origin, "sources": scanned.sources, "fingerprint": scanned.fingerprint}


@dataclass(kw_only=True, eq=False)
class NamedText:
    """The files of a text that a user names; the first base of a data module, as `FileOptions` is.

    Attributes:
        path: A file, a folder (all .txt and .md files below it, in the order of their names), or a list of these; files
            may be plain or .gz. Links that lead out of a folder are not followed.
        encoding: The files' codec; None: UTF-8.

    Raises:
        ValueError: If no path is given or an option is out of range.
    """

    path: str | Sequence[str] | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        # That of the data module, which stands behind.
        super().__post_init__()  # type: ignore[misc]
        check_named(self.path, self.encoding)

    def corpus(self) -> Corpus:
        """List the files."""
        return named_texts(self.path, self.encoding)
