"""Text files of the user's, for language models."""

import codecs
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from nnkit.data.long_text import LongText
from nnkit.data.stretches import Windows
from nnkit.data.text_reading import Corpus, TextSource
from nnkit.data.tokenizers import TokenizerKind
from nnkit.errors import UserError

_ENDINGS = (".txt", ".md", ".txt.gz", ".md.gz")


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
            _check_encoding(encoding)
        self._paths = [path] if isinstance(path, str) else list(path)
        self._codec = encoding

    def corpus(self) -> Corpus:
        """List the files."""
        sources = [source for path in self._paths for source in _listed(Path(path).expanduser())]
        title = self._paths[0] if len(self._paths) == 1 else f"the text of {len(self._paths)} paths"
        return Corpus(title, sources, self._codec)

    def _encoding(self) -> str | None:
        return self._codec


def _listed(path: Path) -> Iterator[TextSource]:
    if path.is_file():
        yield TextSource(path.name, path)
        return
    if not path.is_dir():
        raise UserError(f"data.path: there is no file or folder {path}")
    home = path.resolve()
    found = sorted(
        (file.relative_to(path).as_posix(), file)
        for folder, _, names in os.walk(path)
        for file in (Path(folder) / name for name in names if name.lower().endswith(_ENDINGS))
        if file.is_file() and file.resolve().is_relative_to(home)
    )
    if not found:
        raise UserError(f"data.path: {path} holds no {', '.join(_ENDINGS)} file")
    yield from (TextSource(f"{path.name}/{name}", file) for name, file in found)


def _check_encoding(encoding: str) -> None:
    try:
        # Refuses codecs that do not turn text into bytes, and those that cannot read piece by piece.
        "".encode(encoding)
        codecs.getincrementaldecoder(encoding)
    except LookupError as error:
        raise ValueError(f"encoding must be a codec of Python such as latin-1, not {encoding!r}") from error
