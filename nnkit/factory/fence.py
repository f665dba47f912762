"""What a config may name under `_target_`: classes of the right kind from trusted packages, and their arguments."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from nnkit.config import catalog
from nnkit.config.declared import ALLOWED, LEAST, Listed
from nnkit.config.migration import now_at
from nnkit.errors import Problem
from nnkit.suggest import closest, hint

HOMES = ("nnkit", "torch.nn", "torch.optim", "lightning.pytorch")
# Homes of one group's classes only; the rest of torchmetrics loads networks and programs of others.
_HOMES_OF = {"metrics": ("torchmetrics.classification", "torchmetrics.regression")}
TRUST_VARIABLE = "NNKIT_TRUST"

# The class each group's objects derive from, as module and name: imported only when one is needed.
BASES = {
    "model": ("torch.nn", "Module"),
    "embeds": ("torch.nn", "Module"),
    "head": ("torch.nn", "Module"),
    "adapter": ("nnkit.adapters.base", "Adapter"),
    "loss": ("torch.nn", "Module"),
    "optimizer": ("torch.optim", "Optimizer"),
    "scheduler": ("torch.optim.lr_scheduler", "LRScheduler"),
    "data": ("nnkit.data.base", "DataModule"),
    "dataset": ("torch.utils.data", "Dataset"),
    "task": ("nnkit.tasks.base", "Task"),
    "callbacks": ("lightning.pytorch", "Callback"),
    "logger": ("lightning.pytorch.loggers", "Logger"),
    "metrics": ("torchmetrics", "Metric"),
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
        path: Dotted path, as the config has it.
        group: Group of the node, a key of `BASES`.

    Raises:
        RefusedError: If the path leads out of the trusted packages, to no class, to one of another kind, or to a
            callback or logger of Lightning that is not listed.
    """
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise RefusedError(f"{path!r} is not the dotted path of a class")
    _check_home(path, path, group)
    module_name, _, name = path.rpartition(".")
    module = _import(module_name, path)
    classes: dict[str, type] = {key: value for key, value in vars(module).items() if isinstance(value, type)}
    found = classes.get(name)
    if found is None:
        near = closest(name, classes)
        hint = f"did you mean {module_name}.{near[0]}?" if near else ""
        raise RefusedError(f"{path} is no class", hint)
    home = f"{found.__module__}.{found.__qualname__}"
    _check_home(home, path, group)
    if not _lives_at_home(found):
        raise RefusedError(f"{path} is really {home}, which cannot be found there")
    _check_kind(found, path, group)
    if (refusal := why_refused(found, group)) is not None:
        raise RefusedError(*refusal)
    return found


# A class as an option file names it, and how far to the right.
_NAMED = re.compile(r"^( *)_target_: (\S+)$", re.MULTILINE)


@cache
def shipped(group: str) -> frozenset[str]:
    """Return the classes that nnkit's own option files name for a group: they are of the right kind, as tests show.

    Args:
        group: A key of `BASES`; those of ``embeds`` stand inside the files of the models.
    """
    files = (catalog.conf_dir() / ("model" if group == "embeds" else group)).glob("*.yaml")
    found = {place for file in files for place in _NAMED.findall(file.read_text(encoding="utf-8"))}
    is_inside = group in ("embeds", *catalog.lists())
    return frozenset(path for indent, path in found if bool(indent) == is_inside and _PATH.fullmatch(path))


def _lives_at_home(found: type) -> bool:
    """Return whether the class is where it says: it could claim a home where another object lives."""
    home = sys.modules.get(found.__module__)
    return getattr(home, found.__qualname__, None) is found


def _is_inside(path: str, packages: tuple[str, ...]) -> bool:
    return any(path.startswith(f"{package}.") for package in packages)


def _check_home(home: str, path: str, group: str) -> None:
    homes = (*HOMES, *_HOMES_OF.get(group, ()))
    if _is_inside(home, (*homes, *trusted())):
        return
    root = home.split(".")[0]
    really = "" if home == path else f", which is really {home},"
    hint = ""
    if root not in sys.stdlib_module_names and root not in {"builtins", "torch", "lightning", "nnkit"}:
        hint = f"if {root} is your own package: {TRUST_VARIABLE}={root} nnkit ..."
    raise RefusedError(
        f"{path}{really} is outside the packages that a config may use: {', '.join(homes)}", hint
    )


def _import(module_name: str, path: str) -> ModuleType:
    own = module_name.split(".")[0] in trusted()
    here = str(Path.cwd())
    # At the end, so that a file in the working directory cannot replace an installed package.
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


# Groups whose objects act by themselves during a training: a class outside the lists could write or send anything.
GROUPS = ("callbacks", "logger")
_OWN = "a callback of your own: docs/extending.md"
# What to use instead of the others.
INSTEAD = {
    "callbacks": {
        "BackboneFinetuning": "freeze=[embed,body] keeps parts of the network as they are",
        "BaseFinetuning": "freeze=[embed,body] keeps parts of the network as they are",
        "BasePredictionWriter": "nnkit predict RUN FILE writes predictions",
        "BatchSizeFinder": "nnkit check data.batch_size=... says what memory a batch takes",
        "Callback": _OWN,
        "Checkpoint": "callbacks.checkpoint: nnkit copy callbacks/checkpoint shows its settings",
        "GradientAccumulationScheduler": "trainer.accumulate_grad_batches=N, the same for all epochs",
        "LambdaCallback": _OWN,
        "LearningRateFinder": "a sweep: nnkit train -m optimizer.lr=1e-4,1e-3,1e-2",
        "ModelCheckpoint": "callbacks.checkpoint: nnkit copy callbacks/checkpoint shows its settings",
        "ModelPruning": _OWN,
        "ModelSummary": "nnkit summary, or lightning.pytorch.callbacks.RichModelSummary",
        "OnExceptionCheckpoint": "callbacks.checkpoint, and nnkit resume RUN after an interruption",
        "ProgressBar": "callbacks.progress",
        "RichProgressBar": "callbacks.progress",
        "SpikeDetection": "callbacks.nan_guard.policy=skip leaves out a batch whose loss is not finite",
        "StochasticWeightAveraging": "+callbacks=ema",
        "ThroughputMonitor": "callbacks=[throughput] writes timing.jsonl",
        "TQDMProgressBar": "callbacks.progress",
    },
    "logger": {
        "CometLogger": "logger=[tensorboard], csv, wandb or mlflow",
        "LitLogger": "logger=[tensorboard], csv, wandb or mlflow",
        "Logger": "a logger of your own: docs/extending.md",
    },
}
# What nnkit decides about a logger, and why a config may not.
_FROM_ENVIRONMENT = {
    "tracking_uri": "set MLFLOW_TRACKING_URI in the environment: no config chooses a server or a database",
    "offline": "set WANDB_MODE=online in the environment: no config chooses to send anything",
    "mode": "set WANDB_MODE=online in the environment: no config chooses to send anything",
    "entity": "set WANDB_ENTITY in the environment: no config chooses who is sent anything",
}


def allowed(found: type, group: str) -> Listed | None:
    """Return what a config may say about a class of Lightning; None for all others, and for those not allowed."""
    if group not in GROUPS or not found.__module__.startswith("lightning."):
        return None
    return ALLOWED[group].get(found.__qualname__)


def why_refused(found: type, group: str) -> tuple[str, str] | None:
    """Return why a config may not name a class, and what to use instead; None if it may.

    Classes of the user's own packages may always be named: the user has allowed them by name.
    """
    if group == "dataset" and found.__module__.split(".")[0] not in trusted():
        return f"{found.__qualname__} is no dataset for a config to name", "name a class of your own package"
    if group not in GROUPS:
        return None
    home, name = f"{found.__module__}.{found.__qualname__}", found.__qualname__
    if home.startswith("nnkit.") and home not in _shipped(group):
        return f"{home} belongs to every run and is not for a config to add", "leave it out"
    if home.startswith("lightning.") and allowed(found, group) is None:
        known = ", ".join(sorted(ALLOWED[group]))
        hint = INSTEAD[group].get(name, "leave it out")
        return f"of Lightning's {group} a config may name {known}, not {name}", f"use {hint}"
    return None


def _unlisted(listed: Listed, target: type, name: str, key: str) -> Problem:
    """Return the problem with an argument that a config may not give.

    Args:
        listed: What it may give.
        target: The class.
        name: The argument.
        key: Its dotted key.
    """
    given = ", ".join(sorted(listed.arguments))
    if name in _FROM_ENVIRONMENT:
        text = f"a config may not give {target.__name__} this argument"
        return Problem(key, text, _FROM_ENVIRONMENT[name])
    if name in inspect.signature(target).parameters:
        text = f"a config may not give {target.__name__} this argument, but {given}"
        return Problem(key, text, "leave it out: nnkit keeps every file of a run below its directory")
    parent = key.rpartition(".")[0]
    return Problem(
        key, f"{target.__name__} takes no such argument", hint(name, listed.arguments, f"{parent}.{{}}")
    )


def refused(target: type, group: str, name: str, value: Any, key: str) -> Problem | None:
    """Return what is wrong with an argument because of the list; None if nothing is, or the class is not listed.

    Args:
        target: The class.
        group: Its group.
        name: The argument.
        value: Its value.
        key: Its dotted key.
    """
    listed = allowed(target, group)
    if listed is None:
        return None
    if name not in listed.arguments:
        return _unlisted(listed, target, name, key)
    least = LEAST.get(name)
    if least is None or not isinstance(value, int | float) or value >= least:
        return None
    return Problem(key, f"must be at least {least}, not {value}")


def missing(found: Mapping[str, tuple[type, str]], has_loggers: bool) -> Iterator[Problem]:
    """Yield what listed classes need and do not find: a package, or a logger.

    Args:
        found: Class and group by the key of its node.
        has_loggers: Whether the config has a logger.
    """
    for key, (target, group) in found.items():
        listed = allowed(target, group)
        if listed is None:
            continue
        if listed.package and find_spec(listed.package) is None:
            text = f"{target.__name__} needs the package {listed.package}, which is not installed"
            yield Problem(key, text, f"pip install 'nnkit[{listed.package}]', or ~{key} leaves it out")
        if listed.needs_logger and not has_loggers:
            text = f"{target.__name__} needs a logger, and the config has none"
            yield Problem(key, text, f"logger=[tensorboard], or ~{key} leaves it out")


@cache
def _shipped(group: str) -> frozenset[str]:
    """Return the classes that nnkit's own option files of a group name."""
    found: list[Any] = []
    for file in (catalog.conf_dir() / group).glob("*.yaml"):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        found += [node["_target_"] for node in content.values() if isinstance(node, dict)]
    return frozenset(found)
