"""Text files that a user names: a file, a folder, or a list of these."""

import codecs
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from nnkit.data.text.text_reading import Corpus, TextSource
from nnkit.errors import UserError
from nnkit.files.paths import expand

_ENDINGS = (".txt", ".md", ".txt.gz", ".md.gz")


def named_texts(paths: Sequence[str], encoding: str | None) -> Corpus:
    """List the files of a text: those named, and all .txt and .md files below folders, in the order of their names.

    Args:
        paths: Files and folders.
        encoding: The files' codec; None: UTF-8.

    Raises:
        UserError: If one does not exist, or holds no such file.
    """
    sources = [source for path in paths for source in _listed(expand(path))]
    title = paths[0] if len(paths) == 1 else f"the text of {len(paths)} paths"
    return Corpus(title, sources, encoding)


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


def check_encoding(encoding: str) -> None:
    """Refuse a codec that does not turn text into bytes, or cannot read piece by piece.

    Raises:
        ValueError: If Python has none of that name that does.
    """
    try:
        "".encode(encoding)
        codecs.getincrementaldecoder(encoding)
    except LookupError as error:
        raise ValueError(f"encoding must be a codec of Python such as latin-1, not {encoding!r}") from error
