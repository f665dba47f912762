"""The words of a sweep that say how it is run: ``hydra.launcher.n_jobs=2``, ``hydra.sweeper.n_trials=30``."""

from __future__ import annotations

import re
import typing
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from hydra.core.override_parser.types import Override

from nnkit.config.overrides import COMMAND_LINE, parse
from nnkit.errors import ConfigError, Problem
from nnkit.factory.typecheck import MismatchError, convert
from nnkit.suggest import hint
from nnkit.sweep.definition import Launcher, Sweeper

# Where the words begin that speak of ours.
_NODES: dict[str, type[Launcher] | type[Sweeper]] = {"hydra.launcher": Launcher, "hydra.sweeper": Sweeper}
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
# Less does not even hold what a trial shares with all others.
_LEAST_MEMORY = 10**8


@dataclass(frozen=True)
class Settings:
    """What the words of a sweep say of the sweep itself.

    Attributes:
        words: All other words.
        launcher: How trials are run.
        sweeper: How a space is searched.
        typed: The settings that were typed, such as "hydra.sweeper.n_trials".
    """

    words: tuple[str, ...]
    launcher: Launcher
    sweeper: Sweeper
    typed: frozenset[str]


def read_settings(words: Sequence[str]) -> Settings:
    """Take the words that speak of the sweep itself out of the others.

    Raises:
        ConfigError: With every setting that is unknown or has a wrong value.
    """
    own = [word for word in words if re.match(r"[+~]*hydra[./]", word)]
    parsed = parse(own, sweep=True)
    problems = list(parsed.problems)
    values: dict[str, dict[str, Any]] = {node: {} for node in _NODES}
    for override in parsed.overrides:
        problem = _take(override, values)
        if problem is not None:
            problems.append(problem)
    if not problems:
        problems += _out_of_range(values)
    if problems:
        raise ConfigError(problems)
    typed = frozenset(f"{node}.{name}" for node, given in values.items() for name in given)
    others = tuple(word for word in words if word not in own)
    return Settings(others, Launcher(**values["hydra.launcher"]), Sweeper(**values["hydra.sweeper"]), typed)


def _take(override: Override, values: dict[str, dict[str, Any]]) -> Problem | None:
    node, _, name = override.key_or_group.rpartition(".")
    if override.is_sweep_override():
        text = f"{override.get_value_string()} is several values, and the sweep as a whole has one"
        return Problem(override.key_or_group, text, where=COMMAND_LINE)
    if node not in _NODES:
        known = [f"{node}.{one.name}" for node, kind in _NODES.items() for one in fields(kind)]
        text = "is no setting of a sweep"
        return Problem(override.key_or_group, text, hint(override.key_or_group, known), COMMAND_LINE)
    key, hints = override.key_or_group, typing.get_type_hints(_NODES[node])
    if name not in hints:
        nearest = hint(key, [f"{node}.{one}" for one in hints])
        return Problem(key, "there is no such setting", nearest, COMMAND_LINE)
    value = override.value()
    if name == "memory_limit" and isinstance(value, int):
        value = str(value)
    try:
        values[node][name] = convert(value, hints[name])
    except MismatchError as error:
        return Problem(key, f"must be {error}, not {value!r}", where=COMMAND_LINE)
    return None


def _out_of_range(values: dict[str, dict[str, Any]]) -> list[Problem]:
    least = {"n_jobs": 1, "n_trials": 1, "timeout": 0, "patience": 0, "seed": 0}
    problems = []
    for node, given in values.items():
        for name, value in given.items():
            key = f"{node}.{name}"
            if name in least and value is not None and value < least[name]:
                problems.append(
                    Problem(key, f"must be at least {least[name]}, not {value}", where=COMMAND_LINE)
                )
            if name == "memory_limit" and value is not None:
                try:
                    num_bytes(value)
                except ValueError as error:
                    problems.append(Problem(key, str(error), "such as 4GB", COMMAND_LINE))
    return problems


def num_bytes(text: str) -> int:
    """Return a size such as "4GB" or "500MiB" in bytes.

    Raises:
        ValueError: If it is none, or too small for any trial.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if match is None or match[2].upper() not in _UNITS:
        raise ValueError(f"{text!r} is no size")
    size = int(float(match[1]) * _UNITS[match[2].upper()])
    if size < _LEAST_MEMORY:
        raise ValueError(f"{text!r} is less than any trial needs, which is {_LEAST_MEMORY // 10**6}MB")
    return size
