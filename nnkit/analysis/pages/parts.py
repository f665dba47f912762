"""What a page is made of: sections with their sentences, tables, figures, pictures and commands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnkit.ui.figures import Pixels


class PageTable(NamedTuple):
    """Rows of text.

    Attributes:
        title: What they are.
        headers: Name of each column.
        rows: As many texts each.
        numeric: Columns of numbers, which stand at the right of their column.
    """

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()


class Tile(NamedTuple):
    """A number that a reader sees first.

    Attributes:
        name: What it is.
        value: The number.
        note: What stands below it, such as its interval.
    """

    name: str
    value: str
    note: str = ""


class Thumb(NamedTuple):
    """A small picture.

    Attributes:
        image: (height, width, 3) uint8.
        lines: What stands below it.
    """

    image: Pixels
    lines: Sequence[str]


class Command(NamedTuple):
    """Something to type, or a text that is shown letter by letter.

    Attributes:
        text: The text, its line breaks kept.
        note: What it does or is.
    """

    text: str
    note: str = ""


@dataclass
class Section:
    """A part of the page.

    Attributes:
        title: Its heading.
        name: Short and unique: figures and arrays are called after it.
        texts: Sentences that explain it.
        figures: Figures by name.
        tables: Tables.
        thumbs: Small pictures with captions.
        commands: What to type, or texts as they are.
        minor: Whether it belongs to the section before, and is not listed on top of the page.
    """

    title: str
    name: str
    texts: list[str] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)
    tables: list[PageTable] = field(default_factory=list)
    thumbs: list[Thumb] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    minor: bool = False


@dataclass
class PageContent:
    """A page on a run or a sweep.

    Attributes:
        title: What it is about.
        facts: What is known of that, by name.
        sections: Its parts.
        lead: A sentence below the heading.
        command: What was typed.
        tiles: Numbers that are seen first.
    """

    title: str
    facts: Mapping[str, str]
    sections: list[Section] = field(default_factory=list)
    lead: str = ""
    command: str = ""
    tiles: list[Tile] = field(default_factory=list)

    @property
    def heading(self) -> str:
        """What stands above the page."""
        return self.title

    @property
    def figures(self) -> dict[str, Figure]:
        """All figures, by the section's name and the figure's."""
        return {
            f"{section.name}/{name}": figure
            for section in self.sections
            for name, figure in section.figures.items()
        }

    @property
    def tables(self) -> list[PageTable]:
        """All tables."""
        return [table for section in self.sections for table in section.tables]


def file_name(name: str) -> str:
    """Return a figure's name as the name of a file: letters, digits and dashes alone."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower() or "figure"
