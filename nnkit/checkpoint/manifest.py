"""What stands beside the files of a checkpoint and makes them one."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from nnkit.checkpoint.formats import DOCUMENT, FORMAT, TENSORS
from nnkit.files import atomic
from nnkit.files.json_limits import parse_json

# The one file of a checkpoint in the formats 1 and 2.
OLD_SUFFIX = ".ckpt"

# The kinds of what a manifest must have, of each file in its list, and of what it may have.
_NEEDED: dict[str, tuple[type, ...]] = {"name": (str,), "files": (list,), "step": (int,), "epoch": (int,)}
_FILE: dict[str, tuple[type, ...]] = {"file": (str,), "size": (int,), "sha256": (str,)}
_MORE: dict[str, tuple[type, ...]] = {
    "monitor": (str, type(None)),
    "score": (float, int, type(None)),
    "best": (str, type(None)),
    "batch": (int,),
    "format": (int,),
}


@dataclass(frozen=True)
class File:
    """One file of a checkpoint.

    Attributes:
        file: Its name in the directory of checkpoints.
        size: Its bytes.
        sha256: Its hash.
    """

    file: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What stands beside the files of a checkpoint and makes them one.

    Attributes:
        name: Name of the checkpoint, such as "step-000469".
        files: Its files: one JSON document, and the tensors in one file or several. One in the formats 1 and 2.
        step: Optimizer steps taken.
        epoch: Epochs begun.
        monitor: Name of the metric that chooses the best.
        score: Its value at this checkpoint, or None where it was not measured or not finite.
        best: Name of the best checkpoint when this one was committed, this one included.
        batch: Training batches seen; tells apart checkpoints of one step. 0 where it is not said.
        format: Version of the checkpoint format.
    """

    name: str
    files: tuple[File, ...]
    step: int
    epoch: int
    monitor: str | None = None
    score: float | None = None
    best: str | None = None
    batch: int = 0
    format: int = FORMAT

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    @property
    def sha256(self) -> str:
        """Hash of its file; of several, the hash of their hashes."""
        hashes = [file.sha256 for file in self.files]
        return hashes[0] if len(hashes) == 1 else atomic.sha256("".join(hashes).encode())

    @classmethod
    def parse(cls, data: bytes) -> "Manifest":
        """Read a manifest; nothing in it is trusted.

        Raises:
            ValueError: If it is none, saying why.
        """
        content = parse_json(data)
        if not isinstance(content, dict):
            raise ValueError("it holds no keys")
        old = "files" not in content
        if old:
            content = _of_one_file(content)
        listed = content.get("files")
        listed = listed if isinstance(listed, list) else []
        rows: list[dict[str, Any]] = [row if isinstance(row, dict) else {} for row in listed]
        wrong = [name for name, kinds in _NEEDED.items() if type(content.get(name)) not in kinds]
        wrong += [
            name for name, kinds in _MORE.items() if name in content and type(content[name]) not in kinds
        ]
        for row in rows:
            wrong += [name for name, kinds in _FILE.items() if type(row.get(name)) not in kinds]
        if wrong:
            raise ValueError(f"{', '.join(dict.fromkeys(wrong))} is missing or of the wrong kind")
        # A newer release may add keys; whether its checkpoint can be read shows when it is read.
        facts = {field.name: content[field.name] for field in fields(cls) if field.name in content}
        files = tuple(File(row["file"], row["size"], row["sha256"]) for row in rows)
        manifest = cls(**{**facts, "files": files})
        manifest._check_names(old)
        return manifest

    def _check_names(self, old: bool) -> None:
        """Refuse names that lead elsewhere, or to a file of another checkpoint, which would be deleted with this one.

        Raises:
            ValueError: With the first.
        """
        names = [file.file for file in self.files]
        for name in (self.name, self.best or self.name, *names):
            if name != Path(name).name or name in ("", ".."):
                raise ValueError(f"{name!r} is no plain file name")
        single = self.name + (OLD_SUFFIX if old else DOCUMENT)
        for name in names:
            if name != single and (old or not (name.startswith(self.name + ".") and name.endswith(TENSORS))):
                raise ValueError(f"{name!r} is no file of {self.name!r}")
        # Some file systems do not tell large letters from small ones.
        if len({name.lower() for name in names}) != len(names):
            raise ValueError("it lists a file twice")
        if single not in names:
            raise ValueError(f"it does not list {single}")


def _of_one_file(content: dict[str, Any]) -> dict[str, Any]:
    """Return what a manifest of format 1 or 2 says, in the form of the present one."""
    name, best = content.get("file"), content.get("best")
    row = {key: content.get(key) for key in _FILE}
    return {
        **content,
        "name": name.removesuffix(OLD_SUFFIX) if isinstance(name, str) else name,
        "files": [row],
        **({"best": best.removesuffix(OLD_SUFFIX)} if isinstance(best, str) else {}),
    }


@dataclass(frozen=True)
class Finding:
    """One checkpoint as it lies on disk.

    Attributes:
        name: Its name, or that of a file that belongs to none.
        manifest: What its manifest says; None if it has none that can be read.
        problem: Why it is no valid checkpoint; empty if it is one.
        is_leftover: Whether it is a file that no manifest has ever named.
    """

    name: str
    manifest: Manifest | None
    problem: str = ""
    is_leftover: bool = False
