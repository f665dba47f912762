"""An inspection: a page on a network seen from inside, and the arrays behind its figures."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nnkit.analysis.pages.parts import PageContent, Section

if TYPE_CHECKING:
    from nnkit.analysis.inspection.capture import Capture
    from nnkit.analysis.inspection.projector import Points
    from nnkit.analysis.inspection.recorded import Recorded
    from nnkit.tasks.outcome import NamedScores


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
class Inspection(PageContent):
    """A network seen from inside.

    Attributes:
        title: Name of the run.
        arrays: What was recorded, by the section's name and the array's, such as "input 1/C1".
        outcomes: What the network says of each input, by the section's name.
        points: Vectors of tokens and of samples, where they are asked for.
    """

    arrays: dict[str, Recorded] = field(default_factory=dict)
    outcomes: dict[str, NamedScores] = field(default_factory=dict)
    points: list[Points] = field(default_factory=list)

    @property
    def heading(self) -> str:
        """What stands above the page."""
        return f"inside {self.title}"

    def _repr_html_(self) -> str:
        """Return the page in a frame, for a notebook."""
        from nnkit.analysis.pages.page import page

        style = "width: 100%; height: 640px; border: 0"
        return f'<iframe sandbox srcdoc="{html.escape(page(self))}" style="{style}"></iframe>'
