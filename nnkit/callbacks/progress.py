"""Progress of a run: a bar on a terminal, one plain line an epoch elsewhere."""

import logging
import time
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as RichProgress,
)

from nnkit.ui.consoles import Console

# Metrics in a line.
_SHOWN = 5
# Columns of the bar, and of what stands beside it.
_WIDEST_BAR, _BESIDE_BAR = 40, 54
_SECONDS_BETWEEN_LINES = 1.0
_log = logging.getLogger("nnkit")


class _Bar(RichProgress):
    """A bar that reads the trainer's counters when its own thread draws, so that a training step costs nothing."""

    def __init__(self, trainer: Trainer, console: Console, refresh_per_second: float) -> None:
        self._trainer = trainer
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(min(_WIDEST_BAR, max(console.width - _BESIDE_BAR, 1))),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            refresh_per_second=refresh_per_second,
            transient=True,
        )

    def get_renderable(self) -> RenderableType:
        for task in self.tasks:
            done = self._trainer.fit_loop.epoch_loop.batch_progress.current.completed
            rate = f"{task.speed:.0f} batches/s" if task.speed else ""
            self.update(task.id, completed=done, rate=rate)
        return super().get_renderable()


def line_of(parts: Mapping[str, str], monitor: str, width: int | None = None) -> str:
    """Return an epoch's line; what is least important is left out where it does not fit.

    Args:
        parts: "epoch", "step", metrics by their names and "time", in the order in which they are shown.
        monitor: The metric that chooses the best checkpoint.
        width: Columns; None: as many as are needed.
    """
    first = ["epoch", "train/loss", monitor, "time"]
    names = [name for name in first if name in parts]
    metrics = [name for name in parts if name not in (*first, "step")]
    room = max(_SHOWN - len({"train/loss", monitor} & set(parts)), 0)
    names += [*metrics[:room], *(["step"] if "step" in parts else [])]
    while True:
        line = "  ".join(text for name, text in parts.items() if name in names)
        if width is None or len(line) <= width or len(names) == 1:
            return line
        names.pop()


class Progress(Callback):
    """Shows where a run stands.

    Args:
        refresh_per_second: How often the bar is drawn; it is drawn by a thread that sleeps in between.

    Raises:
        ValueError: If refresh_per_second is not positive.
    """

    def __init__(self, refresh_per_second: float = 4) -> None:
        if refresh_per_second <= 0:
            raise ValueError(f"refresh_per_second must be positive, not {refresh_per_second}")
        self.refresh_per_second = refresh_per_second
        self.console = Console(stderr=False)
        self._bar: _Bar | None = None
        self._start: float | None = None
        self._printed = 0.0
        self._parts: dict[str, str] = {}
        self._monitor = ""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's bar."""
        self._begin(trainer)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Start the bar of an epoch that goes on where a run was resumed; its start is not announced."""
        if self._start is None:
            self._begin(trainer)

    def _begin(self, trainer: Trainer) -> None:
        self._start = time.perf_counter()
        if not trainer.is_global_zero or not self.console.is_terminal:
            return
        epochs = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
        self._bar = _Bar(trainer, self.console, self.refresh_per_second)
        self._bar.add_task(
            f"epoch {trainer.current_epoch + 1}{epochs}", total=trainer.num_training_batches, rate=""
        )
        self._bar.start()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the bar and leave one line behind; epochs shorter than a second share one."""
        self._stop()
        if not trainer.is_global_zero:
            return
        self._parts = self._describe(trainer, pl_module)
        self._monitor = str(getattr(pl_module, "monitor", ""))
        self._start = None
        if time.perf_counter() - self._printed >= _SECONDS_BETWEEN_LINES:
            self._print()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the last epoch's line, if it is not out yet."""
        self._print()

    def _describe(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, str]:
        """Return the parts of an epoch's line by name, in the order in which they are shown."""
        means = {f"train/{name}": value for name, value in getattr(pl_module, "epoch_means", {}).items()}
        logged = {
            name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")
        }
        epochs = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
        now = time.perf_counter()
        seconds = now - (now if self._start is None else self._start)
        return {
            "epoch": f"epoch {trainer.current_epoch + 1}{epochs}",
            "step": f"step {trainer.global_step}",
            **{name: f"{name} {value:.4g}" for name, value in {**means, **logged}.items()},
            "time": f"{seconds:.1f} s",
        }

    def _print(self) -> None:
        if self._parts:
            # Only a terminal breaks a line that is too long for it.
            width = self.console.width if self.console.is_terminal else None
            self.console.print(line_of(self._parts, self._monitor, width), highlight=False, soft_wrap=True)
            _log.info(line_of(self._parts, self._monitor))
            self._parts, self._printed = {}, time.perf_counter()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        self._stop()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the terminal as it was."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
