"""The flags of `nnkit train`, told apart from its overrides."""

from dataclasses import dataclass, field

from nnkit.errors import UserError

_TAKES_VALUE = {
    "--config-dir": "config_dir",
    "-cd": "config_dir",
    "--cfg": "cfg",
    "-c": "cfg",
    "--package": "package",
}
_TAKES_VALUE["-p"] = "package"
_HELP = ("-h", "--help")
_MULTIRUN = ("-m", "--multirun")
_TOPICS = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
_HYDRA = ("--hydra-help", "--info", "-i", "--shell-completion", "-sc")


@dataclass
class Flags:
    """What was typed after `nnkit train`.

    Attributes:
        overrides: The words without a dash in front.
        config_dir: Directory of more option files.
        show_config: Whether the config is printed instead of used.
        resolve: Whether its interpolations are resolved.
        help: Whether help was asked for.
        multirun: Whether this is a sweep.
        hydra: The words Hydra itself must see; empty if none.
    """

    overrides: list[str] = field(default_factory=list)
    config_dir: str | None = None
    show_config: bool = False
    resolve: bool = False
    help: bool = False
    multirun: bool = False
    hydra: list[str] = field(default_factory=list)


def split_flags(arguments: list[str]) -> Flags:
    """Sort the words of a command line.

    Raises:
        UserError: If a flag is unknown or lacks its value.
    """
    flags, words = Flags(), iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name in _TAKES_VALUE:
            value = value if equals else next(words, "")
            if not value:
                raise UserError(f"{name} needs a value")
            _set_value(flags, name, value)
        elif word in _HELP:
            flags.help = True
        elif word == "--resolve":
            flags.resolve = True
        elif word in _MULTIRUN:
            flags.multirun = True
            flags.hydra.append("--multirun")
        elif name in _HYDRA or (word in _TOPICS and flags.hydra[-1:] in (["--info"], ["-i"])):
            flags.hydra.append(word)
        elif word.startswith("-"):
            raise UserError(
                f"train has no flag {word!r}; it has -m, --cfg job, --resolve, --config-dir DIR, --info, --help\n"
                "    settings are typed without dashes: optimizer.lr=1e-3"
            )
        else:
            flags.overrides.append(word)
    return flags


def _set_value(flags: Flags, name: str, value: str) -> None:
    kind = _TAKES_VALUE[name]
    if kind == "config_dir":
        flags.config_dir = value
    elif kind == "cfg" and value == "job":
        flags.show_config = True
    elif kind == "cfg" and value in ("hydra", "all"):
        flags.hydra += ["--cfg", value]
    elif kind == "cfg":
        raise UserError(f"--cfg {value}: it takes job, hydra or all")
    else:
        flags.hydra += ["--package", value]
