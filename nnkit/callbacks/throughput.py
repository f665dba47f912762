"""Seconds, samples per second and memory of a run, apart from the metrics that must not depend on the clock."""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from nnkit.distributed import collectives
from nnkit.files import atomic
from nnkit.files.layout import TIMING

# ru_maxrss counts bytes on macOS and kibibytes elsewhere.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Throughput(Callback):
    """Writes one line an epoch to timing.jsonl."""

    def __init__(self) -> None:
        self._samples = 0
        self._start = 0.0
        self._paused = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the epoch."""
        self._samples = 0
        self._start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the samples."""
        self._samples += len(batch.indices)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock while validating."""
        self._paused = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the clock go on."""
        self._start += time.perf_counter() - self._paused

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the epoch's line."""
        samples = int(collectives.summed(torch.tensor(self._samples)))
        if not trainer.is_global_zero or not samples:
            return
        seconds = time.perf_counter() - self._start
        row = {
            "step": trainer.global_step,
            "epoch": trainer.current_epoch,
            "seconds": round(seconds, 4),
            "samples_per_second": round(samples / seconds, 1),
            "max_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT // 2**20,
        }
        if torch.cuda.is_available():
            row["max_gpu_mib"] = torch.cuda.max_memory_allocated() // 2**20
        atomic.append_lines(Path(trainer.default_root_dir) / TIMING, [json.dumps(row)])
