"""Ctrl-C, SIGTERM and a closed terminal: finish the step, save, leave; a second one leaves at once."""

import os
import signal
import threading
import time
from types import FrameType
from typing import Any, ClassVar

from lightning.pytorch import Callback, LightningModule, Trainer

from nnkit.callbacks.checkpoint import Checkpointing
from nnkit.checkpoint.points import at_save_point
from nnkit.errors import NnkitError

# SIGHUP comes when the terminal is closed; Windows has none.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


# SIGTERM may reach a process twice, on its own and with its process group; Ctrl-C pressed twice is meant.
_ONE_MESSAGE = 2.0


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


class StopSignal(Callback):
    """Turns a signal into a save at the next save point and the end of the run.

    In validation and test the last committed checkpoint stands and the run ends at once.

    Attributes:
        told_at: When the latest signal came, on the clock of `time.monotonic`, in any run of this process.
    """

    told_at: ClassVar[float] = -_ONE_MESSAGE

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals over, after Lightning has set its own handlers; only the main thread may."""
        if threading.current_thread() is not threading.main_thread():
            return
        # One that is ignored, as nohup does with SIGHUP, stays ignored.
        taken = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._handle) for number in taken}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the signals back."""
        self.release()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self.release()

    def release(self) -> None:
        """Restore the handlers that stood before."""
        while self._before:
            signal.signal(*self._before.popitem())

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received and not (number == signal.SIGTERM and is_leaving()):
            os._exit(128 + number)
        self.received = self.received or number
        StopSignal.told_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and leave, if a signal has come and this is a save point."""
        if self.received and at_save_point(trainer):
            found = [
                callback for callback in trainer.checkpoint_callbacks if isinstance(callback, Checkpointing)
            ]
            checkpointing = found[0] if found else None
            if checkpointing is not None:
                checkpointing.save(trainer)
                checkpointing.flush(trainer)
            raise Interrupted(self.received, saved=checkpointing is not None)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Leave at once, if a signal has come."""
        if self.received:
            raise Interrupted(self.received, saved=False)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave, if a signal came after the epoch before was saved."""
        if self.received:
            raise Interrupted(self.received, saved=False)


def is_leaving() -> bool:
    """Say whether a signal has only just ended a run of this process, so that another says the same."""
    return time.monotonic() - StopSignal.told_at < _ONE_MESSAGE
