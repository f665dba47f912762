"""Lightning's side of checkpoints: its I/O on top of the store, and where a run may be saved to continue exactly."""

from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, NamedTuple

from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Trainer
from torch import Tensor, distributed

from nnkit.checkpoint.base import Base
from nnkit.checkpoint.formats import TENSORS, dump, dump_tensors, encode
from nnkit.checkpoint.manifest import File, Manifest
from nnkit.checkpoint.store import CheckpointStore
from nnkit.distributed import collectives
from nnkit.errors import EnvironmentFault


class _Job(NamedTuple):
    """What is saved: the JSON data, its tensors, this process's rows of others; its name, and the manifest's facts."""

    document: Any
    tensors: dict[str, Tensor]
    shards: dict[str, Tensor]
    name: str
    facts: dict[str, Any]


class StoreIO(CheckpointIO):
    """Writes checkpoints of one run in a thread that sleeps between them.

    The training thread only copies the tensors; serialising, hashing and fsync happen in the thread. One checkpoint may
    wait while one is written: a disk slower than the interval slows training down instead of filling memory.

    Where several processes share the tensors, each writes its rows into a file of its own; the first one waits for the
    hashes of all, and then writes document and manifest.

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
        self._jobs: Queue[_Job | None] = Queue(maxsize=1)
        # The threads of all processes talk beside the training.
        self._writers: distributed.ProcessGroup | None = None
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
        if (base := Base.of(checkpoint)) is not None:
            checkpoint = base.left_out(checkpoint)
        shards: dict[str, Tensor] = {}
        try:
            document, tensors = encode(checkpoint, shards)
        except ValueError as error:
            raise EnvironmentFault(
                f"the run keeps what could not be read back: {error}\n"
                "    a scheduler, an optimizer or a callback of your own may keep plain data and tensors only"
            ) from error
        if shards and self._writers is None:
            self._writers = collectives.another_group()
        if self._writers is not None and collectives.rank():
            tensors = {}
        if self._thread is None:
            self._thread = Thread(target=self._write, name="nnkit-checkpoint", daemon=True)
            self._thread.start()
        job = _Job(document, _copied(tensors), _copied(shards), Path(path).name, dict(storage_options or {}))
        self._jobs.put(job)

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
            try:
                if self._writers is not None:
                    self._write_together(job, self._writers)
                elif self._failure is None:
                    self._commit(job)
            # Whatever it is, it is raised on the training thread: a writer that died would hang the run.
            except Exception as error:
                self._failure = error
            finally:
                self._jobs.task_done()
        self._jobs.task_done()

    def _commit(self, job: _Job, others: Sequence[File] = ()) -> None:
        facts = dict(job.facts)
        keep = facts.pop("keep")
        self._before_commit()
        self.store.commit(job.name, dump(job.document, job.tensors), others, **facts)
        self.store.settle(keep)

    def _write_together(self, job: _Job, group: distributed.ProcessGroup) -> None:
        """Write the rows of this process; the first one commits what all have written, or says why one has not."""
        files: tuple[File, ...] = ()
        problem = self._failure
        try:
            if problem is None:
                suffix = f".rank-{collectives.rank()}{TENSORS}"
                files = self.store.write(job.name, {suffix: dump_tensors(job.shards)})
        except Exception as error:
            problem = error
        said = collectives.gathered((files, None if problem is None else str(problem)), group)
        if problem is not None:
            raise problem
        if said is None:
            return
        written = [file for files, _ in said for file in files]
        if (told := next((text for _, text in said if text is not None), None)) is not None:
            self.store.discard(job.name, written)
            raise EnvironmentFault(told)
        self._commit(job, written)

    def _raise_failure(self) -> None:
        if self._failure is None:
            return
        failure, self._failure = self._failure, None
        if isinstance(failure, EnvironmentFault):
            raise EnvironmentFault(f"{failure}; the last good checkpoint stands") from failure
        raise failure


def _copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.to("cpu", copy=True) for name, tensor in tensors.items()}


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
