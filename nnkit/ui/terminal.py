"""How verbs print: tables on a terminal, lines with tabs in a pipe, and nothing that imports torch."""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

# Wide enough that a table written to a file is never cut.
_PIPE_WIDTH = 160


def is_terminal() -> bool:
    """Return whether standard output is read by a person."""
    return sys.stdout.isatty()


def set_up_streams() -> None:
    """Escape what the encoding of a stream lacks, and give a stream that was closed at the start to nobody."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # For as long as the process runs.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write_to_nobody(file: IO[str]) -> None:
    """Let what is written to a file of the system from now on, or is still held back for it, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, file.fileno())
    os.close(nowhere)


def json_line(value: Any, file: TextIO, indent: int | None = None) -> str:
    """Return JSON as a line for a file; only where that is UTF-8 it holds other characters than ASCII."""
    is_utf8 = codecs.lookup(file.encoding or "utf-8").name == "utf-8"
    return json.dumps(value, indent=indent, ensure_ascii=not is_utf8) + "\n"


def printable(text: str) -> str:
    """Return a text without control characters: a name from elsewhere may hold commands to the terminal."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in text)


def duration(seconds: float | None) -> str:
    """Return a duration as "12.3 s" or "1:02:03"; empty for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def show(*parts: RenderableType) -> None:
    """Print what rich can draw: as wide as the terminal, or wide and plain in a pipe."""
    from nnkit.ui.consoles import Console

    if is_terminal():
        Console(highlight=False, markup=False, emoji=False).print(*parts, sep="\n")
        return
    console = Console(highlight=False, markup=False, emoji=False, width=_PIPE_WIDTH)
    with console.capture() as captured:
        console.print(*parts, sep="\n")
    sys.stdout.write("".join(line.rstrip() + "\n" for line in captured.get().splitlines()))


def print_rows(headers: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Print rows of text for whoever reads: a table on a terminal, one line a row with tabs in a pipe.

    Args:
        headers: Names of the columns; a pipe gets none, so that `cut -f1` yields values only.
        rows: As many texts each; none of them is read as markup.
        title: Stands above the table.
    """
    if not is_terminal():
        sys.stdout.writelines(
            "\t".join(" ".join(printable(cell).split()) for cell in row) + "\n" for row in rows
        )
        return
    show(table(headers, rows, title))


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> Table:
    """Return rows of text as a table; see `print_rows`."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    drawn = Table(
        title=title or None, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False
    )
    for number, header in enumerate(headers):
        drawn.add_column(header, style="" if number else "cyan", no_wrap=not number, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    return drawn
