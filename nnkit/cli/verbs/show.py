"""`nnkit show GROUP/OPTION`: print an option file."""

import sys

from nnkit.cli.parser import Given
from nnkit.cli.verbs import CONFIG_DIR, OPTION_FILE, Verb
from nnkit.config import catalog
from nnkit.ui import report, terminal

VERB = Verb("show", (OPTION_FILE,), (CONFIG_DIR,))


def run(given: Given) -> int:
    """Print one option file: coloured on a terminal, unchanged in a pipe."""
    path = catalog.find_option(given.option, given.config_dir).path
    # What is no text is shown as such; composing the file says what is wrong with it.
    text = path.read_text(encoding="utf-8", errors="replace")
    if not terminal.is_terminal():
        sys.stdout.write(text)
        return 0
    from rich.syntax import Syntax
    from rich.text import Text

    coloured = Syntax(text.rstrip(), "yaml", background_color="default", word_wrap=True)
    report.show(Text(str(path), style="dim"), coloured)
    return 0
