"""Pairs of texts that a user names: a table with two columns, lines with a tab, or two parallel files."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from nnkit.data.base import Split
from nnkit.data.cache import sha256_of
from nnkit.data.download.sources import fingerprint
from nnkit.data.pairs.pair_data import PairData
from nnkit.data.pairs.parallel import complete, read_columns, read_parallel
from nnkit.data.pairs.samples import PairedTexts
from nnkit.data.reading.file_options import TextOptions
from nnkit.data.reading.split_files import SplitFiles, check_columns
from nnkit.data.reading.table_file import TableFile, open_table
from nnkit.data.reading.user_files import find_file
from nnkit.data.splits import settled_by_sizes
from nnkit.data.splitting import SplitKeys, keys_of
from nnkit.data.text.columns import read_cells
from nnkit.data.text.items import TextFiles, decoded_lines, is_table
from nnkit.errors import ConfigError, Problem, UserError

_logger = logging.getLogger("nnkit")

# What columns of both sides are called; only an exact name counts, in any case.
_SOURCES = {"source", "src", "input", "question", "prompt", "instruction", "article", "document"} | {
    "原文",
    "问题",
}
_TARGETS = {"target", "tgt", "output", "answer", "response", "completion", "translation", "summary"} | {
    "译文",
    "回答",
}
# fmt: off
_LANGUAGES = {"ar", "cs", "da", "de", "en", "es", "fi", "fr", "hi", "id", "it", "ja", "ko", "nl", "pl", "pt", "ro",
              "ru", "sv", "th", "tr", "uk", "vi", "zh"}
# fmt: on


@dataclass(kw_only=True, eq=False)
class TextPairs(TextOptions, PairData):
    """A table with columns of sources and targets; lines with a source, a tab and its target; or two parallel files.

    The pairs are split at random; those with the same source are in the same split.

    Attributes:
        target_path: The file of the targets, whose lines correspond; None: they are in a column of `path`.
        source: Column of the sources; None: found out by its name, or the first one.
        target: Column of the targets; None: found out by its name, or the second one.

    Raises:
        ValueError: If no path is given, an option is out of range, or two do not go together.
    """

    target_path: str | None = None
    source: str | int | None = None
    target: str | int | None = None

    split_by = (*TextOptions.split_by, "group", "split_column")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.reading = self.read_options(
            "a table with sources and targets, or a file with a source, a tab and its target on each line: "
            "data.path=FILE.tsv"
        )
        names = (
            *("train_path", "val_path", "test_path", "source", "target", "split_column", "group"),
            *("header", "quotes"),
        )
        given = [name for name in names if getattr(self, name) is not None]
        if self.target_path is not None and given:
            raise ValueError(f"target_path names one of two files of lines, which do not go with {given[0]}")

    def text_files(self) -> TextFiles:
        """Return what is known of the files of texts that a user names."""
        by_place = "columns" not in self.preprocessing
        return replace(
            super().text_files(),
            encoding=self.encoding,
            header=self.header,
            quotes=self.quotes,
            by_place=by_place,
        )

    def load(self) -> PairedTexts:
        """Read the pairs.

        Raises:
            UserError: If a file cannot be read or has changed.
            ConfigError: If it lacks a column, or it is not clear which one is meant.
        """
        found = self._parallel() if self.target_path is not None else self._columns()
        if not found.sources:
            raise UserError(f"{found.title}: there is no line with a source and a target")
        return found

    def _parallel(self) -> PairedTexts:
        paths = [find_file(str(path)) for path in (self.path, self.target_path)]
        title = " and ".join(map(str, paths))
        known = self.unchanged(title, fingerprint(map(sha256_of, paths)))
        sides = read_parallel(paths[0], paths[1], self.is_new, self.encoding)
        return PairedTexts(title, sides.sources, [(text,) for text in sides.targets], known)

    def _columns(self) -> PairedTexts:
        """Read one table, or one for each split."""
        files = self.files_of_splits(self.path)
        title = str(self.path or self.train_path)
        if all(map(self._is_plain, files.values())):
            return self._lines(title, {split: find_file(path) for split, path in files.items()})
        table = SplitFiles.of({split: self._open_table(path) for split, path in files.items()}, title)
        known = self.unchanged(title, table.fingerprint())
        if self.is_new:
            table.say()
        columns = self.preprocessing.get("columns") or self._choose(title, table.names)
        cells = read_cells(table, columns)
        sides = complete(title, zip(cells["source"], cells["target"], strict=True), self.is_new, "rows")
        kept = keys_of(table.split_keys(self.split_options), torch.tensor(sides.rows, dtype=torch.int64))
        return PairedTexts(title, sides.sources, [(text,) for text in sides.targets], known, columns, kept)

    def _lines(self, title: str, paths: dict[Split, Path]) -> PairedTexts:
        """Read lines with a tab, of one file or of one for each split."""
        hashes = [sha256_of(path) for path in paths.values()]
        known = self.unchanged(title, hashes[0] if len(hashes) == 1 else fingerprint(hashes))
        read = {split: read_columns(path, self.encoding, self.is_new) for split, path in paths.items()}
        settled = settled_by_sizes({split: len(sides.sources) for split, sides in read.items()})
        sources = [text for sides in read.values() for text in sides.sources]
        targets = [(text,) for sides in read.values() for text in sides.targets]
        keys = SplitKeys(settled=settled) if len(read) > 1 else SplitKeys()
        return PairedTexts(title, sources, targets, known, split_keys=keys)

    def _is_plain(self, path: str) -> bool:
        """Return whether a file has lines with a tab and no names, as earlier releases read all files."""
        if not self.is_new:
            return "columns" not in self.preprocessing
        names = (self.source, self.target, self.split_column, self.group, self.header, self.delimiter)
        if any(name is not None for name in names) or (is_table(path) and not _has_ending(path, ".tsv")):
            return False
        first = next(decoded_lines(find_file(path), self.encoding, report=False), "")
        return not _has_names(first.split("\t"))

    def _open_table(self, path: str) -> TableFile:
        """Open a table; its first row holds texts unless it holds known names or an option says so."""
        table = open_table(path, self.reading)
        given = {
            str(name)
            for name in (self.source, self.target, self.split_column, self.group)
            if name is not None
        }
        if self.header is not None or given & set(table.names) or _has_names(table.names):
            return table
        return open_table(path, replace(self.reading, header=False))

    def _choose(self, title: str, names: Sequence[str]) -> dict[str, str]:
        given = {"source": self.source, "target": self.target}
        chosen = {key: str(name) for key, name in given.items() if name is not None}
        check_columns(title, names, chosen)
        for key, words in (("source", _SOURCES), ("target", _TARGETS)):
            found = [
                name for name in names if name.strip().casefold() in words and name not in chosen.values()
            ]
            if key not in chosen and len(found) == 1:
                chosen[key] = found[0]
        taken = {*chosen.values(), *map(str, filter(None, (self.split_column, self.group)))}
        free = [name for name in names if name not in taken]
        lacking = [key for key in given if key not in chosen]
        if len(free) < len(lacking) or (lacking and len(free) > 2):
            listed = ", ".join(names[:20])
            raise ConfigError(
                [
                    Problem(
                        f"data.{key}",
                        f"{title}: none or several of its columns may hold the {key}s: {listed}",
                        f"type data.{key}=COLUMN",
                    )
                    for key in lacking
                ]
            )
        chosen |= dict(zip(lacking, free, strict=False))
        if self.is_new and None in given.values():
            sentence = "%s: sources are in column %r, targets in %r (data.source, data.target)"
            _logger.warning(sentence, title, chosen["source"], chosen["target"])
        return {key: chosen[key] for key in given}


def _has_ending(path: str, ending: str) -> bool:
    return path.lower().removesuffix(".gz").endswith(ending)


def _has_names(names: Sequence[str]) -> bool:
    """Return whether cells of a first row are names of columns of pairs: known ones, or codes of languages."""
    words = {name.strip().strip('"').casefold() for name in names}
    return bool(words & (_SOURCES | _TARGETS)) or (len(words) > 1 and words <= _LANGUAGES)
