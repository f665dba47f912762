"""Text files of the user's, for language models."""

from collections.abc import Sequence

from nnkit.data.text.chunks import Windows
from nnkit.data.text.long_text import LongText
from nnkit.data.text.text_paths import check_encoding, named_texts
from nnkit.data.text.text_reading import Corpus
from nnkit.data.tokenizing import TokenizerKind


class TextFile(LongText):
    """A file, a folder (all .txt and .md files below it, in the order of their names), or a list of these.

    Files may be plain or .gz; each begins on a line of its own. Links that lead out of a folder are not followed.

    Args:
        path: The file, folder, or list of them.
        encoding: The files' codec; None: UTF-8.
        tokenizer: As in `LongText`, like the rest.
        max_vocab: As in `LongText`.
        block_size: As in `LongText`.
        windows: As in `LongText`.
        val_fraction: As in `LongText`.
        test_fraction: As in `LongText`.
        eval_block_size: As in `LongText`.
        batch_size: As in `LongText`.
        eval_batch_size: As in `LongText`.
        num_workers: As in `LongText`.
        seed: As in `LongText`.

    Raises:
        ValueError: If no path is given or an argument is out of range.
    """

    def __init__(
        self,
        *,
        path: str | Sequence[str] | None = None,
        encoding: str | None = None,
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
            tokenizer=tokenizer,
            max_vocab=max_vocab,
            block_size=block_size,
            windows=windows,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            eval_block_size=eval_block_size,
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

    def corpus(self) -> Corpus:
        """List the files."""
        return named_texts(self._paths, self._codec)

    def _encoding(self) -> str | None:
        return self._codec
