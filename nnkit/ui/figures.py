"""Figures for logs and files: arrays in, a figure of matplotlib out, which is imported for the first of them."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.text import Text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# An image, (height, width, 3).
Pixels = NDArray[np.uint8]

# The palette. Shares from 0 to 1 run from white to dark blue, by their root: small shares can be told from none.
MAIN, QUIET, RIGHT, WRONG = "#08306b", "0.5", "#00783c", "#c81e1e"
_SHARES = "Blues"
# With 100 dots per inch a size in pixels is a hundredth of that in inches.
_DOTS_PER_INCH, _DOTS_PER_INCH_OF_FILES = 100, 150
_FONT_SIZE = 8
_MARGIN, _LINE, _LETTER = 8, 15, 6
# Length of a name, where a Chinese character counts as two.
_LONGEST_NAME, _LONGEST_STEP = 20, 14
# Size of a step's name beside a cell of one pixel, in points.
_STEP_SIZE = 0.55
# Classes whose counts are written: each takes about a millisecond.
_MOST_COUNTED = 21
# matplotlib comes with the first; the others, where they are installed, have Chinese, Japanese and Korean.
_FONT = "DejaVu Sans"
_FALLBACKS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans CJK TC", "Noto Sans SC", "Noto Sans JP",
    "Noto Sans KR", "Source Han Sans SC", "Source Han Sans CN", "Source Han Sans", "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei", "PingFang SC", "PingFang HK", "Hiragino Sans", "Hiragino Sans GB", "Heiti TC",
    "Apple SD Gothic Neo", "Arial Unicode MS", "Microsoft YaHei", "SimHei", "SimSun", "Yu Gothic", "MS Gothic",
    "Malgun Gothic", "NanumGothic", "IPAGothic", "TakaoGothic", "AR PL UMing CN", "Droid Sans Fallback",
)  # fmt: skip

_log = logging.getLogger("nnkit")


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


@cache
def _fonts() -> dict[str, Any]:
    """Return the fonts to write with, by name, the one to prefer first."""
    from matplotlib import font_manager

    # What was installed since matplotlib listed the fonts is not in its list.
    known = {font.fname for font in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known:
            font_manager.fontManager.addfont(path)
    there = {font.name: font.fname for font in font_manager.fontManager.ttflist}
    return {name: font_manager.get_font(there[name]) for name in (_FONT, *_FALLBACKS) if name in there}


@contextmanager
def style() -> Iterator[None]:
    """Set matplotlib up for names of any origin: no formulas, and every font that may be needed; also a decorator."""
    import matplotlib as mpl

    settings: Any = {
        "font.family": list(_fonts()),
        "font.size": _FONT_SIZE,
        "text.parse_math": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": _FONT_SIZE,
        "svg.hashsalt": "nnkit",
    }
    with mpl.rc_context(settings):
        yield


def legible(names: Sequence[str], longest: int = _LONGEST_NAME) -> list[str]:
    """Return names as the fonts of this machine can write them, cut where they are long.

    Where no font has a character, its code point is drawn in its place, and the name's number before the name.
    """
    found = []
    for number, name in enumerate(names):
        written = "".join(map(_written, name))
        found.append(_cut(written if written == name else f"{number} {written}", longest))
    return found


def shortened(names: Sequence[str], longest: int = _LONGEST_NAME) -> list[str]:
    """Return names cut where they are long, whatever fonts there are; what cannot be seen is its escape."""
    return [_cut("".join(map(_visible, name)), longest) for name in names]


def written(text: str) -> str:
    """Return a text as the fonts of this machine can write it, its lines kept."""
    return "\n".join("".join(map(_written, line)) for line in text.split("\n"))


def has_glyph(sign: str) -> bool:
    """Return whether a font of this machine has a character."""
    return any(font.get_char_index(ord(sign)) for font in _fonts().values())


def _cut(text: str, longest: int) -> str:
    cut = Text(text)
    cut.truncate(longest, overflow="ellipsis")
    return cut.plain


def _visible(sign: str) -> str:
    return sign if sign.isprintable() else sign.encode("unicode_escape").decode()


@cache
def _written(sign: str) -> str:
    """Return a character, or its escape where it cannot be seen."""
    if sign.isprintable() and not has_glyph(sign):
        _report_missing()
        return sign.encode("unicode_escape").decode()
    return _visible(sign)


@cache
def _report_missing() -> None:
    _log.warning(
        "figures show code points in place of characters that no font of this machine has: for Chinese, Japanese and "
        "Korean install Noto Sans CJK (Debian and Ubuntu: apt install fonts-noto-cjk)"
    )


def new_figure(
    width: float,
    height: float,
    *,
    layout: Literal["constrained"] | None = "constrained",
    kind: type[Figure] | None = None,
) -> Figure:
    """Return an empty figure of a size in pixels, without pyplot's state.

    Args:
        width: In pixels.
        height: In pixels.
        layout: Whether axes are given the room that their texts leave.
        kind: Its class; None: matplotlib's own.
    """
    from matplotlib.figure import Figure

    size = (width / _DOTS_PER_INCH, height / _DOTS_PER_INCH)
    return (kind or Figure)(size, dpi=_DOTS_PER_INCH, layout=layout)


def to_pixels(figure: Figure) -> Pixels:
    """Draw a figure; return an image, (height, width, 3) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    # matplotlib leaves it untyped.
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def to_file(figure: Figure, form: str) -> bytes:
    """Draw a figure as a file, "png" or "svg"; equal data yield equal bytes."""
    written = io.BytesIO()
    metadata = {"Date": None} if form == "svg" else {}
    with style():
        figure.savefig(written, format=form, dpi=_DOTS_PER_INCH_OF_FILES, metadata=metadata)
    return written.getvalue()


@style()
def confusion_matrix(counts: NDArray[Any], names: Sequence[str], size: int = 640) -> Figure:
    """Draw counts of true classes (rows) against predictions (columns), each row shaded by its shares.

    Names are written where there is room for them, and counts beside up to 21 names.

    Args:
        counts: Counts, (classes, classes).
        names: Name of each class.
        size: Side of the matrix in pixels, at most.
    """
    classes = len(counts)
    cell = max(1, min(size // classes, 64))
    short = legible(names) if cell >= _LINE else []
    room = _room(short, _LINE)
    # Names of columns that do not fit side by side stand upright.
    upright = room > cell
    left, top = _LINE + room, _LINE + (room if upright else _LINE)
    figure, axes = _canvas(left + classes * cell + _MARGIN, top + classes * cell + _MARGIN)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    _shade(axes, shares, (left, top), cell)
    middle = classes * cell / 2
    axes.text(left + middle, 2, "predicted", color=QUIET, ha="center", va="top")
    axes.text(2, top + middle, "true", color=QUIET, ha="left", va="center", rotation=90)
    _name_rows(axes, short, (left, top), cell)
    _name_columns(axes, short, (left, top), cell, rotation=90 if upright else 0)
    if classes <= _MOST_COUNTED:
        for row, column in np.argwhere(counts > 0):
            colour = "white" if shares[row, column] > 0.35 else "black"
            place = (left + (column + 0.5) * cell, top + (row + 0.5) * cell)
            axes.text(*place, f"{int(counts[row, column])}", color=colour, ha="center", va="center")
    return figure


def _shade(axes: Axes, shares: NDArray[Any], corner: tuple[float, float], cell: int) -> None:
    """Draw a matrix of shares from its upper left corner on."""
    from matplotlib.patches import Rectangle

    rows, columns = shares.shape
    _place(axes, np.sqrt(shares), (*corner, columns * cell, rows * cell))
    axes.add_patch(Rectangle(corner, columns * cell, rows * cell, fill=False, edgecolor=QUIET))


def _name_rows(
    axes: Axes, names: Sequence[str], corner: tuple[float, float], cell: int, size: float = _FONT_SIZE
) -> None:
    for number, name in enumerate(names):
        place = (corner[0] - 4, corner[1] + (number + 0.5) * cell)
        axes.text(*place, name, ha="right", va="center_baseline", fontsize=size)


def _name_columns(
    axes: Axes, names: Sequence[str], corner: tuple[float, float], cell: int, **look: Any
) -> None:
    for number, name in enumerate(names):
        place = (corner[0] + (number + 0.5) * cell, corner[1] - 4)
        axes.text(*place, name, ha="center", va="bottom", **look)


@style()
def image_grid(images: Sequence[Pixels], captions: Sequence[tuple[str, str]] = (), side: int = 84) -> Figure:
    """Lay images out in a grid that is about square.

    Args:
        images: Images, each (height, width, 3) uint8; enlarged in whole steps or shrunk to fit.
        captions: Two short texts below each image, the upper one green, the lower one red; none if empty.
        side: Side of the square an image is fitted to, in pixels.
    """
    columns = math.ceil(math.sqrt(len(images)))
    across, down = side + _MARGIN, side + _MARGIN + (2 * _LINE if captions else 0)
    figure, axes = _canvas(columns * across + _MARGIN, math.ceil(len(images) / columns) * down + _MARGIN)
    for number, image in enumerate(images):
        left, top = _MARGIN + number % columns * across, _MARGIN + number // columns * down
        scale = side // max(image.shape[:2]) or side / max(image.shape[:2])
        height, width = (max(1, round(length * scale)) for length in image.shape[:2])
        _place(axes, image, (left + (side - width) // 2, top + (side - height) // 2, width, height))
        for line, colour in enumerate((RIGHT, WRONG) if captions else ()):
            place = (left, top + side + line * _LINE + 2)
            axes.text(*place, _cut(captions[number][line], side // _LETTER), color=colour, va="top")
    return figure


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure and axes that fill it; their coordinates are pixels, counted from the upper left."""
    figure = new_figure(width, height, layout=None)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure, axes


def _place(axes: Axes, image: NDArray[Any], box: tuple[float, float, float, float]) -> None:
    """Put an image, or shares by their root, into a box: left, top, width and height."""
    from matplotlib.image import AxesImage

    left, top, width, height = box
    # `imshow` would set the limits of the axes anew.
    extent = (left, left + width, top + height, top)
    way = "nearest" if width >= image.shape[1] else "auto"
    placed = AxesImage(axes, extent=extent, origin="upper", cmap=_SHARES, interpolation=way)
    placed.set_data(image)
    placed.set_clim(0, 1)
    axes.add_image(placed)


@style()
def scatter(truth: NDArray[Any], predicted: NDArray[Any], size: int = 460) -> Figure:
    """Draw predicted values over true ones, with the line on which they agree.

    Args:
        truth: True values, (points,).
        predicted: Predicted values, (points,); points that are not finite are left out.
        size: Side of the figure in pixels.
    """
    finite = np.isfinite(truth) & np.isfinite(predicted)
    figure = new_figure(size, size)
    axes = figure.subplots()
    axes.set_aspect("equal", adjustable="datalim")
    axes.plot(truth[finite], predicted[finite], "o", color=MAIN, markersize=3, markeredgewidth=0)
    axes.axline((0, 0), slope=1, color=QUIET, linewidth=0.8, zorder=1)
    axes.set_xlabel("true", color=QUIET)
    axes.set_ylabel("predicted", color=QUIET)
    return figure


@style()
def forecasts(truth: NDArray[Any], predicted: NDArray[Any], size: tuple[int, int] = (400, 170)) -> Figure:
    """Draw forecasts (blue) beside what came (grey), one panel below the other, all on one scale.

    Args:
        truth: True values, (panels, steps).
        predicted: Forecasts, (panels, steps); values that are not finite are left out.
        size: Width and height of a panel in pixels.
    """
    width, height = size
    figure = new_figure(width, len(truth) * height)
    panels = figure.subplots(len(truth), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    steps = np.arange(1, truth.shape[1] + 1)
    marker = "o-" if len(steps) == 1 else "-"
    for axes, came, said in zip(panels, truth, predicted, strict=True):
        for values, colour, label in ((came, QUIET, "true"), (said, MAIN, "forecast")):
            shown = np.where(np.isfinite(values), values, np.nan)
            axes.plot(steps, shown, marker, color=colour, label=label)
    panels[0].legend(frameon=False, loc="upper left", fontsize=_FONT_SIZE, ncols=2)
    return figure


@style()
def heat_maps(maps: Sequence[HeatMap], across: int, cell: int = 15) -> Figure:
    """Draw matrices side by side, shaded from white for 0 to dark blue for 1.

    Names stand beside the first map of a row and above the first of a column, and where they are others than there.

    Args:
        maps: The matrices, at least one.
        across: How many there are in a row.
        cell: Side of a cell in pixels.
    """
    down = math.ceil(len(maps) / across)
    names: dict[tuple[int, int], list[str]] = {}
    left, top = [0.0] * across, [0.0] * down
    for number, one in enumerate(maps):
        row, column = divmod(number, across)
        if column == 0 or one.rows != maps[number - 1].rows:
            names[number, 0] = legible(one.rows, _LONGEST_STEP)
            left[column] = max(left[column], _room(names[number, 0], cell))
        if row == 0 or one.columns != maps[number - across].columns:
            names[number, 1] = legible(one.columns, _LONGEST_STEP)
            top[row] = max(top[row], _room(names[number, 1], cell))
    height, width = (cell * max(one.values.shape[axis] for one in maps) for axis in (0, 1))
    across_by, down_by = width + 2 * _MARGIN, height + _LINE + 2 * _MARGIN
    figure, axes = _canvas(sum(left) + across * across_by, sum(top) + down * down_by)
    for number, one in enumerate(maps):
        row, column = divmod(number, across)
        x = sum(left[: column + 1]) + column * across_by + _MARGIN
        y = sum(top[: row + 1]) + row * down_by + _LINE + _MARGIN
        _shade(axes, one.values, (x, y), cell)
        _name_rows(axes, names.get((number, 0), ()), (x, y), cell, _STEP_SIZE * cell)
        above = names.get((number, 1), ())
        _name_columns(axes, above, (x, y), cell, rotation=90, fontsize=_STEP_SIZE * cell)
        axes.text(x, y - 4 - (top[row] if above else 0), one.title, va="bottom")
    return figure


def _room(names: Sequence[str], line: int) -> float:
    """Return about how many pixels the longest of some names takes where a line has a height in pixels."""
    return 0.5 * line * max((cell_len(name) for name in names), default=0) + _MARGIN


def to_bytes(values: NDArray[Any]) -> Pixels:
    """Scale values of any range to [0, 255] and make them an image.

    Args:
        values: (channels, height, width); one channel is grey, three are colours, others are averaged.

    Returns:
        An image, (height, width, 3) uint8.
    """
    low, high = float(values.min()), float(values.max())
    return clip_to_bytes((values - low) / (high - low or 1.0) * 255)


def clip_to_bytes(values: NDArray[Any]) -> Pixels:
    """Round values in [0, 255] and make them an image; see `to_bytes`."""
    channels = values if len(values) == 3 else np.repeat(values.mean(axis=0, keepdims=True), 3, axis=0)
    return channels.round().clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
