"""The space of a sweep: which words have several values, and the trials of a grid of them."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from nnkit.config import catalog
from nnkit.config.overrides import COMMAND_LINE, parse
from nnkit.errors import ConfigError, Problem
from nnkit.sweep.trials import SEED, Trial

# File systems allow 255 bytes a name; temporary files and logs add a few.
_LONGEST_NAME = 160
# Of a setting that has a number as well.
_LONGEST_SETTING = 40
_UNNAMED = re.compile(r"[^\w.,=+@-]+")
_LOG_TAG = "log"
# Each is composed before the first trial: this many take minutes.
_MOST_VALUES = 10_000


# What Hydra cannot read stays a text, and one such as log(1e-4,1e-1) was meant as a set of values.
_FUNCTION = re.compile(
    r"(?:choice|range|interval|tag|shuffle|sort|glob|int|float|log|loguniform|uniform)\(.*", re.DOTALL
)
_SETS = "there is 1,2,3 and range(1,9,2) and interval(0,1) and tag(log,interval(1e-4,1e-1)) and int(interval(1,9))"


@dataclass(frozen=True)
class Axis:
    """One key that trials differ in.

    Attributes:
        key: What stands in front of its values, with ``+`` where it was typed: "optimizer.lr".
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


@dataclass(frozen=True)
class Space:
    """The words of a sweep, sorted out.

    Attributes:
        fixed: Those with one value.
        axes: Those with several, in the order in which they were typed.
    """

    fixed: tuple[str, ...]
    axes: tuple[Axis, ...]

    @property
    def has_interval(self) -> bool:
        """Return whether there is an axis that no grid can run through."""
        return any(axis.choices is None for axis in self.axes)


def read_space(words: Sequence[str]) -> Space:
    """Sort out the words of a sweep.

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
    problems += _twice(parsed.overrides)
    if problems:
        raise ConfigError(problems)
    return Space(tuple(fixed), tuple(axes))


def _twice(overrides: Sequence[Override]) -> list[Problem]:
    """Return what is wrong with keys of several values that more than one word speaks of."""
    several = {one.key_or_group for one in overrides if one.is_sweep_override()}
    words = {key: [one.input_line for one in overrides if one.key_or_group == key] for key in sorted(several)}
    return [
        Problem(
            key,
            f"{' and '.join(map(str, found))} contradict each other",
            "one word for each key",
            COMMAND_LINE,
        )
        for key, found in words.items()
        if len(found) > 1
    ]


def _axis(override: Override) -> Axis:
    word = override.input_line or ""
    key, value = word.partition("=")[0], override.value()
    given = word.partition("=")[2]
    if isinstance(value, IntervalSweep):
        return _interval(key, word, value)
    if isinstance(value, Glob):
        raise ValueError("a pattern fits no options here: list them, separated by commas")
    if not isinstance(value, ChoiceSweep | RangeSweep):
        raise ValueError(f"{given} is no set of values")
    if value.tags:
        raise ValueError(f"a tag belongs to an interval, not to {given}: tag(log,interval(1e-4,1e-1))")
    choices = _choices(override, given)
    if isinstance(value, RangeSweep) and not value.shuffle and key.lstrip("+") != SEED:
        step = abs(float(value.step))
        numbers = [float(choice) for choice in choices]
        whole = all(number == int(number) for number in (*numbers, step))
        return Axis(key, word, choices, min(numbers), max(numbers), integer=whole, step=step)
    return Axis(key, word, choices)


def _choices(override: Override, given: str) -> tuple[str, ...]:
    """Return the values of a list or a range as texts."""
    try:
        texts = tuple(
            str(one) for one in itertools.islice(override.sweep_string_iterator(), _MOST_VALUES + 1)
        )
    except (HydraException, ValueError) as error:
        raise ValueError(f"{given}: {str(error).splitlines()[0]}") from error
    if not texts:
        raise ValueError(f"{given} holds no value")
    if len(texts) > _MOST_VALUES:
        raise ValueError(f"{given} is more than {_MOST_VALUES:,} values; an interval(...) can be searched")
    twice = [text for text, count in Counter(texts).items() if count > 1]
    if twice:
        raise ValueError(f"{given} lists {' and '.join(twice)} more than once, and each value is tried once")
    return texts


def _interval(key: str, word: str, value: IntervalSweep) -> Axis:
    low, high = value.start, value.end
    name = key.lstrip("+")
    if name in catalog.groups():
        raise ValueError(f"an interval holds numbers, and here a file is chosen: list some, as in {name}=A,B")
    if name == SEED:
        raise ValueError("each setting is run with every seed: list them, as in seed=1,2,3")
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


def grid(axes: Sequence[Axis]) -> Iterator[Trial]:
    """Yield the trials of a grid, the last axis running fastest.

    Args:
        axes: Each with choices.
    """
    texts = [[f"{axis.key}={choice}" for choice in axis.choices or ()] for axis in axes]
    for words in itertools.product(*texts):
        yield Trial(trial_name(words), tuple(words))


def trial_name(words: Sequence[str]) -> str:
    """Return the name of the directory of a grid's trial: its words."""
    whole = ",".join(words)
    plain = _UNNAMED.sub("_", whole)
    # Other signs and long values are told apart by a hash.
    if plain != whole or len(plain.encode()) > _LONGEST_NAME:
        mark = hashlib.sha256(whole.encode()).hexdigest()[:8]
        plain = f"{plain.encode()[: _LONGEST_NAME - 12].decode(errors='ignore')}~{mark}"
    return plain or "trial"


def numbered_name(words: Sequence[str], number: int, before: Iterable[Trial] = ()) -> str:
    """Return the name of the directory of a trial whose setting is drawn: ``0007,lr=0.003162,dim=64,seed=1``.

    Number and seed tell trials apart; the rest is cut to a few letters.

    Args:
        words: What the trial sets.
        number: The setting's.
        before: Trials that have names already, which they keep.
    """
    head = f"{number:04}"
    for trial in before:
        if trial.words == tuple(words) and trial.name.partition(",")[0] == head:
            return trial.name
    pairs = [word.lstrip("+").partition("=") for word in words]
    last = [key.rpartition(".")[2] for key, _, _ in pairs]
    parts = [
        (key, f"{key if last.count(name) > 1 else name}={value}")
        for (key, _, value), name in zip(pairs, last, strict=True)
    ]
    setting = _cut(",".join(part for key, part in parts if key != SEED))
    return ",".join(
        [head, *([setting] if setting else []), *(_cut(part) for key, part in parts if key == SEED)]
    )


def _cut(text: str) -> str:
    plain = _UNNAMED.sub("_", re.sub(r"['\"\[\] ]", "", text))
    return plain if len(plain) <= _LONGEST_SETTING else f"{plain[: _LONGEST_SETTING - 1]}~"


def seeds_apart(axes: Sequence[Axis]) -> tuple[tuple[Axis, ...], Axis | None]:
    """Return the axes without that of the seed, and that of the seed."""
    others = tuple(axis for axis in axes if axis.key != SEED)
    return others, next((axis for axis in axes if axis.key == SEED), None)
