"""`nnkit show GROUP/OPTION`: print an option file."""

import argparse
import sys
from pathlib import Path

from nnkit.cli.option_files import find_option
from nnkit.ui.terminal import is_terminal, show


def main(arguments: list[str]) -> int:
    """Print one option file: coloured on a terminal, as it stands in a pipe."""
    parser = argparse.ArgumentParser(prog="nnkit show", description="Print an option file.")
    parser.add_argument(
        "option", metavar="GROUP/OPTION", help="such as model/lenet5; or: train, the defaults"
    )
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help="a directory with more option files")
    given = parser.parse_args(arguments)
    path = find_option(given.option, given.config_dir).path
    # What is no text is shown as such; composing the file says what is wrong with it.
    text = path.read_text(encoding="utf-8", errors="replace")
    if not is_terminal():
        sys.stdout.write(text)
        return 0
    from rich.syntax import Syntax
    from rich.text import Text

    show(
        Text(str(path), style="dim"),
        Syntax(text.rstrip(), "yaml", background_color="default", word_wrap=True),
    )
    return 0
