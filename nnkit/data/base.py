"""What every dataset does: prepare once, learn its facts, and gather batches by index."""

import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _BaseDataLoaderIter, _MultiProcessingDataLoaderIter

from nnkit.batches import Batch
from nnkit.data.ahead import AheadLoader
from nnkit.data.inspection import inspect
from nnkit.data.sampler import BatchSampler, Draw
from nnkit.data.tokenizing import tokenizer_from
from nnkit.errors import UserError
from nnkit.machine import signals
from nnkit.machine.faults import explained

# Seconds without a batch after which worker processes are taken to hang.
WORKER_TIMEOUT: float = 120
_INSPECTED_AT_ONCE = 64
# A forked worker has everything at once. The default in a sweep's trial is a server that imports all anew for each
# worker, which takes longer than WORKER_TIMEOUT on a busy machine. Off Linux the system's default is taken.
_START = "fork" if sys.platform == "linux" else None

logger = logging.getLogger("nnkit")

Split = Literal["train", "val", "test"]
Preprocessing = dict[str, Any]


class Samples(Dataset[Batch], ABC):
    """One split held so that a whole batch is gathered by index at once."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def __getitem__(self, draw: Draw) -> Batch:
        """Gather the samples of one draw, augmented if `draw.epoch` is not None."""


def process() -> tuple[int, int]:
    """Return the number of this process and how many train together."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _as_is(batch: Any) -> Any:
    return batch


class Loader(AheadLoader):
    """A loader whose worker processes no signal reaches that is meant for this process, also by way of the group."""

    def __iter__(self) -> _BaseDataLoaderIter:
        """Start the worker processes, if that has not been done."""
        with signals.held_back():
            return super().__iter__()


def _begin_worker(number: int) -> None:
    signals.end_with_parent_only()


class DataModule(LightningDataModule, ABC):
    """Base of all datasets: `prepare` learns `preprocessing`, `samples` opens a split with it.

    Preparation happens once, before the model is built, and may read the user's file or the network. What it learnt
    (class names, scalers, encodings, split seed, fingerprint) is `preprocessing`: plain data that JSON can hold,
    saved with the run. After `restore(preprocessing)`, `facts`, `samples` and `read` work as in the training run.

    Args:
        batch_size: Samples in a training batch.
        eval_batch_size: Samples in a validation or test batch; default: the larger of batch_size and 512.
        num_workers: Worker processes; 0 gathers in this process, the fastest where the data fit in memory.
        seed: Seed of the sample order and of augmentation.

    Raises:
        ValueError: If a size is out of range.
    """

    # Config keys of the data node that are facts about the dataset, not arguments of the constructor.
    fact_names: ClassVar[tuple[str, ...]] = ()
    # Whether `prepare` vouches for every number and class, so that the samples need not be looked through.
    vouched: ClassVar[bool] = False
    # Keys of `preprocessing` that the weights of a network rest on. Where a run starts from the weights of another,
    # what that one learnt comes along as `heritage`; `prepare` uses it instead of learning it.
    inherited: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, *, batch_size: int = 64, eval_batch_size: int | None = None, num_workers: int = 0, seed: int = 0
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        if eval_batch_size is not None and eval_batch_size < 1:
            raise ValueError(f"eval_batch_size must be at least 1, not {eval_batch_size}")
        if num_workers < 0:
            raise ValueError(f"num_workers must be at least 0, not {num_workers}")
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size or max(batch_size, 512)
        self.num_workers = num_workers
        self.seed = seed
        self.preprocessing: Preprocessing = {}
        self.heritage: Preprocessing = {}
        self._opened: dict[Split, Samples] = {}
        self._loaders: list[DataLoader[Batch]] = []
        self._resume_at = (0, 0)
        # Whether every epoch has the batches of the first.
        self.repeats_epoch = False

    @abstractmethod
    def prepare(self) -> Preprocessing:
        """Find or fetch the data and return what is learnt from them.

        Raises:
            UserError: If the data are unusable (a missing file, a folder with one class).
            EnvironmentFault: If they cannot be had (no network, no space).
        """

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Return a value for each of `fact_names`, read from `preprocessing`."""

    @abstractmethod
    def samples(self, split: Split) -> Samples:
        """Open one split with `preprocessing`; its arrays may be memory-mapped."""

    @abstractmethod
    def read(self, items: Sequence[str]) -> Iterator[tuple[str, Batch | str]]:
        """Turn what a user names on the command line into batches of one, the training preprocessing replayed.

        Args:
            items: Paths of files and folders.

        Yields:
            A name and a batch of one sample (target and index are 0), or a name and the sentence that says why it
            cannot be read.
        """

    def setup_data(self, preprocessing: Preprocessing | None = None) -> None:
        """Prepare the data and look at them, or take over what an earlier run learnt.

        Raises:
            UserError: If nothing can be learnt from them.
        """
        self.preprocessing = self.prepare() if preprocessing is None else preprocessing
        self._opened.clear()
        if preprocessing is None:
            self.check()

    def check(self) -> None:
        """Refuse samples that nothing can be learnt from: too few, not finite, classes out of range.

        Raises:
            UserError: If nothing can be learnt from them.
            EnvironmentFault: If a worker process dies or hangs.
        """
        parts: dict[Split, str] = {"train": "training", "val": "validation", "test": "test"}
        counts = {name: len(self.split(name)) for name in parts}
        if counts["train"] == 0:
            raise UserError(
                f"there is nothing to train on: the data have 0 training, {counts['val']:,} validation and "
                f"{counts['test']:,} test samples"
            )
        if self.batch_size > counts["train"]:
            logger.warning(
                "data.batch_size=%d is more than the number of training samples, %d: an epoch is one step",
                *(self.batch_size, counts["train"]),
            )
        if self.vouched:
            return
        class_names = self.preprocessing.get("class_names")
        for name, part in parts.items():
            loader = self._loader(name, _INSPECTED_AT_ONCE, None)
            try:
                with explained():
                    inspect(part, counts[name], loader, len(class_names) if class_names else None)
            finally:
                self._end_workers()

    def on_exception(self, exception: BaseException) -> None:
        """End the worker processes; Lightning's own clean-up is cut short if torch learns of a second dead one."""
        self._end_workers()

    def _end_workers(self) -> None:
        """End them now rather than when nothing refers to their loader any more; torch has no public way."""
        for loader in self._loaders:
            if isinstance(loader._iterator, _MultiProcessingDataLoaderIter):
                # A process that has just died is told of by an error, wherever this one happens to be.
                with suppress(RuntimeError):
                    loader._iterator._shutdown_workers()
                for worker in loader._iterator._workers:
                    # One that hangs in a library, so that it cannot act on torch's SIGTERM.
                    worker.kill()
        self._loaders.clear()

    def split(self, name: Split) -> Samples:
        """Return a split, opened once."""
        if name not in self._opened:
            self._opened[name] = self.samples(name)
        return self._opened[name]

    def token_texts(self, tokens: Sequence[int], *, target: bool = False) -> list[str]:
        """Return what tokens of a batch look like, for pictures; their numbers where the data have no vocabulary.

        Args:
            tokens: Token numbers.
            target: Whether they are written rather than read, where these have vocabularies of their own.
        """
        if "tokenizer" not in self.preprocessing:
            return [str(token) for token in tokens]
        tokenizer = tokenizer_from(self.preprocessing["tokenizer"])
        return [tokenizer.token_text(token) for token in tokens]

    @contextmanager
    def speaking_of_heritage(self) -> Iterator[None]:
        """Add to an error about the data that the vocabulary is that of the run whose weights this one starts from."""
        try:
            yield
        except UserError as error:
            if not self.heritage:
                raise
            raise UserError(
                f"init_from: {error}\n    the vocabulary is that of the run whose weights this one starts from"
            ) from error

    def num_train_samples(self) -> int:
        """Return the number of training samples, the data prepared if need be but nothing fetched for it."""
        if not self.preprocessing:
            self.setup_data()
        return len(self.split("train"))

    def resume_at(self, epoch: int, batches: int) -> None:
        """Begin the next training loader in this epoch, after this many of its batches."""
        self._resume_at = (epoch, batches)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the shuffled loader of the training split."""
        loader = self._loader("train", self.batch_size, self.seed)
        epoch, batches = self._resume_at
        assert isinstance(loader.sampler, BatchSampler)
        loader.sampler.repeats = self.repeats_epoch
        loader.sampler.set_epoch(epoch)
        loader.sampler.skip(batches)
        return loader

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of the validation split."""
        return self._loader("val", self.eval_batch_size, None)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of the test split."""
        return self._loader("test", self.eval_batch_size, None)

    def make_sampler(self, samples: Samples, batch_size: int, seed: int | None) -> BatchSampler:
        """Return what deals the samples of a split out to batches, shuffled by the seed if there is one."""
        rank, world_size = process()
        return BatchSampler(len(samples), batch_size, seed=seed, rank=rank, world_size=world_size)

    def _loader(self, name: Split, batch_size: int, seed: int | None) -> DataLoader[Batch]:
        samples = self.split(name)
        sampler = self.make_sampler(samples, batch_size, seed)
        # A generator of its own, or every iter() draws a seed from the global one and moves dropout.
        loader = Loader(
            samples,
            batch_size=None,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=_as_is,
            generator=torch.Generator().manual_seed(self.seed),
            persistent_workers=self.num_workers > 0,
            timeout=WORKER_TIMEOUT if self.num_workers else 0,
            worker_init_fn=_begin_worker,
            multiprocessing_context=_START if self.num_workers else None,
        )
        self._loaders.append(loader)
        return loader
