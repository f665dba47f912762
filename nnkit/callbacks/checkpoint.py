"""Best and last checkpoint of a run."""

import math
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from nnkit.checkpoint.plugin import StoreIO
from nnkit.checkpoint.points import at_save_point, in_mid_epoch
from nnkit.tasks.base import Task


class Checkpointing(Checkpoint):
    """Saves after every validation and epoch, and every n steps if asked.

    Args:
        monitor: Metric that chooses the best checkpoint, such as "val/accuracy".
        every_n_steps: Optimizer steps between two checkpoints inside an epoch; None for none.
        keep_last: Newest checkpoints kept beside the best one; two, so that a damaged one has a predecessor.

    Raises:
        ValueError: If a number is below 1.
    """

    def __init__(self, monitor: str, every_n_steps: int | None = None, keep_last: int = 2) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1, not {every_n_steps}")
        if keep_last < 1:
            raise ValueError(f"keep_last must be at least 1, not {keep_last}")
        self.monitor = monitor
        self.every_n_steps = every_n_steps
        self.keep_last = keep_last
        self.best: str | None = None
        self.best_score: float | None = None
        self._measured: tuple[int, float] | None = None
        self._saved = -1

    def state_dict(self) -> dict[str, Any]:
        """Return the best checkpoint so far."""
        return {"best": self.best, "best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best checkpoint of the run that is resumed."""
        self.best, self.best_score = state_dict["best"], state_dict["best_score"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the step a resumed run starts at: it is saved already."""
        self._saved = trainer.global_step if trainer.global_step else -1

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save every n steps."""
        if self.every_n_steps and trainer.global_step % self.every_n_steps == 0 and at_save_point(trainer):
            self.save(trainer)

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
        self.save(trainer, again=True)

    def save(self, trainer: Trainer, again: bool = False) -> None:
        """Save now, if the step is not saved already.

        Args:
            trainer: Where the state comes from.
            again: Save even if this step is saved: the state at an epoch's end differs from that in its middle.
        """
        step = trainer.global_step
        if step == self._saved and not again:
            return
        self._saved = step
        name = f"step-{step:06d}.ckpt"
        score = self._measured[1] if self._measured and self._measured[0] == step else None
        if score is not None and self._improves(score, trainer):
            self.best, self.best_score = name, score
        facts = {
            "step": step,
            "epoch": trainer.current_epoch,
            "monitor": self.monitor,
            "score": score if score is not None and math.isfinite(score) else None,
            "best": self.best,
            "keep": self.keep_last,
        }
        trainer.save_checkpoint(name, storage_options=facts)

    def flush(self, trainer: Trainer) -> None:
        """Wait until everything saved is on disk."""
        if isinstance(trainer.strategy.checkpoint_io, StoreIO):
            trainer.strategy.checkpoint_io.flush()

    def _improves(self, score: float, trainer: Trainer) -> bool:
        if not math.isfinite(score):
            return False
        if self.best_score is None:
            return True
        module = trainer.lightning_module
        mode = module.mode(self.monitor) if isinstance(module, Task) else "min"
        return score > self.best_score if mode == "max" else score < self.best_score
