"""`nnkit schema [GROUP]`: a JSON schema of option files, by which editors complete and check them."""

import json
import os
import sys
from pathlib import Path

from nnkit.cli.parser import Given
from nnkit.cli.verbs import CONFIG_DIR, Argument, Option, Verb
from nnkit.config import catalog
from nnkit.config.schema import CONFIG, schema
from nnkit.errors import UserError
from nnkit.files import atomic
from nnkit.files.paths import expand
from nnkit.suggest import hint

_PLACE = Path("conf/schema.json")
VERB = Verb(
    "schema",
    (
        Argument(
            "group",
            "GROUP",
            "files of one group; config: composed configs (default: it tells all files apart)",
            required=False,
            complete="groups",
        ),
    ),
    (
        Option("--out", "write it there instead of printing it", "FILE", Path),
        Option("--header", f"print the line that makes an editor use FILE ({_PLACE})"),
        CONFIG_DIR,
    ),
    (
        "It is made from the signatures of the classes and the options there are, those in ./conf included: write it "
        "again when they change. The line from --header goes on top of a file in conf/GROUP/.",
    ),
    (
        ("nnkit schema --out conf/schema.json --header", "write it, and print the line for your files"),
        ("nnkit schema config --out run.schema.json", "for config.yaml of runs"),
    ),
)


def run(given: Given) -> int:
    """Print or write the schema, or print the line for an editor."""
    known = [*catalog.groups(), CONFIG]
    if given.group is not None and given.group not in known:
        raise UserError(f"there is no group {given.group!r}\n    {hint(given.group, known)}")
    text = json.dumps(schema(given.group or "", given.config_dir), indent=1) + "\n"
    if given.out is not None:
        out = expand(given.out)
        if not out.absolute().parent.is_dir():
            raise UserError(
                f"there is no directory {out.parent} to write {out.name} into\n    mkdir -p {out.parent}"
            )
        atomic.write_atomic(out, text.encode())
    if given.header:
        # As an editor reads it: from where the file lies that has the line.
        place = os.path.relpath(given.out or _PLACE, Path("conf") / "GROUP")
        sys.stdout.write(f"{catalog.EDITOR_LINE} $schema={Path(place).as_posix()}\n")
    elif given.out is None:
        sys.stdout.write(text)
    else:
        sys.stdout.write(
            f"{given.out}\n    the line for your files: nnkit schema --out {given.out} --header\n"
        )
    return 0
