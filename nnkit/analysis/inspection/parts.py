"""What an inspection consists of: sections with sentences, tables and figures, and the arrays behind them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnkit.analysis.inspection.capture import Capture
    from nnkit.analysis.inspection.projector import Points
    from nnkit.analysis.inspection.recorded import Recorded
    from nnkit.tasks.outcome import NamedScores


class PageTable(NamedTuple):
    """Rows of text.

    Attributes:
        title: What they are.
        headers: Name of each column.
        rows: As many texts each.
    """

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass
class Section:
    """A part of the page.

    Attributes:
        title: Its heading.
        name: Short and unique: figures and arrays are called after it.
        texts: Sentences that explain it.
        figures: Figures by name.
        tables: Tables.
    """

    title: str
    name: str
    texts: list[str] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)
    tables: list[PageTable] = field(default_factory=list)


@dataclass
class InputView:
    """One input on its way through the network.

    Attributes:
        section: What is shown of it.
        seen: What was recorded.
        arrays: All arrays, attributions among them.
    """

    section: Section
    seen: Capture
    arrays: dict[str, Recorded]


@dataclass
class Inspection:
    """A network seen from inside.

    Attributes:
        title: Name of the run.
        facts: What is known of it, by name.
        sections: Parts of the page.
        arrays: What was recorded, by the section's name and the array's, such as "input 1/C1".
        outcomes: What the network says of each input, by the section's name.
        points: Vectors of tokens and of samples, where they are asked for.
    """

    title: str
    facts: Mapping[str, str]
    sections: list[Section] = field(default_factory=list)
    arrays: dict[str, Recorded] = field(default_factory=dict)
    outcomes: dict[str, NamedScores] = field(default_factory=dict)
    points: list[Points] = field(default_factory=list)

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
