"""Tiny Shakespeare: a million characters of his plays, the usual first text of language models."""

from pathlib import Path

from nnkit.data.cache import cache_dir, explained, locked, replacing
from nnkit.data.download.sources import DataFile, Published, collect, read_content, verified
from nnkit.data.text.corpus import Corpus, TextSource
from nnkit.data.text.long_text import LongText
from nnkit.data.text.samples import Windows
from nnkit.data.tokenizing import TokenizerKind
from nnkit.errors import EnvironmentFault, UserError
from nnkit.files.paths import expand

_FILE = DataFile(
    "tinyshakespeare.txt", 1_115_394, "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
)


class Shakespeare(LongText):
    """Tiny Shakespeare: 40,000 lines, 1,115,394 characters, 65 different ones.

    Karpathy, "The unreasonable effectiveness of recurrent neural networks", 2015; the plays are in the public domain.

    Args:
        path: A copy of the file, plain or .gz; None: cache, system folders, download.
        verify: Whether `path` must be the published file; False admits another text.
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
        ValueError: If an argument is out of range.
    """

    published = Published(
        title="Tiny Shakespeare",
        folder="shakespeare",
        files=(_FILE,),
        mirrors=(
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        ),
        own="data.path=FILE",
        instead="pydocs",
    )

    def __init__(
        self,
        *,
        path: str | None = None,
        verify: bool = True,
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
        if path is None and not verify:
            raise ValueError("verify can be false only where path names a file")
        self._path = None if path is None else expand(path)
        self._verify = verify

    def corpus(self) -> Corpus:
        """Find the file, or fetch it."""
        path = _fetched(self.published) if self._path is None else self._path
        if self._path is not None and not self._path.is_file():
            raise UserError(f"data.path: there is no file {self._path}")
        if self._path is not None and self._verify:
            _verify(self._path)
        return Corpus(self.published.title, [TextSource(_FILE.name, path)], "utf-8-sig")


def _verify(path: Path) -> None:
    try:
        verified(_FILE, read_content(path, _FILE.size))
    except ValueError as error:
        raise UserError(
            f"{path} is not the published file: {error}. data.verify=false admits another text."
        ) from error
    except OSError as error:
        raise EnvironmentFault(f"{path} cannot be read: {error.strerror or error}") from error


def _fetched(published: Published) -> Path:
    """Return the file in the cache, as it is, put there from wherever it was found."""
    home = cache_dir() / published.folder
    path = home / _FILE.name
    with locked(home):
        content = collect(published)[_FILE.name]
        if not path.is_file():
            with explained(path, len(content)), replacing(path) as temporary:
                temporary.write_bytes(content)
    return path
