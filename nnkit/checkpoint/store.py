"""The directory of checkpoints of a run: commit, choose, verify, prune."""

import io
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from nnkit.checkpoint import files
from nnkit.errors import EnvironmentFault, UserError

FORMAT = 1
INDEX = "index.json"
_log = logging.getLogger("nnkit")


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
        format: Version of the checkpoint format.
    """

    file: str
    step: int
    epoch: int
    size: int
    sha256: str
    monitor: str | None = None
    score: float | None = None
    format: int = FORMAT


class CheckpointStore:
    """Checkpoints of one run; a file without a manifest that matches is not a checkpoint.

    Args:
        directory: Where the checkpoints stand.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def prepare(self) -> None:
        """Create the directory and clear what a killed writer left."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for leftover in self.directory.glob("*" + files.TEMPORARY):
            files.remove(leftover)

    def commit(
        self, name: str, data: bytes, *, step: int, epoch: int, monitor: str | None, score: float | None
    ) -> Manifest:
        """Write a checkpoint, then its manifest; the metrics log is made durable before the manifest counts.

        Raises:
            OSError: If a write fails; the earlier checkpoints stand.
        """
        manifest = Manifest(name, step, epoch, len(data), files.sha256(data), monitor, score)
        files.write_atomic(self.directory / name, data)
        files.sync_file(self.directory.parent / "metrics.jsonl")
        files.write_json(self._manifest_path(name), asdict(manifest))
        return manifest

    def settle(self, best: str | None, keep: int) -> None:
        """Name the best and the last checkpoint in the index, then delete what is neither best nor among the newest.

        Args:
            best: File name of the best checkpoint, or None.
            keep: How many of the newest stay, at least one.
        """
        newest = [manifest.file for manifest in self.manifests()]
        files.write_json(self.directory / INDEX, {"best": best, "last": newest[0]})
        for name in newest[max(keep, 1) :]:
            if name != best:
                files.remove(self._manifest_path(name))
                files.remove(self.directory / name)

    def manifests(self) -> list[Manifest]:
        """Return the readable manifests, newest step first; a garbled one is said and passed over."""
        found = []
        for path in self.directory.glob("*.json"):
            if path.name == INDEX:
                continue
            try:
                found.append(Manifest(**json.loads(path.read_bytes())))
            except (ValueError, TypeError) as error:
                _log.warning("%s is not a manifest and is passed over: %s", path, error)
        return sorted(found, key=lambda manifest: manifest.step, reverse=True)

    def best(self) -> str | None:
        """Return the name of the best checkpoint, from the index or, where that is lost, nothing."""
        try:
            name = json.loads((self.directory / INDEX).read_bytes())["best"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return name if isinstance(name, str) and Path(name).name == name else None

    def read(self, manifest: Manifest) -> bytes:
        """Return the verified bytes of a checkpoint.

        Raises:
            ValueError: If the file is missing or differs from its manifest, saying how.
        """
        path = self.directory / Path(manifest.file).name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}") from error
        if len(data) != manifest.size:
            raise ValueError(f"{path} has {len(data)} bytes, its manifest says {manifest.size}")
        if files.sha256(data) != manifest.sha256:
            raise ValueError(f"{path} does not have the SHA-256 of its manifest: its bytes have changed")
        if manifest.format > FORMAT:
            raise ValueError(
                f"{path} was written by a newer nnkit (format {manifest.format}, this one reads {FORMAT})"
            )
        return data

    def load(self, which: str = "last") -> tuple[Manifest, dict[str, Any]]:
        """Load the last or the best valid checkpoint, saying which file was passed over and why.

        Args:
            which: "last" or "best"; the best falls back to the last where none is marked.

        Raises:
            UserError: If there is no checkpoint at all.
            EnvironmentFault: If there are checkpoints and none is valid.
        """
        manifests = self.manifests()
        if not manifests:
            raise UserError(f"{self.directory} holds no checkpoint yet")
        if which == "best" and (best := self.best()) is not None:
            manifests.sort(key=lambda manifest: manifest.file != best)
        problems = []
        for manifest in manifests:
            try:
                loaded = load_bytes(self.read(manifest))
            except ValueError as error:
                problems.append(str(error))
                _log.warning("checkpoint passed over: %s", error)
                continue
            if problems:
                _log.warning("using %s of step %d instead", manifest.file, manifest.step)
            return manifest, loaded
        raise EnvironmentFault("no valid checkpoint is left:\n  " + "\n  ".join(problems))

    def _manifest_path(self, name: str) -> Path:
        return (self.directory / name).with_suffix(".json")


def dump_bytes(checkpoint: dict[str, Any]) -> bytes:
    """Serialise a checkpoint of plain data and tensors."""
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return buffer.getvalue()


def load_bytes(data: bytes) -> dict[str, Any]:
    """Deserialise a checkpoint without executing anything in it.

    Raises:
        ValueError: If the bytes hold more than plain data and tensors, or are no checkpoint.
    """
    try:
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"the checkpoint is refused: {reason}") from error
    if not isinstance(loaded, dict):
        raise ValueError(f"the checkpoint holds a {type(loaded).__name__}, not a dictionary")
    return loaded
