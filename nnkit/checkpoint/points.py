"""Where a run may be saved so that it continues exactly."""

from lightning.pytorch import Trainer


def at_save_point(trainer: Trainer) -> bool:
    """Say, at the end of a training batch, whether a checkpoint taken now resumes exactly.

    It does not inside an accumulation window (gradients are not saved), nor on a batch after which validation or the
    epoch's end is due (their hooks would never run): those are saved once validation or the epoch is over.
    """
    loop = trainer.fit_loop.epoch_loop
    fetcher = trainer.fit_loop._data_fetcher
    if fetcher is None or loop._should_accumulate() or loop._num_ready_batches_reached():
        return False
    return not loop._should_check_val_fx(fetcher)


def in_mid_epoch(trainer: Trainer) -> bool:
    """Say whether more batches of this epoch are to come."""
    loop = trainer.fit_loop.epoch_loop
    return not (loop._num_ready_batches_reached() or trainer.should_stop)
