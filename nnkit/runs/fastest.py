"""`trainer.precision=fastest` and `trainer.compile=auto`: measured where a run begins, then part of its config."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import torch

from nnkit import config as configs
from nnkit.callbacks.signals import Interrupted
from nnkit.distributed.group import group
from nnkit.errors import EnvironmentFault
from nnkit.files import atomic
from nnkit.files.layout import CONFIG, LOG
from nnkit.runs.choosing import Length, UnusableError, Way, choose, is_worth_compiling, measure
from nnkit.runs.compiling import cannot_compile, compile_losses, lengths_vary
from nnkit.runs.measured import Figures, KeptFigures, key_of
from nnkit.runs.optimization import FASTEST, count_steps, pick_device, resolve_precision
from nnkit.runs.run import Run, now
from nnkit.runs.session import Session
from nnkit.runs.trial_steps import TrialSteps, generators_kept
from nnkit.ui import logs, report

if TYPE_CHECKING:
    from omegaconf import DictConfig

# What `trainer.compile` says where it is to be measured.
AUTO = "auto"
_PRODUCTS = "trainer.matmul_precision"
# Seconds from one value of a clock to the next with which steps cannot be timed.
_COARSE = 5e-4

_log = logging.getLogger("nnkit")


def is_open(config: DictConfig) -> bool:
    """Return whether something of a config is to be measured before training begins."""
    return bool(config.trainer.precision == FASTEST or config.trainer.compile == AUTO)


def is_measured(key: str, config: DictConfig) -> bool:
    """Return whether measuring decides a key, so that a run's own value may differ from that of its command.

    Args:
        key: A dotted key.
        config: The config of the command.
    """
    decided = {"trainer.precision", _PRODUCTS} if config.trainer.precision == FASTEST else set()
    return key in decided | ({"trainer.compile"} if config.trainer.compile == AUTO else set())


def clock_for(config: DictConfig, *, is_compiled: bool) -> Callable[[], float]:
    """Return the clock that steps are timed with.

    On one thread of a CPU that is the time of the processor, in which other work on the machine does not count.
    Threads that wait for each other use it up as well, and compilers run in processes of their own. Windows counts it
    in ticks of milliseconds, and so may Linux where it is limited: a step may take none.
    """
    alone = pick_device(config) == "cpu" and config.trainer.num_threads == 1 and not is_compiled
    return time.process_time if alone and _is_fine(time.process_time) else time.perf_counter


def _is_fine(clock: Callable[[], float]) -> bool:
    longest = 0.0
    for _ in range(5):
        start = now = clock()
        while now == start:
            now = clock()
        longest = max(longest, now - start)
    return longest < _COARSE


def settle(session: Session, run: Run, show: bool = True) -> None:
    """Measure what is to be measured, and write what comes out into the run's config and record.

    Random generators, the order of the data and the weights stay as they are. A run that is killed meanwhile measures
    again where it is resumed.

    Args:
        session: The parts of a run that has not begun.
        run: Its directory, held by this process.
        show: Whether to print what comes out.

    Raises:
        Interrupted: If a signal has come.
    """
    config = session.config
    if not is_open(config):
        return
    with logs.to_file(run.path / LOG):
        found = _Measuring(session, run)
        try:
            lines = found.settle()
        except Interrupted as signalled:
            run.update(status="stopped", end=now(), step=0)
            where = f" before the first step; continue with: nnkit resume {report.shorten(run.path)}"
            raise Interrupted(signalled.number, signalled.saved, where) from None
        for line in lines:
            _log.info("%s", line)
            if show:
                report.console().print(line, soft_wrap=True, markup=False, highlight=False)
    torch.set_float32_matmul_precision(config.trainer.matmul_precision)
    if config.trainer.compile is True and session.task.compiled is None:
        compile_losses(config, session.task, session.data)
    run.update(precision=resolve_precision(config), fastest=found.facts())
    # After the record: a config that says what was chosen is not measured again.
    atomic.write_atomic(run.path / CONFIG, configs.to_yaml(config).encode())


class _Measuring:
    """One decision.

    Args:
        session: The parts of the run.
        run: Its directory.
    """

    def __init__(self, session: Session, run: Run) -> None:
        self._session = session
        self._config = session.config
        self._device = pick_device(session.config)
        self._usual = str(session.config.trainer.matmul_precision)
        typed = run.record().get("overrides")
        words = typed if isinstance(typed, list) else []
        self._keeps_products = any(str(word).lstrip("+").startswith(f"{_PRODUCTS}=") for word in words)
        self._asks = (self._config.trainer.precision == FASTEST, self._config.trainer.compile == AUTO)
        self._length = _length_of(session)
        processes = 1 if (found := group()) is None else found.world.size
        self._kept = KeptFigures(
            key_of(session.config, self._device, processes) | {"typed": self._keeps_products}
        )
        self._figures: Figures = {}
        self._is_new = False
        self._trouble = ""

    def settle(self) -> list[str]:
        """Fill in the config, and return what to tell the user."""
        precision, compiles = self._asks
        with self._kept.held() as can_keep:
            self._figures = self._kept.read()
            plain = self._plain()
            chosen = self._chosen(plain)
            if precision and chosen is None:
                self._measure(plain)
                chosen = self._chosen(plain)
            best = chosen or plain[0]
            reason = self._no_compiling() if compiles else ""
            if compiles and not reason:
                best, reason = self._compiled(best)
            if can_keep and self._is_new and self._figures:
                try:
                    self._kept.write(self._figures)
                except EnvironmentFault as error:
                    _log.warning("%s", error)
        configs.set_values(
            self._config.trainer, precision=best.precision, matmul_precision=best.matmul_precision
        )
        if compiles:
            configs.set_values(self._config.trainer, compile=best.is_compiled)
        return [*self._told(plain, best), *self._told_of_compiling(best, reason), *self._origin(can_keep)]

    def facts(self) -> dict[str, Any]:
        """Return what was measured as plain data, for the record of the run."""
        return {
            "measured_before": bool(self._figures) and not self._is_new,
            "figures": {
                way.name(self._usual): {
                    name: value
                    for name, value in asdict(one).items()
                    if value != "" and (not isinstance(value, float) or math.isfinite(value))
                }
                for way, one in self._figures.items()
            },
        }

    def _plain(self) -> list[Way]:
        """Return the ways that are not compiled, that of the config first."""
        usual = self._usual
        if not self._asks[0]:
            return [Way(resolve_precision(self._config), usual)]
        ways = [Way("32-true", usual)]
        if self._device == "mps":
            return ways
        if usual == "highest" and not self._keeps_products:
            ways.append(Way("32-true", "medium"))
        if self._device == "cpu" or torch.cuda.is_bf16_supported(including_emulation=False):
            ways.append(Way("bf16-mixed", usual))
        return [*ways, Way("16-mixed", usual)] if self._device == "cuda" else ways

    def _known(self, ways: list[Way]) -> Figures:
        return {way: self._figures[way] for way in ways if way in self._figures}

    def _chosen(self, ways: list[Way]) -> Way | None:
        known = self._known(ways)
        return choose(known, self._length) if len(known) == len(ways) and len(ways) > 1 else None

    def _measure(self, ways: list[Way]) -> None:
        """Measure ways and add them to the figures; where that cannot be done, the first one stays."""
        try:
            with generators_kept():
                clock = clock_for(self._config, is_compiled=ways[-1].is_compiled)
                found = measure(ways, TrialSteps(self._session), self._length, clock)
        except UnusableError as error:
            self._trouble = f"its steps cannot be measured: {error}"
            return
        finally:
            if any(way.is_compiled for way in ways):
                # So that the run compiles as one that has measured nothing.
                torch._dynamo.reset()
        self._is_new = self._is_new or bool(found)
        self._figures |= {way: one for way, one in found.items() if way not in self._figures}

    def _no_compiling(self) -> str:
        """Return why compiling is not tried; empty if it is."""
        if lengths_vary(self._config, self._session.data):
            return "batches have several lengths"
        return cannot_compile(self._config)

    def _compiled(self, plain: Way) -> tuple[Way, str]:
        """Return a way or the same compiled, and why it is not, if there was no time to try."""
        both = [plain, replace(plain, is_compiled=True)]
        known = self._known(both)
        if both[1] not in known:
            usual = known[plain].seconds if plain in known else math.nan
            # Where nothing is known yet, the first steps tell whether it is worth while.
            if math.isnan(usual) or is_worth_compiling(usual, self._length):
                self._measure(both)
            known = self._known(both)
        if both[1] not in known:
            return plain, self._trouble or "the run is too short for it to pay"
        base, other = known[plain], known[both[1]]
        if other.unusable:
            return plain, other.unusable
        return choose({plain: replace(base, ratio=1.0, low=1.0, high=1.0), both[1]: other}, self._length), ""

    def _told(self, ways: list[Way], best: Way) -> list[str]:
        if not self._asks[0]:
            return []
        start = f"trainer.precision={FASTEST}:"
        known, usual = self._known(ways), self._usual
        plain = replace(best, is_compiled=False)
        base = ways[0].name(usual)
        if len(ways) == 1:
            return [f"{start} {base}, the only one for this device"]
        if not known:
            return [f"{start} {base}, as {self._trouble or 'the run is too short to measure anything'}"]
        parts = [_in_words(way.name(usual), known, way, base) for way in ways[1:]]
        if plain == ways[0]:
            return [f"{start} {base}; {', '.join(parts)}"]
        first = f"{start} {_in_words(plain.name(usual), known, plain, base)}"
        rest = [part for way, part in zip(ways[1:], parts, strict=True) if way != plain]
        return [f"{first}; {', '.join(rest)}" if rest else first]

    def _told_of_compiling(self, best: Way, reason: str) -> list[str]:
        if not self._asks[1]:
            return []
        start = f"trainer.compile={AUTO}: {str(best.is_compiled).lower()}"
        compiled = self._figures.get(replace(best, is_compiled=True))
        if reason or compiled is None:
            return [f"{start}, as {reason}"]
        step = f"a compiled step takes {compiled.ratio:.2f} of one that is not"
        return [f"{start}; {step}, and compiling {compiled.start:.0f} s"]

    def _origin(self, can_keep: bool) -> list[str]:
        """Return where the figures are kept, and how to forget them."""
        if not self._figures:
            return []
        rounds = max(one.rounds for one in self._figures.values())
        if not self._is_new:
            return [f"    measured before on this machine; to measure again, delete {self._kept.path}"]
        kept = f"kept in {self._kept.path}" if can_keep else "not kept, as the cache cannot be written"
        return [f"    medians of {rounds} rounds, {kept}"]


def _in_words(name: str, known: Figures, way: Way, base: str) -> str:
    figure = known.get(way)
    if figure is None:
        return f"{name}: not measured"
    return f"{name}: {figure.unusable}" if figure.unusable else f"{name}: {figure.ratio:.2f} of {base}"


def _length_of(session: Session) -> Length:
    """Return the batches of a run that has not begun, and the seconds that it may take."""
    config = session.config
    loader: Any = session.data.train_dataloader()
    steps = count_steps(config, len(loader))[1] * config.trainer.accumulate_grad_batches
    return Length(steps, _seconds(config.trainer.get("max_time")))


def _seconds(limit: Any) -> float:
    """Return the seconds of a limit as Lightning takes it: DD:HH:MM:SS, or numbers of units."""
    if limit is None:
        return math.inf
    units = {"weeks": 604800, "days": 86400, "hours": 3600, "minutes": 60, "seconds": 1, "milliseconds": 1e-3}
    if isinstance(limit, str):
        parts: Mapping[str, Any] = dict(
            zip(("days", "hours", "minutes", "seconds"), map(int, limit.split(":")), strict=True)
        )
    else:
        parts = dict(limit)
    return float(sum(units.get(name, 0) * value for name, value in parts.items()))
