"""A line of a table of measurements, and how contenders are brought into one: in turns, beside the first of them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measuring import Cost, Spread, ratio, spread, take_turns

# What every table of docs/performance.md shows.
COLUMNS = (
    "",
    "threads",
    "measured",
    "of the processor",
    "ratio",
    "ratio of the processor's",
    "peak MiB",
    "wanted",
)
AGAIN = "the same once more"
NOT_INSTALLED = "not installed"


@dataclass(frozen=True)
class Setting:
    """How much is measured.

    Attributes:
        threads: Threads of each contender.
        quick: Whether to take few rounds of little work, which shows that all runs and no more.
        folder: For what is written meanwhile.
        materials: Data for networks.
        rounds: How often each contender has its turn.
    """

    threads: int
    quick: bool
    folder: Path
    materials: Any = None
    rounds: int = 2

    def size(self, full: int, quick: int) -> int:
        """Return the size of a piece of work."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Limit:
    """What a line should stay within: the ratio, the seconds or the MiB.

    Attributes:
        most: The limit.
        of: Which figure: ratio, wall, cpu or peak.
        beside: Of a ratio, the contender it is to where that is not the first; without it there is no limit.
    """

    most: float
    of: str = "ratio"
    beside: str = ""

    def __str__(self) -> str:
        """Return such as at most 0.75."""
        if self.of in ("wall", "cpu") and self.most < 1:
            return f"at most {self.most * 1e3:g} ms"
        unit = {"ratio": "", "wall": " s", "cpu": " s", "peak": " MiB"}[self.of]
        return f"at most {self.most:.4g}{unit}{self.beside and f' of {self.beside}'}"


@dataclass(frozen=True)
class Line:
    """A contender and what it took.

    Attributes:
        what: Its name.
        threads: Its threads.
        wall: Seconds on the clock; None where it is not installed.
        cpu: Seconds of the processor.
        ratio: Of its seconds to those of the first in its group, round by round; None for the first itself.
        cpu_ratio: The same of the processor's.
        peak: Largest memory of its process in MiB; 0 where it was not counted.
        wanted: The limit it should stay within; empty without one.
        holds: Whether it does.
        count: How many the work was, where a rate is shown rather than seconds; 0 otherwise.
        unit: Of `count`.
        contender: Its name without the place on a curve.
        series: What grows along the curve it belongs to; empty where there is none.
        at: Where on that curve.
    """

    what: str
    threads: int
    wall: Spread | None = None
    cpu: Spread | None = None
    ratio: Spread | None = None
    cpu_ratio: Spread | None = None
    peak: float = 0.0
    wanted: str = ""
    holds: bool | None = None
    count: float = 0.0
    unit: str = ""
    contender: str = ""
    series: str = ""
    at: float = 0.0

    def cells(self) -> list[str]:
        """Return what the table shows, in the order of `COLUMNS`."""
        judged = {None: self.wanted, True: f"{self.wanted}: yes", False: f"**{self.wanted}: no**"}
        return [
            self.what,
            str(self.threads),
            NOT_INSTALLED if self.wall is None else self._amount(self.wall),
            "" if self.cpu is None else self._amount(self.cpu),
            "" if self.ratio is None else str(self.ratio),
            "" if self.cpu_ratio is None else f"{self.cpu_ratio.median:.2f}",
            f"{self.peak:,.0f}" if self.peak else "",
            judged[self.holds],
        ]

    def _amount(self, seconds: Spread) -> str:
        if self.count:
            return f"{self.count / seconds.median:,.0f} {self.unit}/s"
        value, unit = (seconds.median, "s") if seconds.median >= 1 else (seconds.median * 1e3, "ms")
        return f"{value:,.{2 if value < 100 else 0}f} {unit}"


def from_plain(plain: Mapping[str, Any]) -> Line:
    """Return the line whose fields JSON has kept."""
    spreads = {key: value and Spread(**value) for key, value in plain.items() if key in _SPREADS}
    return Line(**{**plain, **spreads})


_SPREADS = ("wall", "cpu", "ratio", "cpu_ratio")


@dataclass(frozen=True)
class Group:
    """Contenders that do the same work.

    Attributes:
        cases: What to call, by name; the first is the one others are compared with. None: it is not installed.
        limits: What a line should stay within, by name.
        count: How many items the work was, for a rate; 0: seconds are shown.
        unit: Of `count`.
        series: What grows along the curves that the lines belong to, if they do.
        at: Where on it.
        warm: Rounds in front that are not kept.
        noise: Whether the first has a second turn in each round, which shows how noisy the machine is.
    """

    cases: Mapping[str, Callable[[], Cost] | None]
    limits: Mapping[str, Limit | tuple[Limit, ...]] = field(default_factory=dict)
    count: float = 0.0
    unit: str = ""
    series: str = ""
    at: float = 0.0
    warm: int = 0
    noise: bool = True

    def measure(self, setting: Setting) -> Iterator[Line]:
        """Yield a line for each contender, those that are not installed last."""
        present = {name: case for name, case in self.cases.items() if case is not None}
        first = next(iter(present))
        if self.noise:
            present = {first: present[first], AGAIN: present[first], **present}
        found = take_turns(present, setting.rounds, self.warm)
        for name, costs in found.items():
            yield self._line(name, setting, costs, found if name != first else {})
        for name in self.cases:
            if name not in found:
                yield Line(self._label(name), setting.threads)

    def _label(self, name: str) -> str:
        return f"{name}, {self.series} {self.at:,.10g}" if self.series else name

    def _line(self, name: str, setting: Setting, costs: list[Cost], others: Mapping[str, list[Cost]]) -> Line:
        """Return a contender's line; `others` has the first of the group first, and is empty for that one itself."""
        walls, cpus = [cost.wall for cost in costs], [cost.cpu for cost in costs]
        beside = {other: ratio(walls, [cost.wall for cost in them]) for other, them in others.items()}
        ratios = next(iter(beside.values()), None)
        first = next(iter(others.values()), None)
        cpu_ratios = None if first is None else ratio(cpus, [cost.cpu for cost in first])
        peak = max(cost.peak for cost in costs)
        given = self.limits.get(name, ())
        limits = given if isinstance(given, tuple) else (given,)
        limits = tuple(one for one in limits if not one.beside or one.beside in beside)
        figures = {"ratio": ratios, "wall": spread(walls), "cpu": spread(cpus), "peak": spread([peak])}
        found = [(beside[one.beside] if one.beside else figures[one.of], one.most) for one in limits]
        holds = all(figure.median <= most for figure, most in found) if limits else None
        return Line(
            self._label(name),
            setting.threads,
            spread(walls),
            spread(cpus),
            ratios,
            cpu_ratios,
            peak,
            ", ".join(map(str, limits)),
            holds,
            self.count,
            self.unit,
            name,
            self.series,
            self.at,
        )
