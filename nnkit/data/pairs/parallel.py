"""Lines that correspond: two parallel files, or one with a tab between a source and its target."""

import logging
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from nnkit.data.text.items import decoded_lines
from nnkit.errors import UserError
from nnkit.suggest import some_of

_logger = logging.getLogger("nnkit")

_LISTED = 5


class TwoSides(NamedTuple):
    """Pairs as two lists of the same length.

    Attributes:
        sources: The sources, blanks at both ends removed; none is empty.
        targets: Their targets, likewise.
        rows: Which of the rows that were read these are, counted from 0.
    """

    sources: list[str]
    targets: list[str]
    rows: list[int]


def read_columns(path: Path, encoding: str | None, report: bool) -> TwoSides:
    """Read a file with a source, a tab and its target on each line, plain or .gz; further columns are not read.

    All other signs are letters, quotes among them.

    Args:
        path: An existing file.
        encoding: Its codec; None: found out.
        report: Whether to log what is not read.

    Raises:
        UserError: If a line has another number of columns, or the file is not in the encoding.
    """
    width = 0

    def pairs() -> Iterator[tuple[str, str]]:
        nonlocal width
        for number, line in enumerate(decoded_lines(path, encoding, report), 1):
            if not line.strip():
                yield "", ""
                continue
            fields = line.split("\t")
            width = width or len(fields)
            if len(fields) < 2:
                raise UserError(
                    f"{path}, line {number}: no tab in {line[:40]!r}; a source, a tab and its target were expected on "
                    "each line. Two files whose lines correspond: data.path=FILE data.target_path=FILE"
                )
            if len(fields) != width:
                raise UserError(
                    f"{path}, line {number}: {len(fields)} columns between tabs, the first line has {width}"
                )
            yield fields[0], fields[1]

    sides = complete(str(path), pairs(), report)
    if width > 2 and report:
        _logger.warning(
            "%s has %d columns: the first is read, the second written, others are left", path, width
        )
    return sides


def read_parallel(
    source_path: Path, target_path: Path, report: bool, encoding: str | None = None
) -> TwoSides:
    """Read two files, plain or .gz, whose lines correspond.

    Args:
        source_path: An existing file of sources, one on each line.
        target_path: An existing file of their targets.
        report: Whether to log what is left out.
        encoding: Their codec; None: found out for each.

    Raises:
        UserError: If they have different numbers of lines, or one is not in the encoding.
    """
    counts, paths = [0, 0], (source_path, target_path)

    def pairs() -> Iterator[tuple[str | None, str | None]]:
        for source, target in zip_longest(*(decoded_lines(path, encoding, report) for path in paths)):
            for side, line in enumerate((source, target)):
                counts[side] += line is not None
            yield source, target

    title = f"{source_path} and {target_path}"
    sides = complete(title, pairs(), report)
    if counts[0] != counts[1]:
        raise UserError(
            f"{source_path} has {counts[0]:,} lines, {target_path} has {counts[1]:,}: the same lines of both must "
            "belong together, so they must have as many"
        )
    return sides


def complete(
    title: str, pairs: Iterable[tuple[str | None, str | None]], report: bool, noun: str = "lines"
) -> TwoSides:
    """Leave out pairs with an empty side, blanks at both ends of the others removed.

    Args:
        title: What messages call the pairs.
        pairs: The pairs, None for a missing side.
        report: Whether to log what is left out.
        noun: What they are called: lines or rows.
    """
    sides, empty, number = TwoSides([], [], []), list[int](), 0
    for number, texts in enumerate(pairs, 1):
        source, target = ((text or "").strip() for text in texts)
        if source and target:
            sides.sources.append(source)
            sides.targets.append(target)
            sides.rows.append(number - 1)
        else:
            empty.append(number)
    if empty and report:
        _logger.warning(
            "%s: %s of %s %s have an empty side and are left out: %s %s",
            *(
                title,
                f"{len(empty):,}",
                f"{number:,}",
                noun,
                noun if len(empty) > 1 else noun.removesuffix("s"),
                some_of(empty, _LISTED),
            ),
        )
    return sides
