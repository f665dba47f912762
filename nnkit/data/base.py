"""What every dataset does: prepare once, learn its facts, and gather batches by index."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from typing_extensions import Unpack

from nnkit.batches import Batch
from nnkit.data.loading import Loader, end_workers, inspect, make_loader
from nnkit.data.read_batch import ReadBatch, grouped, only_labelled, refuse_kept
from nnkit.data.sampler import BatchSampler, Draw
from nnkit.data.splits import SPLITS, Note, SplitOptions, files_of_splits
from nnkit.data.splits import Split as Split
from nnkit.data.splitting import SplitKeys, make_splits
from nnkit.data.tokenizing import tokenizer_from
from nnkit.distributed.collectives import rank, size
from nnkit.errors import UserError
from nnkit.machine.faults import explained

_INSPECTED_AT_ONCE = 64

logger = logging.getLogger("nnkit")

Preprocessing = dict[str, Any]


class Samples(Dataset[Batch], ABC):
    """One split held so that a whole batch is gathered by index at once."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def __getitem__(self, draw: Draw) -> Batch:
        """Gather the samples of one draw, augmented if `draw.epoch` is not None."""

    def targets(self) -> Tensor | None:
        """Return the target of each sample, (n, ...), read without the inputs; None where that is not possible.

        Classes are counted by it: numbers of classes (n,) int64, or labels (n, classes), 1 for each that a sample has.
        """
        return None


@dataclass(kw_only=True, eq=False)
class DataModule(LightningDataModule, ABC):
    """Base of all datasets: `prepare` learns `preprocessing`, `samples` opens a split with it.

    A subclass is a dataclass of its options, decorated like this one; `__post_init__` checks them and calls its base's.

    Preparation happens once, before the model is built, and may read the user's file or the network. What it learnt
    (class names, scalers, encodings, split seed, fingerprint) is `preprocessing`: plain data that JSON can hold,
    saved with the run. After `setup_data(preprocessing)`, `facts`, `samples` and `read` work as in the training run.

    Attributes:
        batch_size: Samples in a training batch, of all processes that train together.
        eval_batch_size: Samples in a validation or test batch; None: the larger of batch_size and 512.
        num_workers: Worker processes; 0 gathers in this process, the fastest where the data fit in memory.
        seed: Seed of the sample order and of augmentation.

    Raises:
        ValueError: If an option is out of range.
    """

    batch_size: int = 64
    eval_batch_size: int | None = None
    num_workers: int = 0
    seed: int = 0

    # Config keys of the data node that are facts about the dataset, not options.
    fact_names: ClassVar[tuple[str, ...]] = ()
    # Whether `prepare` has checked every number and class, so that the samples are not checked again.
    is_checked: ClassVar[bool] = False
    # Keys of `preprocessing` that the weights of a network rest on. Where a run starts from the weights of another,
    # what that one learnt comes along as `pretrained`; `prepare` uses it instead of learning it.
    inherited: ClassVar[tuple[str, ...]] = ()
    # Samples of a validation or test batch where `eval_batch_size` is None, unless `batch_size` is more.
    least_eval_batch: ClassVar[int] = 512
    # Whether the targets of what `read` yields are the true ones, -1 or NaN where an item has none.
    reads_targets: ClassVar[bool] = False
    # Items that `nnkit predict` reads and predicts at once.
    read_at_once: ClassVar[int] = 256
    # Names of the options that the split follows from: those of `nnkit.data.splits.SplitOptions` that the module has,
    # and others of its own. They are saved with the run.
    split_by: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        super().__init__()
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {self.batch_size}")
        if self.eval_batch_size is not None and self.eval_batch_size < 1:
            raise ValueError(f"eval_batch_size must be at least 1, not {self.eval_batch_size}")
        if self.num_workers < 0:
            raise ValueError(f"num_workers must be at least 0, not {self.num_workers}")
        self.eval_batch_size = self.eval_batch_size or max(self.batch_size, self.least_eval_batch)
        self.preprocessing: Preprocessing = {}
        self.pretrained: Preprocessing = {}
        self.forget()
        self.check_split()
        # Another file or folder to test on than the test split; see `labelled_batches`.
        self.tested_on: str | None = None
        self._loaders: list[Loader] = []
        self._resume_at = (0, 0)
        # Whether every epoch has the batches of the first.
        self.repeats_epoch = False
        # How many batches of a split several processes share, as `trainer.limit_val_batches` says; absent: all.
        self.limits: dict[Split, float] = {}

    def check_split(self) -> None:
        """Check the options of the split; data that are split in a way of their own do so otherwise.

        Raises:
            ValueError: If one is out of range or two contradict each other.
        """
        # With the paths of files of their own, which do not belong to what is saved.
        SplitOptions.of(vars(self) | self.split_options)

    def forget(self) -> None:
        """Drop what has been read; a subclass that keeps more drops that as well."""
        self._opened: dict[Split, Samples] = {}

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
            A name and a batch of one sample (index 0; target 0 unless `reads_targets`), or a name and the sentence
            that says why it cannot be read.
        """

    def read_batches(self, items: Sequence[str], size: int, keep: Sequence[str] = ()) -> Iterator[ReadBatch]:
        """Read what a user names as `read` does, in batches; data that are read faster so do more here.

        Args:
            items: As for `read`.
            size: Items of a batch, at most.
            keep: Columns of the input to repeat beside the predictions; a UserError if it has no such ones.
        """
        refuse_kept(keep)
        return grouped(self.read(items), size, self.reads_targets)

    def labelled_batches(self, path: str) -> Iterable[Batch]:
        """Return the samples of another file or folder that have true targets; a UserError if none has."""
        return only_labelled(self.read_batches([path], self.read_at_once), path)

    def setup_data(self, preprocessing: Preprocessing | None = None) -> None:
        """Prepare the data and examine them, or take over what an earlier run learnt.

        Raises:
            UserError: If nothing can be learnt from them.
        """
        self.forget()
        self.preprocessing = preprocessing or {}
        if preprocessing is None:
            self.preprocessing = self.prepare()
            self.check()
            self._count_classes()

    def _count_classes(self) -> None:
        """Learn how many training samples each class has; one that has several labels counts for each."""
        names, targets = self.preprocessing.get("class_names"), self.split("train").targets()
        if names is None or targets is None:
            return
        counts = targets.bincount(minlength=len(names)) if targets.ndim == 1 else targets.sum(0)
        self.preprocessing["class_counts"] = [int(count) for count in counts.tolist()]
        self.preprocessing["num_train_samples"] = len(targets)

    @property
    def split_options(self) -> dict[str, Any]:
        """The options named by `split_by`: those that the run was prepared with, the module's own before."""
        known = self.preprocessing
        return {name: known[name] if name in known else getattr(self, name) for name in self.split_by}

    def split_rows(
        self, num_rows: int, classes: Tensor | None = None, **keys: Unpack[SplitKeys]
    ) -> dict[Split, Tensor]:
        """Split rows as `split_options` say; what is odd is logged where the module `is_new`.

        All arguments are as in `nnkit.data.splitting.make_splits`. A module of a user's table lists fold, folds, group,
        time and split_column in `split_by`; `nnkit.data.reading.split_files` reads the columns that these name::

            keys = read_split_keys(open_table(self.path), self.split_options)
            rows = self.split_rows(num_rows, classes, **keys)
        """
        rows, notes = make_splits(num_rows, SplitOptions.of(self.split_options), classes=classes, **keys)
        self._log(notes)
        return rows

    def files_of_splits(self, path: str | None) -> dict[Split, str]:
        """Return the file of each split that has its own, "train" among them; see `nnkit.data.splits.files_of_splits`.

        A module with the options train_path, val_path and test_path reads these files one after the other as one table,
        and passes on which rows are whose; a split without a file is taken from the training rows by its fraction::

            tables = {split: read(file) for split, file in self.files_of_splits(self.path).items()}
            settled = settled_by_sizes({split: len(table) for split, table in tables.items()})

        Args:
            path: The data, or a folder with train.csv and test.csv, train/ and dev/, or the like.
        """
        paths = (getattr(self, f"{split}_path", None) for split in SPLITS)
        files, notes = files_of_splits(path, *paths)
        self._log(notes)
        return files

    def _log(self, notes: Sequence[Note]) -> None:
        for level, text in notes if self.is_new else ():
            logger.log(level, "%s", text)

    @property
    def is_new(self) -> bool:
        """Whether nothing has been prepared yet, so that what is odd about the data is to be logged."""
        return not self.preprocessing

    def origin(self) -> dict[str, str]:
        """Return what else made the data what they are, such as the version of a program, by name."""
        return {}

    def unchanged(self, title: str, fingerprint: str, *reasons: str) -> str:
        """Return the fingerprint of the data, which must be that of the run if one has been prepared.

        Args:
            title: What messages call the data; singular.
            fingerprint: SHA-256 of the data as they are now.
            reasons: What is known of a change, if there is one; what `origin` tells is added.

        Raises:
            UserError: If it is another one.
        """
        expected = self.preprocessing.get("fingerprint", fingerprint)
        if expected != fingerprint:
            before = self.preprocessing.get("origin", {})
            made = [
                f"it was made by {name} {before[name]}, and this is {value}"
                for name, value in self.origin().items()
                if before.get(name, value) != value
            ]
            raise UserError(
                f"{title} has changed since this run was prepared: its SHA-256 was {expected[:12]}, now it is "
                f"{'; '.join([fingerprint[:12], *reasons, *made])}\n"
                "    put the old data back to go on with this run; a new run takes the new ones: nnkit train"
            )
        return fingerprint

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
        if self.is_checked:
            return
        class_names = self.preprocessing.get("class_names")
        for name, part in parts.items():
            loader = self._loader(self.split(name), _INSPECTED_AT_ONCE, None)
            try:
                with explained():
                    inspect(part, counts[name], loader, len(class_names) if class_names else None)
            finally:
                end_workers(self._loaders)

    def on_exception(self, exception: BaseException) -> None:
        """End the worker processes; Lightning's own clean-up is cut short if torch learns of a second dead one."""
        end_workers(self._loaders)

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

    def input_names(self) -> list[str]:
        """Return the column or the channel of each number of an input; none where these have no names."""
        return []

    @contextmanager
    def about_pretrained(self) -> Iterator[None]:
        """Add to an error about the data that the vocabulary is that of the run whose weights this one starts from."""
        try:
            yield
        except UserError as error:
            if not self.pretrained:
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
        loader = self._loader(self.split("train"), self.batch_size, self.seed)
        epoch, batches = self._resume_at
        assert isinstance(loader.sampler, BatchSampler)
        loader.sampler.repeats = self.repeats_epoch
        loader.sampler.set_epoch(epoch)
        loader.sampler.skip(batches)
        return loader

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of the validation split."""
        return self.in_order(self.split("val"), self.limits.get("val"))

    def test_dataloader(self) -> Iterable[Batch]:
        """Return the loader of the test split, or the batches of the file that is tested on instead."""
        if self.tested_on:
            return self.labelled_batches(self.tested_on)
        return self.in_order(self.split("test"), self.limits.get("test"))

    def in_order(self, samples: Samples, limit: float | None = None) -> DataLoader[Batch]:
        """Return the loader of samples to evaluate.

        Args:
            samples: The samples.
            limit: The first batches alone, a number or a share of all; None for all.
        """
        assert self.eval_batch_size is not None
        return self._loader(samples, self.eval_batch_size, None, limit)

    def make_sampler(self, samples: Samples, batch_size: int, seed: int | None) -> BatchSampler:
        """Return what deals the samples of a split out to batches, shuffled by the seed if there is one.

        It deals for one process; the share of each of several is set by the loader.
        """
        return BatchSampler(len(samples), batch_size, seed=seed)

    def _loader(
        self, samples: Samples, batch_size: int, seed: int | None, limit: float | None = None
    ) -> DataLoader[Batch]:
        sampler = self.make_sampler(samples, batch_size, seed)
        sampler.rank, sampler.world_size, sampler.limit = rank(), size(), limit
        loader = make_loader(samples, sampler, self.num_workers, self.seed)
        self._loaders.append(loader)
        return loader
