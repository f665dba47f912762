"""Pairs of texts that a user names: a file with two columns, or two parallel files."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from nnkit.data.cache import sha256_of
from nnkit.data.download.sources import fingerprint
from nnkit.data.pairs.pair_data import PairData
from nnkit.data.pairs.samples import PairedTexts
from nnkit.data.reading.delimited import num_fields
from nnkit.data.reading.user_files import decoded, find_file, numbered_lines, open_bytes
from nnkit.errors import UserError
from nnkit.suggest import some_of

_logger = logging.getLogger("nnkit")

_LISTED = 5


@dataclass(kw_only=True, eq=False)
class TextPairs(PairData):
    """Lines with a source, a tab and its target, or two files whose lines correspond; plain or .gz.

    The pairs are split at random; those with the same source are in the same split.

    Attributes:
        path: The file with both columns, or that of the sources.
        target_path: The file of the targets; None: they are in the second column of `path`.
        val_fraction: Share of the pairs held out for validation.
        test_fraction: Share of the pairs held out for the test.
        split_seed: Seed of the split; the split does not depend on `seed`.

    Raises:
        ValueError: If no path is given or an option is out of range.
    """

    path: str | None = None
    target_path: str | None = None
    val_fraction: float = 0.1
    test_fraction: float = 0.1
    split_seed: int = 0

    split_by = ("val_fraction", "test_fraction", "split_seed")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path:
            raise ValueError(
                "path must name a file with a source, a tab and its target on each line: data.path=FILE.tsv"
            )

    def load(self) -> PairedTexts:
        """Read the pairs.

        Raises:
            UserError: If a file cannot be read or has changed.
        """
        paths = [find_file(path) for path in (self.path, self.target_path) if path is not None]
        title = " and ".join(map(str, paths))
        hashes = [sha256_of(path) for path in paths]
        found = self.unchanged(title, fingerprint(hashes) if len(hashes) > 1 else hashes[0])
        if len(paths) == 1:
            sides = read_columns(paths[0], self.is_new)
        else:
            sides = read_parallel(paths[0], paths[1], self.is_new)
        if not sides.sources:
            raise UserError(f"{title}: there is no line with a source and a target")
        return PairedTexts(title, sides.sources, [(text,) for text in sides.targets], found)


class TwoSides(NamedTuple):
    """Pairs as two lists of the same length.

    Attributes:
        sources: The sources, blanks at both ends removed; none is empty.
        targets: Their targets, likewise.
    """

    sources: list[str]
    targets: list[str]


def read_columns(path: Path, report: bool) -> TwoSides:
    """Read a file with a source, a tab and its target on each line, plain or .gz; further columns are not read.

    Args:
        path: An existing file.
        report: Whether to log what is not read.

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
                    "each line. Two files whose lines correspond: data.path=FILE data.target_path=FILE"
                )
            if len(fields) != width:
                raise UserError(
                    f"{path}, line {number}: {num_fields(len(fields))} between tabs, the first line has {width}"
                )
            yield fields[0], fields[1]

    sides = _complete(str(path), pairs(), report)
    if width > 2 and report:
        _logger.warning(
            "%s has %d columns: the first is read, the second written, others are left", path, width
        )
    return sides


def read_parallel(source_path: Path, target_path: Path, report: bool) -> TwoSides:
    """Read two files, plain or .gz, whose lines correspond.

    Args:
        source_path: An existing file of sources, one on each line.
        target_path: An existing file of their targets.
        report: Whether to log what is left out.

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
    sides = _complete(title, pairs(), report)
    if counts[0] != counts[1]:
        raise UserError(
            f"{source_path} has {counts[0]:,} lines, {target_path} has {counts[1]:,}: the same lines of both must "
            "belong together, so they must have as many"
        )
    return sides


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines, cut at line feeds alone, as other programs count them; a carriage return at the end goes."""
    with open_bytes(path) as file:
        for number, line in numbered_lines(path, file):
            try:
                yield decoded(line).rstrip("\r\n")
            except UserError as error:
                raise UserError(
                    f"{path}, line {number}: {error}; save the file as UTF-8, for example with: "
                    f"iconv -f latin1 -t utf-8 {path.name}"
                ) from error


def _complete(title: str, pairs: Iterable[tuple[str, str]], report: bool) -> TwoSides:
    """Leave out pairs with an empty side."""
    sides, empty, number = TwoSides([], []), list[int](), 0
    for number, texts in enumerate(pairs, 1):
        source, target = (text.strip() for text in texts)
        if source and target:
            sides.sources.append(source)
            sides.targets.append(target)
        else:
            empty.append(number)
    if empty and report:
        _logger.warning(
            "%s: %s of %s lines have an empty side and are left out: line%s %s",
            *(
                title,
                f"{len(empty):,}",
                f"{number:,}",
                "s" if len(empty) > 1 else "",
                some_of(empty, _LISTED),
            ),
        )
    return sides
