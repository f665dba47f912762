"""Reading long text piece by piece: decoded, measured, cut between words, with a bar when it takes a while."""

import codecs
import gzip
import hashlib
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from nnkit.data.download.fetch import console
from nnkit.data.tokenizing import cut_before
from nnkit.errors import EnvironmentFault, UserError

Advance = Callable[[int], None]

_BLOCK = 1 << 20
# A stretch without white space that is longer is cut anywhere, so that memory stays bounded.
_LONGEST_WORD = 1 << 22
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


def read_text(
    path: Path, encoding: str | None = None, measure: Measure | None = None, advance: Advance = _ignore
) -> Iterator[str]:
    """Read a file in pieces of about a million characters; a byte order mark is left out.

    Args:
        path: The file; gzip is recognised by its first bytes.
        encoding: Its codec; None: UTF-8.
        measure: Is shown the bytes.
        advance: Is told how many bytes of the file were read.

    Raises:
        UserError: If there is no such file, its bytes are no text in this encoding (file, line and byte are named), or
            it is damaged as gzip.
        EnvironmentFault: If it cannot be read.
    """
    decoder = codecs.getincrementaldecoder(encoding or "utf-8-sig")()
    measure = measure or Measure()
    line, told = 1, 0
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            file = gzip.GzipFile(fileobj=raw) if packed else raw
            while content := file.read(_BLOCK):
                measure.update(content)
                text = decoder.decode(content)
                if text:
                    yield text
                line += text.count("\n")
                advance(raw.tell() - told)
                told = raw.tell()
            if text := decoder.decode(b"", final=True):
                yield text
    except UnicodeDecodeError as error:
        raise UserError(_broken(path, encoding, error, measure.num_bytes, line)) from error
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UserError(f"there is no file {path}") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} is damaged as gzip: {error}") from error
    except OSError as error:
        raise EnvironmentFault(f"{path} cannot be read: {error.strerror or error}") from error


def _broken(path: Path, encoding: str | None, error: UnicodeDecodeError, num_bytes: int, line: int) -> str:
    # What the decoder was looking at are the last bytes read.
    place = num_bytes - len(error.object) + error.start
    line += error.object[: error.start].count(b"\n")
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
        measures: One for each file, shown its bytes.
        advance: Is told how many bytes were read.
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
    """Show on a terminal how far reading a text has come, once it takes more than a second.

    Args:
        title: What is done with the text.
        corpus: The text.

    Yields:
        A function to be told how many bytes of its files were read.
    """
    with ExitStack() as stack:
        bar = _Bar(title, sum(source.path.stat().st_size for source in corpus.sources), stack)
        yield bar.advance


class _Bar:
    def __init__(self, title: str, total: int, stack: ExitStack) -> None:
        self._title, self._total, self._stack = title, total, stack
        self._begun, self._done = time.monotonic(), 0
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def advance(self, num_bytes: int) -> None:
        self._done += num_bytes
        if self._progress is None and console.is_terminal and time.monotonic() - self._begun > _PATIENCE:
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            self._progress = self._stack.enter_context(Progress(*columns, console=console, transient=True))
            self._task = self._progress.add_task(self._title, total=self._total)
        if self._progress is not None:
            self._progress.update(self._task, completed=self._done)
