"""An option file as a user names it: model/lenet5."""

from pathlib import Path
from typing import NamedTuple

from nnkit.config import catalog
from nnkit.errors import UserError
from nnkit.suggest import hint


class OptionFile(NamedTuple):
    """One option of a group.

    Attributes:
        group: Group, such as "model"; empty for train, the file of defaults.
        option: Option, such as "lenet5".
        path: Its YAML file.
    """

    group: str
    option: str
    path: Path


def find_option(spec: str, config_dir: Path | None = None) -> OptionFile:
    """Find the file a user means by GROUP/OPTION, GROUP=OPTION, or the word train.

    Args:
        spec: What was typed.
        config_dir: The directory given with ``--config-dir``.

    Raises:
        UserError: If there is no such group or option, with what was probably meant.
    """
    if spec == catalog.PRIMARY:
        return OptionFile("", spec, catalog.conf_dir() / f"{spec}.yaml")
    group, _, option = spec.removesuffix(".yaml").replace("=", "/", 1).partition("/")
    check_group(group, option)
    known = catalog.options(group, config_dir)
    path = catalog.source(group, option, config_dir) if option in known else None
    if path is None:
        what = f"{group} has no option {option!r}" if option else f"{spec!r} names a group, not an option"
        raise UserError(f"{what}\n    {hint(option, known, f'{group}/{{}}') or 'the group has no options'}")
    return OptionFile(group, option, path)


def check_group(group: str, option: str = "") -> None:
    """Refuse a group that does not exist.

    Args:
        group: What was typed.
        option: What was typed after it, if anything; it may show which group was meant.

    Raises:
        UserError: If it does not exist.
    """
    groups = catalog.groups()
    if group in groups:
        return
    text = f"there is no group {group!r}"
    # `nnkit show lenet5` names an option without its group.
    homes = [home for home in groups if (option or group) in catalog.options(home)]
    if homes:
        raise UserError(
            f"{text}\n    did you mean {' or '.join(f'{home}/{option or group}' for home in homes)}?"
        )
    raise UserError(f"{text}\n    {hint(group, groups)}")
