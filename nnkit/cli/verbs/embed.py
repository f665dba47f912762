"""`nnkit embed RUN ITEM...`: vectors of texts, pictures or rows, and the nearest of each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnkit.cli.parser import Given
from nnkit.cli.verbs import OUTPUT_DIR, Argument, Option, Verb
from nnkit.cli.verbs.predict import Complaints, destination, excerpt
from nnkit.errors import UserError
from nnkit.files.layout import CONFIG
from nnkit.files.paths import expand
from nnkit.ui.report import show, table
from nnkit.ui.terminal import as_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nnkit.inference.embedding import Reader, VectorOutput
    from nnkit.inference.output import Destination
    from nnkit.network import Network

_ENDINGS = (".npy", ".parquet", ".jsonl")
_POOLINGS = ("summary", "mean", "first", "last", "max")
# Items whose neighbours are shown.
_MAX_ROWS = 1_000
VERB = Verb(
    "embed",
    (
        Argument("run", "RUN", "run, or directory of Hugging Face", complete="runs"),
        Argument("items", "ITEM", "picture, folder, table or text; - is standard input", many=True),
    ),
    (
        Option("--pooling", "what of a sequence", "|".join(_POOLINGS), choices=_POOLINGS, without="summary"),
        Option("--nearest", "show the K nearest items of each, by the cosine", "K", int, at_least=1),
        Option("--out --output", "write to FILE.npy, .parquet or .jsonl", "FILE", Path),
        OUTPUT_DIR,
    ),
    (
        "The vector of an item is what the network's head reads of it. Of a sequence that is the summary of the "
        "model's family (the class token, the last step or a mean), or what --pooling names: the mean or the max over "
        "all steps, the first one (BERT's class token) or the last one.",
        "Items are those of `nnkit predict`. Without --out and --nearest, one JSON object a line goes to standard "
        "output. FILE.npy holds the vectors alone, in the order of the items. An item that cannot be read is named on "
        "standard error; the rest goes on, and the exit code is 2.",
    ),
)


def run(given: Given) -> int:
    """Embed the items; return 2 if one of them could not be read."""
    path = given.output
    if path is not None and path.suffix.lower() not in _ENDINGS:
        raise UserError(f"--output {path}: the ending is none of {', '.join(_ENDINGS)}")
    network, reader, size = _opened(given)
    from nnkit.inference import embedding

    kinds: dict[str, Callable[[Callable[[], Destination]], VectorOutput]] = {
        ".npy": embedding.NumpyVectors,
        ".parquet": embedding.ParquetVectors,
        ".jsonl": embedding.JSONVectors,
    }
    kind = kinds[".jsonl" if path is None else path.suffix.lower()]
    complaints = Complaints()
    names: list[str] = []
    kept: list[NDArray[np.float32]] = []
    with destination(path) as open_file:
        output = None if path is None and given.nearest else kind(open_file)
        for some, vectors in _embedded(given, network, reader, size, complaints):
            names += some
            if output is not None:
                output.write(some, vectors)
            if given.nearest:
                kept.append(vectors)
        if output is not None:
            output.close()
    complaints.close()
    if not names and not complaints.count:
        raise UserError("there is nothing to embed: what was named, or standard input, is empty")
    if kept:
        _show_nearest(names, kept, given.nearest)
    return 2 if complaints.count else 0


def _opened(given: Given) -> tuple[Network, Reader, int]:
    """Return the network, what reads its items, and how many of them at a time."""
    from nnkit.hugging_face import is_directory
    from nnkit.inference.embedding import reader_of

    path = expand(given.run)
    if is_directory(path) and not (path / CONFIG).is_file():
        from nnkit.runs.published import open_published

        return open_published(path, given.pooling)
    from nnkit.runs.reopen import open_run
    from nnkit.runs.run import find_run

    session = open_run(find_run(given.run, given.output_dir)).session
    return (session.task.network, *reader_of(session.task, session.data))


def _embedded(
    given: Given, network: Network, reader: Reader, size: int, complaints: Complaints
) -> Iterator[tuple[Sequence[str], NDArray[np.float32]]]:
    """Yield names and vectors of the items that can be read."""
    from nnkit.inference.embedding import embed_batches

    for read, vectors in embed_batches(network, reader, given.items, size, given.pooling):
        for place, reason in read.problems.items():
            complaints.add(read.names[place], reason)
        if vectors is not None:
            yield [*read.readable()[0]], vectors


def _show_nearest(names: Sequence[str], parts: Sequence[NDArray[np.float32]], count: int) -> None:
    import numpy as np

    from nnkit.inference.embedding import nearest

    if len(names) < 2:
        raise UserError("--nearest compares items, and there is one only")
    places, cosines = nearest(np.concatenate(parts), count)
    shown = [excerpt(as_text(name)) for name in names]
    headers = ["item", "nearest", *(f"or {number}" for number in range(2, places.shape[1] + 1))]
    rows = [
        [shown[row], *(f"{shown[place]}  {cosine:.3f}" for place, cosine in zip(*pair, strict=True))]
        for row, pair in enumerate(zip(places[:_MAX_ROWS].tolist(), cosines.tolist(), strict=False))
    ]
    show(table(headers, rows))
    if len(names) > _MAX_ROWS:
        sys.stdout.write(f"{_MAX_ROWS:,} of {len(names):,} items are shown; --out FILE writes all vectors\n")
