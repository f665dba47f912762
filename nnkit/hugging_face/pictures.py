"""How a published model reads picture files: preprocessor_config.json as data, each of its steps replayed.

What is read are sizes, the way of resampling, means and deviations. The steps are those of their library where Pillow
resizes, in its order: resize, cut out the middle, scale to fractions, normalise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nnkit.data.pictures.image_files import PictureError, load, to_array
from nnkit.data.pictures.reading import single_pictures
from nnkit.data.read_batch import ReadBatch, grouped
from nnkit.hugging_face.files import read_object, refusing

FILE: Final = "preprocessor_config.json"
# What of their classes resizes how, by how their names begin: the older ones end with FeatureExtractor.
_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "ViT": {"size": {"height": 224, "width": 224}, "resample": Image.Resampling.BILINEAR},
    "ConvNext": {"size": {"shortest_edge": 384}, "resample": Image.Resampling.BICUBIC, "crop_pct": 0.875},
}
_ENDINGS: Final = ("", "Fast", "Pil")
# A side on which ConvNext's processor cuts nothing off.
_UNCUT: Final = 384
# Sides of what the network reads, in pixels; a photograph is brought to some hundred.
_MAX_SIDE: Final = 4096
_AT_ONCE: Final = 64


@dataclass(frozen=True)
class PictureReader:
    """Reads picture files as a published model does.

    Attributes:
        channels: 1 for grey, 3 for colour.
        height: Of what the network reads, where it is known; None: it follows from the picture.
        width: Likewise.
        edge: What the shorter side becomes, where that is resized; None: both sides are.
        cut: Height and width of the middle that is cut out; None: all of it stays.
        resample: The filter of Pillow; None: no picture is resized.
        scale: What bytes are multiplied by.
        mean: Of each channel, subtracted after that.
        std: Of each channel, divided by then.
        expected: Height and width that the network must be given; None: any.
    """

    channels: int
    height: int | None
    width: int | None
    edge: int | None
    cut: tuple[int, int] | None
    resample: Image.Resampling | None
    scale: float
    mean: Sequence[float]
    std: Sequence[float]
    expected: tuple[int, int] | None

    @property
    def described(self) -> str:
        """How pictures are brought to size, for sentences."""
        size = f"{self.height} x {self.width}" if self.edge is None else f"{self.edge} on the shorter side"
        return f"resized to {size}" + (f" and cut to {self.cut[0]} x {self.cut[1]}" if self.cut else "")

    @property
    def at_once(self) -> int:
        """How many pictures go through the network together."""
        height, width = self.cut or (self.height or _MAX_SIDE, self.width or _MAX_SIDE)
        return max(1, min(_AT_ONCE, _MAX_SIDE**2 // (height * width)))

    def read_batches(self, items: Sequence[str], size: int, keep: Sequence[str] = ()) -> Iterator[ReadBatch]:
        """Read picture files, and those in folders, in batches; see `DataModule.read_batches`."""
        return grouped(single_pictures(items, self.read_picture, self.at_once), size)

    def read_picture(self, path: Path) -> Tensor:
        """Return what the network is given for a file, (channels, height, width) float32.

        Raises:
            PictureError: If it cannot be read, or has another size than the network then.
        """
        image = self._resized(load(path, self.channels))
        if self.cut is not None:
            left, top = (image.width - self.cut[1]) // 2, (image.height - self.cut[0]) // 2
            # What lies outside of the picture is black.
            image = image.crop((left, top, left + self.cut[1], top + self.cut[0]))
        if self.expected not in (None, (image.height, image.width)):
            assert self.expected is not None
            height, width = self.expected
            raise PictureError(
                f"it has {image.height} x {image.width} pixels once {FILE} has been followed, "
                f"and the network reads {height} x {width}"
            )
        pixels = to_array(image).astype(np.float64) * self.scale
        pixels -= np.reshape(self.mean, (-1, 1, 1))
        pixels /= np.reshape(self.std, (-1, 1, 1))
        return torch.from_numpy(pixels.astype(np.float32))

    def _resized(self, image: Image.Image) -> Image.Image:
        if self.resample is None:
            return image
        height, width = self.height, self.width
        if self.edge is not None:
            short, long = sorted((image.width, image.height))
            longer = int(self.edge * long / short)
            height, width = (longer, self.edge) if image.width <= image.height else (self.edge, longer)
        assert height is not None and width is not None
        if height * width > _MAX_SIDE**2:
            raise PictureError(f"it would be resized to {height:,} x {width:,} pixels, more than are read")
        return image.resize((width, height), self.resample)


def picture_reader(folder: Path, model_type: str, channels: int, side: int | None) -> PictureReader:
    """Return what reads the pictures of a directory, by its preprocessor_config.json or their library's defaults.

    Args:
        folder: The directory.
        model_type: As its config.json names it.
        channels: Of the pictures that its network reads.
        side: Height and width of these; None: any.

    Raises:
        ConfigError: If the file cannot be read, asks for steps that are not known here, or for absurd ones.
    """
    path = folder / FILE
    given = read_object(path) if path.exists() else {}
    with refusing(path if given else folder):
        return _of(
            {key: value for key, value in given.items() if value is not None}, model_type, channels, side
        )


def _of(given: Mapping[str, Any], model_type: str, channels: int, side: int | None) -> PictureReader:
    if channels not in (1, 3):
        raise ValueError(f"num_channels is {channels}, and picture files have 1 (grey) or 3 (colour)")
    kind = _kind(given, model_type)
    # Without a file of its own, their library's size would seldom be that of the network.
    own = {"size": side} if kind == "ViT" and side is not None and not given else {}
    options: dict[str, Any] = {**_DEFAULTS[kind], **own, **given}
    if _flag(options, "do_pad", False):
        raise ValueError("do_pad is true, and frames around pictures are not known here")
    resizes, size = _flag(options, "do_resize", True), _size(options["size"], square=kind == "ViT")
    resample = Image.Resampling(_whole("resample", options["resample"], 0, len(Image.Resampling) - 1))
    cut = None
    if resizes and kind == "ConvNext":
        size, cut = _cut(size, options["crop_pct"])
    if _flag(options, "do_center_crop", False):
        middle = _size(options.get("crop_size", options["size"]), square=True)
        if len(middle) == 1:
            raise ValueError("crop_size must have a height and a width")
        cut = (middle[0], middle[1])
    edge, (height, width) = (size[0], (None, None)) if len(size) == 1 else (None, size)
    scale = options.get("rescale_factor", 1 / 255) if _flag(options, "do_rescale", True) else 1.0
    normal = _flag(options, "do_normalize", True)
    return PictureReader(
        channels,
        height if resizes else None,
        width if resizes else None,
        edge if resizes else None,
        cut,
        resample if resizes else None,
        _number("rescale_factor", scale),
        _each("image_mean", options.get("image_mean", 0.5) if normal else 0.0, channels, least=None),
        _each("image_std", options.get("image_std", 0.5) if normal else 1.0, channels, least=0.0),
        None if side is None else (side, side),
    )


def _kind(given: Mapping[str, Any], model_type: str) -> str:
    """Return which of `_DEFAULTS` resizes."""
    name = given.get("image_processor_type", given.get("feature_extractor_type"))
    if name is None:
        return "ConvNext" if model_type == "resnet" else "ViT"
    for kind in _DEFAULTS:
        known = [f"{kind}FeatureExtractor", *(f"{kind}ImageProcessor{ending}" for ending in _ENDINGS)]
        if name in known:
            return kind
    names = ", ".join(f"{kind}ImageProcessor" for kind in _DEFAULTS)
    raise ValueError(f"its image_processor_type is {str(name)[:40]!r}; what can be read is {names}")


def _cut(size: tuple[int, ...], share: Any) -> tuple[tuple[int, ...], tuple[int, int] | None]:
    """Return ConvNext's size to resize to, and the middle to cut out: below 384 a part of it, else all."""
    if len(size) != 1:
        raise ValueError("size must have a shortest_edge, as its image_processor_type resizes by that")
    (edge,) = size
    if edge >= _UNCUT:
        return (edge, edge), None
    if not 0 < (part := _number("crop_pct", share)) <= 1:
        raise ValueError(f"crop_pct must lie in (0, 1], not {share!r}")
    return (_whole("size", int(edge / part)),), (edge, edge)


def _size(value: Any, *, square: bool) -> tuple[int, ...]:
    """Return height and width, or what the shorter side becomes."""
    if not isinstance(value, dict):
        side = _whole("size", value)
        return (side, side) if square else (side,)
    if {*value} == {"shortest_edge"}:
        return (_whole("size.shortest_edge", value["shortest_edge"]),)
    if {*value} == {"height", "width"}:
        return tuple(_whole(f"size.{name}", value[name]) for name in ("height", "width"))
    names = ", ".join(map(str, value))[:60]
    raise ValueError(f"size must have height and width, or shortest_edge, not {names or 'nothing'}")


def _flag(options: Mapping[str, Any], name: str, default: bool) -> bool:
    value = options.get(name, default)
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, not {str(value)[:40]!r}")
    return value


def _whole(name: str, value: Any, least: int = 1, most: int = _MAX_SIDE) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most:,}, not {str(value)[:40]}")
    return value


def _number(name: str, value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number, not {str(value)[:40]!r}")
    return float(value)


def _each(name: str, value: Any, channels: int, least: float | None) -> list[float]:
    """Return a number for each channel, above a least one."""
    values = value if isinstance(value, list) else [value] * channels
    if len(values) != channels:
        raise ValueError(f"{name} has {len(values)} numbers, and num_channels is {channels}")
    numbers = [_number(name, one) for one in values]
    if least is not None and not all(number > least for number in numbers):
        raise ValueError(f"{name} must be above {least:g}, not {str(value)[:40]}")
    return numbers
