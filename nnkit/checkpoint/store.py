"""The directory of checkpoints of a run: commit, choose, verify, prune."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from nnkit.checkpoint import formats, old_formats
from nnkit.checkpoint.formats import DOCUMENT, FORMAT, TENSORS
from nnkit.checkpoint.manifest import OLD_SUFFIX, File, Finding, Manifest
from nnkit.checkpoint.outline import check_outline, migrate
from nnkit.errors import EnvironmentFault, UserError
from nnkit.files import atomic
from nnkit.files.json_limits import parse_json
from nnkit.files.paths import check_file

INDEX = "index.json"
_SUFFIX = ".json"
# A manifest has a few hundred bytes, and some for each file.
_MAX_MANIFEST = 1_000_000
_log = logging.getLogger("nnkit")


class CheckpointStore:
    """Checkpoints of one run; files without a manifest that matches are not a checkpoint.

    Args:
        directory: Where the checkpoints stand.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._committed: Manifest | None = None

    def prepare(self) -> None:
        """Create the directory and clear what a killed writer left; the run must be held by this process.

        Raises:
            WriteFault: If the directory cannot be made.
        """
        if self.directory.is_symlink():
            # What is pruned and cleared here must be this run's own.
            raise atomic.WriteFault(f"{self.directory} is a link: put the directory itself in its place")
        atomic.make_directory(self.directory)
        atomic.remove_temporaries(self.directory)
        # Where no manifest is left, nothing is deleted: they may have been lost.
        if manifests := self.manifests():
            for path in self._leftovers():
                _log.info("%s was never committed and is deleted", path)
                atomic.remove(path)
            self._write_index(manifests)

    def write(self, name: str, parts: Mapping[str, bytes]) -> tuple[File, ...]:
        """Write files of a checkpoint, durably; those of all processes become one by `commit`.

        Args:
            name: Name of the checkpoint.
            parts: The files by suffix, from `formats.dump`.

        Raises:
            WriteFault: If a write fails; none of the files is left then.
        """
        files = tuple(File(name + suffix, len(data), atomic.sha256(data)) for suffix, data in parts.items())
        try:
            for file, data in zip(files, parts.values(), strict=True):
                atomic.write_atomic(self.directory / file.file, data)
        except atomic.WriteFault:
            self.discard(name, files)
            raise
        return files

    def commit(
        self, name: str, parts: Mapping[str, bytes], others: Sequence[File] = (), **facts: Any
    ) -> Manifest:
        """Write the files of a checkpoint, then its manifest; the metrics log is made durable before that counts.

        Args:
            name: Name of the checkpoint.
            parts: Its files by suffix, from `formats.dump`.
            others: What `write` has written of it, here and in other processes.
            facts: The manifest's step, epoch, batch, monitor, score and best.

        Raises:
            WriteFault: If a write fails; the earlier checkpoints stand.
        """
        earlier = next((one for one in self._look()[0] if one.name == name), None)
        written = tuple(others)
        try:
            written += self.write(name, parts)
            manifest = Manifest(name, written, **facts)
            atomic.sync_file(self.directory.parent / "metrics.jsonl")
            atomic.write_json(self._manifest_path(name), asdict(manifest))
        except atomic.WriteFault:
            self.discard(name, written)
            raise
        for file in earlier.files if earlier else ():
            # More processes may have saved this step before.
            if file.file not in {one.file for one in written}:
                atomic.remove(self.directory / file.file)
        self._committed = manifest
        return manifest

    def discard(self, name: str, files: Sequence[File]) -> None:
        """Delete files that will not become a checkpoint: they would fill what little space is left."""
        if not self._manifest_path(name).exists():
            with suppress(atomic.WriteFault):
                for file in files:
                    atomic.remove(self.directory / file.file)

    def settle(self, keep: int) -> None:
        """Name the best and the last checkpoint in the index, then delete what is neither best nor among the newest.

        What is later than the checkpoint just committed goes as well: it was damaged when the run was resumed from an
        earlier one, and would take the place of a good one.

        Args:
            keep: How many of the newest stay, at least one.
        """
        manifests = self.manifests()
        last = None if self._committed is None else _order(self._committed)
        kept = [manifest for manifest in manifests if last is None or _order(manifest) <= last]
        if not kept:
            return
        self._write_index(kept)
        for manifest in manifests:
            if manifest not in kept[: max(keep, 1)] and manifest.name != kept[0].best:
                self.remove(manifest)

    def remove(self, manifest: Manifest) -> None:
        """Delete a checkpoint.

        Raises:
            WriteFault: If it cannot be deleted.
        """
        # The manifest first: a reader that finds it gone knows that the files are meant to go.
        atomic.remove(self._manifest_path(manifest.name))
        self._remove_files(manifest)

    def manifests(self) -> list[Manifest]:
        """Return the readable manifests, newest step first; a garbled one is passed over with a warning."""
        found, garbled = self._look()
        for name, problem in garbled.items():
            _log.warning("%s is passed over: %s", self.directory / name, problem)
        return found

    def inspect(self) -> list[Finding]:
        """Return every checkpoint and what is wrong with it, newest first; each file is read and hashed."""
        found, garbled = self._look()
        findings = []
        for manifest in found:
            try:
                self.state(manifest)
                findings.append(Finding(manifest.name, manifest))
            except ValueError as error:
                findings.append(Finding(manifest.name, manifest, str(error)))
        findings += [Finding(name, None, problem) for name, problem in garbled.items()]
        problem = "never committed: the process was killed during a save"
        return findings + [Finding(path.name, None, problem, True) for path in self._leftovers()]

    def holds_any(self) -> bool:
        """Return whether a checkpoint was ever committed here, be it damaged by now.

        Raises:
            EnvironmentFault: If there were some, and no manifest is left of any.
        """
        found, garbled = self._look()
        if not found and not garbled:
            self._check_none_was_lost()
        return bool(found or garbled)

    def state(self, manifest: Manifest) -> dict[str, Any]:
        """Return the state in a checkpoint, verified and brought up to date.

        Raises:
            ValueError: If one of its files is missing or differs from the manifest, or they hold no valid state,
                saying which and why.
        """
        where = self.directory / manifest.name
        if manifest.format > FORMAT:
            raise ValueError(
                f"{where} was written by a newer nnkit (format {manifest.format}, this one reads {FORMAT})"
            )
        parts = {file.file: self._read(file) for file in manifest.files}
        try:
            if (old := parts.get(manifest.name + OLD_SUFFIX)) is not None:
                state = old_formats.load(old)
            else:
                document = parts.pop(manifest.name + DOCUMENT)
                state = formats.load(document, parts)
            state = migrate(state)
            check_outline(state)
            return state
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error

    def _read(self, file: File) -> bytes:
        """Return the verified bytes of a file.

        Raises:
            ValueError: If the file is missing or differs from its manifest, saying how.
        """
        path = self.directory / file.file
        try:
            check_file(path)
            if path.stat().st_size != file.size:
                raise ValueError(f"{path} has {path.stat().st_size:,} bytes, its manifest says {file.size:,}")
            data = atomic.read(path)
        except FileNotFoundError as error:
            raise ValueError(f"{path} is missing") from error
        except (OSError, atomic.ReadFault) as error:
            raise ValueError(str(error)) from error
        if atomic.sha256(data) != file.sha256:
            raise ValueError(f"{path} does not have the SHA-256 of its manifest: its bytes have changed")
        return data

    def load(self, which: Literal["last", "best"] = "last") -> tuple[Manifest, dict[str, Any]]:
        """Load the last or the best valid checkpoint, saying which file was passed over and why.

        Safe beside a process that trains: one that is pruned meanwhile is looked for again among those that are there.

        Args:
            which: "last" or "best"; the best falls back to the last where none is marked.

        Raises:
            UserError: If there is no checkpoint at all.
            EnvironmentFault: If there are checkpoints and none is valid, or all manifests are lost.
        """
        problems: dict[str, str] = {}
        while True:
            found, garbled = self._look()
            if not found and not garbled:
                self._check_none_was_lost()
                raise UserError(f"{self.directory} holds no checkpoint yet")
            problems |= {name: f"{self.directory / name}: {problem}" for name, problem in garbled.items()}
            left = [
                manifest
                for manifest in _ordered(found, which, self._index_best())
                if manifest.name not in problems
            ]
            if not left:
                raise EnvironmentFault("no valid checkpoint is left:\n  " + "\n  ".join(problems.values()))
            try:
                state = self.state(left[0])
            except ValueError as error:
                # Pruned or replaced meanwhile, it is no problem.
                if left[0] in self._look()[0]:
                    problems[left[0].name] = str(error)
                continue
            for problem in problems.values():
                _log.warning("checkpoint passed over: %s", problem)
            if problems:
                _log.warning("using %s of step %d instead", left[0].name, left[0].step)
            return left[0], state

    def _look(self) -> tuple[list[Manifest], dict[str, str]]:
        """Return the manifests, newest first, and what is wrong with those that cannot be read, by name."""
        # One that was pruned since the listing: what came in its place may not have been listed.
        while (looked := self._look_once()) is None:
            pass
        found, garbled = looked
        return sorted(found, key=_order, reverse=True), garbled

    def _look_once(self) -> tuple[list[Manifest], dict[str, str]] | None:
        found, garbled = [], {}
        for path in sorted(self.directory.glob("*" + _SUFFIX)):
            if path.name == INDEX or path.name.endswith(DOCUMENT):
                continue
            try:
                check_file(path, _MAX_MANIFEST)
                manifest = Manifest.parse(atomic.read(path))
                if manifest.name != path.name.removesuffix(_SUFFIX):
                    raise ValueError(f"it speaks of {manifest.name!r}")
                found.append(manifest)
            except FileNotFoundError:
                if not path.is_symlink():
                    return None
                garbled[path.name] = "it is a link that leads nowhere"
            except (OSError, atomic.ReadFault) as error:
                garbled[path.name] = f"its manifest cannot be read: {error}"
            except ValueError as error:
                garbled[path.name] = f"it is not a manifest: {error}"
        return found, garbled

    def _check_none_was_lost(self) -> None:
        """Refuse a directory without manifests that has an index of them."""
        if (self.directory / INDEX).exists():
            raise EnvironmentFault(
                f"{self.directory} has lost all its manifests, without which no checkpoint can be trusted\n"
                f"    to start at step 0 all the same, delete {self.directory}"
            )

    def _index_best(self) -> str | None:
        """Return the best as the index names it: the only place where format 1 has it."""
        try:
            check_file(self.directory / INDEX, _MAX_MANIFEST)
            name = parse_json(atomic.read(self.directory / INDEX))["best"]
        except (OSError, atomic.ReadFault, ValueError, KeyError, TypeError):
            return None
        return name.removesuffix(OLD_SUFFIX) if isinstance(name, str) else None

    def _write_index(self, manifests: list[Manifest]) -> None:
        best = manifests[0].best or (self._index_best() if manifests[0].format == 1 else None)
        atomic.write_json(self.directory / INDEX, {"best": best, "last": manifests[0].name})

    def _leftovers(self) -> list[Path]:
        """Return the files of checkpoints that were never committed; a manifest that cannot be read keeps its own."""
        found, garbled = self._look()
        known = {file.file for manifest in found for file in manifest.files}
        unclear = {name.removesuffix(_SUFFIX) for name in garbled}
        return [
            path
            for path in sorted(self.directory.glob("step-*"))
            if path.name.endswith((TENSORS, DOCUMENT, OLD_SUFFIX))
            and path.name not in known
            and path.name.partition(".")[0] not in unclear
        ]

    def _remove_files(self, manifest: Manifest) -> None:
        for file in manifest.files:
            atomic.remove(self.directory / file.file)

    def _manifest_path(self, name: str) -> Path:
        return self.directory / (name + _SUFFIX)


def _order(manifest: Manifest) -> tuple[int, int]:
    return manifest.step, manifest.batch


def _ordered(manifests: list[Manifest], which: str, index_best: str | None) -> list[Manifest]:
    """Return the manifests in the order in which they are tried."""
    if which == "last" or not manifests:
        return manifests
    best = manifests[0].best or (index_best if manifests[0].format == 1 else None)
    return sorted(manifests, key=lambda manifest: manifest.name != best)
