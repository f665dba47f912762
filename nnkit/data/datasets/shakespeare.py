"""Tiny Shakespeare: a million characters of his plays, the usual first text of language models."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from nnkit.data.cache import cache_dir, explained, locked, replacing
from nnkit.data.download.sources import DataFile, Published, collect, own_copy
from nnkit.data.text.corpus import Corpus, TextSource
from nnkit.data.text.long_text import LongText
from nnkit.errors import UserError
from nnkit.files.paths import expand

_FILE = DataFile(
    "tinyshakespeare.txt", 1_115_394, "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
)


@dataclass(kw_only=True, eq=False)
class Shakespeare(LongText):
    """Tiny Shakespeare: 40,000 lines, 1,115,394 characters, 65 different ones.

    Karpathy, "The unreasonable effectiveness of recurrent neural networks", 2015; the plays are in the public domain.

    Attributes:
        path: A copy of the file, plain or .gz; None: cache, system folders, download.
        verify: Whether `path` must be the published file; False admits another text.

    Raises:
        ValueError: If an option is out of range.
    """

    path: str | None = None
    verify: bool = True

    published: ClassVar[Published] = Published(
        title="Tiny Shakespeare",
        folder="shakespeare",
        files=(_FILE,),
        mirrors=(
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        ),
        own="data.path=FILE",
        instead="pydocs",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path is None and not self.verify:
            raise ValueError("verify can be false only where path names a file")

    def corpus(self) -> Corpus:
        """Find the file, or fetch it."""
        path = _fetched(self.published) if self.path is None else expand(self.path)
        if not path.is_file():
            raise UserError(f"data.path: there is no file {path}")
        if self.path is not None and self.verify:
            own_copy(_FILE, path)
        return Corpus(self.published.title, [TextSource(_FILE.name, path)], "utf-8-sig")


def _fetched(published: Published) -> Path:
    """Return the file in the cache, as it is, put there from wherever it was found."""
    content = collect(published)[_FILE.name]
    home = cache_dir() / published.folder
    path = home / _FILE.name
    with locked(home):
        if not path.is_file():
            with explained(path, len(content)), replacing(path) as temporary:
                temporary.write_bytes(content)
    return path
