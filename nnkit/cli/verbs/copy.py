"""`nnkit copy GROUP/OPTION [NAME]`: an option file of the user's own to change."""

import re
import sys
from pathlib import Path

from nnkit.cli.parser import Given
from nnkit.cli.verbs import CONFIG_DIR, OPTION_FILE, Argument, Verb
from nnkit.config import catalog
from nnkit.errors import EnvironmentFault, UserError

VERB = Verb(
    "copy",
    (OPTION_FILE, Argument("name", "NAME", "name of the copy (default: that of the option)", required=False)),
    (CONFIG_DIR,),
)


def run(given: Given) -> int:
    """Copy one option file into ./conf and say how to use it."""
    group, option, path = catalog.find_option(given.option, given.config_dir)
    if not group:
        raise UserError(
            "only nnkit's own train.yaml counts; put a set of values into ./conf/experiment/NAME.yaml"
        )
    name = option if given.name is None else given.name.removesuffix(".yaml")
    if not re.fullmatch(r"[A-Za-z0-9_][\w.-]*", name):
        raise UserError(f"{name!r} is no name for an option: it takes letters, digits, '_', '-' and '.'")
    target = Path("conf") / group / f"{name}.yaml"
    _write_new(target, path.read_bytes())
    is_ours = (catalog.conf_dir() / group / target.name).exists()
    use = f"'+{group}={name}'" if group in catalog.lists() else f"{group}={name}"
    shadows = " (it comes before nnkit's own)" if is_ours else ""
    sys.stdout.write(f"{target}{shadows}\n    use it with: nnkit train {use}\n")
    return 0


def _write_new(target: Path, content: bytes) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            file.write(content)
    except FileExistsError as error:
        if target.parent.is_dir():
            raise UserError(
                f"{target} exists already\n    choose another name: nnkit copy GROUP/OPTION NAME"
            ) from error
        raise UserError(f"{error.filename} is a file, a directory is needed") from error
    except NotADirectoryError as error:
        raise UserError(f"{target.parent} leads through a file, a directory is needed") from error
    except OSError as error:
        raise EnvironmentFault(f"{target} cannot be written: {error.strerror}") from error
