"""Files of pairs of texts: two columns, or two files of which the same lines belong together."""

import logging
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from nnkit.data.reading.delimited import num_fields
from nnkit.data.reading.user_files import open_bytes
from nnkit.errors import UserError

_logger = logging.getLogger("nnkit")

# A few packed bytes may unpack to a line of gigabytes.
_MAX_LINE = 10_000_000
_LISTED = 5


class TwoSides(NamedTuple):
    """Pairs as two lists of the same length.

    Attributes:
        sources: The texts that are read, blanks at both ends removed; none is empty.
        targets: The texts that are written from them, likewise.
    """

    sources: list[str]
    targets: list[str]


def read_columns(path: Path, say: bool) -> TwoSides:
    """Read a file with a source, a tab and its target on each line, plain or .gz; further columns are not read.

    Args:
        path: An existing file.
        say: Whether to log what is not read.

    Raises:
        UserError: If a line has another number of columns, is not UTF-8, or no pair is left.
    """
    width = 0

    def pairs() -> Iterator[tuple[str, str]]:
        nonlocal width
        for number, line in enumerate(_lines(path), 1):
            if not line.strip():
                yield "", ""
                continue
            fields = line.split("\t")
            width = width or len(fields)
            if len(fields) < 2:
                raise UserError(
                    f"{path}, line {number}: no tab in {line[:40]!r}; a source, a tab and its target were expected on "
                    "each line. Two files of which the same lines belong together: data.path=FILE data.target_path=FILE"
                )
            if len(fields) != width:
                raise UserError(
                    f"{path}, line {number}: {num_fields(len(fields))} between tabs, the first line has {width}"
                )
            yield fields[0], fields[1]

    sides = _complete(str(path), pairs(), say)
    if width > 2 and say:
        _logger.warning(
            "%s has %d columns: the first is read, the second written, others are left", path, width
        )
    return sides


def read_parallel(source_path: Path, target_path: Path, say: bool) -> TwoSides:
    """Read two files, plain or .gz, of which the same lines belong together.

    Args:
        source_path: An existing file of sources, one on each line.
        target_path: An existing file of their targets.
        say: Whether to log what is left out.

    Raises:
        UserError: If they have different numbers of lines, are not UTF-8, or no pair is left.
    """
    counts = [0, 0]

    def pairs() -> Iterator[tuple[str, str]]:
        for lines in zip_longest(_lines(source_path), _lines(target_path)):
            for side, line in enumerate(lines):
                counts[side] += line is not None
            if None not in lines:
                yield lines

    title = f"{source_path} and {target_path}"
    sides = _complete(title, pairs(), say)
    if counts[0] != counts[1]:
        raise UserError(
            f"{source_path} has {counts[0]:,} lines, {target_path} has {counts[1]:,}: the same lines of both must "
            "belong together, so they must have as many"
        )
    return sides


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines, cut at line feeds alone, as other programs count them; a carriage return at the end goes."""
    with open_bytes(path) as file:
        number = 0
        while line := file.readline(_MAX_LINE):
            number += 1
            if len(line) == _MAX_LINE:
                raise UserError(f"{path}, line {number}: a line of more than {_MAX_LINE:,} bytes")
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}, line {number}: byte {error.start + 1} (0x{line[error.start]:02x}) is not UTF-8; save the "
                    f"file as UTF-8, for example with: iconv -f latin1 -t utf-8 {path.name}"
                ) from error


def _complete(title: str, pairs: Iterable[tuple[str, str]], say: bool) -> TwoSides:
    """Leave out pairs with an empty side."""
    sides = TwoSides([], [])
    empty = []
    number = 0
    for number, texts in enumerate(pairs, 1):
        source, target = (text.strip() for text in texts)
        if source and target:
            sides.sources.append(source)
            sides.targets.append(target)
        else:
            empty.append(number)
    if empty and say:
        listed = ", ".join(map(str, empty[:_LISTED])) + (" ..." if len(empty) > _LISTED else "")
        _logger.warning(
            "%s: %s of %s lines have an empty side and are left out: line%s %s",
            *(title, f"{len(empty):,}", f"{number:,}", "s" if len(empty) > 1 else "", listed),
        )
    return sides
