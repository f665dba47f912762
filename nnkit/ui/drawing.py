"""Pictures for a log, drawn with Pillow: a confusion matrix, tiles, a scatter of points, curves, maps of attention."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]

_WHITE, _BLACK, _GREY, _RED, _GREEN = (255,) * 3, (0,) * 3, (128,) * 3, (200, 30, 30), (0, 120, 60)
# The darkest blue of a confusion matrix.
_BLUE = np.array((8, 48, 107))
_FONT_SIZE = 12
_LINE = 15
_MARGIN = 8


@cache
def _font(size: int = _FONT_SIZE) -> Any:
    return ImageFont.load_default(size)


def _width(text: str, size: int = _FONT_SIZE) -> int:
    width: float = _font(size).getlength(text)
    return math.ceil(width)


def _fitted(text: str, width: int) -> str:
    """Cut a text to a width in pixels."""
    # No letter is narrower than a pixel.
    text = text[:width]
    if _width(text) <= width:
        return text
    while text and _width(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _as_array(image: Image.Image) -> Picture:
    return np.asarray(image, dtype=np.uint8).copy()


def confusion_matrix(counts: NDArray[Any], names: Sequence[str], size: int = 640) -> Picture:
    """Draw counts of true classes (rows) against predictions (columns), each row shaded by its shares.

    Counts and names are written where there is room for them.

    Args:
        counts: Counts, (classes, classes).
        names: Name of each class.
        size: Side of the matrix in pixels, about.

    Returns:
        A picture, (height, width, 3) uint8.
    """
    classes = len(counts)
    cell = max(1, min(size // classes, 64))
    short = [_fitted(name, 120) for name in names] if cell >= _LINE else []
    label = max(map(_width, short)) + _MARGIN if short else 0
    # Names of columns that do not fit side by side stand upright.
    upright = label > cell
    left, top = _MARGIN + _LINE + label, _MARGIN + _LINE + (label if upright else _LINE if short else 0)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    colours = (255 - (255 - _BLUE) * np.sqrt(shares)[..., None]).astype(np.uint8)
    matrix = Image.fromarray(colours).resize((classes * cell, classes * cell), Image.Resampling.NEAREST)
    image = Image.new("RGB", (left + matrix.width + _MARGIN, top + matrix.height + _MARGIN), _WHITE)
    image.paste(matrix, (left, top))
    draw = ImageDraw.Draw(image)
    draw.rectangle((left - 1, top - 1, left + matrix.width, top + matrix.height), outline=_GREY)
    draw.text((left + matrix.width / 2, _MARGIN), "predicted", _GREY, font=_font(), anchor="mt")
    _write_upright(image, "true", (_MARGIN + 4, top + matrix.height // 2))
    for number, name in enumerate(short):
        middle = round((number + 0.5) * cell)
        draw.text((left - 4, top + middle), name, _BLACK, font=_font(), anchor="rm")
        if upright:
            _write_upright(image, name, (left + middle, top - 4 - _width(name) // 2), _BLACK)
        else:
            draw.text((left + middle, top - 5), name, _BLACK, font=_font(), anchor="ms")
    _write_counts(draw, counts, shares, cell, (left, top))
    return _as_array(image)


def _write_counts(
    draw: ImageDraw.ImageDraw, counts: NDArray[Any], shares: NDArray[Any], cell: int, corner: tuple[int, int]
) -> None:
    if _width(f"{int(counts.max())}") > cell - 2 or cell < _LINE:
        return
    for row, column in np.argwhere(counts > 0):
        colour = _WHITE if shares[row, column] > 0.35 else _BLACK
        place = (corner[0] + (column + 0.5) * cell, corner[1] + (row + 0.5) * cell)
        draw.text(place, f"{int(counts[row, column])}", colour, font=_font(), anchor="mm")


def _write_upright(
    image: Image.Image, text: str, middle: tuple[int, int], colour: tuple[int, int, int] = _GREY
) -> None:
    words = Image.new("RGB", (_width(text), _LINE), _WHITE)
    ImageDraw.Draw(words).text((0, _LINE / 2), text, colour, font=_font(), anchor="lm")
    turned = words.rotate(90, expand=True)
    image.paste(turned, (middle[0] - turned.width // 2, middle[1] - turned.height // 2))


def grid(tiles: Sequence[Picture], captions: Sequence[tuple[str, str]] = (), tile_size: int = 84) -> Picture:
    """Lay pictures out in a grid that is about square.

    Args:
        tiles: Pictures, each (height, width, 3) uint8; enlarged in whole steps or shrunk to fit.
        captions: Two short texts below each tile, the upper one green, the lower one red; none if empty.
        tile_size: Side of a tile in pixels.

    Returns:
        A picture, (height, width, 3) uint8.
    """
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    step = (tile_size + _MARGIN, tile_size + _MARGIN + (2 * _LINE if captions else 0))
    image = Image.new("RGB", (columns * step[0] + _MARGIN, rows * step[1] + _MARGIN), _WHITE)
    draw = ImageDraw.Draw(image)
    for number, tile in enumerate(tiles):
        corner = (_MARGIN + number % columns * step[0], _MARGIN + number // columns * step[1])
        fitted = _fit(Image.fromarray(tile), tile_size)
        image.paste(
            fitted,
            (corner[0] + (tile_size - fitted.width) // 2, corner[1] + (tile_size - fitted.height) // 2),
        )
        for line, colour in enumerate((_GREEN, _RED) if captions else ()):
            place = (corner[0], corner[1] + tile_size + line * _LINE + 2)
            draw.text(place, _fitted(captions[number][line], tile_size), colour, font=_font())
    return _as_array(image)


def _fit(image: Image.Image, size: int) -> Image.Image:
    longest = max(image.size)
    if longest <= size:
        factor = size // longest
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    scale = size / longest
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))


def scatter(truth: NDArray[Any], predicted: NDArray[Any], size: int = 420) -> Picture:
    """Draw predicted values over true ones, with the line on which they agree.

    Args:
        truth: True values, (points,).
        predicted: Predicted values, (points,); points that are not finite are left out.
        size: Side of the square in pixels.

    Returns:
        A picture, (height, width, 3) uint8.
    """
    finite = np.isfinite(truth) & np.isfinite(predicted)
    truth, predicted = truth[finite], predicted[finite]
    both = np.concatenate([truth, predicted]) if len(truth) else np.array([0.0, 1.0])
    low, high = float(both.min()), float(both.max())
    span = high - low or 1.0
    left, bottom = _MARGIN + _LINE + 4, _MARGIN + 2 * _LINE
    image = Image.new("RGB", (left + size + _MARGIN, _MARGIN + size + bottom), _WHITE)
    draw = ImageDraw.Draw(image)
    draw.rectangle((left, _MARGIN, left + size, _MARGIN + size), outline=_GREY)
    draw.line((left, _MARGIN + size, left + size, _MARGIN), fill=_GREY)
    across = left + (truth - low) / span * size
    up = _MARGIN + size - (predicted - low) / span * size
    for x, y in zip(across.tolist(), up.tolist(), strict=True):
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=tuple(_BLUE.tolist()))
    base = _MARGIN + size + 4
    draw.text((left, base), f"{low:.4g}", _BLACK, font=_font())
    draw.text((left + size, base), f"{high:.4g}", _BLACK, font=_font(), anchor="ra")
    draw.text((left + size / 2, base), "true", _GREY, font=_font(), anchor="ma")
    _write_upright(image, "predicted", (_MARGIN + 4, _MARGIN + size // 2))
    return _as_array(image)


def curves(truth: NDArray[Any], predicted: NDArray[Any], size: tuple[int, int] = (320, 160)) -> Picture:
    """Draw forecasts (blue) beside what came (grey), one panel below the other, all on one scale.

    Args:
        truth: True values, (panels, steps).
        predicted: Forecasts, (panels, steps); values that are not finite are left out.
        size: Width and height of a panel in pixels.

    Returns:
        A picture, (height, width, 3) uint8.
    """
    known = np.concatenate([truth.ravel(), predicted.ravel()])
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    width, height = size
    labels = [f"{low:.4g}", f"{high:.4g}"]
    left = _MARGIN + max(map(_width, labels)) + 4
    rows = len(truth) * (height + _MARGIN)
    image = Image.new("RGB", (left + width + _MARGIN, _MARGIN + rows + _LINE), _WHITE)
    draw = ImageDraw.Draw(image)
    across = left + np.linspace(0, width, truth.shape[1] + 2)[1:-1]
    for panel, pair in enumerate(zip(truth, predicted, strict=True)):
        top = _MARGIN + panel * (height + _MARGIN)
        draw.rectangle((left, top, left + width, top + height), outline=_GREY)
        draw.text((left - 4, top), labels[1], _BLACK, font=_font(), anchor="ra")
        draw.text((left - 4, top + height), labels[0], _BLACK, font=_font(), anchor="rs")
        for values, colour in zip(pair, (_GREY, tuple(_BLUE.tolist())), strict=True):
            up = top + height - (values - low) / ((high - low) or 1.0) * height
            points = [(x, y) for x, y in zip(across.tolist(), up.tolist(), strict=True) if np.isfinite(y)]
            draw.line(points, fill=colour, width=2)
            for x, y in points if len(points) == 1 else ():
                draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)
    base = _MARGIN + rows - 4
    draw.text((left, base), "true", _GREY, font=_font())
    draw.text((left + width, base), "forecast", tuple(_BLUE.tolist()), font=_font(), anchor="ra")
    return _as_array(image)


class HeatMap(NamedTuple):
    """One matrix and what its rows and columns are.

    Attributes:
        title: Stands above it.
        values: Shares from 0 to 1, (rows, columns).
        rows: Name of each row.
        columns: Name of each column.
    """

    title: str
    values: NDArray[Any]
    rows: Sequence[str]
    columns: Sequence[str]


def heat_maps(maps: Sequence[HeatMap], across: int, cell: int = 15) -> Picture:
    """Draw matrices side by side, shaded from white for 0 to dark blue for 1; small shares can be told from none.

    Args:
        maps: The matrices, at least one.
        across: How many stand in a row.
        cell: Side of a cell in pixels.

    Returns:
        A picture, (height, width, 3) uint8.
    """
    drawn = [_heat_map(one, cell) for one in maps]
    width, height = (max(sizes) + _MARGIN for sizes in zip(*(image.size for image in drawn), strict=True))
    down = math.ceil(len(drawn) / across)
    image = Image.new("RGB", (across * width + _MARGIN, down * height + _MARGIN), _WHITE)
    for number, one in enumerate(drawn):
        image.paste(one, (_MARGIN + number % across * width, _MARGIN + number // across * height))
    return _as_array(image)


def _heat_map(one: HeatMap, cell: int) -> Image.Image:
    size = cell - 3
    rows, columns = (_names_down(names, cell, size) for names in (one.rows, one.columns))
    # Read upwards, so that each begins at its column.
    columns = columns.transpose(Image.Transpose.ROTATE_90)
    colours = (255 - (255 - _BLUE) * np.sqrt(one.values)[..., None]).astype(np.uint8)
    shape = (len(one.columns) * cell, len(one.rows) * cell)
    matrix = Image.fromarray(colours).resize(shape, Image.Resampling.NEAREST)
    left, top = rows.width + 4, _LINE + columns.height + 4
    image = Image.new("RGB", (max(left + shape[0], _width(one.title)) + 2, top + shape[1] + 2), _WHITE)
    image.paste(matrix, (left, top))
    image.paste(rows, (0, top))
    image.paste(columns, (left, _LINE))
    draw = ImageDraw.Draw(image)
    draw.rectangle((left - 1, top - 1, left + shape[0], top + shape[1]), outline=_GREY)
    draw.text((0, 0), one.title, _BLACK, font=_font())
    return image


def _names_down(names: Sequence[str], cell: int, size: int) -> Image.Image:
    """Write names one below the other."""
    short = [_fitted(name, 6 * cell) for name in names]
    image = Image.new(
        "RGB", (max([_width(name, size) for name in short], default=1) + 1, len(names) * cell), _WHITE
    )
    draw = ImageDraw.Draw(image)
    for number, name in enumerate(short):
        draw.text((0, (number + 0.5) * cell), name, _BLACK, font=_font(size), anchor="lm")
    return image


def to_bytes(values: NDArray[Any]) -> Picture:
    """Stretch values of any range to [0, 255] and make them a picture.

    Args:
        values: (channels, height, width); one channel is grey, three are colours, others are averaged.

    Returns:
        A picture, (height, width, 3) uint8.
    """
    low, high = float(values.min()), float(values.max())
    return clip_to_bytes((values - low) / (high - low or 1.0) * 255)


def clip_to_bytes(values: NDArray[Any]) -> Picture:
    """Round values in [0, 255] and make them a picture; see `to_bytes`."""
    channels = values if len(values) == 3 else np.repeat(values.mean(axis=0, keepdims=True), 3, axis=0)
    return channels.round().clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
