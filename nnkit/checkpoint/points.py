"""Where a run may be saved so that it continues exactly, and where it continues."""

from typing import Any

from lightning.pytorch import Trainer


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
