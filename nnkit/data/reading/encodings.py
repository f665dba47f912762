"""The encoding of a text file: found out, and its bytes as UTF-8."""

import codecs
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

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
# A character of two bytes, in the group if it is one of the 3,755 usual ones of GB2312 or a sign.
_CHARACTER = re.compile(rb"([\xa1-\xa3\xb0-\xd7][\xa1-\xfe])|[\x80-\xff].", re.DOTALL)
_LEAST_USUAL = 0.8
_COUNTED = 100_000


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
        beginning = file.read(4)
    for mark, name in _MARKS.items():
        if beginning.startswith(mark):
            return Encoding(name)
    for name in ("utf-8", "gb18030", "cp1252", "latin-1"):
        example, usual, foreign = "", 0, 0
        try:
            for block, text in _decoded(path, name):
                if name != "utf-8":
                    example = example or _first_foreign(text)
                if name == "gb18030":
                    usual += 2 * sum(map(bool, _CHARACTER.findall(block[:_COUNTED])))
                    foreign += sum(byte > 0x7F for byte in block[:_COUNTED])
        except UnicodeDecodeError:
            continue
        if name != "gb18030" or usual > _LEAST_USUAL * foreign:
            break
    return Encoding(name, name != "utf-8", example)


def _decoded(path: Path, encoding: str) -> Iterator[tuple[bytes, str]]:
    """Yield a file block by block, with what each is as text."""
    decoder = codecs.getincrementaldecoder(encoding)()
    with open_bytes(path) as file:
        while block := file.read(_BLOCK):
            if b"\0" in block:
                # Of letters that ASCII has as well, UTF-16 holds every other byte as zero: the first or the second.
                form = "utf-16-be" if block[::2].count(0) > block[1::2].count(0) else "utf-16-le"
                raise UserError(
                    f"{path} is no text file: it holds zero bytes (UTF-16 without a byte order mark is read with "
                    f"data.encoding={form})"
                )
            yield block, decoder.decode(block)
    decoder.decode(b"", final=True)


def encoding_unless_plain(path: Path, given: str | None) -> str | None:
    """Return the codec of a run's own files for another file, None where that one is plainly in a codec of its own."""
    if given is None:
        return None
    try:
        return given if find_encoding(path).is_guess else None
    except UserError:
        return given


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


def utf8_blocks(path: Path, encoding: str, size: int) -> Iterator[bytes]:
    """Yield the bytes of a text file as UTF-8, without a byte order mark.

    Args:
        path: The file, plain or .gz.
        encoding: Its codec.
        size: About how many bytes to yield at once.

    Raises:
        UserError: If the bytes are not in the encoding.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    num_lines, is_first = 0, True
    with open_bytes(path) as file:
        data = b" "
        while data:
            block = data = file.read(size)
            if encoding != "utf-8":
                try:
                    block = decoder.decode(data, final=not data).encode()
                except UnicodeDecodeError as error:
                    raise UserError(
                        f"{path} is not in the encoding {encoding}: {error.reason} after line {num_lines:,}"
                    ) from error
                num_lines += block.count(b"\n") or block.count(b"\r")
            if is_first:
                block, is_first = block.removeprefix(codecs.BOM_UTF8), False
            if block:
                yield block


class ByteStream(io.RawIOBase):
    """Blocks of bytes as a file that pyarrow reads; counts what tells how its rows are quoted.

    Args:
        blocks: The blocks, none of them empty; their sizes are taken as they are.

    Attributes:
        num_lines: Line ends read so far.
        num_quotes: Double quotes read so far.
    """

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self.num_lines = 0
        self.num_quotes = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return the next block, nothing at the end."""
        block = next(self._blocks, b"")
        self.num_lines += block.count(b"\n") or block.count(b"\r")
        self.num_quotes += block.count(b'"')
        return block


def respaced(data: bytes, delimiter: str) -> bytes:
    """Return whole lines with blanks as pyarrow reads them: none before a quote, and one where they separate cells."""
    if delimiter == " ":
        return re.sub(rb"(?m)^ | (?=\r?$)", b"", re.sub(rb"[ \t]+", b" ", data))
    letter = delimiter.encode()
    return re.sub(re.escape(letter) + rb' +(?=")', letter, data)
