"""How verbs print: tables on a terminal, lines with tabs in a pipe; rich is imported where something is drawn."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnkit.ui import terminal

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from nnkit.ui.consoles import Console

# Wide enough that a table written to a file is never cut.
_PIPE_WIDTH = 160
_UNBOUNDED = 1_000_000


def console(width: int | None = None) -> Console:
    """Return the console for results: standard output; a path or a name is never read as markup."""
    from nnkit.ui.consoles import Console

    return Console(highlight=False, markup=False, emoji=False, width=width)


def number(value: float) -> str:
    """Return a metric with as many digits as a reader needs."""
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 else f"{value:.4g}"


def shorten(path: Path) -> str:
    """Return a path relative to the working directory where it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)


def results_table(metrics: dict[str, float], facts: dict[str, Any], title: str) -> Table:
    """Return the table of metrics and facts of one run."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=False, title_style="bold", min_width=40)
    table.add_column(style="cyan")
    table.add_column(justify="right")
    for name, value in metrics.items():
        table.add_row(name, number(value), style="bold")
    if metrics and facts:
        table.add_section()
    for name, value in facts.items():
        table.add_row(name, str(value))
    return table


def show(*parts: RenderableType) -> None:
    """Print what rich can draw: as wide as the terminal, or wide and plain in a pipe."""
    if terminal.is_terminal():
        console().print(*parts, sep="\n")
        return
    wide = console(_PIPE_WIDTH)
    with wide.capture() as captured:
        wide.print(*parts, sep="\n")
    sys.stdout.write("".join(line.rstrip() + "\n" for line in captured.get().splitlines()))


def print_rows(headers: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Print rows of text for whoever reads: a table on a terminal, one line a row with tabs in a pipe.

    Args:
        headers: Names of the columns; a pipe gets none, so that `cut -f1` yields values only.
        rows: As many texts each; none of them is read as markup.
        title: Stands above the table.
    """
    if not terminal.is_terminal():
        sys.stdout.writelines(
            "\t".join(" ".join(terminal.printable(cell).split()) for cell in row) + "\n" for row in rows
        )
        return
    show(table(headers, rows, title))


def print_facts(rows: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Print what is known under short names, without rich: an answer that must come at once.

    Args:
        rows: A name and its lines; on a terminal a line that is too long goes on below itself, names without lines are
            left out.
    """
    known = [(name, lines) for name, lines in rows if lines]
    wide = max((len(name) for name, _ in known), default=0)
    width = shutil.get_terminal_size().columns if terminal.is_terminal() else _UNBOUNDED
    for name, lines in known:
        label = name
        for line in lines:
            whole = [*textwrap.wrap(terminal.printable(line), max(width - wide - 4, 20))] or [""]
            for part in whole:
                sys.stdout.write(f"  {label:<{wide}}  {part}".rstrip() + "\n")
                label = ""


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> RenderableType:
    """Return rows of text as a table; see `print_rows`."""
    from nnkit.ui.long_table import LongTable

    return LongTable(headers, rows, title)
