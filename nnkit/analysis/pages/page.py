"""A page as HTML that needs no network and runs no script, and its figures as files."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnkit import ui
from nnkit.analysis.pages import look
from nnkit.analysis.pages.parts import PageContent, PageTable, Section, Thumb, file_name
from nnkit.ui.terminal import as_text, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

_TEMPLATES = Path(ui.__path__[0]) / "templates"
# Pixels from which a figure is scrolled on a phone rather than shrunk.
_WIDE = 560
_DOTS = 100


def page(found: PageContent) -> str:
    """Return a page as HTML; all that comes from the run or the inputs is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html").render(
        title=_text(found.heading),
        lead=_text(found.lead),
        command=_text(found.command),
        tiles=[[*map(_text, tile)] for tile in found.tiles],
        facts={_text(name): _text(value) for name, value in found.facts.items()},
        sections=[_section(section, place) for place, section in enumerate(found.sections)],
        light={name: colour for colour, name in look.VARIABLES.items()},
        dark=look.DARK,
    )


def _section(section: Section, place: int) -> dict[str, Any]:
    return {
        "title": _text(section.title),
        "minor": section.minor,
        "texts": [*map(_text, section.texts)],
        "figures": [
            _figure(figure, _text(name), f"f{place}-{number}")
            for number, (name, figure) in enumerate(section.figures.items())
        ],
        "thumbs": [*map(_thumb, section.thumbs)],
        "tables": [*map(_table, section.tables)],
        "commands": [{"text": _text(one.text), "note": _text(one.note)} for one in section.commands],
    }


def _text(text: str) -> str:
    return printable(as_text(text))


def _table(table: PageTable) -> dict[str, Any]:
    return {
        "title": _text(table.title),
        "headers": [*map(_text, table.headers)],
        "rows": [[_text(cell) for cell in row] for row in table.rows],
        "numeric": table.numeric,
    }


def _figure(figure: Figure, name: str, prefix: str) -> dict[str, Any]:
    from markupsafe import Markup

    width = round(figure.get_size_inches()[0] * _DOTS)
    # matplotlib escapes the texts of its figures.
    svg = Markup(look.to_svg(figure, prefix))
    return {"svg": svg, "name": name, "width": width, "wide": width > _WIDE}


def _thumb(thumb: Thumb) -> dict[str, Any]:
    """Return a picture as a PNG inside the page, with its captions."""
    from PIL import Image

    written = io.BytesIO()
    Image.fromarray(thumb.image).save(written, "png")
    data = base64.b64encode(written.getvalue()).decode()
    height, width = thumb.image.shape[:2]
    return {"data": data, "coarse": max(height, width) < 100, "lines": [*map(_text, thumb.lines)]}


def files(found: PageContent) -> Iterator[tuple[str, bytes]]:
    """Yield each figure as an SVG and a PNG, with the name of its file."""
    used: set[str] = set()
    for name, figure in found.figures.items():
        plain = short = file_name(name)
        number = 2
        while short in used:
            short, number = f"{plain}-{number}", number + 1
        used.add(short)
        for ending, content in look.to_files(figure, short).items():
            yield f"{short}.{ending}", content
