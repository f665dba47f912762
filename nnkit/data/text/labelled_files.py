"""Files of labelled texts that a user names: CSV, and JSON lines."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from nnkit.data.cache import sha256_of
from nnkit.data.reading.delimited import read_dialect, read_header, unique_names
from nnkit.data.reading.frame import check_dialect, parse_text, rows_below_header
from nnkit.data.reading.user_files import (
    decoded,
    find_file,
    label_of,
    open_bytes,
    read_objects,
    refuse_lines,
    text_of,
)
from nnkit.data.text.labelled_texts import Labelled, LabelledTexts
from nnkit.errors import ConfigError, Problem, UserError
from nnkit.suggest import absent

_logger = logging.getLogger("nnkit")

# Rows that are read at once; the first ones decide which column holds the texts.
_CHUNK = 1000


@dataclass(kw_only=True, eq=False)
class LabelledFile(LabelledTexts):
    """Base of files of labelled texts, whose rows are split at random.

    Attributes:
        path: The file, plain or .gz.
        text: Name of the column of texts; None: that with the longest ones.
        target: Name of the column of labels; None: the last other one.
        val_fraction: Share of the texts held out for validation.
        test_fraction: Share of the texts held out for the test.
        split_seed: Seed of the split; the split does not depend on `seed`.

    Raises:
        ValueError: If no path is given or an option is out of range.
    """

    path: str = ""
    text: str | int | None = None
    target: str | int | None = None
    val_fraction: float = 0.1
    test_fraction: float = 0.1
    split_seed: int = 0

    split_by = ("val_fraction", "test_fraction", "split_seed")
    # What a message asks for, and how its name ends.
    kind: ClassVar[tuple[str, str]]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path:
            raise ValueError(f"path must name {self.kind[0]}: data.path=FILE{self.kind[1]}")


@dataclass(kw_only=True, eq=False)
class TextCSV(LabelledFile):
    """A delimited text file with column names in its first line.

    Attributes:
        delimiter: The character between two fields; None: found out.
        encoding: The file's codec; None: found out.
    """

    delimiter: str | None = None
    encoding: str | None = None

    kind = ("a CSV file", ".csv")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_dialect(self.delimiter, self.encoding)

    def load(self) -> Labelled:
        """Read the file's rows.

        Raises:
            UserError: If it cannot be read or has changed.
            ConfigError: If it lacks a column.
        """
        path = find_file(self.path)
        found = self.unchanged(str(path), sha256_of(path))
        dialect = read_dialect(path, self.delimiter, self.encoding)
        if self.is_new and self.encoding is None and dialect.encoding == "latin-1":
            _warn_of_encoding(path)
        names = unique_names(read_header(path, dialect))
        chunks = rows_below_header(path, dialect, len(names), _CHUNK)
        first = next(chunks, [])
        if not first:
            raise UserError(f"{self.path} holds column names but no rows")
        lengths = [sum(map(len, cells)) / len(first) for cells in zip(*first, strict=True)]
        columns = choose_columns(self.path, names, lengths, self.text, self.target, report=self.is_new)
        text, target = names.index(columns["text"]), names.index(columns["target"])
        texts = [row[text].strip() for row in first]
        labels = [parse_text(row[target]) for row in first]
        for chunk in chunks:
            texts += [row[text].strip() for row in chunk]
            labels += [parse_text(row[target]) for row in chunk]
        return Labelled(self.path, columns, texts, labels, found)


class JSONLines(LabelledFile):
    """A file with a JSON object on each line; its columns are the keys, its labels strings or numbers."""

    kind = ("a file of JSON lines", ".jsonl")

    def load(self) -> Labelled:
        """Read the file's lines.

        Raises:
            UserError: If it cannot be read or has changed, or lines hold no object with a text.
            ConfigError: If none of its lines has the keys.
        """
        path = find_file(self.path)
        found = self.unchanged(str(path), sha256_of(path))
        problems: list[tuple[int, str]] = []
        columns: dict[str, str] | None = None
        texts: list[str] = []
        labels: list[str | None] = []
        for line, record in read_objects(path):
            if isinstance(record, str):
                problems.append((line, record))
                continue
            columns = columns or self._columns(record)
            text, no_text = text_of(record, columns["text"])
            label, no_label = label_of(record, columns["target"])
            texts.append(text)
            labels.append(label)
            if no_text or no_label:
                problems.append((line, " and ".join(filter(None, (no_text, no_label)))))
        refuse_lines(self.path, problems)
        if columns is None:
            raise UserError(f"{self.path} holds nothing but blank lines")
        return Labelled(self.path, columns, texts, labels, found)

    def _columns(self, record: dict[str, object]) -> dict[str, str]:
        """Choose the keys by the first object; the user can name one whose text is short there."""
        lengths = [len(value) if isinstance(value, str) else 0 for value in record.values()]
        return choose_columns(
            self.path, list(record), lengths, self.text, self.target, report=self.is_new, noun="key"
        )


def _warn_of_encoding(path: Path) -> None:
    with open_bytes(path) as file:
        for number, line in enumerate(file, 1):
            try:
                decoded(line)
            except UserError as error:
                sentence = "%s, line %d: %s; the file is read as Latin-1 (data.encoding)"
                _logger.warning(sentence, path, number, error)
                return


def choose_columns(
    path: str,
    names: Sequence[str],
    lengths: Sequence[float],
    text: str | int | None,
    target: str | int | None,
    *,
    report: bool,
    noun: str = "column",
) -> dict[str, str]:
    """Choose the column of the texts and that of the labels.

    Args:
        path: The file, for messages.
        names: Its columns, in their order.
        lengths: Mean length of the texts in each, in characters; 0 where it holds none.
        text: The one with the texts; None: that with the longest.
        target: The one with the labels; None: the last other one.
        report: Whether to log what was chosen.
        noun: What a column is called: "column" or "key".

    Returns:
        The names of "text" and "target".

    Raises:
        ConfigError: If a name that is given is not there, or nothing is left for the other one.
    """
    # A name such as 2020 comes as a number.
    text, target = (None if name is None else str(name) for name in (text, target))
    problems = [
        absent(f"data.{key}", path, name, names, noun=noun)
        for key, name in (("text", text), ("target", target))
        if name is not None and name not in names
    ]
    if not problems and text is not None and text == target:
        problems.append(Problem("data.target", f"{text!r} holds the texts, it cannot be the target as well"))
    if not problems and len(names) < 2:
        found = f"only one {noun}, {names[0]!r}" if names else f"no {noun}s"
        problems.append(
            Problem("data.target", f"{path} has {found}: one of texts and one of labels are needed")
        )
    if problems:
        raise ConfigError(problems)
    if text is None:
        _, text = max((length, name) for length, name in zip(lengths, names, strict=True) if name != target)
        if report:
            _logger.warning("%s: the texts are in %s %r, the longest ones (data.text)", path, noun, text)
    if target is None:
        target = [name for name in names if name != text][-1]
        if report:
            _logger.warning("%s: the target is the last other %s, %r (data.target)", path, noun, target)
    return {"text": text, "target": target}
