"""Vectors with names as files that TensorBoard's projector shows: of tokens, and of samples as the head reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnkit.analysis.inspection.recorded import as_array
from nnkit.tasks.outcome import vocabulary
from nnkit.ui.figures import shortened

if TYPE_CHECKING:
    from nnkit.batches import Batch
    from nnkit.tasks.base import Task
    from nnkit.tasks.outcome import NamedScores

# Its directory, as TensorBoard looks for it.
CONFIG = "projector_config.pbtxt"
# Tokens and samples that are written; the browser draws each as a point.
MOST_TOKENS, MOST_SAMPLES = 10_000, 1_000
# Letters of a name.
_LONGEST = 100


class Points(NamedTuple):
    """Vectors, and what is known of each.

    Attributes:
        name: What they are of: "tokens" or "samples".
        vectors: (points, dim).
        headers: Name of each column.
        rows: As many texts for each point.
    """

    name: str
    vectors: NDArray[np.floating]
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


def points_of(task: Task, data: Any, batches: Iterable[Batch]) -> list[Points]:
    """Return the vectors of a network's tokens, where its embed has such, and of samples, where each has one answer.

    Args:
        task: A trained task, in evaluation mode.
        data: The data module of the run.
        batches: The samples; the first 1,000 are taken.
    """
    found = []
    vectors = getattr(task.network.embed, "token_vectors", None)
    if isinstance(vectors, Tensor):
        names = vocabulary(data, len(vectors), target=task.writes == "answer")[:MOST_TOKENS]
        found.append(Points("tokens", as_array(vectors[:MOST_TOKENS]), ["token"], [[name] for name in names]))
    if task.writes is None and (samples := _samples(task, data, batches)) is not None:
        found.append(samples)
    return found


def _samples(task: Task, data: Any, batches: Iterable[Batch]) -> Points | None:
    vectors: list[NDArray[Any]] = []
    rows: list[list[str]] = []
    for batch in batches:
        inputs: Any
        inputs, mask, second, *_ = (*batch.network_inputs(), None, None)
        with torch.no_grad():
            outputs = task.network(*batch.network_inputs())
            vectors.append(as_array(task.network.vectors(inputs, mask, second)))
            for place, number in enumerate(batch.indices.tolist()):
                alone: Any = type(batch)(*(part[place : place + 1] for part in batch))
                said = task.outcome(outputs[place : place + 1], task.first_sample(alone), data)
                rows.append([str(int(number) + 1), *_answered(said)])
        if len(rows) >= MOST_SAMPLES:
            break
    if not rows:
        return None
    headers = ["sample", "answer", "true"]
    return Points("samples", np.concatenate(vectors)[:MOST_SAMPLES], headers, rows[:MOST_SAMPLES])


def _answered(outcome: NamedScores) -> list[str]:
    """Return what the network says of a sample, and the true answer where it has a name."""
    row, column = outcome.best
    if outcome.probabilities is None:
        return [f"{float(outcome.scores[0, row, column]):.6g}", ""]
    known = bool(outcome.truth) and 0 <= outcome.truth[0] < len(outcome.columns)
    return [outcome.columns[column], outcome.columns[outcome.truth[0]] if known else ""]


def projector_files(found: Sequence[Points]) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a directory that TensorBoard's projector shows, with their names.

    The vectors are tab-separated values, and so is what is known of them; a header only stands above several columns.
    """
    config = ""
    for part in found:
        tensors, metadata = f"{part.name}-tensors.tsv", f"{part.name}-metadata.tsv"
        numbers = ["\t".join(f"{value:.7g}" for value in row) for row in part.vectors.tolist()]
        known = [part.headers, *part.rows] if len(part.headers) > 1 else part.rows
        # An empty line would be passed over, so that all names behind it were those of their neighbours.
        texts = ["\t".join(shortened([cell or " " for cell in row], _LONGEST)) for row in known]
        yield tensors, "".join(f"{line}\n" for line in numbers).encode()
        yield metadata, "".join(f"{line}\n" for line in texts).encode()
        config += f'embeddings {{\n  tensor_name: "{part.name}"\n  tensor_path: "{tensors}"\n'
        config += f'  metadata_path: "{metadata}"\n}}\n'
    yield CONFIG, config.encode()
