"""The command line of a sweep: axes with several values, the trials of their grid, and how the sweep is run."""

from __future__ import annotations

import itertools
import math
import re
import typing
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from nnkit.config import catalog
from nnkit.config.overrides import parse
from nnkit.config.places import COMMAND_LINE
from nnkit.errors import ConfigError, Problem
from nnkit.factory.typecheck import MismatchError, convert
from nnkit.suggest import hint
from nnkit.sweep.directory import Launcher, Sweeper
from nnkit.sweep.trials import OVER, REPEATED, Entry, Outcome, Trial, TrialReport, trial_name

# Each is composed before the first trial: this many take minutes.
_MOST_VALUES = 10_000
_LOG_TAG = "log"
# Hydra leaves what it cannot read as a text, and one such as log(1e-4,1e-1) was meant as a set of values.
_FUNCTION = re.compile(
    r"(?:choice|range|interval|tag|shuffle|sort|glob|int|float|log|loguniform|uniform)\(.*", re.DOTALL
)
_SETS = "there is 1,2,3 and range(1,9,2) and interval(0,1) and tag(log,interval(1e-4,1e-1)) and int(interval(1,9))"

# The nodes of the sweep's own options.
_NODES: dict[str, type[Launcher] | type[Sweeper]] = {"hydra.launcher": Launcher, "hydra.sweeper": Sweeper}
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
# Less does not even hold what a trial shares with all others.
_LEAST_MEMORY = 10**8
_LEAST = {"n_jobs": 0, "lease": 1, "n_trials": 1, "timeout": 0, "patience": 0, "seed": 0}


@dataclass(frozen=True)
class Axis:
    """One key that trials differ in.

    Attributes:
        key: What precedes its values, with ``+`` where it was typed: "optimizer.lr".
        word: The whole word as typed.
        choices: Its values as texts of Hydra's grammar; None for an interval.
        low: Lower end of an interval.
        high: Upper end, which belongs to it.
        log: Whether its logarithm is what is drawn evenly.
        integer: Whether only whole numbers are drawn.
        step: Distance of the values of a range; None: none.
    """

    key: str
    word: str
    choices: tuple[str, ...] | None
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    integer: bool = False
    step: float | None = None

    @property
    def name(self) -> str:
        """The key that is set."""
        return self.key.lstrip("+")


@dataclass(frozen=True)
class Space:
    """The words of a sweep: those with one value, and the axes in the order in which they were typed."""

    fixed: tuple[str, ...]
    axes: tuple[Axis, ...]

    @property
    def has_interval(self) -> bool:
        """Return whether there is an axis that no grid can run through."""
        return any(axis.choices is None for axis in self.axes)


def read_space(words: Sequence[str]) -> Space:
    """Tell the words with several values from the others.

    Raises:
        ConfigError: With every word that cannot be read and every axis that is empty or contradicts itself.
    """
    parsed = parse(words, sweep=True)
    problems, fixed, axes = list(parsed.problems), [], []
    for override in parsed.overrides:
        if not override.is_sweep_override():
            fixed.append(override.input_line or "")
            if _FUNCTION.fullmatch(value := str(override.value())):
                problems.append(Problem(override.key_or_group, f"cannot read {value}", _SETS, COMMAND_LINE))
            continue
        try:
            axes.append(_axis(override))
        except ValueError as error:
            problems.append(Problem(override.key_or_group, str(error), where=COMMAND_LINE))
    problems += _contradictions(parsed.overrides)
    if problems:
        raise ConfigError(problems)
    return Space(tuple(fixed), tuple(axes))


def _contradictions(overrides: Sequence[Override]) -> Iterator[Problem]:
    """Yield a problem for each key that has several values in one word and others in another."""
    for key in sorted({one.key_or_group for one in overrides if one.is_sweep_override()}):
        words = [str(one.input_line) for one in overrides if one.key_or_group == key]
        if len(words) > 1:
            text = f"{' and '.join(words)} contradict each other"
            yield Problem(key, text, "one word for each key", COMMAND_LINE)


def _axis(override: Override) -> Axis:
    word, value = override.input_line or "", override.value()
    key, _, given = word.partition("=")
    if isinstance(value, IntervalSweep):
        return _interval(key, word, value)
    if isinstance(value, Glob):
        raise ValueError("a pattern fits no options here: list them, separated by commas")
    if not isinstance(value, ChoiceSweep | RangeSweep):
        raise ValueError(f"{given} is no set of values")
    if value.tags:
        raise ValueError(f"a tag belongs to an interval, not to {given}: tag(log,interval(1e-4,1e-1))")
    choices = _choices(override, given)
    if isinstance(value, RangeSweep) and not value.shuffle and key.lstrip("+") not in REPEATED:
        step, numbers = abs(float(value.step)), [float(choice) for choice in choices]
        whole = all(number == int(number) for number in (*numbers, step))
        return Axis(key, word, choices, min(numbers), max(numbers), integer=whole, step=step)
    return Axis(key, word, choices)


def _choices(override: Override, given: str) -> tuple[str, ...]:
    """Return the values of a list or a range as texts."""
    try:
        texts = tuple(map(str, itertools.islice(override.sweep_string_iterator(), _MOST_VALUES + 1)))
    except (HydraException, ValueError) as error:
        raise ValueError(f"{given}: {str(error).splitlines()[0]}") from error
    if not texts:
        raise ValueError(f"{given} holds no value")
    if len(texts) > _MOST_VALUES:
        raise ValueError(f"{given} is more than {_MOST_VALUES:,} values; an interval(...) can be searched")
    repeated = [text for text, count in Counter(texts).items() if count > 1]
    if repeated:
        raise ValueError(
            f"{given} lists {' and '.join(repeated)} more than once, and each value is tried once"
        )
    return texts


def _interval(key: str, word: str, value: IntervalSweep) -> Axis:
    low, high = value.start, value.end
    name = key.lstrip("+")
    if name in catalog.groups():
        raise ValueError(f"an interval holds numbers, and here a file is chosen: list some, as in {name}=A,B")
    if name in REPEATED:
        what = name.rpartition(".")[2]
        raise ValueError(f"each setting is run with every {what}: list them, as in {name}=1,2,3")
    if low is None or high is None or not low < high:
        raise ValueError(f"interval({low}, {high}) is empty: the first number must be below the second")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"interval({low}, {high}) has no end: give two numbers")
    unknown = sorted(set(value.tags) - {_LOG_TAG})
    if unknown:
        raise ValueError(f"tag {unknown[0]!r} is not known; there is tag(log, interval({low}, {high}))")
    if _LOG_TAG in value.tags and low <= 0:
        raise ValueError(f"a logarithm needs an interval above 0, not one from {low}")
    whole = isinstance(low, int) and isinstance(high, int) and not isinstance(low, bool)
    return Axis(key, word, None, float(low), float(high), log=_LOG_TAG in value.tags, integer=whole)


def repeated_apart(axes: Sequence[Axis]) -> tuple[tuple[Axis, ...], tuple[Axis, ...]]:
    """Return the axes of what is compared, and those of seed and fold, whose values each setting is run with."""
    others = tuple(axis for axis in axes if axis.key not in REPEATED)
    return others, tuple(axis for axis in axes if axis.key in REPEATED)


def grid(axes: Sequence[Axis]) -> Iterator[Trial]:
    """Yield the trials of a grid, the last axis running fastest.

    Args:
        axes: Each with choices.
    """
    texts = [[f"{axis.key}={choice}" for choice in axis.choices or ()] for axis in axes]
    for words in itertools.product(*texts):
        yield Trial(trial_name(words), words)


class Grid:
    """Offers the trials of a grid in order until they are over; a `Searcher` that learns nothing.

    Args:
        trials: All trials. Those that have ended are passed over, interrupted ones go on.
        entries: What is known of those of before, by name.
    """

    def __init__(self, trials: Iterable[Trial], entries: Mapping[str, Entry]) -> None:
        every = list(trials)
        ended = {name for name, entry in entries.items() if entry.outcome.state in OVER}
        self._total = len(every)
        self._waiting = {trial.name: trial for trial in every if trial.name not in ended}

    def offers(self) -> Iterator[Trial]:
        """Yield the trials that are not over."""
        yield from list(self._waiting.values())

    def waits(self) -> bool:
        """Return whether there are any."""
        return bool(self._waiting)

    def closed(self, trial: Trial) -> None:
        """Take in that a trial has ended elsewhere."""
        self._waiting.pop(trial.name, None)

    def total(self) -> int:
        """Return the number of trials."""
        return self._total

    def report(self, trial: Trial, report: TrialReport) -> bool:
        """Let every trial go on."""
        return False

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """Offer a trial no more that has ended, or was interrupted in this process."""
        self._waiting.pop(trial.name, None)


@dataclass(frozen=True)
class Options:
    """How a sweep is run, by its words.

    Attributes:
        words: All other words.
        launcher: How trials are run.
        sweeper: How a space is searched.
        typed: The options that were typed, such as "hydra.sweeper.n_trials".
    """

    words: tuple[str, ...]
    launcher: Launcher
    sweeper: Sweeper
    typed: frozenset[str] = frozenset()


def read_options(words: Sequence[str]) -> Options:
    """Take the words that say how a sweep is run out of the others: ``hydra.launcher.n_jobs=2``.

    Raises:
        ConfigError: With every option that is unknown or has a wrong value.
    """
    own = [word for word in words if re.match(r"[+~]*hydra[./]", word)]
    parsed = parse(own, sweep=True)
    problems = list(parsed.problems)
    values: dict[str, dict[str, Any]] = {node: {} for node in _NODES}
    for override in parsed.overrides:
        try:
            _take(override, values)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError([replace(one, text=_hidden(one.text), hint=_hidden(one.hint)) for one in problems])
    typed = frozenset(f"{node}.{name}" for node, given in values.items() for name in given)
    others = tuple(word for word in words if word not in own)
    return Options(others, Launcher(**values["hydra.launcher"]), Sweeper(**values["hydra.sweeper"]), typed)


def _hidden(text: str) -> str:
    """Return a text without the password of a URL in it."""
    return re.sub(r"(://[^:/@\s]*):\S*@", r"\1:***@", text)


def _take(override: Override, values: dict[str, dict[str, Any]]) -> None:
    """Add the value of one option to those of its node."""
    key = override.key_or_group
    node, _, name = key.rpartition(".")

    def refused(text: str, answer: str = "") -> ConfigError:
        return ConfigError([Problem(key, text, answer, COMMAND_LINE)])

    if override.is_sweep_override():
        raise refused(f"{override.get_value_string()} is several values, and the sweep as a whole has one")
    if node not in _NODES:
        known = [f"{node}.{one.name}" for node, kind in _NODES.items() for one in fields(kind)]
        raise refused("is no option of a sweep", hint(key, known))
    hints = typing.get_type_hints(_NODES[node])
    if name not in hints:
        raise refused("there is no such option", hint(key, [f"{node}.{one}" for one in hints]))
    value = override.value()
    if name == "memory_limit" and isinstance(value, int):
        value = str(value)
    try:
        value = values[node][name] = convert(value, hints[name])
    except MismatchError as error:
        raise refused(f"must be {error}, not {value!r}") from error
    if value is not None and value < _LEAST.get(name, value):
        raise refused(f"must be at least {_LEAST[name]}, not {value}")
    if name == "memory_limit" and value is not None:
        try:
            num_bytes(value)
        except ValueError as error:
            raise refused(str(error), "such as 4GB") from error


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
