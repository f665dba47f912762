"""What datasets of pictures share: batches gathered from bytes, splits, normalisation, a user's files."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from nnkit.batches import Pictures, listed
from nnkit.data.base import DataModule, Preprocessing, Samples, Split
from nnkit.data.pictures.augment import Augment
from nnkit.data.pictures.image_files import PictureError, list_pictures, quiet, warn_if_unlike
from nnkit.data.pictures.statistics import normalisation
from nnkit.data.sampler import Draw
from nnkit.data.splits import check_fractions, split_rows
from nnkit.errors import UserError
from nnkit.files.paths import expand

Gather = Callable[[Tensor], Tensor]


class PictureSamples(Samples):
    """One split of pictures held as bytes; a batch is gathered, augmented and normalised at once.

    Args:
        pixels: All pictures, (n, channels, height, width) uint8, or a function that gathers rows of them.
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
        self._rows = rows
        self._augment = augment
        self._seed = seed
        self._scale, self._offset = _affine(mean, std)

    def __len__(self) -> int:
        return len(self._targets if self._rows is None else self._rows)

    def __getitem__(self, draw: Draw) -> Pictures:
        rows = draw.indices if self._rows is None else self._rows.index_select(0, draw.indices)
        pixels = self._gather(rows)
        if self._augment is not None and draw.epoch is not None:
            pixels = self._augment(pixels, self._seed, draw.epoch, draw.indices)
        inputs = pixels.to(torch.float32).mul_(self._scale).add_(self._offset)
        return Pictures(inputs, self._targets.index_select(0, rows), draw.indices)


@dataclass(frozen=True)
class Store:
    """A whole dataset of pictures, before it is split.

    Attributes:
        pixels: As in `PictureSamples`.
        targets: Class of each picture, (n,) int64.
        statistics: From `picture_statistics`, (n, channels, 3) float64; NaN where it was not looked at.
        class_names: Name of each class.
        fingerprint: SHA-256 that tells these data from others.
        parts: Rows of the splits that the dataset itself fixes; "train" is what the others are taken from.
    """

    pixels: Tensor | Gather
    targets: Tensor
    statistics: Tensor
    class_names: list[str]
    fingerprint: str
    parts: dict[Split, Tensor]


class PictureData(DataModule):
    """Base of datasets of pictures with a class each: a subclass opens them and reads one file.

    Args:
        shape: Channels, height and width of a picture.
        val_fraction: Share of the training part held out for validation; 0: no validation.
        test_fraction: Share held out for the test, where the dataset has no test part of its own.
        split_seed: Seed of the split; the split does not depend on `seed`.
        subset: Share of the training split to use, to see what less data does; None: all.
        augment: Options of `Augment` by name.
        loader: Arguments of `DataModule`.

    Raises:
        ValueError: If an argument is out of range.
    """

    fact_names: ClassVar[tuple[str, ...]] = ("num_classes", "in_channels", "height", "width")
    vouched = True

    def __init__(
        self,
        *,
        shape: tuple[int, int, int],
        val_fraction: float,
        test_fraction: float,
        split_seed: int,
        subset: float | None,
        augment: dict[str, Any] | None,
        **loader: Any,
    ) -> None:
        super().__init__(**loader)
        check_fractions(val_fraction, test_fraction)
        if subset is not None and not 0 < subset <= 1:
            raise ValueError(f"subset must lie in (0, 1] or be null, not {subset}")
        self.shape = shape
        self.augment = Augment.of(augment)
        if self.augment is not None:
            self.augment.check_size(shape[1], shape[2])
        self._split_options: dict[str, Any] = {
            "val_fraction": val_fraction,
            "test_fraction": test_fraction,
            "split_seed": split_seed,
            "subset": subset,
        }
        self._store: Store | None = None
        self._dealt: tuple[Any, dict[Split, Tensor]] | None = None

    @abstractmethod
    def open(self) -> Store:
        """Open the dataset, found or fetched and prepared if need be.

        Raises:
            UserError: If the data are unusable.
            EnvironmentFault: If they cannot be had.
        """

    @abstractmethod
    def read_picture(self, path: Path) -> Tensor:
        """Turn a picture file into what this dataset trains on, (channels, height, width) uint8.

        Raises:
            PictureError: If that is impossible; the text says why.
        """

    def prepare(self) -> Preprocessing:
        """Open the dataset, split it and learn the normalisation from the training split."""
        store = self._store = self.open()
        _check_classes(store)
        rows = self._rows(store, self._split_options)
        return {
            "class_names": store.class_names,
            "shape": list(self.shape),
            **normalisation(store.statistics[rows["train"]], self.shape[1] * self.shape[2]),
            **self._split_options,
            "counts": {name: len(part) for name, part in rows.items()},
            "fingerprint": store.fingerprint,
        }

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
        if self._store is None:
            self._store = self.open()
        store, learnt = self._store, self.preprocessing
        if store.fingerprint != learnt["fingerprint"] or store.class_names != learnt["class_names"]:
            raise UserError(
                f"the data have changed since this run was prepared: it was trained on "
                f"{learnt['fingerprint'][:12]} with {len(learnt['class_names'])} classes, and these are "
                f"{store.fingerprint[:12]} with {len(store.class_names)}"
            )
        return PictureSamples(
            store.pixels,
            store.targets,
            learnt["mean"],
            learnt["std"],
            rows=self._rows(store, learnt)[split],
            augment=self.augment if split == "train" else None,
            seed=self.seed,
        )

    def _rows(self, store: Store, options: dict[str, Any]) -> dict[Split, Tensor]:
        """Deal the pictures out once; preparing and opening three splits would do it four times."""
        key = (store.fingerprint, *(options[name] for name in self._split_options))
        if self._dealt is None or self._dealt[0] != key:
            self._dealt = key, _split(store, options)
        return self._dealt[1]

    def read(self, items: Sequence[str]) -> Iterator[tuple[str, Pictures | str]]:
        """Read picture files, and those in folders, as batches of one; see `DataModule.read`."""
        scale, offset = _affine(self.preprocessing["mean"], self.preprocessing["std"])
        zero = torch.zeros(1, dtype=torch.int64)
        for item in items:
            path = expand(item)
            paths = list_pictures(path) if path.is_dir() else [path]
            if not paths:
                yield item, "the folder holds no pictures"
            for file in paths:
                try:
                    with quiet():
                        pixels = self.read_picture(file)
                except PictureError as error:
                    yield str(file), str(error)
                    continue
                warn_if_unlike(str(file), pixels.numpy(), self.preprocessing["brightness"])
                inputs = pixels.unsqueeze(0).to(torch.float32).mul_(scale).add_(offset)
                yield str(file), Pictures(inputs, zero, zero)


def _affine(mean: Sequence[float], std: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return factor and summand that take a byte to its normalised value in one pass each."""
    centre = torch.tensor(mean, dtype=torch.float64).view(-1, 1, 1)
    spread = torch.tensor(std, dtype=torch.float64).view(-1, 1, 1)
    return (1 / (255 * spread)).to(torch.float32), (-centre / spread).to(torch.float32)


def _check_classes(store: Store) -> None:
    rows = torch.cat(list(store.parts.values()))
    targets, last = store.targets[rows], len(store.class_names) - 1
    outside = rows[(targets < 0) | (targets > last)]
    if len(outside):
        raise UserError(
            f"{len(outside):,} of {len(rows):,} pictures have a class outside 0 to {last}, such as "
            f"{int(store.targets[outside[0]])}: pictures {listed(outside.tolist())}"
        )


def _split(store: Store, options: dict[str, Any]) -> dict[Split, Tensor]:
    parts = dict(store.parts)
    pool = parts["train"]
    fractions = {
        "val": 0.0 if "val" in parts else options["val_fraction"],
        "test": 0.0 if "test" in parts else options["test_fraction"],
    }
    seed = options["split_seed"]
    dealt = split_rows(len(pool), fractions["val"], fractions["test"], seed, store.targets[pool])
    for name in ("train", "val", "test"):
        if name == "train" or name not in parts:
            parts[name] = pool[dealt[name]]
    if options["subset"] is not None:
        parts["train"] = _subset(parts["train"], store.targets, options["subset"], seed)
    return parts


def _subset(rows: Tensor, targets: Tensor, fraction: float, seed: int) -> Tensor:
    num_classes = torch.unique(targets[rows]).numel()
    if round(len(rows) * fraction) < num_classes:
        raise UserError(
            f"data.subset: {fraction} of {len(rows):,} training pictures is less than one for each of "
            f"{num_classes} classes"
        )
    return rows[split_rows(len(rows), 1 - fraction, 0.0, seed, targets[rows])["train"]]
