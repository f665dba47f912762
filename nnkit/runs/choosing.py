"""The fastest of several ways to compute one training: a few rounds of steps, medians, and when to stop."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

# Share of the expected run that may be spent on measuring.
SHARE = 0.03
# A way is taken where the rest of the run takes less than this share of the time: less is noise.
GAIN = 0.95
# Rounds that a median is taken over at least, before measuring may stop since it is clear what comes out, and at most.
_LEAST, _EARLIEST, _MOST = 3, 5, 25
# Seconds that a step takes at least.
_SHORTEST = 1e-9
# Seconds of a step below which it matters what the caches of the processor hold from the step before.
_SHORT = 0.02
# Seconds that compiling is expected to take before it has been done.
_COMPILING = 30.0


class Stepping(Protocol):
    """What computes steps of a run."""

    def gather(self, number: int) -> object:
        """Make a batch ready, which is not timed."""

    def __call__(self, way: Way, number: int) -> None:
        """Compute a step on that batch.

        Raises:
            UnusableError: If it cannot be computed so.
        """


class UnusableError(Exception):
    """A way that this network cannot be trained in; says why."""


@dataclass(frozen=True)
class Way:
    """One way to compute a step.

    Attributes:
        precision: Of Lightning, such as "bf16-mixed".
        matmul_precision: Of products of float32: "highest", "high" or "medium".
        is_compiled: Whether network and loss are compiled.
    """

    precision: str
    matmul_precision: str
    is_compiled: bool = False

    def name(self, usual: str) -> str:
        """Return what messages call it.

        Args:
            usual: The precision of products that need not be named.
        """
        parts = [self.precision]
        parts += [] if self.matmul_precision == usual else [f"matmul_precision={self.matmul_precision}"]
        return ", ".join([*parts, "compiled"] if self.is_compiled else parts)


@dataclass(frozen=True)
class Length:
    """How much of a run is left.

    Attributes:
        steps: Batches to train on; infinite where the clock alone ends it.
        limit: Seconds after which the clock ends it; infinite where it does not.
    """

    steps: float
    limit: float = math.inf

    def seconds(self, step: float) -> float:
        """Return the seconds it takes where a batch takes so many."""
        return min(self.steps * step, self.limit)


@dataclass(frozen=True)
class Figure:
    """What was measured of a way.

    Attributes:
        ratio: Median over the rounds of its step over that of the first way in the same round.
        low: Lower quartile of that.
        high: Upper quartile.
        seconds: Median of its step.
        start: Seconds of its first step beyond that, where it is compiled.
        rounds: How many rounds.
        unusable: Why it cannot be taken; empty if it can.
    """

    ratio: float = math.inf
    low: float = math.inf
    high: float = math.inf
    seconds: float = math.inf
    start: float = 0.0
    rounds: int = 0
    unusable: str = ""

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> Figure:
        """Return the figure that `asdict` made plain."""
        return cls(**{name: plain[name] for name in asdict(cls()) if name in plain})


@dataclass
class _Times:
    """The steps of one way."""

    first: float
    steps: list[float] = field(default_factory=list)

    def figure(self, base: _Times, is_compiled: bool) -> Figure:
        ratios = [one / other for one, other in zip(self.steps, base.steps, strict=False)]
        seconds = statistics.median(self.steps)
        low, _, high = (
            statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        )
        start = max(self.first - seconds, 0.0) if is_compiled else 0.0
        return Figure(statistics.median(ratios), low, high, seconds, start, len(ratios))


def is_worth_compiling(step: float, length: Length, compiling: float = _COMPILING) -> bool:
    """Return whether a run is so long that compiling may be tried.

    Args:
        step: Seconds of a step that is not compiled.
        length: What is left of the run.
        compiling: Seconds that it is expected to take.
    """
    return SHARE * length.seconds(step) > compiling


def choose(figures: Mapping[Way, Figure], length: Length) -> Way:
    """Return the way that ends the run first; an earlier one unless a later one gains more than noise.

    Args:
        figures: What was measured, the way that counts by default first.
        length: What is left of the run.
    """
    ways = [way for way, figure in figures.items() if not figure.unusable]
    best = base = ways[0]
    usual = figures[base].seconds
    steps = length.seconds(usual) / usual

    def total(way: Way) -> float:
        return figures[way].start / usual + steps * figures[way].ratio

    for way in ways[1:]:
        if figures[way].high < 1 and total(way) < GAIN * total(best):
            best = way
    return best


def measure(
    ways: Sequence[Way],
    steps: Stepping,
    length: Length,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Way, Figure]:
    """Time steps of each way in turn, for at most `SHARE` of the expected run.

    Args:
        ways: The ways, the one that counts by default first, compiled ones last.
        steps: Computes steps; each round has one batch.
        length: What is left of the run.
        clock: Seconds.

    Returns:
        A figure for each way that there was time for; empty where the run is too short to measure anything.

    Raises:
        UnusableError: If the first way cannot be taken either.
    """
    race = _Race(ways, steps, length, clock)
    if len(ways) == 1 or not race.begin():
        return {}
    race.enter()
    race.run()
    return race.figures()


class _Race:
    """Steps of several ways in turn; arguments as for `measure`."""

    def __init__(
        self, ways: Sequence[Way], steps: Stepping, length: Length, clock: Callable[[], float]
    ) -> None:
        self._ways, self._steps, self._length, self._clock = ways, steps, length, clock
        self._start = clock()
        # Seconds of a step of the first way, and those that may be spent in all.
        self._usual = self._budget = math.nan
        self._times: dict[Way, _Times] = {}
        self._unusable: dict[Way, Figure] = {}

    def _timed(self, way: Way, number: int) -> float:
        self._steps.gather(number)
        start = self._clock()
        self._steps(way, number)
        # A clock may stand still over a step, and steps are divided by each other.
        return max(self._clock() - start, _SHORTEST)

    def _spent(self) -> float:
        return self._clock() - self._start

    def begin(self) -> bool:
        """Compute the first steps, which tell how long the run takes; return whether measuring pays."""
        base = self._ways[0]
        self._times[base] = _Times(self._timed(base, 0))
        self._usual = self._timed(base, 1)
        self._budget = SHARE * self._length.seconds(self._usual)
        return self._budget >= self._needed(sum(not way.is_compiled for way in self._ways))

    def _needed(self, count: int) -> float:
        return (_LEAST * (1 + self._is_short()) + 1) * self._usual * count

    def _is_short(self) -> bool:
        return self._usual < _SHORT

    def enter(self) -> None:
        """Compute the first step of each other way that there is time for; memory is allocated there, code compiled."""
        for way in self._ways[1:]:
            left = self._budget - self._spent()
            pays = is_worth_compiling(self._usual, self._length) and left > self._needed(len(self._times) + 1)
            if way.is_compiled and not pays:
                continue
            try:
                self._times[way] = _Times(self._timed(way, 1))
            except UnusableError as error:
                self._unusable[way] = Figure(unusable=str(error))

    def run(self) -> None:
        """Compute rounds of steps until it is clear what comes out, or the time is up."""
        for number in range(_MOST):
            if len(self._times) == 1 or (number >= _LEAST and self._spent() >= self._budget):
                return
            for way in list(self._times):
                self._one(way, 2 + number)
            if number + 1 >= _EARLIEST and _is_clear(self.figures(), self._length):
                return

    def _one(self, way: Way, number: int) -> None:
        try:
            if self._is_short():
                # In a run each step of a way follows another one of it.
                self._steps.gather(number)
                self._steps(way, number)
            self._times[way].steps.append(self._timed(way, number))
        except UnusableError as error:
            if way is self._ways[0]:
                raise
            self._unusable[way] = Figure(unusable=str(error))
            del self._times[way]

    def figures(self) -> dict[Way, Figure]:
        """Return the figures so far, in the order of the ways; empty where no other way was tried."""
        base = self._times[self._ways[0]]
        if len(self._times) + len(self._unusable) == 1:
            return {}
        base.steps = base.steps or [self._usual]
        figures = {way: one.figure(base, way.is_compiled) for way, one in self._times.items()}
        figures |= self._unusable
        return {way: figures[way] for way in self._ways if way in figures}


def _is_clear(figures: Mapping[Way, Figure], length: Length) -> bool:
    """Return whether the choice stays as it is where the one chosen is as slow as it was at times, others as fast."""
    chosen = choose(figures, length)
    doubtful = {
        way: replace(figure, ratio=figure.high)
        if way == chosen
        else replace(figure, ratio=figure.low, high=figure.low)
        for way, figure in figures.items()
    }
    return choose(doubtful, length) == chosen
