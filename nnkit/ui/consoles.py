"""The console for all output: names give no orders to the terminal, and no run ends because nobody can read of it."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console as RichConsole
from rich.text import Text
from typing_extensions import override

from nnkit.ui.terminal import printable, write_to_nobody


class Console(RichConsole):
    """Rich's console for names from elsewhere and for readers that leave."""

    @override
    def render_str(self, text: str, **options: Any) -> Text:
        """Render a text without its control characters; cells and titles of tables come through here too."""
        return super().render_str(printable(text), **options)

    @override
    def print(self, *objects: Any, **options: Any) -> None:
        """Print, or go on in silence where that fails: hours of training outweigh a log on a full disk."""
        try:
            super().print(*objects, **options)
        except OSError as error:
            self._fall_silent()
            # Standard error may lead to the same full disk, as in `nohup nnkit train > log 2>&1`.
            with suppress(OSError):
                sys.stderr.write(f"nnkit: nothing more is shown: {error.strerror}\n")

    @override
    def on_broken_pipe(self) -> None:
        """Go on in silence, as after `nnkit train | head -1`; rich would end the program, and the training with it."""
        self._fall_silent()

    def _fall_silent(self) -> None:
        self.quiet = True
        write_to_nobody(self.file)


@contextmanager
def progress_bar(
    console: Console, title: str, total: int | None, *, of_bytes: bool = False, patience: float = 0.0
) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal while something is done, and leave nothing behind.

    Args:
        console: Where to.
        title: What is done.
        total: How much there is to do; None where that is not known.
        of_bytes: Whether bytes are counted.
        patience: Seconds after which the bar appears.

    Yields:
        A function to call with how much more is done.
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    sizes = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    columns = sizes if of_bytes else Progress.get_default_columns()
    progress = Progress(*columns, console=console, transient=True)
    task, begun = progress.add_task(title, total=total), time.monotonic()

    def advance(count: int) -> None:
        progress.update(task, advance=count)
        late = time.monotonic() - begun >= patience
        if console.is_terminal and late and not progress.live.is_started:
            progress.start()

    try:
        yield advance
    finally:
        if progress.live.is_started:
            progress.stop()
