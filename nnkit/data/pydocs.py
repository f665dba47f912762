"""CPython's own documentation, which every machine with Python has: prose for language models."""

import hashlib
import platform
from pathlib import Path

from nnkit.data.cache import cache_dir, explained, locked, replacing
from nnkit.data.docstrings import documents, library_folder
from nnkit.data.fetch import announced
from nnkit.data.long_text import LongText
from nnkit.data.text_reading import Corpus, TextSource

# Raised when the same library gives another text.
_FORMAT = 1


class PyDocs(LongText):
    """The help topics of Python and the docstrings of its standard library; no network is needed.

    The text is the same on machines with the same version of Python, and another one with each version.
    Arguments as in `LongText`.
    """

    def corpus(self) -> Corpus:
        """Gather the text, or find it in the cache."""
        return Corpus("Python's documentation", [TextSource("pydocs.txt", _gathered())], "utf-8")

    def origin(self) -> dict[str, str]:
        """Return the version of Python."""
        return {"Python": platform.python_version()}


def _gathered() -> Path:
    """Return the file in the cache, made if need be."""
    library = library_folder()
    place = hashlib.sha256(f"{_FORMAT} {library}".encode()).hexdigest()[:8]
    home = cache_dir() / "pydocs"
    path = home / f"pydocs-{platform.python_version()}-{place}.txt"
    if path.is_file():
        return path
    with locked(home), announced("Gathering Python's documentation"):
        if not path.is_file():
            text = "\n\n\n".join(documents(library)) + "\n"
            with explained(path), replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    return path
