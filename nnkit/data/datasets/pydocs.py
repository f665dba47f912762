"""CPython's own documentation, which every machine with Python has: prose for language models."""

import platform
from pathlib import Path

from nnkit.data.datasets.documentation import documents, gathered
from nnkit.data.text.corpus import Corpus, TextSource
from nnkit.data.text.long_text import LongText

# Raised when the same library gives another text.
_FORMAT = 1


class PyDocs(LongText):
    """The help topics of Python and the docstrings of its standard library; no network is needed.

    The text is the same on machines with the same version of Python, and another one with each version.
    """

    def corpus(self) -> Corpus:
        """Gather the text, or find it in the cache."""
        return Corpus(
            "Python's documentation",
            [TextSource("pydocs.txt", gathered("pydocs", ".txt", _FORMAT, _text))],
            "utf-8",
        )

    def origin(self) -> dict[str, str]:
        """Return the version of Python."""
        return {"Python": platform.python_version()}


def _text(library: Path) -> str:
    # Each docstring under the name of what it describes.
    texts = [f"{found.name}\n\n{found.text}" if found.module else found.text for found in documents(library)]
    return "\n\n\n".join(texts) + "\n"
