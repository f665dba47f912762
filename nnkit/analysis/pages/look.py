"""The one look of all figures of a page: a palette for light and dark pages, colour maps, and files."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from nnkit.ui import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

# Colours that the colour-blind can tell apart (Okabe and Ito 2008), of about equal weight on white and on black.
INK, QUIET, FAINT = "#1d2126", "#6b7280", "#c9ced6"
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, "#e69f00", "#56b4e9")
# What each is called on a page, and what it is there where that is dark.
VARIABLES = {INK: "ink", QUIET: "quiet", FAINT: "faint", BLUE: "blue", ORANGE: "orange", GREEN: "green"}
DARK = {
    "ink": "#e6e8eb",
    "quiet": "#9aa3af",
    "faint": "#434a54",
    "blue": "#4fa8e0",
    "orange": "#f08a4b",
    "green": "#35c79b",
}
_SIZE = 9
_LEVELS = 128
# Letters of a title that fit into an inch.
_LETTERS_PER_INCH = 13
_DOTS_PER_INCH = 150
# Of figures that a notebook has shown: those of one document must not share names.
_NUMBERS = count(1)


@contextmanager
def style() -> Iterator[None]:
    """Set matplotlib up: no background, so that a page's own is seen; text stays text; also a decorator."""
    import matplotlib as mpl
    from cycler import cycler

    settings: Any = {
        "font.size": _SIZE,
        "axes.titlesize": _SIZE + 1,
        "figure.titlesize": _SIZE + 2,
        "svg.fonttype": "none",
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "text.color": INK,
        "axes.labelcolor": QUIET,
        "axes.edgecolor": FAINT,
        "axes.titlecolor": INK,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "axes.prop_cycle": cycler(color=CYCLE),
        "image.interpolation": "nearest",
        "legend.frameon": False,
    }
    with figures.style(), mpl.rc_context(settings):
        yield


@cache
def shares() -> ListedColormap:
    """Return the colours of shares from 0, nothing, to 1, blue; the page's background is seen through them."""
    return _ramp(BLUE, [level / (_LEVELS - 1) for level in range(_LEVELS)])


@cache
def signed() -> ListedColormap:
    """Return the colours of numbers from -1, orange, over nothing to 1, blue."""
    from matplotlib.colors import ListedColormap

    up = [level / (_LEVELS - 1) for level in range(_LEVELS)]
    below, above = _ramp(ORANGE, up[::-1]), _ramp(BLUE, up)
    return ListedColormap([*below(range(_LEVELS)), *above(range(_LEVELS))])


def _ramp(colour: str, alphas: Sequence[float]) -> ListedColormap:
    from matplotlib.colors import ListedColormap, to_rgba

    return ListedColormap([to_rgba(colour, alpha) for alpha in alphas])


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in pixels, which a notebook shows as the page does."""
    return figures.new_figure(width, height, kind=_shown_figure())


@cache
def _shown_figure() -> type[Figure]:
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        """A figure that a notebook shows as vectors, dark on white whatever its theme."""

        def _repr_html_(self) -> str:
            width = round(self.get_size_inches()[0] * self.dpi)
            svg = to_svg(self, f"shown{next(_NUMBERS)}")
            svg = re.sub(r"var\(--\w+, (#\w+)\)", r"\1", svg)
            style = (
                f"display: inline-block; width: {width}px; max-width: 100%; padding: 8px; background: #fff"
            )
            return f'<div style="{style}">{svg}</div>'

    return ShownFigure


def panels(
    title: str, down: int, across: int, width: float, height: float, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Return a titled figure of a size in pixels and its axes, row by row."""
    figure = new_figure(width, height)
    entitle(figure, title)
    return figure, list(figure.subplots(down, across, squeeze=False, **options).flat)


def entitle(figure: Figure, title: str) -> None:
    """Write a title above a figure, on two lines where it would not fit on one, and cut where it would not on two."""
    fit = int(figure.get_size_inches()[0] * _LETTERS_PER_INCH)
    lines = [title] if cell_len(title) <= fit else textwrap.wrap(title, fit, max_lines=2, placeholder="…")
    figure.suptitle("\n".join(figures.shortened(lines, fit)), x=0.01, ha="left")


def bare(axes: Axes, horizontal: str = "", vertical: str = "") -> None:
    """Take ticks and frame of axes away; what runs along them is written."""
    axes.set(xticks=[], yticks=[], xlabel=horizontal, ylabel=vertical)
    for spine in axes.spines.values():
        spine.set_visible(False)


class _Substitutes:
    """Other characters for those that no font of this machine has, of about the same width.

    A page has the fonts of its reader, so that such characters are written all the same; what is laid out here needs a
    glyph with a width for each.
    """

    def __init__(self) -> None:
        self._others: dict[str, str] = {}

    def put_in(self, text: str) -> str:
        """Return a text of characters that can be laid out."""
        return "".join(map(self._put_in, text))

    def _put_in(self, sign: str) -> str:
        if sign == "\n":
            return sign
        if not sign.isprintable():
            return figures.written(sign)
        if sign not in _pool() and figures.has_glyph(sign):
            return sign
        if sign not in self._others:
            if len(self._others) == len(_pool()):
                return figures.written(sign)
            self._others[sign] = _pool()[len(self._others)]
        return self._others[sign]

    def taken_out(self, text: str) -> str:
        """Return a text with the characters that were meant."""
        return text.translate({ord(other): sign for sign, other in self._others.items()})


@cache
def _pool() -> str:
    """Return mathematical signs and patterns of Braille, nearly as wide as Chinese characters, that can be laid out."""
    return "".join(
        sign for sign in map(chr, [*range(0x2A00, 0x2B00), *range(0x2801, 0x2900)]) if figures.has_glyph(sign)
    )


@contextmanager
def _rewritten(figure: Figure, change: Callable[[str], str]) -> Iterator[None]:
    """Change all texts of a figure while the block runs: they may be names from a run."""
    from matplotlib.text import Text
    from matplotlib.ticker import FuncFormatter

    with ExitStack() as stack:
        for text in figure.findobj(Text):
            assert isinstance(text, Text)
            stack.callback(text.set_text, text.get_text())
            text.set_text(change(text.get_text()))
        for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
            # The names of ticks are written anew each time that a figure is drawn.
            formatter = axis.get_major_formatter()
            if isinstance(formatter, FuncFormatter):
                stack.callback(setattr, formatter, "func", formatter.func)
                formatter.func = _changed(formatter.func, change)
        yield


def _changed(name: Callable[..., str], change: Callable[[str], str]) -> Callable[..., str]:
    return lambda *place: change(name(*place))


def to_svg(figure: Figure, prefix: str) -> str:
    """Return a figure as an <svg> element of a page, its colours those of the page's variables.

    Args:
        figure: The figure; its texts are escaped.
        prefix: Stands before each name inside, so that figures of one page do not share any.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    written, substitutes = io.BytesIO(), _Substitutes()
    canvas, dpi = figure.canvas, figure.dpi
    with style(), _rewritten(figure, substitutes.put_in):
        # Not savefig, which draws a figure twice, the first time for nothing but its layout.
        FigureCanvasSVG(figure).print_svg(written, metadata={"Date": None})  # type: ignore[no-untyped-call]
    figure.set_canvas(canvas)
    figure.dpi = dpi
    text = substitutes.taken_out(written.getvalue().decode())
    text = text[text.index("<svg") :]
    # The page has its own title for it, and names neither program nor version.
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    # Of an image that is drawn twice, such as two heads that attend alike, the name would be there twice.
    text = re.sub(r' id="image[0-9a-f]+"', "", text)
    text = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    # Points as they are for a printer would make a figure larger than it is meant to be.
    text = re.sub(r'(<svg\b[^>]*?) (?:width|height)="[\d.]+pt"', r"\1", text, count=1)
    text = re.sub(r'(<svg\b[^>]*?) (?:width|height)="[\d.]+pt"', r"\1", text, count=1)
    for colour, name in VARIABLES.items():
        text = text.replace(colour, f"var(--{name}, {colour})")
    return text


def to_files(figure: Figure, prefix: str) -> dict[str, bytes]:
    """Return a figure as files by their endings: an SVG that follows the reader's light or dark mode, and a PNG."""
    dark = "".join(f"--{name}: {colour};" for name, colour in DARK.items())
    sheet = f"<style>@media (prefers-color-scheme: dark) {{ svg {{ {dark} }} }}</style>"
    head, end, rest = to_svg(figure, prefix).partition(">")
    width, height = figure.get_size_inches() * 72
    svg = f'{head} width="{width:.0f}pt" height="{height:.0f}pt"{end}{sheet}{rest}'
    png = io.BytesIO()
    with style(), _rewritten(figure, figures.written):
        figure.savefig(png, format="png", dpi=_DOTS_PER_INCH, facecolor="white")
    return {"svg": svg.encode(), "png": png.getvalue()}
