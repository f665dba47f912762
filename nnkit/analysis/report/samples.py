"""What a network makes of the samples of a part of the data: kept while they are tested, or found afterwards."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnkit.data.sampler import Draw
from nnkit.errors import NnkitError
from nnkit.tasks.review import Review, joined

if TYPE_CHECKING:
    from nnkit.batches import Batch
    from nnkit.data.base import DataModule
    from nnkit.data.splits import Split
    from nnkit.tasks.base import Task

# Samples that are kept, at most; of tasks that have to compute them anew, as many as the task says.
MOST = 20_000
PARTS: dict[Split, str] = {"test": "test", "val": "validation", "train": "training"}


@dataclass
class Seen:
    """The first samples of a part, with what the network makes of them.

    Attributes:
        split: The part.
        total: Samples that the part has.
        indices: Numbers of the samples seen, in the part.
        problem: Why there is nothing; empty where there is.
    """

    split: Split = "test"
    total: int = 0
    indices: list[int] = field(default_factory=list)
    problem: str = ""
    _predictions: list[Tensor] = field(default_factory=list)
    _truth: list[Tensor] = field(default_factory=list)
    _reviews: list[Review] = field(default_factory=list)

    def add(self, task: Task, batch: Batch, data: DataModule, *, tested: bool) -> bool:
        """Keep what the network makes of a batch, as far as there is room; return whether there is room for more.

        Args:
            task: The task; one that `measures` something has evaluated the batch just now.
            batch: The batch, on the task's device.
            data: The data module.
            tested: Whether the batch was just tested.
        """
        free = tested and task.keeps_tested
        room = (MOST if task.measures is not None or free else task.most_reviewed) - len(self.indices)
        count = min(room, len(batch.indices))
        if count <= 0 or self.problem:
            return False
        try:
            if task.measures is not None:
                # Of forecasts, a row for each step of a window.
                prediction, truth = task.measured(batch)
                rows = len(truth) // len(batch.indices) * count
                self._predictions.append(prediction[:rows].detach().double().cpu())
                self._truth.append(truth[:rows].cpu())
            else:
                some: Any = batch if free else type(batch)(*(part[:count] for part in batch))
                review = task.review(some, data)
                if review is None:
                    self.problem = (
                        f"the task {type(task).__name__} does not tell what it makes of single samples"
                    )
                    return False
                self._reviews.append(review)
                count = len(some.indices)
        except NnkitError as error:
            self.problem = str(error).splitlines()[0]
            return False
        self.indices += batch.indices[:count].tolist()
        return count < room

    @property
    def part(self) -> str:
        """What the part is called."""
        return PARTS[self.split]

    @property
    def predictions(self) -> NDArray[Any]:
        """Probabilities (samples, classes), or values in the user's units (rows, outputs)."""
        return torch.cat(self._predictions).numpy()

    @property
    def truth(self) -> NDArray[Any]:
        """Numbers of classes (samples,), labels (samples, classes), or values (rows, outputs)."""
        return torch.cat(self._truth).numpy()

    @property
    def review(self) -> Review:
        """What the task tells of samples that are no classes and no values."""
        return joined(self._reviews)

    @property
    def is_measured(self) -> bool:
        """Whether there are predictions, rather than reviews."""
        return bool(self._predictions)

    @property
    def described(self) -> str:
        """Which samples these are."""
        if len(self.indices) >= self.total:
            return f"all {self.total:,} {self.part} samples"
        return f"{len(self.indices):,} of {self.total:,} {self.part} samples"


def look_at(
    task: Task, data: DataModule, computing: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> Seen:
    """Return what a network makes of the test part; of data without one, of the validation part.

    Args:
        task: A trained task, in evaluation mode.
        data: Its data module; without samples, the reason is in `problem`.
        computing: Returns what batches are computed in, such as the precision of a run.
    """
    seen = Seen()
    try:
        for split in PARTS:
            if total := len(data.split(split)):
                seen = Seen(split, total)
                break
        else:
            seen.problem = "the data have no samples"
            return seen
        # As in a test, whose counts may be of this mode.
        with torch.inference_mode():
            for batch in data.in_order(data.split(seen.split)):
                placed: Any = type(batch)(*(part.to(task.device) for part in batch))
                with computing():
                    if task.measures is not None:
                        task.evaluate(placed)
                    has_room = seen.add(task, placed, data, tested=False)
                if not has_room:
                    break
    except NnkitError as error:
        seen.problem = str(error).splitlines()[0]
    finally:
        if task.measures is not None and seen.indices:
            # What `evaluate` has added up belongs to no evaluation.
            task.results()
    return seen


def sample_at(data: DataModule, split: Split, index: int) -> Batch:
    """Return one sample of a part as a batch of one."""
    batch = data.split(split)[Draw(None, torch.tensor([index]))]
    # What was read while a test ran cannot be differentiated by.
    sample: Batch = type(batch)(*(part.clone() for part in batch))
    return sample


def spread(count: int, most: int) -> list[int]:
    """Return places spread evenly over a number of them, the first among them."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most)).tolist()})
