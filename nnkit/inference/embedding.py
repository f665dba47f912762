"""Vectors of items a user names: what a network's head would read of each, and which of them lie nearest."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from nnkit.data.read_batch import ReadBatch
from nnkit.data.sampler import Draw
from nnkit.data.text.items import TextFiles, batches_of, read_texts
from nnkit.data.text.samples import LabelledTextSamples, UserTexts
from nnkit.data.tokenizing import BertTokenizer, Tokenizer
from nnkit.errors import UserError
from nnkit.ui.terminal import as_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnkit.batches import Batch
    from nnkit.data.base import DataModule
    from nnkit.data.text.items import Item
    from nnkit.inference.output import Destination
    from nnkit.network import Network, Pooling
    from nnkit.tasks.base import Task

# Texts that are read together, and rows of a table of similarities.
TEXTS, _ROWS = 64, 1024
# Tokens of a text, where the network reads any number.
_MAX_TOKENS = 1024


class Reader(Protocol):
    """What reads items in batches, as data modules do."""

    def read_batches(self, items: Sequence[str], size: int, keep: Sequence[str] = ()) -> Iterator[ReadBatch]:
        """Read them; see `DataModule.read_batches`."""


class SentenceTexts:
    """Reads texts with a tokenizer alone: for what was trained on long texts, or read from a published model.

    Args:
        tokenizer: Encodes them; BERT's special tokens stand around each text where it has them.
        max_length: Tokens of a text, special ones included; a longer one is cut, with a warning.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int | None) -> None:
        is_marked = isinstance(tokenizer, BertTokenizer)
        self._encoder = UserTexts(
            tokenizer, "training texts", max_length or _MAX_TOKENS, special_tokens=is_marked
        )

    def read_batches(self, items: Sequence[str], size: int, keep: Sequence[str] = ()) -> Iterator[ReadBatch]:
        """Read texts in batches; see `DataModule.read_batches`."""
        return batches_of(read_texts(items, TextFiles()), self._batch_of, size, keep)

    def _batch_of(self, items: Sequence[Item]) -> Batch:
        rows = torch.arange(len(items))
        encoded = self._encoder.encode([item.text for item in items])
        return LabelledTextSamples(encoded, torch.zeros_like(rows), rows)[Draw(None, rows)]


def reader_of(task: Task, data: DataModule) -> tuple[Reader, int]:
    """Return what reads the items to embed, and how many at a time.

    Args:
        task: A trained task.
        data: The data module it was trained on, with its preprocessing.
    """
    tokenizer: Tokenizer | None = getattr(data, "learnt_tokenizer", None)
    if tokenizer is None:
        return data, 1 if task.one_by_one else data.read_at_once
    # Trained on long texts or on pairs of sentences, some of their tokens masked; what is embedded is one text.
    limits = (task.network.max_len, data.preprocessing.get("max_length"))
    return SentenceTexts(
        tokenizer, min((limit for limit in limits if limit is not None), default=None)
    ), TEXTS


def embed_batches(
    network: Network, reader: Reader, items: Sequence[str], size: int, pooling: Pooling = "summary"
) -> Iterator[tuple[ReadBatch, NDArray[np.float32] | None]]:
    """Embed items in the order in which they are read.

    Args:
        network: A trained network, in evaluation mode.
        reader: Reads them.
        items: Paths of pictures, folders or tables, or texts, as `nnkit predict` takes them.
        size: Items that go through the network at once.
        pooling: See `Network.vectors`.

    Yields:
        What was read, with the vectors of those items that could be read, (items, dim); None where none could.

    Raises:
        UserError: If the network has no steps to pool, or a vector is not finite.
    """
    for read in reader.read_batches(items, size):
        if read.batch is None:
            yield read, None
            continue
        inputs: Any
        # Behind these stands what is scored.
        inputs, mask, second, *_ = (*read.batch.network_inputs(), None, None)
        try:
            with torch.inference_mode():
                vectors = network.vectors(inputs, mask, second, pooling)
        except ValueError as error:
            raise UserError(f"--pooling {pooling}: {error}") from error
        if not vectors.isfinite().all():
            raise UserError("the vectors are not finite: the network has diverged in training")
        yield read, vectors.float().numpy()


def nearest(vectors: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the nearest others of each vector by the cosine of their angle, the nearest first.

    Args:
        vectors: (items, dim); one of zeros is at a right angle to all.
        count: How many, at most.

    Returns:
        Their places and their cosines, (items, count) each; fewer columns where there are not as many others.
    """
    whole = torch.nn.functional.normalize(torch.from_numpy(vectors), dim=1)
    count = min(count, len(whole) - 1)
    places, cosines = [], []
    for begin in range(0, len(whole), _ROWS):
        rows = whole[begin : begin + _ROWS]
        similar = rows @ whole.T
        # No item is its own neighbour.
        similar[torch.arange(len(rows)), torch.arange(begin, begin + len(rows))] = -torch.inf
        best: tuple[Tensor, Tensor] = torch.topk(similar, count)
        cosines.append(best[0].numpy())
        places.append(best[1].numpy())
    return np.concatenate(places), np.concatenate(cosines)


class VectorOutput(ABC):
    """Where vectors go, batch by batch.

    Args:
        open_file: Opens the file; called when there is something to write.
    """

    def __init__(self, open_file: Callable[[], Destination]) -> None:
        self._open_file = open_file

    @abstractmethod
    def write(self, names: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Write the vectors of some items, (items, dim)."""

    @abstractmethod
    def close(self) -> None:
        """Write what ends the file."""


class JSONVectors(VectorOutput):
    """One JSON object an item: its name and its vector."""

    def write(self, names: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Write one line an item, each number with the digits that tell it from others of 32 bits."""
        lines = [
            f'{{"item": {json.dumps(as_text(name))}, "vector": [{", ".join(row)}]}}\n'
            for name, row in zip(names, vectors.astype(str).tolist(), strict=True)
        ]
        self._open_file().write("".join(lines).encode())

    def close(self) -> None:
        """Do nothing: every line is complete."""


class ParquetVectors(VectorOutput):
    """A Parquet file with the columns item and vector, a list of one length."""

    _writer: Any = None

    def write(self, names: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Write one row an item."""
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
        rows = pa.RecordBatch.from_pydict({"item": pa.array([*map(as_text, names)]), "vector": lists})
        if self._writer is None:
            self._writer = ParquetWriter(self._open_file(), rows.schema)
        self._writer.write_batch(rows)

    def close(self) -> None:
        """Write the file's footer."""
        if self._writer is not None:
            self._writer.close()


class NumpyVectors(VectorOutput):
    """A .npy file of (items, dim) float32, without the names: rows are in the order of the items that can be read."""

    def __init__(self, open_file: Callable[[], Destination]) -> None:
        super().__init__(open_file)
        self._parts: list[NDArray[np.float32]] = []

    def write(self, names: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Keep them: the file begins with how many there are."""
        self._parts.append(vectors)

    def close(self) -> None:
        """Write the file."""
        if self._parts:
            np.save(self._open_file(), np.concatenate(self._parts))
