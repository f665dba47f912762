"""What Optuna does for a search: a setting is drawn from the axes, and trials that are not worth it are ended."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial

from nnkit.sweep.directory import Sweeper
from nnkit.sweep.space import Axis
from nnkit.sweep.trials import TrialReport

Direction = Literal["minimize", "maximize"]

# Trials are compared at equal parts of their whole length: with another batch size, steps differ, the parts do not.
PARTS = 1000
# No trial is ended in the first part: while the learning rate climbs, the order of trials says little. In 13 trials of
# LeNet-5 over nine epochs, the two that ended best stood ninth and tenth after the first epoch.
_WARM_UP = PARTS // 8
# The best third of each rung goes on, as in the paper of Hyperband (https://arxiv.org/abs/1603.06560).
_REDUCTION = 3
# Digits of a drawn number, and steps that an interval has at least.
_DIGITS, _STEPS = 4, 1000


def distribution(axis: Axis) -> BaseDistribution:
    """Return what is drawn along an axis."""
    if axis.choices is None:
        if axis.integer:
            return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
        return FloatDistribution(axis.low, axis.high, log=axis.log)
    if axis.step is None:
        # Sorted, as shuffle(...) returns another order each time it is read.
        return CategoricalDistribution(sorted(axis.choices))
    if axis.integer:
        return IntDistribution(int(axis.low), int(axis.high), step=int(axis.step))
    # The upper end as a decimal number: 0.1 + 0.1 + 0.1 is a little more than 0.3, and no multiple of the step.
    high = Decimal(repr(axis.low)) + (len(axis.choices) - 1) * Decimal(repr(axis.step))
    return FloatDistribution(axis.low, float(high), step=axis.step)


def drawn_text(axis: Axis, value: Any) -> str:
    """Return what was drawn as a text of Hydra's grammar, which reads it back exactly."""
    if axis.choices is None:
        return repr(int(value)) if axis.integer else repr(float(value))
    if axis.step is None:
        return str(value)
    return sorted(axis.choices, key=float)[round((float(value) - axis.low) / axis.step)]


def draw(
    history: Sequence[FrozenTrial],
    distributions: Mapping[str, BaseDistribution],
    direction: Direction,
    sweeper: Sweeper,
) -> dict[str, Any]:
    """Return the parameters of the next trial: a pure function of what it is given.

    They are drawn in memory, so that a trial enters the storage as a whole or not at all. All trials of before are
    learnt from, also with Hyperband, whose brackets Optuna would keep apart: a short search would learn from none.

    Args:
        history: All trials of before.
        distributions: The space, by parameter.
        direction: Which values are better.
        sweeper: How the space is searched.
    """
    # A generator of its own for each trial: one that ran on would be lost with its process.
    seed = int(np.random.SeedSequence((sweeper.seed, len(history))).generate_state(1)[0])
    sampler: optuna.samplers.BaseSampler = (
        optuna.samplers.RandomSampler(seed=seed)
        if sweeper.sampler == "random"
        else optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    )
    memory = optuna.create_study(sampler=sampler, direction=direction)
    memory.add_trials(history)
    drawn = memory.ask(dict(distributions)).params
    return {name: few_digits(value, distributions[name]) for name, value in drawn.items()}


def few_digits(value: Any, drawn_from: BaseDistribution) -> Any:
    """Return a drawn number with the few digits with which it is shown, named and trained.

    Four digits tell settings apart that train differently; a narrow interval keeps as many as make 1,000 steps of it.
    """
    if not isinstance(drawn_from, FloatDistribution) or drawn_from.step is not None or not value:
        return value
    width = drawn_from.high - drawn_from.low
    places = _DIGITS - 1 - math.floor(math.log10(abs(value)))
    places = max(places, math.ceil(math.log10(_STEPS / width))) if width else places
    return min(max(round(value, places), drawn_from.low), drawn_from.high)


def part_reached(report: TrialReport) -> int:
    """Return how far a trial is, in thousandths of its length; in optimizer steps where the length is unknown."""
    if not report.total_steps:
        return report.step
    return round(PARTS * report.step / report.total_steps)


def pruner(sweeper: Sweeper, trials: Sequence[FrozenTrial]) -> BasePruner | None:
    """Return what judges trials; None if each is to train to its end.

    Args:
        sweeper: How the space is searched.
        trials: Those so far, the first in front.
    """
    if sweeper.pruner is None:
        return None
    if sweeper.pruner == "hyperband":
        # The smallest budget is that of the first validation that counts, of whichever trial has come so far first.
        reached = [[step for step in trial.intermediate_values if step >= _WARM_UP] for trial in trials]
        budget = next((min(steps) for steps in reached if steps), PARTS)
        last = max((max(steps) for steps in reached if steps), default=PARTS)
        return optuna.pruners.HyperbandPruner(
            min_resource=budget, max_resource=max(PARTS, last), reduction_factor=_REDUCTION
        )
    # No trial is ended before there are five whole ones to compare it with, which is Optuna's default too.
    median = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=_WARM_UP)
    if sweeper.pruner == "patient":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.pruners.PatientPruner(median, patience=sweeper.patience)
    return median
