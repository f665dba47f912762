"""What a config may name under `_target_`: classes of the right kind from packages that are trusted."""

import importlib
import inspect
import os
import re
import sys
from pathlib import Path
from types import ModuleType

from nnkit.config.migration import now_at
from nnkit.factory.listed import why_refused
from nnkit.suggest import closest

HOMES = ("nnkit", "torch.nn", "torch.optim", "lightning.pytorch")
TRUST_VARIABLE = "NNKIT_TRUST"

# The class each group's objects derive from, as module and name: imported only when one is needed.
BASES = {
    "model": ("torch.nn", "Module"),
    "embeds": ("torch.nn", "Module"),
    "head": ("torch.nn", "Module"),
    "loss": ("torch.nn", "Module"),
    "optimizer": ("torch.optim", "Optimizer"),
    "scheduler": ("torch.optim.lr_scheduler", "LRScheduler"),
    "data": ("nnkit.data.base", "DataModule"),
    "task": ("nnkit.tasks.base", "Task"),
    "callbacks": ("lightning.pytorch", "Callback"),
    "logger": ("lightning.pytorch.loggers", "Logger"),
    "trainer": ("lightning.pytorch", "Trainer"),
}

# No segment may start with an underscore: `__builtins__` and `__init__` lead anywhere.
_PATH = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", re.ASCII)


class RefusedError(ValueError):
    """A `_target_` that may not be called; the message says why, `hint` what to do.

    Args:
        text: Why.
        hint: What to write instead; empty if unknown.
    """

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


def trusted() -> tuple[str, ...]:
    """Return the user's own packages, named in the environment and never in a config."""
    names = os.environ.get(TRUST_VARIABLE, "").split(",")
    return tuple(name.strip() for name in names if name.strip().isidentifier())


def resolve(path: object, group: str) -> type:
    """Return the class a `_target_` names; nothing outside trusted packages is imported, nothing is called.

    Args:
        path: Dotted path as it stands in the config.
        group: Group of the node, a key of `BASES`.

    Raises:
        RefusedError: If the path leads out of the trusted packages, to no class, to one of another kind, or to a
            callback or logger of Lightning that is not listed.
    """
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise RefusedError(f"{path!r} is not the dotted path of a class")
    _check_home(path, path)
    module_name, _, name = path.rpartition(".")
    module = _import(module_name, path)
    classes: dict[str, type] = {key: value for key, value in vars(module).items() if isinstance(value, type)}
    found = classes.get(name)
    if found is None:
        near = closest(name, classes)
        hint = f"did you mean {module_name}.{near[0]}?" if near else ""
        raise RefusedError(f"{path} is no class", hint)
    home = f"{found.__module__}.{found.__qualname__}"
    _check_home(home, path)
    if not _lives_at_home(found):
        raise RefusedError(f"{path} is really {home}, which cannot be found there")
    _check_kind(found, path, group)
    if (refusal := why_refused(found, group)) is not None:
        raise RefusedError(*refusal)
    return found


def _lives_at_home(found: type) -> bool:
    """Return whether the class is where it says: it could claim a home where another object lives."""
    home = sys.modules.get(found.__module__)
    return getattr(home, found.__qualname__, None) is found


def _is_inside(path: str, packages: tuple[str, ...]) -> bool:
    return any(path.startswith(f"{package}.") for package in packages)


def _check_home(home: str, path: str) -> None:
    if _is_inside(home, (*HOMES, *trusted())):
        return
    root = home.split(".")[0]
    really = "" if home == path else f", which is really {home},"
    hint = ""
    if root not in sys.stdlib_module_names and root not in {"builtins", "torch", "lightning", "nnkit"}:
        hint = f"if {root} is your own package: {TRUST_VARIABLE}={root} nnkit ..."
    raise RefusedError(
        f"{path}{really} is outside the packages that a config may use: {', '.join(HOMES)}", hint
    )


def _import(module_name: str, path: str) -> ModuleType:
    own = module_name.split(".")[0] in trusted()
    here = str(Path.cwd())
    # At the end, so that a file in the working directory cannot stand in for an installed package.
    if own and here not in sys.path:
        sys.path.append(here)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module of ours that misses something else is a broken installation, not the user's mistake.
        if not own and error.name is not None and not f"{module_name}.".startswith(f"{error.name}."):
            raise
        moved = now_at(path)
        raise RefusedError(
            f"{path} does not exist: {error}", f"it is {moved} now" if moved else ""
        ) from error
    except Exception as error:
        if not own:
            raise
        raise RefusedError(f"{module_name} cannot be imported: {type(error).__name__}: {error}") from error


def _check_kind(found: type, path: str, group: str) -> None:
    module_name, name = BASES[group]
    base = getattr(importlib.import_module(module_name), name)
    if not issubclass(found, base):
        raise RefusedError(f"{path} is no {name}, which every {group.removesuffix('s')} must be")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        raise RefusedError(f"{path} is unfinished: it lacks {missing}")
