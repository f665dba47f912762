"""A CSV file of the user's: texts in one column, a label for each in another."""

import logging
from pathlib import Path

from nnkit.data.reading.delimited import read_dialect, read_header, unique_names
from nnkit.data.reading.frame import check_dialect, parse_text, rows_below_header
from nnkit.data.reading.user_files import find_file, open_bytes, unchanged
from nnkit.data.text.labelled import Labelled
from nnkit.data.text.labelled_texts import LabelledTexts
from nnkit.data.text.text_columns import choose_columns
from nnkit.data.tokenizing import TokenizerKind
from nnkit.errors import UserError

_logger = logging.getLogger("nnkit")

# Rows that are read at once; the first ones tell which column holds the texts.
_CHUNK = 1000


class TextCSV(LabelledTexts):
    """A delimited text file with column names in its first line, plain or .gz; the rows are split at random.

    Args:
        path: The file.
        text: Name of the column of texts; default: that with the longest ones.
        target: Name of the column of labels; default: the last other one.
        delimiter: The character between two fields; default: found out.
        encoding: The file's codec; default: found out.
        tokenizer: As in `LabelledTexts`, like the rest.
        max_vocab: As in `LabelledTexts`.
        max_length: As in `LabelledTexts`.
        markers: As in `LabelledTexts`.
        val_fraction: As in `LabelledTexts`.
        test_fraction: As in `LabelledTexts`.
        split_seed: As in `LabelledTexts`.
        batch_size: As in `LabelledTexts`.
        max_tokens: As in `LabelledTexts`.
        eval_batch_size: As in `LabelledTexts`.
        num_workers: As in `LabelledTexts`.
        seed: As in `LabelledTexts`.

    Raises:
        ValueError: If no path is given or an argument is out of range.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        text: str | int | None = None,
        target: str | int | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
        tokenizer: TokenizerKind = "characters",
        max_vocab: int | None = None,
        max_length: int = 256,
        markers: bool = False,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        batch_size: int = 64,
        max_tokens: int | None = None,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            tokenizer=tokenizer,
            max_vocab=max_vocab,
            max_length=max_length,
            markers=markers,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            batch_size=batch_size,
            max_tokens=max_tokens,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        if not path:
            raise ValueError("path must name a CSV file: data.path=FILE.csv")
        check_dialect(delimiter, encoding)
        self.path = path
        # A name such as 2020 comes as a number.
        self.text = None if text is None else str(text)
        self.target = None if target is None else str(target)
        self.delimiter = delimiter
        self.encoding = encoding

    def load(self, expected: str | None) -> Labelled:
        """Read the file's rows.

        Raises:
            UserError: If it cannot be read or has changed.
            ConfigError: If it lacks a column.
        """
        path = find_file(self.path)
        found = unchanged(path, expected)
        dialect = read_dialect(path, self.delimiter, self.encoding)
        if expected is None and self.encoding is None and dialect.encoding == "latin-1":
            _say_not_utf8(path)
        names = unique_names(read_header(path, dialect))
        chunks = rows_below_header(path, dialect, len(names), _CHUNK)
        first = next(chunks, [])
        if not first:
            raise UserError(f"{self.path} holds column names but no rows")
        lengths = [sum(map(len, cells)) / len(first) for cells in zip(*first, strict=True)]
        columns = choose_columns(self.path, names, lengths, self.text, self.target, say=expected is None)
        text, target = names.index(columns["text"]), names.index(columns["target"])
        texts = [row[text].strip() for row in first]
        labels = [parse_text(row[target]) for row in first]
        for chunk in chunks:
            texts += [row[text].strip() for row in chunk]
            labels += [parse_text(row[target]) for row in chunk]
        return Labelled(self.path, columns, texts, labels, found)


def _say_not_utf8(path: Path) -> None:
    with open_bytes(path) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                _logger.warning(
                    "%s is not in UTF-8 (line %d, byte %d: 0x%02x); it is read as Latin-1 (data.encoding)",
                    *(path, number, error.start + 1, line[error.start]),
                )
                return
