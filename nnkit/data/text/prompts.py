"""What a user names for a language model to read: a text, a file, or lines of standard input."""

import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from nnkit.batches import Blocks
from nnkit.data.reading.user_files import is_file
from nnkit.data.text.text_reading import read_text
from nnkit.data.tokenizing import Tokenizer, quoted
from nnkit.errors import NnkitError

_logger = logging.getLogger("nnkit")

MAX_TOKENS = 4_096
# Characters of a file that are read: enough for so many tokens, except where tokens are very long.
_MAX_CHARACTERS = 16 * MAX_TOKENS


def read_texts(
    items: Sequence[str], tokenizer: Tokenizer, encoding: str | None
) -> Iterator[tuple[str, Blocks | str]]:
    """Turn texts into batches of one, the target the token that follows.

    Args:
        items: Texts, paths of text files, or "-": each line of standard input that is not empty.
        tokenizer: The tokenizer of the run.
        encoding: Codec of the files; None: UTF-8.

    Yields:
        The item, and a batch of at most `MAX_TOKENS` tokens or the sentence that says why there is none.
    """
    for name, text in _texts(items, encoding):
        if isinstance(text, NnkitError):
            yield name, str(text)
            continue
        try:
            yield name, _batch(name, text, tokenizer)
        except NnkitError as error:
            yield name, str(error)


def _texts(items: Sequence[str], encoding: str | None) -> Iterator[tuple[str, str | NnkitError]]:
    for item in items:
        if item == "-":
            for number, line in enumerate(sys.stdin, start=1):
                if line.strip():
                    yield f"line {number}", line.rstrip("\n")
        elif is_file(item):
            yield item, _head(Path(item), encoding)
        else:
            yield item, item


def _head(path: Path, encoding: str | None) -> str | NnkitError:
    """Return the beginning of a file, one character more than what is read of it."""
    text = ""
    try:
        for piece in read_text(path, encoding):
            text += piece
            if len(text) > _MAX_CHARACTERS:
                break
    except NnkitError as error:
        return error
    return text[: _MAX_CHARACTERS + 1]


def _batch(name: str, text: str, tokenizer: Tokenizer) -> Blocks | str:
    whole, text = text, text[:_MAX_CHARACTERS]
    numbers = tokenizer.encode(text)
    if tokenizer.unknown is not None and len(numbers) and (numbers == tokenizer.unknown).all():
        return f"nothing of it is in the vocabulary: {quoted(tokenizer.out_of_vocabulary(text))}"
    if len(numbers) < 2:
        return f"at least 2 tokens are needed, one to predict from the other; it has {len(numbers)}"
    starts = [*tokenizer.starts(text).tolist(), len(text)]
    if len(numbers) > MAX_TOKENS or len(whole) > _MAX_CHARACTERS:
        numbers = numbers[:MAX_TOKENS]
        _logger.warning("%s: only the first %d tokens are read", name[:80], len(numbers))
    characters = torch.tensor([float(starts[len(numbers)] - starts[1])])
    row = torch.from_numpy(numbers.astype("int64"))[None]
    return Blocks(row[:, :-1], row[:, 1:], characters, torch.zeros(1, dtype=torch.int64))
