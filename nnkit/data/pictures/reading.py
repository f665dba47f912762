"""Picture files that a user names, and those in folders, for a trained network: decoded by several threads."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from nnkit.batches import ImageBatch
from nnkit.data.pictures.image_files import PictureError, quiet
from nnkit.data.pictures.listing import below, find_pictures, summary
from nnkit.files.paths import expand
from nnkit.machine.cores import cores

logger = logging.getLogger("nnkit")

_MOST_THREADS = 8
# Seconds that no small picture exceeds, one of 32x32 takes a sixth, and how many of a chunk are timed for it.
_SMALL, _TRIED = 5e-4, 4

A = TypeVar("A")
B = TypeVar("B")


class Decoded(NamedTuple):
    """A picture that was named.

    Attributes:
        name: Its path as it was typed, and its place below that.
        pixels: The picture, (channels, height, width), or the sentence that tells why it cannot be read.
        inside: Folders that it lies in, below a folder that was named.
    """

    name: str
    pixels: Tensor | str
    inside: tuple[str, ...] = ()


def decoding_threads() -> ThreadPoolExecutor:
    """Return threads that decode pictures: Pillow lets go of the interpreter's lock while it does."""
    return ThreadPoolExecutor(min(_MOST_THREADS, cores()))


def spread(pool: ThreadPoolExecutor, function: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """Return what a function returns for each item: in turn where that is quick, by several threads elsewhere.

    Threads that decode small pictures wait for the interpreter's lock most of the time.
    """
    results, seconds = [], []
    for item in items[:_TRIED]:
        start = time.perf_counter()
        results.append(function(item))
        seconds.append(time.perf_counter() - start)
    rest = items[_TRIED:]
    if not rest:
        return results
    return [*results, *(map if min(seconds) < _SMALL else pool.map)(function, rest)]


def read_pictures(
    items: Sequence[str], decode: Callable[[Path], Tensor], at_once: int
) -> Iterator[list[Decoded]]:
    """Read picture files, and those in folders, in order.

    Args:
        items: Paths of files and folders.
        decode: Returns the pixels of a file, (channels, height, width); a PictureError if it cannot be read. Called by
            several threads at a time.
        at_once: Pictures that are decoded before the first of them is given out.
    """

    def attempt(named: Decoded | tuple[str, Path, tuple[str, ...]]) -> Decoded:
        if isinstance(named, Decoded):
            return named
        name, path, inside = named
        try:
            return Decoded(name, decode(path), inside)
        except PictureError as error:
            return Decoded(name, str(error))

    named = (found for item in items for found in _named(item))
    with decoding_threads() as pool:
        while chunk := list(islice(named, at_once)):
            with quiet():
                decoded = spread(pool, attempt, chunk)
            yield decoded


def single_pictures(
    items: Sequence[str], decode: Callable[[Path], Tensor], at_once: int
) -> Iterator[tuple[str, ImageBatch | str]]:
    """Read pictures as `read_pictures` does, which may differ in size, as batches of one without a target."""
    target, index = torch.tensor([-1]), torch.zeros(1, dtype=torch.int64)
    for some in read_pictures(items, decode, at_once):
        for name, pixels, _ in some:
            yield name, pixels if isinstance(pixels, str) else ImageBatch(pixels[None], target, index)


def _named(item: str) -> Iterator[Decoded | tuple[str, Path, tuple[str, ...]]]:
    """Yield name, path and folders of the pictures that an item names, in order; a sentence where it names none."""
    path = expand(item)
    if item == "-":
        yield Decoded(item, "images are read from files, not from standard input: name a file or a folder")
    elif not path.is_dir():
        yield item, path, ()
    else:
        found = find_pictures(path)
        if found.left_out:
            logger.warning("%s: left out are %s", item, summary(found.left_out))
        if not found.pictures:
            yield Decoded(item, "the folder holds no pictures")
        start = str(Path(item) / "_")[:-1]
        for file in found.pictures:
            place = below(file, path)
            yield start + place.replace("/", os.sep), file, tuple(place.split("/")[:-1])
