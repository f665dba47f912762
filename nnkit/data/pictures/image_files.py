"""Picture files of any size and mode as arrays of bytes."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from nnkit.data.pictures.levels import Levels, eight_bits
from nnkit.files.paths import check_file

logger = logging.getLogger("nnkit")

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Fit = Literal["crop", "stretch", "pad"]

# What a file may hold, whatever its name: of the others some start programs (PostScript runs `gs`).
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
# A picture of 10,000 x 10,000 is a photograph; more in one small file is a decompression bomb.
MAX_PIXELS = 100_000_000
# Colours of 12 bits in 16 stay below, as their upper 8 bits are read.
_DIM = 16
# How far from the training pictures a brightness may lie before a user is warned: standard deviations, and a
# floor of a quarter of the range for data whose brightness hardly varies.
_FAR_STDS = 4.0
_FAR_LEVELS = 64.0


class PictureError(Exception):
    """A file cannot be used as a picture; the text says why."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings about large pictures and odd metadata; what cannot be read still raises.

    Entered by the thread that starts others, not by each of them: warning filters belong to the process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def load(
    path: Path, channels: int, size: tuple[int, int] | None = None, *, keep_levels: bool = False
) -> Image.Image:
    """Open a picture upright as grey or colour; transparency is laid over white.

    Args:
        path: A file of one of `FORMATS`; of an animation, the first picture is taken.
        channels: 1 for grey, 3 for colour.
        size: Height and width that will do, so that a large JPEG is decoded at a fraction of its size.
        keep_levels: Whether grey of more than 8 bits keeps its levels, rather than becoming 8 bits.

    Returns:
        A picture of mode L or RGB; with `keep_levels` also of mode I or F.

    Raises:
        PictureError: If it is none, or too large; the text says why.
    """
    mode = "L" if channels == 1 else "RGB"
    try:
        check_file(path)
        with Image.open(path, formats=_readable()) as image:
            if image.width * image.height > MAX_PIXELS:
                raise PictureError(
                    f"it claims {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}"
                )
            if size is not None and image.mode in ("L", "RGB"):
                # Twice the size keeps the last step of scaling smooth; the larger side, as it may be turned.
                image.draft(None, (2 * max(size), 2 * max(size)))
            # Not known any more once the pixels are there.
            is_halved = keep_levels and any(";16" in str(tile) for tile in image.tile)
            # In place, as a copy takes as long as decoding where the picture is small.
            ImageOps.exif_transpose(image, in_place=True)
            upright = _plain(image, keep_levels)
            if is_halved and upright.mode == "RGB" and np.asarray(upright).max() < _DIM:
                raise PictureError(
                    "its colours have 16 bits, only their upper 8 can be read, and these are nearly black: "
                    "save it with 8 bits a colour"
                )
            return upright if upright.mode in ("I", "F") else upright.convert(mode)
    except FileNotFoundError as error:
        raise PictureError("there is no such file") from error
    except UnidentifiedImageError as error:
        raise PictureError(_not_read(path)) from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"it claims more than {MAX_PIXELS:,} pixels") from error
    except PictureError:
        raise
    except Exception as error:
        # A decoder that meets a broken file raises whatever comes: struct.error, KeyError, ZeroDivisionError.
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise PictureError(f"it cannot be decoded: {reason}") from error


@cache
def _readable() -> tuple[str, ...]:
    """Return those of `FORMATS` that this installation of Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _not_read(path: Path) -> str:
    """Return what a file of none of the formats holds, judged by its first bytes."""
    with path.open("rb") as file:
        beginning = file.read(16)
    if not beginning:
        return "the file is empty"
    # What recognises a format takes this many bytes for granted.
    beginning = beginning.ljust(16, b"\0")
    for name, (_, accepts) in Image.OPEN.items():
        if name not in FORMATS and accepts is not None and accepts(beginning) is True:
            return f"it is {name}, which is not read; a picture is one of {', '.join(_readable())}"
    return f"it is no picture of a format that is read: {', '.join(_readable())}"


def fit(image: Image.Image, height: int, width: int, how: Fit) -> Image.Image:
    """Bring a picture to a size: cut to its shape and scaled, stretched, or scaled whole and padded black."""
    if image.size == (width, height):
        return image
    if how == "stretch":
        return image.resize((width, height), Image.Resampling.BILINEAR)
    if how == "crop":
        return ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    # The darkest level of the picture where black is no number that is known yet.
    black = np.asarray(image).min().item() if image.mode in ("I", "F") else None
    return ImageOps.pad(image, (width, height), Image.Resampling.BILINEAR, color=black)


def to_array(image: Image.Image) -> Levels:
    """Return a picture as (channels, height, width): uint8 of mode L or RGB, int32 of mode I, float32 of mode F."""
    array = np.asarray(image)
    return np.ascontiguousarray(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def centre_ink(image: Image.Image, size: int, box: int, by_mass: bool) -> Image.Image:
    """Cut out what stands on an even background, scale it into a box and centre that in a square.

    This is how MNIST was made (LeCun et al. 1998: a 20x20 box, centred by mass in 28x28). A picture of that size is
    left as it is.

    Args:
        image: A grey picture, light on dark or dark on light.
        size: Side of the square.
        box: Longest side of what was cut out, in pixels.
        by_mass: Whether the centre of mass is centred, or the middle of what was cut out.

    Returns:
        A grey picture of `size` x `size` with the background of the old one.

    Raises:
        PictureError: If nothing stands on the background.
    """
    if image.size == (size, size):
        return image
    values = np.asarray(image, dtype=np.float32)
    edge = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    background = float(np.median(edge))
    ink = np.abs(values - background)
    if ink.max() < 8:
        raise PictureError("it is blank: nothing stands out from the background")
    # Half of the strongest ink would lose thin strokes; a tenth would keep the grain of a photograph.
    rows, columns = np.nonzero(ink > 0.25 * ink.max())
    frame = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    cut = image.crop(frame)
    scale = box / max(cut.size)
    cut = cut.resize((max(1, round(cut.width * scale)), max(1, round(cut.height * scale))), _reducing(scale))
    left, top = _corner(np.abs(np.asarray(cut, dtype=np.float32) - background), size, by_mass)
    canvas = Image.new("L", (size, size), round(background))
    canvas.paste(cut, (left, top))
    return canvas


def warn_of_unlike(names: Sequence[str], pixels: Levels, brightness: dict[str, Sequence[float]]) -> None:
    """Warn about pictures that are unlike the training pictures: blank, inverted, far too dark or bright.

    Args:
        names: Names of the pictures.
        pixels: The pictures as the model will see them, (n, channels, height, width), in [0, 255].
        brightness: Mean and standard deviation, over the training pictures, of the mean of a "picture" and of
            its "border", in [0, 255].
    """
    edges = (pixels[:, :, 0], pixels[:, :, -1], pixels[..., 0], pixels[..., -1])
    levels = {
        "border": np.concatenate(edges, axis=-1).mean(axis=(1, 2), dtype=np.float64),
        "picture": pixels.mean(axis=(1, 2, 3), dtype=np.float64),
    }
    far = {
        what: np.abs(found - brightness[what][0]) > max(_FAR_LEVELS, _FAR_STDS * brightness[what][1])
        for what, found in levels.items()
    }
    lowest = pixels.min(axis=(1, 2, 3))
    blank = lowest == pixels.max(axis=(1, 2, 3))
    for row in np.flatnonzero(blank | far["border"] | far["picture"]).tolist():
        if blank[row]:
            sentence = "%s is blank once brought to the size and depth of training: every pixel is %d"
            logger.warning(sentence, names[row], lowest[row])
            continue
        what = "border" if far["border"][row] else "picture"
        level, mean = float(levels[what][row]), brightness[what][0]
        inverted = abs(255 - level - mean) < abs(level - mean) / 2
        logger.warning(
            "%s looks unlike the training pictures: its %s brightness is %.0f of 255, theirs %.0f%s",
            names[row],
            "border's" if what == "border" else "mean",
            level,
            mean,
            "; it looks inverted, try its negative" if inverted else "",
        )


def _plain(image: Image.Image, keep_levels: bool) -> Image.Image:
    """Bring the modes that Pillow's own conversion would distort to I, F, L, RGB or what converts well."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        if wrong := int((~np.isfinite(values)).sum()):
            raise PictureError(f"{wrong:,} of {values.size:,} pixels are NaN or infinite")
        if keep_levels:
            return Image.fromarray(values.astype(np.float32 if image.mode == "F" else np.int32))
        # Mode I holds what the file had, 8 or 16 bits, in 32.
        return Image.fromarray(eight_bits(values, is_wide=image.mode != "I"))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        over = image.convert("RGBA")
        white = Image.new("RGBA", over.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, over).convert("RGB")
    return image


def _reducing(scale: float) -> Image.Resampling:
    return Image.Resampling.BILINEAR if scale > 1 else Image.Resampling.BOX


def _corner(ink: np.ndarray[Any, np.dtype[np.float32]], size: int, by_mass: bool) -> tuple[int, int]:
    """Return where to paste what was cut out so that its centre is the middle, all of it staying inside."""
    corner = []
    for axis in (1, 0):
        length = ink.shape[axis]
        centre = length / 2
        if by_mass:
            profile = ink.sum(axis=1 - axis)
            centre = float((profile * (np.arange(length) + 0.5)).sum() / profile.sum())
        corner.append(min(max(round(size / 2 - centre), 0), size - length))
    return corner[0], corner[1]
