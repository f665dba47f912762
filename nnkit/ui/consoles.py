"""The console for all output: names give no orders to the terminal, and no run ends because nobody can read of it."""

import sys
from contextlib import suppress
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
