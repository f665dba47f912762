"""Text files of the user's as documents of sentences, for BERT."""

from collections.abc import Sequence

from nnkit.data.pairs.documents import DocumentRule, SentenceRule
from nnkit.data.pairs.sentence_pairs import SentencePairs
from nnkit.data.text.text_paths import check_encoding, named_texts
from nnkit.data.text.text_reading import Corpus
from nnkit.data.tokenizing import TokenizerKind


class TextPairsFile(SentencePairs):
    """A file, a folder (all .txt and .md files below it, in the order of their names), or a list of these.

    Args:
        path: The file, folder, or list of them; plain or .gz.
        encoding: The files' codec; None: UTF-8.
        documents: Whether a document ends at "blank_lines", as in the files of BERT's own code, or with its file
            ("files").
        sentences: Whether each of the "lines" is a sentence, as there, or "punctuation" ends one.
        tokenizer: As in `SentencePairs`, like the rest.
        max_vocab: As in `SentencePairs`.
        max_length: As in `SentencePairs`.
        val_fraction: As in `SentencePairs`.
        test_fraction: As in `SentencePairs`.
        split_seed: As in `SentencePairs`.
        batch_size: As in `SentencePairs`.
        eval_batch_size: As in `SentencePairs`.
        num_workers: As in `SentencePairs`.
        seed: As in `SentencePairs`.

    Raises:
        ValueError: If no path is given or an argument is out of range.
    """

    def __init__(
        self,
        *,
        path: str | Sequence[str] | None = None,
        encoding: str | None = None,
        documents: DocumentRule = "blank_lines",
        sentences: SentenceRule = "lines",
        tokenizer: TokenizerKind = "wordpiece",
        max_vocab: int | None = None,
        max_length: int = 128,
        val_fraction: float = 0.05,
        test_fraction: float = 0.05,
        split_seed: int = 0,
        batch_size: int = 32,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            tokenizer=tokenizer,
            max_vocab=max_vocab,
            max_length=max_length,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        if not path:
            raise ValueError("path must name a text file or a folder: data.path=FILE.txt")
        if encoding is not None:
            check_encoding(encoding)
        self._paths = [path] if isinstance(path, str) else list(path)
        self._codec = encoding
        self.documents, self.sentences = documents, sentences

    def corpus(self) -> Corpus:
        """List the files."""
        return named_texts(self._paths, self._codec)
