"""The option files that exist, read without Hydra and torch: for `nnkit list`, `show` and `copy`."""

from copy import deepcopy
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from nnkit.errors import ConfigError, UserError
from nnkit.files.yaml_limits import read_yaml
from nnkit.suggest import hint

# Only our own train.yaml and Hydra settings count: a user's would replace ours whole.
PRIMARY = "train"
# Begins the line by which an editor finds the schema of a file.
EDITOR_LINE = "# yaml-language-server:"
NOT_GROUPS = frozenset({"hydra"})


def conf_dir() -> Path:
    """Return the directory of our own YAML files: inside the wheel, or beside the package in a clone."""
    return _conf_beside(__file__)


@cache
def _conf_beside(module: str) -> Path:
    packaged = Path(module).resolve().parents[1] / "conf"
    return packaged if packaged.is_dir() else packaged.parent.parent / "conf"


def user_dir() -> Path | None:
    """Return the user's ``./conf``, whose files shadow ours; None where there is none or it is ours."""
    directory = Path.cwd() / "conf"
    if not directory.is_dir() or directory.resolve() == conf_dir().resolve():
        return None
    return directory


def roots(config_dir: Path | None = None) -> tuple[Path, ...]:
    """Return the directories of option files, the first that has a file wins.

    Args:
        config_dir: The directory given with ``--config-dir``; it adds files and shadows none.
    """
    found = (user_dir(), conf_dir(), config_dir)
    return tuple(root for root in found if root is not None)


def source(group: str, option: str, config_dir: Path | None = None) -> Path | None:
    """Return the file of one option, or None if there is no such option."""
    for root in roots(config_dir):
        path = root / group / f"{option}.yaml"
        if path.is_file():
            return path
    return None


def options(group: str, config_dir: Path | None = None) -> list[str]:
    """Return the options of a group, in alphabetical order."""
    return sorted({file.stem for root in roots(config_dir) for file in (root / group).glob("*.yaml")})


@cache
def _read_primary(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return dict(content)


def shipped(group: str, option: str) -> dict[str, Any]:
    """Return an option file of our own as plain data, whatever a user's file of the same name holds."""
    return _read_primary(conf_dir() / group / f"{option}.yaml")


def primary() -> dict[str, Any]:
    """Return the file of defaults as plain data."""
    return _read_primary(conf_dir() / f"{PRIMARY}.yaml")


def defaults() -> dict[str, str | list[str] | None]:
    """Return the default option of each group, in the order of composition."""
    entries = [entry for entry in primary()["defaults"] if isinstance(entry, dict)]
    return {group: option for entry in entries for group, option in entry.items()}


def groups() -> list[str]:
    """Return the groups that can be chosen on the command line."""
    return list(defaults())


def lists() -> list[str]:
    """Return the groups that take several options at once."""
    return [group for group, default in defaults().items() if isinstance(default, list)]


def plain_keys() -> list[str]:
    """Return the keys of a config that stand outside the groups, such as ``seed``."""
    return [key for key in primary() if key != "defaults"]


def is_node(key: str) -> bool:
    """Return whether one of the `plain_keys` holds keys itself."""
    return isinstance(primary()[key], dict)


def describe(group: str, option: str, config_dir: Path | None = None) -> str:
    """Return the first comment line of an option's file, its one-line description."""
    path = source(group, option, config_dir)
    if path is None:
        return ""
    # Composing the file says what is wrong with it; a list of options must not die of it.
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            text = line.strip()
            # "# @package x" is an instruction to Hydra, the other one to an editor.
            if text.startswith("#") and not text.startswith(("# @", EDITOR_LINE)):
                return text.lstrip("#").strip()
            if text and not text.startswith("#"):
                break
    return ""


def read(group: str, option: str, config_dir: Path | None = None) -> dict[str, Any]:
    """Return the top-level keys of an option, those of the options of the same group it builds on included.

    Args:
        group: Group, such as ``model``.
        option: Option, such as ``lenet5``.
        config_dir: The directory given with ``--config-dir``.

    Returns:
        Plain data with interpolations as text; empty if the file is missing or is no YAML mapping.
    """
    return deepcopy(_read(group, option, config_dir, frozenset()))


def _read(group: str, option: str, config_dir: Path | None, seen: frozenset[str]) -> dict[str, Any]:
    path = source(group, option, config_dir)
    if path is None or option in seen:
        return {}
    state = path.stat()
    content = _parsed(path, state.st_mtime_ns, state.st_size)
    merged: dict[str, Any] = {}
    defaults = content.get("defaults")
    for entry in defaults if isinstance(defaults, list) else []:
        if isinstance(entry, str) and entry != "_self_":
            merged = _merge(merged, _read(group, entry, config_dir, seen | {option}))
    return _merge(merged, {key: value for key, value in content.items() if key != "defaults"})


@lru_cache(maxsize=1024)
def _parsed(path: Path, changed: int, size: int) -> dict[str, Any]:
    """Return the keys of a file, parsed once for as long as it does not change."""
    try:
        content = yaml.safe_load(read_yaml(path, path.name))
    except (ConfigError, yaml.YAMLError, ValueError):
        # Composing the file says what is wrong with it; a list of options must not die of it.
        return {}
    return content if isinstance(content, dict) else {}


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def kinds_of_model(model: str, config_dir: Path | None = None) -> list[str]:
    """Return the kinds of input a model takes: the keys of its ``embeds``."""
    embeds = read("model", model, config_dir).get("embeds")
    return list(embeds) if isinstance(embeds, dict) else []


def models_for(kind: str, config_dir: Path | None = None) -> list[str]:
    """Return the models that take a kind of input."""
    names = options("model", config_dir)
    return [name for name in names if kind in kinds_of_model(name, config_dir)]


def data_for(model: str, config_dir: Path | None = None) -> list[str]:
    """Return the datasets whose kind a model takes."""
    kinds = kinds_of_model(model, config_dir)
    names = options("data", config_dir)
    return [name for name in names if read("data", name, config_dir).get("kind") in kinds]


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
    if spec == PRIMARY:
        return OptionFile("", spec, conf_dir() / f"{spec}.yaml")
    group, _, option = spec.removesuffix(".yaml").replace("=", "/", 1).partition("/")
    check_group(group, option)
    known = options(group, config_dir)
    path = source(group, option, config_dir) if option in known else None
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
    known = groups()
    if group in known:
        return
    text = f"there is no group {group!r}"
    # `nnkit show lenet5` names an option without its group.
    homes = [home for home in known if (option or group) in options(home)]
    if homes:
        raise UserError(
            f"{text}\n    did you mean {' or '.join(f'{home}/{option or group}' for home in homes)}?"
        )
    raise UserError(f"{text}\n    {hint(group, known)}")
