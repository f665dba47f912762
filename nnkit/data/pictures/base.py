"""What datasets of pictures share: batches gathered from bytes, splits, normalisation, a user's files."""

import logging
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from nnkit.batches import ImageBatch, MixedBatch, listed
from nnkit.data.base import DataModule, Preprocessing, Samples, Split
from nnkit.data.pictures.augment import Augment
from nnkit.data.pictures.image_files import warn_of_unlike
from nnkit.data.pictures.levels import Levels
from nnkit.data.pictures.reading import Decoded, read_pictures
from nnkit.data.read_batch import ReadBatch, has_target, refuse_kept
from nnkit.data.sampler import Draw
from nnkit.data.splits import SPLITS, RandomSplit
from nnkit.data.splitting import split_rows
from nnkit.errors import UserError

logger = logging.getLogger("nnkit")

Gather = Callable[[Tensor], Tensor]

# Places of the statistics of a picture.
_SUM, _SQUARES, _BORDER = 0, 1, 2


class PictureSamples(Samples):
    """One split of pictures held as bytes; a batch is gathered, augmented and normalised at once.

    Args:
        pixels: All pictures, (n, channels, height, width) uint8, or a function that gathers rows of them, as
            float32 in [0, 255] where they have more than 8 bits.
        targets: Class of each picture, (n,) int64.
        mean: Mean of each channel, in [0, 1].
        std: Standard deviation of each channel, in the same units.
        rows: Which pictures make up the split, (samples,) int64; default: all.
        augment: Changes to training pictures, or None.
        seed: Seed of those changes.
    """

    def __init__(
        self,
        pixels: Tensor | Gather,
        targets: Tensor,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        rows: Tensor | None = None,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        self._gather = partial(torch.index_select, pixels, 0) if isinstance(pixels, Tensor) else pixels
        self._targets = targets
        self.rows = rows
        self._augment = augment
        self._seed = seed
        self._scale, self._offset = _affine(mean, std)

    def __len__(self) -> int:
        return len(self._targets if self.rows is None else self.rows)

    def __getitem__(self, draw: Draw) -> ImageBatch | MixedBatch:
        rows = draw.indices if self.rows is None else self.rows.index_select(0, draw.indices)
        pixels, target = self._gather(rows), self._targets.index_select(0, rows)
        if self._augment is None or draw.epoch is None:
            return ImageBatch(self._normalised(pixels), target, draw.indices)
        drawn = self._seed, draw.epoch, draw.indices
        inputs = self._normalised(self._augment(pixels, *drawn))
        self._augment.cover(inputs, *drawn)
        if (pairing := self._augment.pairing(*drawn)) is None:
            return ImageBatch(inputs, target, draw.indices)
        share, other = pairing
        mixed = inputs.mul(share).add_(inputs[other], alpha=1 - share)
        return MixedBatch(mixed, target, target[other], torch.full((len(rows),), share), draw.indices)

    def _normalised(self, pixels: Tensor) -> Tensor:
        return pixels.to(torch.float32).mul_(self._scale).add_(self._offset)

    def targets(self) -> Tensor:
        """Return the class of each picture."""
        return self._targets if self.rows is None else self._targets.index_select(0, self.rows)


@dataclass(frozen=True)
class PictureSet:
    """All pictures of a dataset, before they are split.

    Attributes:
        title: What messages call them.
        pixels: As in `PictureSamples`.
        targets: Class of each picture, (n,) int64.
        statistics: From `picture_statistics`, (n, channels, 3) float64; NaN where it was not taken.
        class_names: Name of each class.
        fingerprint: SHA-256 that tells these data from others.
        parts: Rows of the splits that the dataset itself fixes; "train" is what the others are taken from.
    """

    title: str
    pixels: Tensor | Gather
    targets: Tensor
    statistics: Tensor
    class_names: list[str]
    fingerprint: str
    parts: dict[Split, Tensor]


@dataclass(kw_only=True, eq=False)
class PictureData(RandomSplit, DataModule):
    """Base of datasets of pictures with a class each: a subclass opens them and reads one file.

    Attributes:
        subset: Share of the remaining training pictures to use, to see what less data does; None: all.
        augment: Options of `nnkit.data.pictures.augment.Augment` by name.

    Raises:
        ValueError: If an option is out of range.
    """

    subset: float | None = None
    augment: dict[str, Any] | None = None

    fact_names: ClassVar[tuple[str, ...]] = ("num_classes", "in_channels", "height", "width")
    is_checked = True
    reads_targets = True
    # What the layers of more leave behind no longer fits the caches.
    read_at_once = 64
    split_by = (*RandomSplit.split_by, "subset")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.subset is not None and not 0 < self.subset <= 1:
            raise ValueError(f"subset must lie in (0, 1] or be null, not {self.subset}")
        self._augment = Augment.of(self.augment)
        if self._augment is not None:
            self._augment.check_size(*self.shape[1:])

    def forget(self) -> None:
        """Drop the pictures."""
        super().forget()
        self._pictures: PictureSet | None = None
        self._rows: dict[Split, Tensor] = {}

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""

    @abstractmethod
    def open(self) -> PictureSet:
        """Open the dataset, found or fetched and prepared if need be.

        Raises:
            UserError: If the data are unusable.
            EnvironmentFault: If they cannot be had.
        """

    @abstractmethod
    def read_picture(self, path: Path) -> Tensor:
        """Turn a picture file into what this dataset trains on, (channels, height, width) uint8 or float32.

        Raises:
            PictureError: If that is impossible; the text says why.
        """

    def prepare(self) -> Preprocessing:
        """Open the dataset, split it and learn the normalisation from the training split."""
        pictures = self.open()
        _check_classes(pictures)
        self._rows = self._split(pictures)
        self._pictures, learnt = self.learn(pictures, self._rows["train"])
        return {
            "class_names": pictures.class_names,
            "shape": list(self.shape),
            **learnt,
            **self.split_options,
            "counts": {name: len(part) for name, part in self._rows.items()},
            "fingerprint": pictures.fingerprint,
        }

    def learn(self, pictures: PictureSet, rows: Tensor) -> tuple[PictureSet, Preprocessing]:
        """Learn the normalisation from the training pictures.

        Args:
            pictures: All pictures, as they were opened.
            rows: Those of the training split.

        Returns:
            The pictures with what was learnt, and this as plain data.
        """
        return pictures, normalisation(pictures.statistics[rows], self.shape[1] * self.shape[2])

    def facts(self) -> dict[str, Any]:
        """Return number of classes, channels, height and width, as far as they are no arguments."""
        channels, height, width = self.preprocessing["shape"]
        num_classes = len(self.preprocessing["class_names"])
        known = {"num_classes": num_classes, "in_channels": channels, "height": height, "width": width}
        return {name: known[name] for name in self.fact_names}

    def samples(self, split: Split) -> PictureSamples:
        """Open one split as the run that wrote `preprocessing` split the data.

        Raises:
            UserError: If the data have changed since.
        """
        if self._pictures is None:
            self._pictures = self._reopened()
            self._rows = self._split(self._pictures)
        return PictureSamples(
            self._pictures.pixels,
            self._pictures.targets,
            self.preprocessing["mean"],
            self.preprocessing["std"],
            rows=self._rows[split],
            augment=self._augment if split == "train" else None,
            seed=self.seed,
        )

    def _split(self, pictures: PictureSet) -> dict[Split, Tensor]:
        settled = torch.full_like(pictures.targets, -1)
        for split, part in pictures.parts.items():
            settled[part] = SPLITS.index(split)
        rows = self.split_rows(len(settled), pictures.targets, settled=settled)
        options = self.split_options
        if options["subset"] is not None:
            seed = options["split_seed"]
            rows["train"] = _subset(rows["train"], pictures.targets, options["subset"], seed)
        return rows

    def _reopened(self) -> PictureSet:
        pictures, before = self.open(), self.preprocessing["class_names"]
        classes = f"it had {len(before)} classes, and now has {len(pictures.class_names)}"
        self.unchanged(pictures.title, pictures.fingerprint, classes)
        if pictures.class_names != before:
            # Folders that were renamed hold the same pictures.
            raise UserError(
                f"{pictures.title} has changed since this run was prepared: its classes were {', '.join(before)}, "
                f"now they are {', '.join(pictures.class_names)}"
            )
        return pictures

    def read(self, items: Sequence[str]) -> Iterator[tuple[str, ImageBatch | str]]:
        """Read picture files, and those in folders, as batches of one; see `DataModule.read`.

        A picture in a folder of a class, below a folder that was named, has this class as its target.
        """
        for read in self.read_batches(items, self.read_at_once):
            row = 0
            for place, name in enumerate(read.names):
                if place in read.problems:
                    yield name, read.problems[place]
                    continue
                assert read.batch is not None
                yield name, ImageBatch(*(part[row : row + 1] for part in read.batch))
                row += 1

    def read_batches(self, items: Sequence[str], size: int, keep: Sequence[str] = ()) -> Iterator[ReadBatch]:
        """Read picture files, and those in folders, in batches; see `DataModule.read_batches`."""
        refuse_kept(keep)
        return map(self._batch_of, read_pictures(items, self.read_picture, size))

    def _batch_of(self, decoded: Sequence[Decoded]) -> ReadBatch:
        names = [one.name for one in decoded]
        problems = {place: one.pixels for place, one in enumerate(decoded) if isinstance(one.pixels, str)}
        read = [(one, one.pixels) for one in decoded if isinstance(one.pixels, Tensor)]
        if not read:
            return ReadBatch(names, None, problems)
        numbers = {name: number for number, name in enumerate(self.preprocessing["class_names"])}
        target = torch.tensor(
            [next((numbers[part] for part in one.inside if part in numbers), -1) for one, _ in read]
        )
        kinds = {pixels.dtype for _, pixels in read}
        # Some may have more than 8 bits.
        pixels = torch.stack([pixels if len(kinds) == 1 else pixels.float() for _, pixels in read])
        warn_of_unlike([one.name for one, _ in read], pixels.numpy(), self.preprocessing["brightness"])
        scale, offset = _affine(self.preprocessing["mean"], self.preprocessing["std"])
        inputs = pixels.to(torch.float32).mul_(scale).add_(offset)
        batch = ImageBatch(inputs, target, torch.zeros_like(target))
        return ReadBatch(names, batch, problems, has_target(target))


def _affine(mean: Sequence[float], std: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return factor and summand that take a byte to its normalised value in one pass each."""
    centre = torch.tensor(mean, dtype=torch.float64).view(-1, 1, 1)
    spread = torch.tensor(std, dtype=torch.float64).view(-1, 1, 1)
    return (1 / (255 * spread)).to(torch.float32), (-centre / spread).to(torch.float32)


def picture_statistics(pixels: Levels) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return sum of values, sum of squares, and mean of the outermost pixels, for each picture and channel.

    Kept for each picture, so that the normalisation of any split costs no pass over the pixels.

    Args:
        pixels: Pictures, (n, channels, height, width) uint8 or float32.

    Returns:
        Statistics, (n, channels, 3) float64, exact sums of bytes.
    """
    values = pixels.astype(np.uint32 if pixels.dtype == np.uint8 else np.float64)
    edges = (values[..., 0, :], values[..., -1, :], values[..., 1:-1, 0], values[..., 1:-1, -1])
    border = np.concatenate(edges, axis=-1).mean(axis=-1)
    flat = values.reshape(*values.shape[:2], -1)
    sums = flat.sum(axis=-1, dtype=np.float64)
    squares = np.square(flat).sum(axis=-1, dtype=np.float64)
    return np.stack([sums, squares, border], axis=-1)


def normalisation(statistics: Tensor, num_pixels: int) -> dict[str, Any]:
    """Return mean and standard deviation of each channel, and how bright pictures and their borders are.

    Args:
        statistics: From `picture_statistics`, (n, channels, 3); rows of NaN are left out.
        num_pixels: Pixels in a picture.

    Returns:
        "mean" and "std" of each channel in [0, 1]; "brightness" with mean and standard deviation, over the
        pictures, of the mean level of a "picture" and of its "border", in [0, 255].
    """
    known = statistics[~statistics.isnan().any(dim=-1).any(dim=-1)]
    total = len(known) * num_pixels
    mean = known[..., _SUM].sum(dim=0) / total
    variance = known[..., _SQUARES].sum(dim=0) / total - mean**2
    levels = {"picture": known[..., _SUM].mean(dim=1) / num_pixels, "border": known[..., _BORDER].mean(dim=1)}
    return {
        "mean": (mean / 255).tolist(),
        # A channel that never changes is left as it is rather than divided by zero.
        "std": [math.sqrt(value) / 255 if value > 1e-6 else 1.0 for value in variance.tolist()],
        "brightness": {
            name: [level.mean().item(), level.std(correction=0).item()] for name, level in levels.items()
        },
    }


def _check_classes(pictures: PictureSet) -> None:
    rows = torch.cat(list(pictures.parts.values()))
    targets, last = pictures.targets[rows], len(pictures.class_names) - 1
    outside = rows[(targets < 0) | (targets > last)]
    if len(outside):
        raise UserError(
            f"{len(outside):,} of {len(rows):,} pictures have a class outside 0 to {last}, such as "
            f"{int(pictures.targets[outside[0]])}: pictures {listed(outside.tolist())}"
        )


def _subset(rows: Tensor, targets: Tensor, fraction: float, seed: int) -> Tensor:
    num_classes = torch.unique(targets[rows]).numel()
    if round(len(rows) * fraction) < num_classes:
        raise UserError(
            f"data.subset: {fraction} of {len(rows):,} training pictures is less than one for each of "
            f"{num_classes} classes"
        )
    return rows[split_rows(len(rows), 1 - fraction, 0.0, seed, targets[rows])["train"]]
