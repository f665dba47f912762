"""An inspection as one HTML page that needs no network and runs no script."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnkit import ui
from nnkit.analysis.inspection import look
from nnkit.analysis.inspection.parts import Inspection, file_name
from nnkit.ui.terminal import as_text, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

_TEMPLATES = Path(ui.__path__[0]) / "templates"
# Pixels from which a figure is scrolled on a phone rather than shrunk.
_WIDE = 560
_DOTS = 100


def page(found: Inspection) -> str:
    """Return an inspection as HTML; all that comes from the run or the inputs is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    sections = [
        {
            "title": _text(section.title),
            "texts": [*map(_text, section.texts)],
            "figures": [
                _figure(figure, _text(name), f"f{place}-{number}")
                for number, (name, figure) in enumerate(section.figures.items())
            ],
            "tables": [
                {
                    "title": _text(table.title),
                    "headers": [*map(_text, table.headers)],
                    "rows": [[_text(cell) for cell in row] for row in table.rows],
                }
                for table in section.tables
            ],
        }
        for place, section in enumerate(found.sections)
    ]
    return environment.get_template("inspect.html").render(
        title=_text(f"inside {found.title}"),
        facts={_text(name): _text(value) for name, value in found.facts.items()},
        sections=sections,
        light={name: colour for colour, name in look.VARIABLES.items()},
        dark=look.DARK,
    )


def _text(text: str) -> str:
    return printable(as_text(text))


def _figure(figure: Figure, name: str, prefix: str) -> dict[str, Any]:
    from markupsafe import Markup

    width = round(figure.get_size_inches()[0] * _DOTS)
    # matplotlib escapes the texts of its figures.
    svg = Markup(look.to_svg(figure, prefix))
    return {"svg": svg, "name": name, "width": width, "wide": width > _WIDE}


def files(found: Inspection) -> Iterator[tuple[str, bytes]]:
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
