"""A user's own pictures: a folder for each class, of any sizes and formats."""

import logging
import math
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from nnkit.data.base import Preprocessing
from nnkit.data.cache import Prepared, cache_dir, commit, new_array, prepared
from nnkit.data.download.fetch import console
from nnkit.data.download.sources import fingerprint
from nnkit.data.pictures.base import Gather, PictureData, PictureSet, picture_statistics
from nnkit.data.pictures.image_files import Fit, PictureError, fit, load, quiet, to_array
from nnkit.data.pictures.levels import (
    KINDS,
    TYPES,
    Levels,
    Ranges,
    about_ranges,
    gather,
    learn_ranges,
    measure,
    to_range,
)
from nnkit.data.pictures.listing import Listing, list_classes, summary
from nnkit.data.pictures.reading import decoding_threads, spread
from nnkit.data.splits import Split
from nnkit.errors import UserError
from nnkit.files.paths import expand
from nnkit.machine.memory import total_memory
from nnkit.suggest import some_of
from nnkit.ui.consoles import progress_bar

Floats = np.ndarray[Any, np.dtype[np.float64]]

logger = logging.getLogger("nnkit")

# Pictures whose statistics are taken where not all are decoded beforehand.
_LOOKED_AT = 1000
# Unreadable files that are put up with: so many, or a tenth of all.
_FEW = 3
_LISTED = 10
# Preparing fewer than this takes no time worth a progress bar.
_QUICK = 500
_CHUNK = 256
# Values of pictures whose statistics are taken together.
_AT_ONCE = 1 << 20


class _Fitted(NamedTuple):
    """A picture brought to size, and the share of it that was cut off."""

    levels: Levels
    cut: float


Decode = partial[_Fitted]


@dataclass(frozen=True)
class FolderSet(PictureSet):
    """The pictures of a folder.

    Attributes:
        listing: Where they lie.
        notes: What is known of each, (n, 6) float64: `measure` of its levels, and the share that is cut off; NaN
            where it was not decoded.
        read: Reads the picture of a row with its own levels; None where all have 8 bits and lie in `pixels`.
    """

    listing: Listing
    notes: Tensor
    read: Callable[[int], Levels] | None


@dataclass(kw_only=True, eq=False)
class ImageFolder(PictureData):
    """Pictures in a folder for each class, or in train, val and test folders with such folders inside.

    They are decoded once, brought to one size and kept in the cache as bytes. Where those would fill more
    than half of the memory, the files are decoded anew in each epoch, by `num_workers` processes.

    Attributes:
        root: The folder.
        train_path: The same as `root`.
        val_path: Folder of class folders for validation; None: `root` holds them, or a share of it is held out.
        test_path: The same for the test.
        height: Height of the pictures the model sees.
        width: Their width.
        in_channels: 1 for grey, 3 for colour.
        resize: How a picture of another shape gets there: "crop" cuts off what sticks out, "pad" adds
            black bars, "stretch" distorts.
        grey_range: Levels of pictures with more than 8 bits that become black and white; None: the lowest and the
            highest of the training pictures.

    Raises:
        ValueError: If an option is out of range.
    """

    root: str | None = None
    train_path: str | None = None
    val_path: str | None = None
    test_path: str | None = None
    height: int = 64
    width: int = 64
    in_channels: int = 3
    resize: Fit = "crop"
    grey_range: list[float] | None = None

    fact_names: ClassVar[tuple[str, ...]] = ("num_classes",)

    def __post_init__(self) -> None:
        for name, value in (("height", self.height), ("width", self.width)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if self.in_channels not in (1, 3):
            raise ValueError(f"in_channels must be 1 (grey) or 3 (colour), not {self.in_channels}")
        if self.resize not in get_args(Fit):
            raise ValueError(f"resize must be one of {', '.join(get_args(Fit))}, not {self.resize}")
        if self.grey_range is not None and not _is_range(self.grey_range):
            raise ValueError(f"grey_range must be two rising numbers or null, not {self.grey_range}")
        super().__post_init__()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        return self.in_channels, self.height, self.width

    def open(self) -> PictureSet:
        """List the folder and open the prepared arrays, prepared if need be."""
        root = self.root or self.train_path
        if root is None:
            raise UserError("data.root: name the folder that holds one folder of pictures for each class")
        if self.root and self.train_path:
            raise UserError(
                "data.train_path: data.root names the training pictures already: leave one of them out"
            )
        given: dict[Split, str | None] = {"val": self.val_path, "test": self.test_path}
        elsewhere = {split: expand(path) for split, path in given.items() if path}
        listing = list_classes(expand(root), elsewhere)
        # Runs of earlier releases were trained on 8 bits of each level.
        keep_levels = self.is_new or "grey_ranges" in self.preprocessing
        decode = partial(_read_fitted, shape=self.shape, resize=self.resize, keep_levels=keep_levels)
        room = (total_memory() or 2**33) // 2
        fits = len(listing.paths) * math.prod(self.shape) <= room
        options = [str(self.shape), self.resize, str(fits), "levels" if keep_levels else "bytes"]
        places = [str(path.resolve()) for path in (listing.root, *elsewhere.values())]
        folder = cache_dir() / "image_folder" / fingerprint([*places, *options])[:16]
        key = [listing.fingerprint, *options]
        opened = prepared(folder, key, lambda: _prepare(folder, key, listing, decode, room))
        return self._set_of(listing, opened, decode)

    def learn(self, pictures: PictureSet, rows: Tensor) -> tuple[PictureSet, Preprocessing]:
        """Learn the range of levels as well, and log what is cut off."""
        assert isinstance(pictures, FolderSet)
        notes = pictures.notes[rows]
        given = self.grey_range and {kind: list(map(float, self.grey_range)) for kind in KINDS[1:]}
        ranges: Ranges = given or learn_ranges(notes)
        if pictures.read is not None and ranges:
            pixels = partial(gather, pictures.read, ranges)
            pictures = replace(pictures, pixels=pixels, statistics=_statistics(pixels, pictures, rows))
        if given and not learn_ranges(pictures.notes):
            logger.warning("data.grey_range has no effect: no picture has more than 8 bits")
        for sentence in [] if given else about_ranges(notes, ranges):
            logger.warning("%s: %s", pictures.title, sentence)
        self._warn_of_cuts(pictures.listing, rows[notes[:, -1] > 0.5], len(rows))
        pictures, learnt = super().learn(pictures, rows)
        return pictures, {**learnt, "resize": self.resize, "grey_ranges": ranges}

    def _warn_of_cuts(self, listing: Listing, rows: Tensor, num_train: int) -> None:
        if len(rows):
            logger.warning(
                "%s: data.resize=crop cuts off more than half of %s of %s training pictures, the first %s; "
                "data.resize=pad or data.resize=stretch keeps the whole image",
                *(listing.root, f"{len(rows):,}", f"{num_train:,}", listing.names[int(rows[0])]),
            )

    def read_picture(self, path: Path) -> Tensor:
        """Read a picture and bring it to size and range as in training."""
        known = self.preprocessing
        channels, height, width = known["shape"]
        shape = (channels, height, width)
        fitted = _read_fitted(path, shape, known["resize"], keep_levels="grey_ranges" in known)
        return torch.from_numpy(to_range(fitted.levels, known.get("grey_ranges", {})))

    def _set_of(self, listing: Listing, opened: Prepared, decode: Decode) -> FolderSet:
        arrays, unreadable = opened.arrays, opened.facts["unreadable"]
        broken = {"pictures that cannot be read": _reasons(unreadable)} if unreadable else {}
        if self.is_new and (left_out := {**listing.left_out, **broken}):
            logger.warning("%s: left out are %s", listing.root, summary(left_out))
        readable = torch.from_numpy(arrays["readable"]).to(torch.bool)
        parts = {name: rows[readable[rows]] for name, rows in listing.parts.items()}
        kept = set(listing.targets[parts["train"]].tolist())
        if lost := [name for number, name in enumerate(listing.class_names) if number not in kept]:
            raise UserError(f"no picture of {', '.join(lost)} below {listing.root} can be read")
        read: Callable[[int], Levels] | None = partial(_from_file, listing.paths, decode)
        # Of files that are decoded anew the bytes are unknown: names and sizes must do.
        digest = listing.names_fingerprint
        if (pixels := arrays.get("pixels")) is not None:
            read = None if pixels.dtype == np.uint8 else partial(_from_cache, pixels, arrays["notes"])
            digest = fingerprint([opened.hashes["pixels"], fingerprint(map(str, listing.targets.tolist()))])
        ranges = self.preprocessing.get("grey_ranges", {})
        return FolderSet(
            title=str(listing.root),
            pixels=torch.from_numpy(pixels) if read is None else partial(gather, read, ranges),
            targets=listing.targets,
            statistics=torch.from_numpy(arrays["statistics"]),
            class_names=listing.class_names,
            fingerprint=digest,
            parts=parts,
            listing=listing,
            notes=torch.from_numpy(arrays["notes"]),
            read=read,
        )


def _read_fitted(path: Path, shape: tuple[int, int, int], resize: Fit, keep_levels: bool) -> _Fitted:
    channels, height, width = shape
    image = load(path, channels, (height, width), keep_levels=keep_levels)
    sides = sorted((image.width * height, image.height * width))
    levels = to_array(fit(image, height, width, resize))
    return _Fitted(
        levels if len(levels) == channels else np.repeat(levels, channels, axis=0),
        1 - sides[0] / sides[1] if resize == "crop" else 0.0,
    )


def _from_file(paths: list[Path], decode: Decode, row: int) -> Levels:
    try:
        with quiet():
            return decode(paths[row]).levels
    except PictureError as error:
        raise UserError(f"{paths[row]} cannot be used: {error}") from error


def _from_cache(pixels: Levels, notes: Floats, row: int) -> Levels:
    levels: Levels = pixels[row].astype(TYPES[int(notes[row, 0])])
    return levels


def _statistics(read: Gather, pictures: FolderSet, rows: Tensor) -> Tensor:
    """Return the statistics of the pictures with the levels of these rows in the range that was learnt."""
    statistics = pictures.statistics.clone()
    for part in torch.split(rows[~pictures.notes[rows, 0].isnan()], _CHUNK):
        statistics[part] = torch.from_numpy(picture_statistics(read(part).numpy()))
    return statistics


def _is_range(values: list[float]) -> bool:
    are_numbers = all(isinstance(value, int | float) and math.isfinite(value) for value in values)
    return are_numbers and len(values) == 2 and values[0] < values[1]


class _DeepLevelsError(Exception):
    """A picture has more than 8 bits where there is room for 8."""


def _prepare(folder: Path, key: list[str], listing: Listing, decode: Decode, room: int) -> None:
    """Decode the pictures, all or a sample, and keep what the training needs of them."""
    count, shape = len(listing.paths), decode.keywords["shape"]
    statistics, notes = np.full((count, shape[0], 3), np.nan), np.full((count, 6), np.nan)
    fill = partial(_decode_all, listing, decode, statistics, notes)
    (folder / "pixels.npy").unlink(missing_ok=True)
    unreadable: dict[str, str] | None = None
    # float32 holds the levels of any picture; most have 8 bits, which is known once they are decoded.
    for dtype in ("u1", "f4"):
        if unreadable is None and count * math.prod(shape) * np.dtype(dtype).itemsize <= room:
            with suppress(_DeepLevelsError), new_array(folder, "pixels", (count, *shape), dtype) as pixels:
                unreadable = fill(rows=range(count), pixels=pixels)
    if unreadable is None:
        logger.warning(
            "%s pictures of %s fill more than half of the memory: they are decoded anew in each epoch; "
            "data.num_workers=N shares this among processes",
            f"{count:,}",
            "x".join(map(str, shape)),
        )
        unreadable = fill(rows=range(0, count, max(1, count // _LOOKED_AT)), pixels=None)
    readable = np.array([name not in unreadable for name in listing.names], np.uint8)
    arrays = {"readable": readable, "statistics": statistics, "notes": notes}
    commit(folder, key, {"unreadable": unreadable}, arrays)


def _decode_all(
    listing: Listing, decode: Decode, statistics: Floats, notes: Floats, *, rows: range, pixels: Levels | None
) -> dict[str, str]:
    """Fill in statistics, notes, and pixels if they are kept; return the unreadable files and why they are."""

    def attempt(row: int) -> _Fitted | str:
        try:
            return decode(listing.paths[row])
        except PictureError as error:
            return str(error)

    unreadable: dict[str, str] = {}
    text, patience = f"Preparing {len(rows):,} pictures", 0.0 if len(rows) >= _QUICK else math.inf
    if not patience and not console.is_terminal:
        console.print(text, highlight=False)
    with (
        quiet(),
        decoding_threads() as pool,
        progress_bar(console, text, len(rows), patience=patience) as advance,
    ):
        for first in range(0, len(rows), _CHUNK):
            # Chunk by chunk, or the pictures that wait to be stored could fill the memory.
            chunk = rows[first : first + _CHUNK]
            results = dict(zip(chunk, spread(pool, attempt, chunk), strict=True))
            unreadable |= {
                listing.names[row]: reason for row, reason in results.items() if isinstance(reason, str)
            }
            fitted = {row: result for row, result in results.items() if isinstance(result, _Fitted)}
            _note(fitted, statistics, notes, pixels)
            advance(len(chunk))
    if len(unreadable) > max(_FEW, len(rows) // 10):
        lines = some_of(_reasons(unreadable), _LISTED, "\n  ")
        raise UserError(
            f"too many unreadable files below {listing.root}: {len(unreadable):,} of {len(rows):,}\n  {lines}"
        )
    return unreadable


def _note(fitted: dict[int, _Fitted], statistics: Floats, notes: Floats, pixels: Levels | None) -> None:
    """Fill in the rows of pictures that were decoded, those of one type of levels at once."""
    by_type: dict[np.dtype[Any], list[int]] = defaultdict(list)
    for row, result in fitted.items():
        by_type[result.levels.dtype].append(row)
    for dtype, rows in by_type.items():
        if pixels is not None and not np.can_cast(dtype, pixels.dtype, "same_kind"):
            raise _DeepLevelsError
        count = max(1, _AT_ONCE // fitted[rows[0]].levels.size)
        for part in (rows[first : first + count] for first in range(0, len(rows), count)):
            levels = np.stack([fitted[row].levels for row in part])
            statistics[part] = picture_statistics(levels)
            notes[part] = [[*measure(fitted[row].levels), fitted[row].cut] for row in part]
            if pixels is not None:
                pixels[part] = levels


def _reasons(unreadable: dict[str, str]) -> list[str]:
    return [f"{name}: {reason}" for name, reason in unreadable.items()]
