"""A table of many rows: rich draws its head, and its rows, which look the same, are put together in less time."""

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from nnkit.ui.terminal import printable

# Rows from which they are drawn by hand.
MANY = 100
# Between two columns, and at each edge.
_GAP = "   "
_EDGE = " "
_FIRST = "cyan"


class LongTable:
    """Rows of text as a table; where a cell must be folded, or has several lines, rich draws all of it.

    Args:
        headers: Names of the columns.
        rows: As many texts each; none of them is read as markup.
        title: Stands above the table.
    """

    def __init__(self, headers: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
        self._headers, self._title = headers, title
        self._rows = [[printable(cell) for cell in row] for row in rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table."""
        if len(self._rows) < MANY or any(not cell.isprintable() for row in self._rows for cell in row):
            yield self._whole()
            return
        columns = zip(*self._rows, strict=True)
        widths = [
            max(cell_len(header), *map(_width, column))
            for header, column in zip(self._headers, columns, strict=True)
        ]
        if sum(widths) + len(_GAP) * (len(widths) - 1) + 2 * len(_EDGE) > options.max_width:
            yield self._whole()
            return
        # The head, as wide as all rows want it, and what ends the table.
        drawn = [*Segment.split_lines(console.render(self._drawn([], widths), options))]
        for line in drawn[:-1]:
            yield from line
            yield Segment.line()
        style = console.get_style(_FIRST)
        for first, *others in self._rows:
            cells = [_padded(cell, width) for cell, width in zip(others, widths[1:], strict=True)]
            yield Segment(_EDGE)
            # The blank right of a cell has its style.
            yield Segment(_padded(first, widths[0] + bool(cells)), style)
            yield Segment("".join(_GAP + cell for cell in cells)[1:] + _EDGE + "\n")
        yield from drawn[-1]
        yield Segment.line()

    def _whole(self) -> Table:
        return self._drawn(self._rows, [0] * len(self._headers))

    def _drawn(self, rows: Sequence[Sequence[str]], widths: Sequence[int]) -> Table:
        drawn = Table(
            title=self._title or None,
            title_justify="left",
            title_style="bold",
            box=SIMPLE_HEAD,
            pad_edge=False,
        )
        for number, (header, width) in enumerate(zip(self._headers, widths, strict=True)):
            style = "" if number else _FIRST
            drawn.add_column(header, style=style, no_wrap=not number, overflow="fold", min_width=width)
        for row in rows:
            drawn.add_row(*map(Text, row))
        return drawn


def _width(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
