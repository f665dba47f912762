"""Lightning's side of checkpoints: its I/O on top of the store, and where a run may be saved to continue exactly."""

from collections.abc import Callable
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Trainer
from torch import Tensor

from nnkit.checkpoint.formats import dump, encode
from nnkit.checkpoint.manifest import Manifest
from nnkit.checkpoint.store import CheckpointStore
from nnkit.errors import EnvironmentFault

# What is saved, the name of the checkpoint, and the facts of its manifest.
_Job = tuple[Any, dict[str, Tensor], str, dict[str, Any]] | None


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

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Copy the state and hand it to the writer.

        Args:
            checkpoint: Lightning's state; plain data and tensors.
            path: Where the checkpoint goes; only its name is used.
            storage_options: Facts for the manifest (step, epoch, monitor, score, best), and how many of the newest
                to `keep`.

        Raises:
            EnvironmentFault: If an earlier write has failed, or the state holds what no checkpoint may hold.
        """
        self._raise_failure()
        try:
            document, tensors = encode(checkpoint)
        except ValueError as error:
            raise EnvironmentFault(
                f"the run keeps what could not be read back: {error}\n"
                "    a scheduler, an optimizer or a callback of your own may keep plain data and tensors only"
            ) from error
        snapshot = {name: tensor.to("cpu", copy=True) for name, tensor in tensors.items()}
        if self._thread is None:
            self._thread = Thread(target=self._write, name="nnkit-checkpoint", daemon=True)
            self._thread.start()
        self._jobs.put((document, snapshot, Path(path).name, dict(storage_options or {})))

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load a verified checkpoint; nothing in it is executed, whatever `weights_only` says."""
        name = Path(path).name
        if self._loaded is not None and self._loaded[0].name == name:
            # Lightning changes what it is given.
            return dict(self._loaded[1])
        for manifest in self.store.manifests():
            if manifest.name == name:
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
            document, tensors, name, facts = job
            try:
                if self._failure is None:
                    keep = facts.pop("keep")
                    self._before_commit()
                    self.store.commit(name, dump(document, tensors), **facts)
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


def at_save_point(trainer: Trainer) -> bool:
    """Return, at the end of a training batch, whether a checkpoint taken now resumes exactly.

    It does not inside an accumulation window (large: it needs the gradients too), nor on a batch after which validation
    or the epoch's end is due (their hooks would never run): those are saved once validation or the epoch is over.
    """
    loop = trainer.fit_loop.epoch_loop
    fetcher = trainer.fit_loop._data_fetcher
    if fetcher is None or in_window(trainer) or loop._num_ready_batches_reached():
        return False
    return not loop._should_check_val_fx(fetcher)


def in_window(trainer: Trainer) -> bool:
    """Return whether gradients are being accumulated: the last batch was not followed by an optimizer step."""
    return trainer.fit_loop.epoch_loop._should_accumulate()


def in_mid_epoch(trainer: Trainer) -> bool:
    """Return whether more batches of this epoch are to come."""
    loop = trainer.fit_loop.epoch_loop
    return not (loop._num_ready_batches_reached() or trainer.should_stop)


def position(state: dict[str, Any]) -> tuple[int, int]:
    """Return the epoch to continue in and its batches that are done, from the counters of a checkpoint."""
    progress = state["loops"]["fit_loop"]["epoch_progress"]["current"]
    batches = state["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"]
    return progress["processed"], batches if progress["ready"] > progress["processed"] else 0


def reopen_epoch(state: dict[str, Any]) -> None:
    """Undo the end of an epoch that was cut short by the end of the run, so that its other batches follow.

    Args:
        state: A checkpoint; changed in place.
    """
    loop = state["loops"]["fit_loop"]
    if not loop["epoch_loop.batch_progress"]["is_last_batch"]:
        for count in ("total", "current"):
            loop["epoch_progress"][count]["processed"] -= 1
