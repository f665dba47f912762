"""Lightning's checkpoint I/O on top of the store: snapshot on the step, write in a thread."""

from collections.abc import Callable
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from torch.utils._pytree import tree_map

from nnkit.checkpoint.manifest import Manifest
from nnkit.checkpoint.serial import dump_bytes, load_bytes
from nnkit.checkpoint.store import CheckpointStore
from nnkit.errors import EnvironmentFault

_Job = tuple[dict[str, Any], str, dict[str, Any]] | None


def _without_numbers(value: Any) -> Any:
    return value.flatten()[:0] if isinstance(value, torch.Tensor) else value


def _prove_readable(checkpoint: dict[str, Any]) -> None:
    """Read back what a run keeps, its tensors emptied, before anybody relies on it.

    Raises:
        EnvironmentFault: If it holds what no checkpoint may hold.
    """
    try:
        load_bytes(dump_bytes(tree_map(_without_numbers, checkpoint)))
    except ValueError as error:
        raise EnvironmentFault(
            f"the run keeps what could not be read back: {error}\n"
            "    a scheduler, an optimizer or a callback of your own may keep plain data and tensors only"
        ) from error


def _snapshot(value: Any) -> Any:
    return value.detach().to("cpu", copy=True) if isinstance(value, torch.Tensor) else value


class StoreIO(CheckpointIO):
    """Writes checkpoints of one run in a thread that sleeps between them.

    The training thread only copies the tensors; serialising, hashing and fsync happen in the thread. One checkpoint may
    wait while one is written: a disk slower than the interval slows training down instead of filling memory.

    Args:
        store: Where the checkpoints go.
        before_commit: Called in the thread before each commit: writes what belongs to the checkpoint elsewhere.
        loaded: A checkpoint that is verified and in memory already, so that it is not read twice.
    """

    def __init__(
        self,
        store: CheckpointStore,
        before_commit: Callable[[], None],
        loaded: tuple[Manifest, dict[str, Any]] | None = None,
    ) -> None:
        self.store = store
        self._before_commit = before_commit
        self._loaded = loaded
        self._jobs: Queue[_Job] = Queue(maxsize=1)
        self._thread: Thread | None = None
        self._failure: Exception | None = None
        self._is_proved = False

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Copy the state and hand it to the writer.

        Args:
            checkpoint: Lightning's state; plain data and tensors.
            path: Where the checkpoint goes; only its name is used.
            storage_options: Facts for the manifest (step, epoch, monitor, score, best), and how many of the newest
                to `keep`.

        Raises:
            EnvironmentFault: If an earlier write has failed.
        """
        self._raise_failure()
        if self._thread is None:
            self._thread = Thread(target=self._write, name="nnkit-checkpoint", daemon=True)
            self._thread.start()
        self._jobs.put((tree_map(_snapshot, checkpoint), Path(path).name, dict(storage_options or {})))

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load a verified checkpoint; `weights_only` is always on, whatever is asked."""
        name = Path(path).name
        if self._loaded is not None and self._loaded[0].file == name:
            # Lightning changes what it is given.
            return dict(self._loaded[1])
        for manifest in self.store.manifests():
            if manifest.file == name:
                return self.store.state(manifest)
        raise EnvironmentFault(f"{path} has no manifest: it is not a checkpoint")

    def remove_checkpoint(self, path: Any) -> None:
        """Do nothing: pruning belongs to the store, after the commit."""

    def flush(self) -> None:
        """Wait until everything handed over is committed.

        Raises:
            EnvironmentFault: If a write has failed.
        """
        self._jobs.join()
        self._raise_failure()

    def teardown(self) -> None:
        """End the writer after its last job."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _write(self) -> None:
        while (job := self._jobs.get()) is not None:
            checkpoint, name, facts = job
            try:
                if self._failure is None:
                    keep = facts.pop("keep")
                    if not self._is_proved:
                        _prove_readable(checkpoint)
                        self._is_proved = True
                    self._before_commit()
                    self.store.commit(name, dump_bytes(checkpoint), **facts)
                    self.store.settle(keep)
            # Whatever it is, it is raised on the training thread: a writer that died would hang the run.
            except Exception as error:
                self._failure = error
            finally:
                self._jobs.task_done()
        self._jobs.task_done()

    def _raise_failure(self) -> None:
        if self._failure is None:
            return
        failure, self._failure = self._failure, None
        if isinstance(failure, EnvironmentFault):
            raise EnvironmentFault(f"{failure}; the last good checkpoint stands") from failure
        raise failure
