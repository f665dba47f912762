"""`nnkit copy GROUP/OPTION [NAME]`: an option file of the user's own to change."""

import argparse
import re
import sys
from pathlib import Path

from nnkit.cli.option_files import find_option
from nnkit.config import catalog
from nnkit.errors import EnvironmentFault, UserError

_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*")


def main(arguments: list[str]) -> int:
    """Copy one option file into ./conf and say how to use it."""
    parser = argparse.ArgumentParser(
        prog="nnkit copy", description="Copy an option file into ./conf to change it."
    )
    parser.add_argument("option", metavar="GROUP/OPTION", help="such as model/lenet5")
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="name of the copy (default: that of the option)"
    )
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help="a directory with more option files")
    given = parser.parse_args(arguments)
    group, option, path = find_option(given.option, given.config_dir)
    if not group:
        raise UserError(
            "only nnkit's own train.yaml counts; put a set of values into ./conf/experiment/NAME.yaml"
        )
    name = option if given.name is None else given.name.removesuffix(".yaml")
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} is no name for an option: it takes letters, digits, '_', '-' and '.'")
    target = Path("conf") / group / f"{name}.yaml"
    _write_new(target, path.read_bytes())
    shadows = " (it comes before nnkit's own)" if name in _own_options(group) else ""
    use = f"'+{group}={name}'" if group in catalog.lists() else f"{group}={name}"
    sys.stdout.write(f"{target}{shadows}\n    use it with: nnkit train {use}\n")
    return 0


def _own_options(group: str) -> set[str]:
    return {file.stem for file in (catalog.conf_dir() / group).glob("*.yaml")}


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
