"""The commit checked out in a directory, read from git's own files: no program is started, no setting obeyed.

Asking `git` itself would obey the repository's configuration, which can name programs, and costs a process at each
start. Only references and commit ids are followed, so a repository from elsewhere cannot name another file.
"""

import re
from pathlib import Path

# SHA-1, or SHA-256 in repositories of that format.
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
# What git itself takes as a name, see git-check-ref-format: no empty part, no part that begins with a dot.
_REFERENCE = re.compile(r"refs(?:/(?!\.)[^\x00-\x20\x7f~^:?*\[\\/]+)+")
_HEAD, _PACKED, _SHARED = "HEAD", "packed-refs", "commondir"
_MAX_BYTES = 4_096
# A line of 100 bytes for each of a million tags and branches.
_MAX_PACKED_BYTES = 100_000_000


def commit(directory: Path) -> str | None:
    """Return the commit checked out in a directory; None outside a repository, or where it has none.

    Args:
        directory: Anywhere in a repository or in a worktree of one.
    """
    for parent in (directory, *directory.parents):
        if (parent / ".git").exists():
            folder = _folder(parent / ".git")
            return None if folder is None else _head(folder)
    return None


def _folder(path: Path) -> Path | None:
    """Return the directory with HEAD: .git itself, or the one that a worktree's or submodule's file names."""
    if path.is_dir():
        return path
    text = _read(path)
    if text is None or not text.startswith("gitdir: "):
        return None
    return path.parent / text.removeprefix("gitdir: ")


def _head(folder: Path) -> str | None:
    text = _read(folder / _HEAD)
    if text is None:
        return None
    if not text.startswith("ref: "):
        return _checked(text)
    name = text.removeprefix("ref: ").strip()
    if not _REFERENCE.fullmatch(name):
        return None
    # A worktree has a HEAD of its own and shares the branches of its repository.
    shared = _read(folder / _SHARED)
    for place in (folder, *([] if shared is None else [folder / shared])):
        found = _checked(_read(place / name)) or _packed(place / _PACKED, name)
        if found is not None:
            return found
    return None


def _packed(path: Path, name: str) -> str | None:
    """Return the commit of a reference in the file that `git pack-refs` writes."""
    for line in (_read(path, _MAX_PACKED_BYTES) or "").splitlines():
        value, _, packed = line.partition(" ")
        if packed == name:
            return _checked(value)
    return None


def _checked(text: str | None) -> str | None:
    """Return a commit id; None for anything else, which could be any file that a link leads to."""
    return text if text is not None and _COMMIT.fullmatch(text) else None


def _read(path: Path, limit: int = _MAX_BYTES) -> str | None:
    """Return the text of a plain file of moderate size; None where there is none, or it is no text."""
    try:
        if not path.is_file() or path.stat().st_size > limit:
            return None
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
