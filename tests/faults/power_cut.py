"""What a disk may hold after a power cut: operations are performed, and each state they may leave is kept."""

import os
from functools import cache
from itertools import chain, combinations
from pathlib import Path
from typing import NamedTuple

from failing_os import WatchedOs

# What may be left of bytes that were written and not flushed.
REMAINS = {
    "all": lambda rest: rest,
    "nothing": lambda rest: b"",
    "half": lambda rest: rest[: len(rest) // 2],
    "zeros": lambda rest: bytes(len(rest)),
}


class File:
    """The content of a file, and what may be left of it."""

    def __init__(self, content=b""):
        self.content = content
        self.num_synced = len(content)
        self.left = dict.fromkeys(REMAINS, content)

    def change(self, content, num_synced):
        """Note what is in it now, and how much of that is sure to survive."""
        self.content, self.num_synced = content, num_synced
        safe, rest = content[:num_synced], content[num_synced:]
        self.left = {name: safe + remains(rest) for name, remains in REMAINS.items()}


class Rename(NamedTuple):
    """A name that stands for another file now (None: for nothing), and the name that file had before."""

    path: Path
    file: File | None
    before: Path | None = None

    def apply(self, names):
        """Change names that lead to files."""
        if self.before is not None:
            names.pop(self.before, None)
        if self.file is None:
            names.pop(self.path, None)
        else:
            names[self.path] = self.file


class Cut(NamedTuple):
    """What may be on disk after a power cut: the content of each file, None for a directory, and what was promised."""

    disk: dict[Path, bytes | None]
    promises: tuple

    def restore(self, root, target):
        """Let a directory hold this and nothing else."""
        wanted = {target / path.relative_to(root): content for path, content in self.disk.items()}
        target.mkdir(exist_ok=True)
        # To remove a directory takes longer than to write the files that stand in it.
        for path in sorted(target.rglob("*"), reverse=True):
            if path not in wanted:
                path.rmdir() if path.is_dir() else path.unlink()
        for path in sorted(wanted):
            if wanted[path] is None:
                path.mkdir(exist_ok=True)
            else:
                path.write_bytes(wanted[path])


class PoweredOs(WatchedOs):
    """Performs everything, and knows after each operation what a power cut would leave.

    Content survives if its file was flushed, a name if its directory was; of all else any part may.

    Args:
        root: Directory below which everything happens; what is there now survives.
        thorough: Whether any of the names that are not flushed may survive without the others, or all or none.

    Attributes:
        cuts: All states there may have been.
    """

    def __init__(self, root, thorough=True):
        super().__init__()
        self.root = root
        self.thorough = thorough
        self.cuts = []
        self._promises = ()
        self._known = set()
        self._pending = []
        self._safe = {path: _node(path) for path in root.rglob("*")}
        self._names = dict(self._safe)

    def promise(self, what):
        """Note what is sure from now on."""
        with self._lock:
            self._promises = (*self._promises, what)
            self._cut()

    def perform(self, name, path, real, arguments):
        self._find_parents(path)
        is_new = name == "open" and arguments[1] & os.O_CREAT and path not in self._names
        result = super().perform(name, path, real, arguments)
        if is_new:
            self._rename(Rename(path, File()))
        elif name == "open" and arguments[1] & os.O_TRUNC:
            self._names[path].change(b"", 0)
        elif name == "write":
            file = self._names[path]
            file.change(file.content + bytes(arguments[1][:result]), file.num_synced)
        elif name == "mkdir":
            self._rename(Rename(path, _node(path)))
        elif name == "unlink":
            self._rename(Rename(path, None))
        elif name == "replace":
            self._rename(Rename(Path(arguments[1]), self._names[path], path))
        elif name == "fsync":
            self._flush(path)
        else:
            return result
        self._cut()
        return result

    def _find_parents(self, path):
        """Directories that were made by something else survive."""
        for parent in _above(path, self.root):
            if parent not in self._names:
                self._safe[parent] = self._names[parent] = _node(parent)

    def _rename(self, change):
        change.apply(self._names)
        self._pending.append(change)

    def _flush(self, path):
        if not path.is_dir():
            file = self._names[path]
            file.change(file.content, len(file.content))
            return
        for change in self._pending:
            if change.path.parent == path:
                change.apply(self._safe)
        self._pending = [change for change in self._pending if change.path.parent != path]

    def _cut(self):
        most = len(self._pending)
        sizes = range(most + 1) if self.thorough else (0, most)
        for chosen in chain.from_iterable(combinations(self._pending, size) for size in sizes):
            names = dict(self._safe)
            for change in chosen:
                change.apply(names)
            reached = {path: file for path, file in names.items() if self._is_reached(path, names)}
            for remains in REMAINS:
                disk = {path: file.left[remains] for path, file in reached.items()}
                state = (frozenset(disk.items()), self._promises)
                if state not in self._known:
                    self._known.add(state)
                    self.cuts.append(Cut(disk, self._promises))

    def _is_reached(self, path, names):
        return all(parent in names for parent in _above(path, self.root))


@cache
def _above(path, root):
    """Return the directories that a path lies in, below a root."""
    return [parent for parent in path.parents if root in parent.parents]


def _node(path):
    """Return a file, or what stands for a directory: a file that has no content."""
    file = File(b"" if path.is_dir() else path.read_bytes())
    if path.is_dir():
        file.left = dict.fromkeys(REMAINS)
    return file
