"""The lines of metrics.jsonl, one at a time: a run of a million steps has a hundred megabytes of them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from nnkit.files.paths import check_file

# No line of ours is longer; one of a file from elsewhere is cut there, and then is no JSON.
_LONGEST = 1_000_000
# Bytes from which a bar is shown on a terminal, and between two of its steps.
_MANY, _STEP = 20_000_000, 2_000_000


def log_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a log of any origin, with a bar on a terminal where there are many.

    Args:
        path: The file.

    Raises:
        ValueError: If it is no plain file: to open a pipe would be to wait for its writer.
        OSError: If it cannot be read.
    """
    check_file(path)
    size = path.stat().st_size
    with path.open("rb") as file, _bar(path.name, size) as advance:
        done = 0
        while line := file.readline(_LONGEST):
            yield line
            done += len(line)
            if done >= _STEP:
                advance(done)
                done = 0


def _bar(name: str, size: int) -> AbstractContextManager[Callable[[int], None]]:
    if size < _MANY:
        return nullcontext(lambda count: None)
    from nnkit.ui.consoles import Console, progress_bar

    return progress_bar(Console(stderr=True), f"reading {name}", size, of_bytes=True, patience=0.5)
