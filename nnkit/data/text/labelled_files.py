"""Files of labelled texts that a user names: CSV, and JSON lines."""

import logging
from collections.abc import Sequence
from pathlib import Path

from nnkit.data.reading.delimited import read_dialect, read_header, unique_names
from nnkit.data.reading.frame import check_dialect, parse_text, rows_below_header
from nnkit.data.reading.json_lines import label_of, read_objects, refuse_lines, text_of
from nnkit.data.reading.user_files import decoded, find_file, open_bytes, unchanged
from nnkit.data.text.labelled_texts import Labelled, LabelledTexts
from nnkit.data.tokenizing import TokenizerKind
from nnkit.errors import ConfigError, Problem, UserError
from nnkit.suggest import absent

_logger = logging.getLogger("nnkit")

# Rows that are read at once; the first ones decide which column holds the texts.
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
            _warn_of_encoding(path)
        names = unique_names(read_header(path, dialect))
        chunks = rows_below_header(path, dialect, len(names), _CHUNK)
        first = next(chunks, [])
        if not first:
            raise UserError(f"{self.path} holds column names but no rows")
        lengths = [sum(map(len, cells)) / len(first) for cells in zip(*first, strict=True)]
        columns = choose_columns(self.path, names, lengths, self.text, self.target, report=expected is None)
        text, target = names.index(columns["text"]), names.index(columns["target"])
        texts = [row[text].strip() for row in first]
        labels = [parse_text(row[target]) for row in first]
        for chunk in chunks:
            texts += [row[text].strip() for row in chunk]
            labels += [parse_text(row[target]) for row in chunk]
        return Labelled(self.path, columns, texts, labels, found)


class JSONLines(LabelledTexts):
    """A file with a JSON object on each line, plain or .gz; the lines are split at random.

    Args:
        path: The file.
        text: Key of the texts; default: that with the longest strings.
        target: Key of the labels, strings or numbers; default: the last other one.
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
            raise ValueError("path must name a file of JSON lines: data.path=FILE.jsonl")
        self.path = path
        # A key such as 2020 comes as a number.
        self.text = None if text is None else str(text)
        self.target = None if target is None else str(target)

    def load(self, expected: str | None) -> Labelled:
        """Read the file's lines.

        Raises:
            UserError: If it cannot be read or has changed, or lines hold no object with a text.
            ConfigError: If none of its lines has the keys.
        """
        path = find_file(self.path)
        found = unchanged(path, expected)
        problems: list[tuple[int, str]] = []
        columns: dict[str, str] | None = None
        texts: list[str] = []
        labels: list[str | None] = []
        for line, record in read_objects(path):
            if isinstance(record, str):
                problems.append((line, record))
                continue
            columns = columns or self._columns(record, report=expected is None)
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

    def _columns(self, record: dict[str, object], report: bool) -> dict[str, str]:
        """Choose the keys by the first object; the user can name one whose text is short there."""
        lengths = [len(value) if isinstance(value, str) else 0 for value in record.values()]
        return choose_columns(
            self.path, list(record), lengths, self.text, self.target, report=report, noun="key"
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
    text: str | None,
    target: str | None,
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
