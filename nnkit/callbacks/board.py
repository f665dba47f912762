"""Where callbacks put their pictures and texts: TensorBoard's event file."""

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger


def event_writer(trainer: Trainer) -> Any:
    """Return the writer of TensorBoard's event file, None if there is no such logger."""
    return next((log.experiment for log in trainer.loggers if isinstance(log, TensorBoardLogger)), None)
