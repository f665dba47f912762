"""Best and last checkpoint of a run."""

import math
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from nnkit.checkpoint.manifest import OLD_SUFFIX
from nnkit.checkpoint.plugin import StoreIO, at_save_point, in_mid_epoch, in_window
from nnkit.tasks.base import Task


class Checkpointing(Checkpoint):
    """Saves after every validation, every n epochs, and inside an epoch every n steps or minutes.

    Whatever the intervals, the end of the run is saved, and so is each best score.

    Args:
        monitor: Metric that chooses the best checkpoint, such as "val/accuracy".
        every_n_steps: Optimizer steps between two checkpoints inside an epoch; None for none.
        every_n_minutes: Minutes after which a checkpoint is due inside an epoch; None for none.
        every_n_epochs: Epochs between two checkpoints at an epoch's end.
        keep_last: Newest checkpoints kept beside the best one; two, so that a damaged one has a predecessor.

    Raises:
        ValueError: If a number is below 1, or minutes are not positive.
    """

    def __init__(
        self,
        monitor: str,
        every_n_steps: int | None = None,
        every_n_minutes: float | None = None,
        every_n_epochs: int = 1,
        keep_last: int = 2,
    ) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1, not {every_n_steps}")
        if every_n_minutes is not None and every_n_minutes <= 0:
            raise ValueError(f"every_n_minutes must be positive, not {every_n_minutes}")
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be at least 1, not {every_n_epochs}")
        if keep_last < 1:
            raise ValueError(f"keep_last must be at least 1, not {keep_last}")
        self.monitor = monitor
        self.every_n_steps = every_n_steps
        self.every_n_minutes = every_n_minutes
        self.every_n_epochs = every_n_epochs
        self.keep_last = keep_last
        self.best: str | None = None
        self.best_score: float | None = None
        self._measured: tuple[int, float] | None = None
        # Whether the minutes are over; decided for all processes together, as their clocks do not agree to the step.
        self.late = False
        self._saved = ""
        self._saved_at = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Return the best checkpoint so far."""
        return {"best": self.best, "best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best checkpoint of the run that is resumed."""
        best: str | None = state_dict["best"]
        # In earlier formats it is called as its file.
        self.best = None if best is None else best.removesuffix(OLD_SUFFIX)
        self.best_score = state_dict["best_score"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the point a resumed run starts at: it is saved already."""
        self._saved = _name(trainer) if trainer.global_step else ""
        self._saved_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if steps or minutes say so."""
        if self._is_due(trainer) and at_save_point(trainer):
            self.save(trainer)

    def is_late(self) -> bool:
        """Return whether so many minutes have passed on this process's clock that a checkpoint is due."""
        return (
            self.every_n_minutes is not None
            and time.monotonic() - self._saved_at >= self.every_n_minutes * 60
        )

    def _is_due(self, trainer: Trainer) -> bool:
        return self.late or bool(self.every_n_steps and trainer.global_step % self.every_n_steps == 0)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the monitored metric, and save if the epoch goes on."""
        if trainer.sanity_checking or not trainer.fit_loop.epoch_loop.batch_progress.current.ready:
            return
        value = trainer.callback_metrics.get(self.monitor)
        if value is not None:
            self._measured = (trainer.global_step, float(value))
        if in_mid_epoch(trainer):
            self.save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save when the epoch is over; Lightning calls this after the hooks of all other callbacks."""
        due = (trainer.current_epoch + 1) % self.every_n_epochs == 0 or trainer.should_stop
        is_last = trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs
        score = self._score(trainer.global_step)
        if due or is_last or (score is not None and self._improves(score, trainer)):
            self.save(trainer, again=True)

    def save(self, trainer: Trainer, again: bool = False) -> None:
        """Save now, if this point is not saved already.

        Args:
            trainer: Where the state comes from.
            again: Save even if this point is saved: the state at an epoch's end differs from that in its middle.
        """
        step, name = trainer.global_step, _name(trainer)
        if name == self._saved and not again:
            return
        self._saved, self._saved_at, self.late = name, time.monotonic(), False
        score = self._score(step)
        if score is not None and self._improves(score, trainer):
            self.best, self.best_score = name, score
        facts = {
            "step": step,
            "batch": trainer.fit_loop.total_batch_idx + 1,
            "epoch": trainer.current_epoch,
            "monitor": self.monitor,
            "score": score,
            "best": self.best,
            "keep": self.keep_last,
        }
        trainer.save_checkpoint(name, storage_options=facts)

    def flush(self, trainer: Trainer) -> None:
        """Wait until everything saved is on disk."""
        if isinstance(trainer.strategy.checkpoint_io, StoreIO):
            trainer.strategy.checkpoint_io.flush()

    def _score(self, step: int) -> float | None:
        """Return the monitored metric if it was measured at this step and is a number."""
        if self._measured is None or self._measured[0] != step or not math.isfinite(self._measured[1]):
            return None
        return self._measured[1]

    def _improves(self, score: float, trainer: Trainer) -> bool:
        if self.best_score is None:
            return True
        module = trainer.lightning_module
        mode = module.mode(self.monitor) if isinstance(module, Task) else "min"
        return score > self.best_score if mode == "max" else score < self.best_score


def _name(trainer: Trainer) -> str:
    """Return the name of a checkpoint taken now; the same point of a run has the same name whenever it is saved."""
    # Several batches share a step while gradients are accumulated, and validation may fall between them.
    batch = f"-{trainer.fit_loop.batch_idx + 1}" if in_window(trainer) else ""
    return f"step-{trainer.global_step:06d}{batch}"
