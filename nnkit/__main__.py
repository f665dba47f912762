"""`python -m nnkit`."""

import sys
from pathlib import Path

# `python -m` puts the working directory before everything that is installed; see nnkit.factory.fence.
if not sys.flags.safe_path and sys.path[0] == str(Path.cwd()):
    del sys.path[0]

from nnkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
