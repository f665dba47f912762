"""Where Hydra finds option files: the user's ``./conf`` before ours, ``--config-dir`` after, both guarded."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from nnkit.config import catalog
from nnkit.config.overrides import quote
from nnkit.errors import ConfigError, Problem
from nnkit.files.yaml_limits import read_yaml

State = tuple[int, int, int, int]
_log = logging.getLogger(__name__)
_SCHEME = "nnkit"
# Of the user's files and directories that were asked for inside `states_noted`, the state at that time.
_ASKED: ContextVar[dict[Path, State | None] | None] = ContextVar("asked", default=None)


@contextmanager
def states_noted() -> Iterator[dict[Path, State | None]]:
    """Note the state of each of the user's files that is asked for in the block, also of those that are not there."""
    asked: dict[Path, State | None] = {}
    token = _ASKED.set(asked)
    try:
        yield asked
    finally:
        _ASKED.reset(token)


def state_of(path: Path) -> State | None:
    """Return what changes with a file or directory, None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _ask(path: Path) -> None:
    asked = _ASKED.get()
    if asked is not None:
        # Of a file that changes meanwhile the first state counts: it is read anew then.
        asked.setdefault(path, state_of(path))


class GuardedSource(FileConfigSource):
    """Option files that are not ours: bounded, without settings for Hydra, and never the primary config.

    Hydra would otherwise take a user's ``train.yaml`` for ours, and call whatever ``hydra.callbacks`` names.
    """

    @staticmethod
    def scheme() -> str:
        """Return the prefix of paths that are read through this class."""
        return _SCHEME

    def is_group(self, config_path: str) -> bool:
        """Return whether there is such a group; Hydra's own are hidden."""
        _ask(Path(self.path) / config_path)
        return not _is_hidden(config_path) and super().is_group(config_path)

    def is_config(self, config_path: str) -> bool:
        """Return whether there is such a file; the primary config and Hydra's own are hidden."""
        _ask(Path(self.path) / self._normalize_file_name(config_path))
        return not _is_hidden(config_path) and super().is_config(config_path)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return what a group holds, hidden entries left out."""
        names = super().list(config_path, results_filter)
        return [name for name in names if not _is_hidden(f"{config_path}/{name}".lstrip("/"))]

    def load_config(self, config_path: str) -> ConfigResult:
        """Read one file.

        Raises:
            ConfigError: If it is too large or deep, is no YAML mapping, names itself, or sets up Hydra.
        """
        path = Path(self.path) / self._normalize_file_name(config_path)
        _ask(path)
        name = _shown(path)
        read_yaml(path, name)
        try:
            result = super().load_config(config_path)
        # OmegaConf calls a text that is neither a list nor a mapping an input error.
        except OSError as error:
            raise ConfigError([Problem("", f"{name}: holds no keys")]) from error
        if not isinstance(result.config, DictConfig):
            raise ConfigError([Problem("", f"{name}: holds no keys")])
        if problem := _forbidden(config_path, result, name):
            raise ConfigError([problem])
        return result


class ConfSearchPath(SearchPathPlugin):
    """Puts the user's ``./conf`` before our own directory, so that their file of the same name is taken."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Prepend ``./conf`` of the working directory where there is one that is not ours."""
        directory = catalog.user_dir()
        if directory is None:
            return
        _mention_ignored(directory)
        search_path.prepend("user", f"{_SCHEME}://{directory}", anchor="main")


def install() -> None:
    """Make Hydra's entry points (``hydra.main`` included) use this search path; may be called again."""
    plugins = Plugins.instance()
    plugins.register(GuardedSource)
    plugins.register(ConfSearchPath)


@contextmanager
def hydra_loader(config_dir: Path | None) -> Iterator[tuple[ConfigLoader, list[str]]]:
    """Initialise Hydra's Compose API and undo it afterwards.

    Args:
        config_dir: The directory given with ``--config-dir``.

    Yields:
        The loader, and the overrides that every composition with it starts with.
    """
    install()
    with initialize_config_dir(str(catalog.conf_dir()), job_name="nnkit", version_base="1.3"):
        yield GlobalHydra.instance().config_loader(), added(config_dir)


def added(config_dir: str | Path | None) -> list[str]:
    """Return the words that let Hydra find the option files of one more directory, guarded as all are."""
    return [] if config_dir is None else [f"hydra.searchpath=[{quote(f'{_SCHEME}://{config_dir}')}]"]


def _is_hidden(config_path: str) -> bool:
    top = config_path.replace(".yaml", "").split("/")[0]
    return top in catalog.NOT_GROUPS or config_path in {catalog.PRIMARY, f"{catalog.PRIMARY}.yaml"}


@cache
def _mention_ignored(directory: Path) -> None:
    """Warn once about those of a user's files that have no effect."""
    primary, hydra = directory / f"{catalog.PRIMARY}.yaml", directory / "hydra"
    # In a clone of nnkit ./conf is a copy of our own: nothing is lost then.
    own = (catalog.conf_dir() / primary.name).read_bytes()
    ignored = [primary] if primary.is_file() and primary.read_bytes() != own else []
    for path in [*ignored, *([hydra] if hydra.exists() else [])]:
        _log.warning("%s is ignored: only nnkit's own counts", _shown(path))


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _forbidden(config_path: str, result: ConfigResult, name: str) -> Problem | None:
    content: Any = OmegaConf.to_container(result.config, resolve=False)
    package = result.header.get("package") or ""
    defaults = content.get("defaults")
    entries = [_entry_path(entry) for entry in defaults] if isinstance(defaults, list) else []
    if "hydra" in content or package.split(".")[0] == "hydra" or any(e.startswith("hydra/") for e in entries):
        return Problem("hydra", f"{name}: a config cannot set up Hydra itself", "delete the hydra entry")
    group, _, option = config_path.rpartition("/")
    own_names = {config_path, f"/{config_path}", option}
    if own_names & {entry for entry in entries if "/" in entry or group}:
        text = f"{name}: its defaults name the file itself"
        answer = f"give it another name, or copy {option} whole: nnkit copy {config_path}"
        return Problem("defaults", text, answer)
    return None


def _entry_path(entry: Any) -> str:
    """Return what one entry of a defaults list refers to, as GROUP/OPTION or, in the same group, OPTION."""
    if not isinstance(entry, dict):
        return str(entry)
    group, option = next(iter(entry.items()), ("", ""))
    for word in ("override ", "optional "):
        group = str(group).removeprefix(word)
    return f"{group.split('@')[0].lstrip('/')}/{option}"
