"""The encoding of a text file: found out, and its bytes as UTF-8."""

import codecs
import io
import re
from pathlib import Path
from typing import IO, NamedTuple

from nnkit.data.reading.user_files import open_bytes
from nnkit.errors import UserError

_BLOCK = 1 << 20
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Bytes that begin and end a character of GB2312, and those that begin one of its 3,755 usual characters or a sign.
_GB2312 = range(0xA1, 0xFF)
_USUAL = {*range(0xA1, 0xA4), *range(0xB0, 0xD8)}
_LEAST_USUAL = 0.8


class Encoding(NamedTuple):
    """How the bytes of a file are text.

    Attributes:
        name: A codec of Python.
        is_guess: Whether another encoding would fit as well, so that it is to be said.
        example: A piece of text that another encoding would read in another way; "" if there is none.
    """

    name: str
    is_guess: bool = False
    example: str = ""


def find_encoding(path: Path) -> Encoding:
    """Find out a file's encoding from all of its bytes: the first letter that is not ASCII may stand anywhere.

    A byte order mark decides; else what is valid UTF-8 is UTF-8. Of the rest, what is valid GB18030 and holds mostly
    usual Chinese characters is GB18030, which contains GBK and GB2312; else it is Windows-1252, which contains Latin-1.

    Raises:
        UserError: If the file holds zero bytes, so that it is no text.
    """
    with open_bytes(path) as file:
        block = file.read(_BLOCK)
        for mark, name in _MARKS.items():
            if block.startswith(mark):
                return Encoding(name)
        decoder = codecs.getincrementaldecoder("utf-8")()
        while block:
            if b"\0" in block:
                raise UserError(
                    f"{path} is no text file: it holds zero bytes (UTF-16 without a byte order mark is read with "
                    "data.encoding=utf-16-le)"
                )
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                return _not_utf8(path)
            block = file.read(_BLOCK)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return _not_utf8(path)
    return Encoding("utf-8")


def encoding_unless_plain(path: Path, given: str | None) -> str | None:
    """Return the codec of a run's own files for another file, None where that one is plainly in a codec of its own."""
    if given is None:
        return None
    try:
        return given if find_encoding(path).is_guess else None
    except UserError:
        return given


def _not_utf8(path: Path) -> Encoding:
    for name in ("gb18030", "cp1252"):
        decoder = codecs.getincrementaldecoder(name)()
        example, usual, foreign = "", 0, 0
        try:
            with open_bytes(path) as file:
                while block := file.read(_BLOCK):
                    if b"\0" in block:
                        raise UserError(f"{path} is no text file: it holds zero bytes")
                    text = decoder.decode(block)
                    example = example or _first_foreign(text)
                    if name == "gb18030":
                        counts = _count_usual(block)
                        usual, foreign = usual + counts[0], foreign + counts[1]
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            continue
        if name == "cp1252" or usual > _LEAST_USUAL * foreign:
            return Encoding(name, True, example)
    with open_bytes(path) as file:
        return Encoding("latin-1", True, _first_foreign(file.read(_BLOCK).decode("latin-1")))


def _count_usual(block: bytes) -> tuple[int, int]:
    """Return how many bytes above ASCII belong to usual characters of GB2312, and how many there are."""
    usual = place = 0
    foreign = sum(byte > 0x7F for byte in block[:100_000])
    block = block[:100_000]
    while place < len(block) - 1:
        if block[place] < 0x80:
            place += 1
            continue
        if block[place] in _USUAL and block[place + 1] in _GB2312:
            usual += 2
        place += 2
    return usual, foreign


def _first_foreign(text: str) -> str:
    """Return the first letters that are not ASCII, with some of what stands around them in their line."""
    found = re.search(r"[^\r\n]{0,12}[^\x00-\x7f][^\r\n]{0,12}", text)
    return found[0] if found else ""


def to_text(data: bytes, encoding: str) -> str:
    """Return bytes as text; a UserError names the first byte that is not in the encoding."""
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(
            f"byte {error.start + 1} (0x{data[error.start]:02x}) is not in the encoding {encoding}"
        ) from error


class Utf8Stream(io.RawIOBase):
    """The bytes of a text file as UTF-8, without a byte order mark; counts what tells how its rows are quoted.

    Args:
        path: The file, plain or .gz; messages name it.
        file: The file, opened.
        encoding: Its codec.

    Attributes:
        num_lines: Line ends read so far.
        num_quotes: Double quotes read so far.

    Raises:
        UserError: While reading, if the bytes are not in the encoding.
    """

    def __init__(self, path: Path, file: IO[bytes], encoding: str) -> None:
        self._path = path
        self._file = file
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._is_first = True
        self.num_lines = 0
        self.num_quotes = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return about as many bytes as asked for, none at the end."""
        data = self._file.read(-1 if size is None else size)
        utf8 = self._as_utf8(data)
        while data and not utf8:
            # A part of a character only: an empty answer would mean the end.
            data = self._file.read(_BLOCK)
            utf8 = self._as_utf8(data)
        self.num_lines += utf8.count(b"\n") or utf8.count(b"\r")
        self.num_quotes += utf8.count(b'"')
        return utf8

    def read_all(self) -> str:
        """Return what is left as text."""
        return b"".join(iter(lambda: self.read(_BLOCK), b"")).decode(errors="replace")

    def _as_utf8(self, data: bytes) -> bytes:
        if self._encoding != "utf-8":
            try:
                data = self._decoder.decode(data, final=not data).encode()
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{self._path} is not in the encoding {self._encoding}: {error.reason} after line "
                    f"{self.num_lines:,}"
                ) from error
        if self._is_first and data:
            data = data.removeprefix(codecs.BOM_UTF8)
            self._is_first = False
        return data
