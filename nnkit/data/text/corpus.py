"""The files of a long text: found, and read piece by piece, with a bar when that takes a while."""

import codecs
import gzip
import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from nnkit.data.download.fetch import console
from nnkit.data.tokenizing import cut_before
from nnkit.errors import EnvironmentFault, UserError
from nnkit.files.paths import expand
from nnkit.ui.consoles import progress_bar

Advance = Callable[[int], None]

_ENDINGS = (".txt", ".md", ".txt.gz", ".md.gz")
_BLOCK = 1 << 20
# A longer text without white space is cut anywhere, so that memory stays bounded.
_LONGEST_WORD = 1 << 22
# Seconds before a bar is shown.
_PATIENCE = 1.0
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class TextSource(NamedTuple):
    """One file of a text.

    Attributes:
        name: What it is called in messages.
        path: Where it lies, plain or gzip.
    """

    name: str
    path: Path


class Corpus(NamedTuple):
    """A text in one or more files, read in their order, each beginning on a line of its own.

    Attributes:
        title: What it is called in messages.
        sources: Its files.
        encoding: Their codec; None: UTF-8, and an error says how to name another one.
    """

    title: str
    sources: Sequence[TextSource]
    encoding: str | None = None


class Measure:
    """SHA-256 and number of the bytes of a file, unpacked, as they are read."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()
        self.num_bytes = 0

    def update(self, content: bytes) -> None:
        """Count the next bytes in."""
        self.sha256.update(content)
        self.num_bytes += len(content)


def _ignore(_: int) -> None:
    pass


def named_texts(paths: str | Sequence[str] | None, encoding: str | None) -> Corpus:
    """List the files of a text: those named, and all .txt and .md files below folders, by name.

    Args:
        paths: Files and folders.
        encoding: The files' codec; None: UTF-8.

    Raises:
        UserError: If one does not exist, or holds no such file.
    """
    paths = [paths] if isinstance(paths, str) else paths or []
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


def check_named(paths: str | Sequence[str] | None, encoding: str | None) -> None:
    """Raise a ValueError if no path is named, or no codec of that name reads bytes as text, piece by piece."""
    if not paths:
        raise ValueError("path must name a text file or a folder: data.path=FILE.txt")
    try:
        "".encode(encoding or "utf-8")
        codecs.getincrementaldecoder(encoding or "utf-8")
    except LookupError as error:
        raise ValueError(f"encoding must be a codec of Python such as latin-1, not {encoding!r}") from error


def read_text(
    path: Path,
    encoding: str | None = None,
    measure: Measure | None = None,
    advance: Advance = _ignore,
    block: int = _BLOCK,
) -> Iterator[str]:
    """Read a file in pieces of about a million characters; a byte order mark is left out.

    Args:
        path: The file; gzip is recognised by its first bytes.
        encoding: Its codec; None: UTF-8.
        measure: Counts the bytes.
        advance: Called with the number of bytes of the file that were read.
        block: Bytes that are read at a time.

    Raises:
        UserError: If there is no such file, its bytes are not text in this encoding (file, line and byte are named),
            or it is damaged as gzip.
        EnvironmentFault: If it cannot be read.
    """
    told = num_bytes = 0

    def note(content: bytes, place: int) -> None:
        nonlocal told, num_bytes
        if measure is not None:
            measure.update(content)
        num_bytes += len(content)
        advance(place - told)
        told = place

    try:
        yield from _decoded(path, encoding, block, note)
    except UnicodeDecodeError as error:
        raise UserError(_broken(path, encoding, error, num_bytes, block)) from error
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UserError(f"there is no file {path}") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} is damaged as gzip: {error}") from error
    except OSError as error:
        raise EnvironmentFault(f"{path} cannot be read: {error.strerror or error}") from error


def _decoded(
    path: Path, encoding: str | None, block: int, note: Callable[[bytes, int], None]
) -> Iterator[str]:
    """Read a file in pieces; `note` is called with the bytes of each, unpacked, and where in the file they end."""
    decoder = codecs.getincrementaldecoder(encoding or "utf-8-sig")()
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file = gzip.GzipFile(fileobj=raw) if packed else raw
        while content := file.read(block):
            note(content, raw.tell())
            if text := decoder.decode(content):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text


def _broken(path: Path, encoding: str | None, error: UnicodeDecodeError, num_bytes: int, block: int) -> str:
    # The bytes that the decoder failed on are the last ones read.
    place = num_bytes - len(error.object) + error.start
    line = 1 + error.object[: error.start].count(b"\n")
    with suppress(UnicodeDecodeError):
        # Counted here alone: of every text that is sound it would be in vain.
        for text in _decoded(path, encoding, block, lambda content, place: None):
            line += text.count("\n")
    found = f"0x{error.object[error.start]:02x}" if error.start < len(error.object) else "its end"
    what = f"{path} is not {encoding or 'UTF-8'}: line {line:,}, byte {place + 1:,} of the file is {found}"
    if encoding is not None:
        return what
    likely = "utf-16" if place == 0 and error.object[:2] in _UTF16 else "latin-1"
    return f"{what}. data.encoding={likely}, or another codec of Python's, reads other encodings."


def read_all(
    corpus: Corpus, measures: Sequence[Measure] | None = None, advance: Advance = _ignore
) -> Iterator[str]:
    """Read the files of a text one after the other, in pieces; the same pieces each time.

    Args:
        corpus: The text.
        measures: One for each file, which counts its bytes.
        advance: Called with the number of bytes that were read.
    """
    last = "\n"
    for number, source in enumerate(corpus.sources):
        begins = True
        for text in read_text(source.path, corpus.encoding, measures[number] if measures else None, advance):
            yield "\n" + text if begins and last != "\n" else text
            begins, last = False, text[-1]


def whole_words(texts: Iterable[str]) -> Iterator[str]:
    """Cut a text that comes in pieces where no word is cut; together the pieces are the text."""
    held = ""
    for text in texts:
        held += text
        place = cut_before(held, len(held))
        if place is None and len(held) > _LONGEST_WORD:
            place = len(held)
        if place:
            yield held[:place]
            held = held[place:]
    if held:
        yield held


@contextmanager
def shown(title: str, corpus: Corpus) -> Iterator[Advance]:
    """Show a bar of how much of a text has been read, on a terminal, once it takes more than a second.

    Args:
        title: What is done with the text.
        corpus: The text.

    Yields:
        A function to call with the number of bytes of its files that were read.
    """
    total = sum(source.path.stat().st_size for source in corpus.sources)
    with progress_bar(console, title, total, of_bytes=True, patience=_PATIENCE) as advance:
        yield advance
