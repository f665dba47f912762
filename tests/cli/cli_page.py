"""docs/cli.md, made from what the verbs declare.

python tests/cli/cli_page.py writes it; test_cli_page.py notices when that is due.
"""

import io
from contextlib import redirect_stdout
from pathlib import Path

from nnkit.cli import main
from nnkit.cli.verbs import VERBS

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
HEAD = """\
# Command line

What `nnkit VERB --help` prints, verb by verb. `python tests/cli/cli_page.py` writes this page.
"""


def printed(*words):
    """Return what a command prints."""
    with redirect_stdout(io.StringIO()) as out:
        main(words)
    return "\n".join(line.removeprefix("  ") for line in out.getvalue().strip("\n").splitlines())


def page():
    """Return the page."""
    parts = [f"## {verb}\n\n```text\n{printed(verb, '--help')}\n```\n" for verb in VERBS]
    return "\n".join([HEAD, *parts])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
