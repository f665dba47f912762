"""What stands beside a checkpoint file and makes it a checkpoint."""

from dataclasses import dataclass, fields
from pathlib import Path

from nnkit.checkpoint.formats import FORMAT
from nnkit.files.json_limits import parse_json

# The kinds of what must stand in a manifest, and of what may.
_NEEDED: dict[str, tuple[type, ...]] = {
    "file": (str,),
    "step": (int,),
    "epoch": (int,),
    "size": (int,),
    "sha256": (str,),
}
_MORE: dict[str, tuple[type, ...]] = {
    "monitor": (str, type(None)),
    "score": (float, int, type(None)),
    "best": (str, type(None)),
    "batch": (int,),
    "format": (int,),
}


@dataclass(frozen=True)
class Manifest:
    """What stands beside a checkpoint and makes it one.

    Attributes:
        file: Name of the checkpoint file.
        step: Optimizer steps taken.
        epoch: Epochs begun.
        size: Bytes of the file.
        sha256: Hash of the file.
        monitor: Name of the metric that chooses the best.
        score: Its value at this checkpoint, or None where it was not measured or not finite.
        best: File name of the best checkpoint when this one was committed, this one included.
        batch: Training batches seen; tells apart checkpoints of one step. 0 where it is not said.
        format: Version of the checkpoint format.
    """

    file: str
    step: int
    epoch: int
    size: int
    sha256: str
    monitor: str | None = None
    score: float | None = None
    best: str | None = None
    batch: int = 0
    format: int = FORMAT

    @classmethod
    def parse(cls, data: bytes) -> "Manifest":
        """Read a manifest; nothing in it is trusted.

        Raises:
            ValueError: If it is none, saying why.
        """
        content = parse_json(data)
        if not isinstance(content, dict):
            raise ValueError("it holds no keys")
        wrong = [name for name, kinds in _NEEDED.items() if type(content.get(name)) not in kinds]
        wrong += [
            name for name, kinds in _MORE.items() if name in content and type(content[name]) not in kinds
        ]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} is missing or of the wrong kind")
        # A newer release may add keys; whether its checkpoint can be read is said when it is.
        manifest = cls(**{field.name: content[field.name] for field in fields(cls) if field.name in content})
        named = (manifest.file, manifest.best or manifest.file)
        if not all(name == Path(name).name and name != ".." for name in named):
            raise ValueError(f"{manifest.file!r} or {manifest.best!r} is no plain file name")
        return manifest


@dataclass(frozen=True)
class Finding:
    """One checkpoint as it lies on disk.

    Attributes:
        file: Its name, or that of a manifest that cannot be read.
        manifest: What its manifest says; None if it has none that can be read.
        problem: Why it is no valid checkpoint; empty if it is one.
    """

    file: str
    manifest: Manifest | None
    problem: str = ""
