"""A file of JSON lines of the user's: a text under one key, its label under another."""

from nnkit.data.reading.json_lines import label_of, read_objects, refuse_lines, text_of
from nnkit.data.reading.user_files import find_file, unchanged
from nnkit.data.text.labelled import Labelled
from nnkit.data.text.labelled_texts import LabelledTexts
from nnkit.data.text.text_columns import choose_columns
from nnkit.data.tokenizing import TokenizerKind
from nnkit.errors import UserError


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
            columns = columns or self._columns(record, say=expected is None)
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

    def _columns(self, record: dict[str, object], say: bool) -> dict[str, str]:
        """Tell the keys by the first object: one whose text is short there can be named."""
        lengths = [len(value) if isinstance(value, str) else 0 for value in record.values()]
        return choose_columns(self.path, list(record), lengths, self.text, self.target, say=say, noun="key")
