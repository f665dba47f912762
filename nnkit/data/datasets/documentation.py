"""CPython's own documentation, read without running any of it: help topics, and the docstrings of its library."""

import ast
import hashlib
import inspect
import os
import platform
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from nnkit.data.cache import cache_dir, explained, locked, replacing
from nnkit.data.download.fetch import announced
from nnkit.errors import EnvironmentFault

# Tests, an application, and what was installed beside the library.
_LEFT_OUT = frozenset(
    {"test", "tests", "idlelib", "idle_test", "site-packages", "dist-packages", "__pycache__"}
)
_TOPICS = Path("pydoc_data") / "topics.py"


def library_folder() -> Path:
    """Return the folder of the standard library."""
    return Path(sysconfig.get_path("stdlib"))


class Document(NamedTuple):
    """One text of the documentation.

    Attributes:
        module: The module it is from; "" for a help topic.
        name: What it describes.
        text: The text, blanks at both ends removed.
    """

    module: str
    name: str
    text: str


def gathered(name: str, suffix: str, form: int, compose: Callable[[Path], str]) -> Path:
    """Return a file in the cache that holds the documentation in one form or another, made if need be.

    Args:
        name: What the form is called.
        suffix: How the name of the file ends.
        form: Raised when the same library gives another file.
        compose: Makes the content from the folder of the library.

    Raises:
        EnvironmentFault: If the sources of the library are not there, or the cache cannot be written.
    """
    library = library_folder()
    place = hashlib.sha256(f"{form} {library}".encode()).hexdigest()[:8]
    home = cache_dir() / "pydocs"
    path = home / f"{name}-{platform.python_version()}-{place}{suffix}"
    if path.is_file():
        return path
    with locked(home), announced("Gathering Python's documentation"):
        if not path.is_file():
            text = compose(library)
            with explained(path), replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    return path


def documents(library: Path) -> Iterator[Document]:
    """Yield the help topics in the order of their names, then the docstrings of each module.

    Args:
        library: Folder of the standard library's sources.

    Raises:
        EnvironmentFault: If the sources are not there.
    """
    if not (library / _TOPICS).is_file():
        raise EnvironmentFault(
            f"this Python has no sources of its library in {library}, so data=pydocs cannot read them. "
            "Another Python, such as one from python.org, has; data=text_file reads texts of yours."
        )
    topics = _topics(library / _TOPICS)
    yield from (Document("", name, topics[name].strip()) for name in sorted(topics))
    for name, path in sorted(_modules(library)):
        yield from _docstrings(name, path)


def _topics(path: Path) -> dict[str, str]:
    for node in _parsed(path).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            value: dict[str, str] = ast.literal_eval(node.value)
            return value
    raise EnvironmentFault(f"{path} holds no help topics")


def _modules(library: Path) -> Iterator[tuple[str, Path]]:
    for folder, folders, names in os.walk(library):
        folders[:] = [name for name in folders if name not in _LEFT_OUT]
        for name in names:
            path = Path(folder) / name
            if path.suffix == ".py" and path.relative_to(library) != _TOPICS:
                parts = path.relative_to(library).with_suffix("").parts
                yield ".".join(parts).removesuffix(".__init__"), path


def _parsed(path: Path) -> ast.Module:
    with warnings.catch_warnings():
        # Old sources write backslashes that newer Pythons complain about.
        warnings.simplefilter("ignore")
        return ast.parse(path.read_bytes())


def _docstrings(module: str, path: Path) -> Iterator[Document]:
    try:
        tree = _parsed(path)
    except (SyntaxError, ValueError, RecursionError, OSError):
        # Some files of the library are examples of what does not parse.
        return
    yield from (Document(module, name, text) for name, text in _within(module, tree))


def _within(
    name: str, node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
) -> Iterator[tuple[str, str]]:
    text = ast.get_docstring(node, clean=False)
    if text and text.strip():
        yield name, inspect.cleandoc(text).strip()
    for inner in node.body:
        if isinstance(inner, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _within(f"{name}.{inner.name}", inner)
