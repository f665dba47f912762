"""Picture files that a user names, and those in folders, for a trained network: decoded by several threads."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from nnkit.batches import ImageBatch
from nnkit.data.pictures.image_files import PictureError, quiet
from nnkit.data.pictures.listing import find_pictures, summary
from nnkit.files.paths import expand
from nnkit.machine.cores import cores

logger = logging.getLogger("nnkit")

_AT_ONCE, _MOST_THREADS = 64, 8


def read_pictures(
    items: Sequence[str],
    decode: Callable[[Path], Tensor],
    finish: Callable[[str, Tensor], Tensor],
    numbers: Mapping[str, int],
    at_once: int = _AT_ONCE,
) -> Iterator[tuple[str, ImageBatch | str]]:
    """Read picture files, and those in folders, as batches of one; see `DataModule.read`.

    Args:
        items: Paths of files and folders.
        decode: Returns the pixels of a file, (channels, height, width); a PictureError if it cannot be read. Called by
            several threads at a time, as Pillow lets go of the interpreter's lock while it decodes.
        finish: Returns what the network is given, (channels, height, width) float32, for a name and pixels.
        numbers: Of the classes: a picture in a folder of this name, below a folder that was named, has it as its
            target, -1 elsewhere.
        at_once: Pictures that are decoded before the first of them is given out.
    """
    zero = torch.zeros(1, dtype=torch.int64)

    def attempt(file: Path) -> Tensor | str:
        try:
            return decode(file)
        except PictureError as error:
            return str(error)

    for item in items:
        if item == "-":
            yield item, "images are read from files, not from standard input: name a file or a folder"
            continue
        files = _files_of(item)
        if not files:
            yield item, "the folder holds no pictures"
        with ThreadPoolExecutor(min(_MOST_THREADS, cores(), max(len(files), 1))) as pool:
            for first in range(0, len(files), at_once):
                chunk = files[first : first + at_once]
                with quiet():
                    decoded = list(pool.map(attempt, (file for _, file, _ in chunk)))
                for (name, _, inside), pixels in zip(chunk, decoded, strict=True):
                    if isinstance(pixels, str):
                        yield name, pixels
                        continue
                    target = next((numbers[part] for part in inside if part in numbers), -1)
                    inputs = finish(name, pixels).unsqueeze(0)
                    yield name, ImageBatch(inputs, torch.tensor([target]), zero)


def _files_of(item: str) -> list[tuple[str, Path, tuple[str, ...]]]:
    """Return the pictures that an item names, in order: name, path, and folders below a folder that was named.

    The name is the path as it was typed, and the place of the picture below that.
    """
    path = expand(item)
    if not path.is_dir():
        return [(item, path, ())]
    found = find_pictures(path)
    if found.left_out:
        logger.warning("%s: left out are %s", item, summary(found.left_out))
    places = [file.relative_to(path) for file in found.pictures]
    return [(str(Path(item) / place), path / place, place.parts[:-1]) for place in places]
