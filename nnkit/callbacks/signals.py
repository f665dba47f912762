"""Ctrl-C, SIGTERM and a closed terminal: finish the step, save, leave; SIGUSR1: save and go on."""

import logging
import signal
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from nnkit.callbacks.checkpoint import Checkpointing
from nnkit.callbacks.stopping import Ending
from nnkit.checkpoint.plugin import at_save_point
from nnkit.distributed import collectives
from nnkit.errors import NnkitError
from nnkit.machine import signals

_log = logging.getLogger("nnkit")


class Interrupted(NnkitError):
    """A signal ended the run, which can be resumed: exit 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.

    Args:
        number: The signal.
        saved: Whether the finished step was saved.
        where: What else to tell the user.
    """

    def __init__(self, number: int, saved: bool, where: str = "") -> None:
        self.exit_code = 128 + number
        self.number = number
        self.saved = saved
        super().__init__(f"stopped by {signal.Signals(number).name}{where}")


def leave_if_stopped() -> None:
    """Leave without saving, if a signal has come.

    Raises:
        Interrupted: If one has.
    """
    if signals.stop():
        raise Interrupted(signals.stop(), saved=False)


class StopSignal(Callback):
    """Turns a signal into a save at the next save point and the end of the run; SIGUSR1 into the save alone.

    Processes that train together decide as one: a signal that has reached one of them, a checkpoint that one's clock
    calls due, and the wish of one to end the training count for all. They tell each other while a batch is computed,
    what came before it, so that none waits, and act after the batch.

    Before the first step, in validation and in the test the last committed checkpoint stands and the run ends at once.
    The signals are noted by `nnkit.machine.signals`.

    Args:
        ending: What ends the run at the same step in all processes, which need not agree on it.
    """

    def __init__(self, ending: Ending | None = None) -> None:
        self._ending = ending
        self._wants_end = False
        self._agreed: Callable[[], list[int]] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals over again, as Lightning has set its own handlers, and leave if one has come."""
        signals.install()
        leave_if_stopped()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin to tell the other processes what has come here."""
        if collectives.is_together():
            self._agreed = collectives.most_later(*self._flags(trainer))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, and leave or go on, if a signal has come and this is a save point."""
        checkpointing = _checkpointing(trainer)
        self._wants_end |= trainer.should_stop
        flags = self._flags(trainer) if self._agreed is None else self._agreed()
        stop, save, late, ends = flags
        is_over = self._ending is not None and self._ending.is_reached(trainer)
        trainer.should_stop = is_over or bool(ends)
        if checkpointing is not None:
            checkpointing.late = bool(late)
        if not (stop or save) or not at_save_point(trainer):
            return
        if checkpointing is not None:
            checkpointing.save(trainer)
        if stop:
            if checkpointing is not None:
                checkpointing.flush(trainer)
                # One that left sooner would end the first process, which may still write.
                collectives.most(0)
            raise Interrupted(stop, saved=checkpointing is not None)
        signals.saved()
        done = "keeps no checkpoints" if checkpointing is None else f"is saved at step {trainer.global_step}"
        _log.info("SIGUSR1: the run %s and goes on", done)

    def _flags(self, trainer: Trainer) -> tuple[int, int, bool, bool]:
        """Return what has come to this process: a signal to stop, one to save, the hour of a save, a wish to end."""
        checkpointing = _checkpointing(trainer)
        late = checkpointing is not None and checkpointing.is_late()
        return signals.stop(), signals.wants_save(), late, self._wants_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the training of all processes, if one of them has been told to."""
        self._wants_end |= trainer.should_stop
        trainer.should_stop = bool(collectives.most(self._wants_end)[0])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave, if a signal came after the epoch before was saved."""
        leave_if_stopped()

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Leave at once, if a signal has come."""
        leave_if_stopped()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals over again, and leave if one has come."""
        signals.install()
        leave_if_stopped()

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Leave at once, if a signal has come."""
        leave_if_stopped()


def _checkpointing(trainer: Trainer) -> Checkpointing | None:
    found = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, Checkpointing)]
    return found[0] if found else None
