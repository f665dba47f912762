"""What a search does with its study: draw a setting, add it, and tell how it ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from nnkit.sweep.definition import Sweeper
from nnkit.sweep.trials import DONE, PRUNED, Outcome, Trial

# What the study says of a trial beyond Optuna's own: where it was ended early, why it failed, what it repeats.
STOPPED_AT, WHY, REPEATS = "stopped_at", "why", "repeats"

# Digits of a drawn number, and steps that an interval has at least.
_DIGITS, _STEPS = 4, 1000

Direction = Literal["minimize", "maximize"]


@dataclass
class Setting:
    """One setting of a search.

    Attributes:
        number: Its number in the study.
        runs: Its trials, one for each seed.
        told_as: The number under which the study is told; another one where a failed setting is tried again, as
            Optuna never opens again what has failed.
        outcomes: How its trials have ended, by name.
    """

    number: int
    runs: tuple[Trial, ...]
    told_as: int
    outcomes: dict[str, Outcome]

    @property
    def has_ended(self) -> bool:
        """Return whether none of its trials is left to run."""
        done = [outcome.state == DONE for outcome in self.outcomes.values()]
        return not all(done) or len(done) == len(self.runs)

    @property
    def following(self) -> Trial | None:
        """Return the trial that comes next; None if there is none."""
        return None if self.has_ended else self.runs[len(self.outcomes)]


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
    return {name: shorten(value, distributions[name]) for name, value in drawn.items()}


def shorten(value: Any, distribution: BaseDistribution) -> Any:
    """Return a drawn number with the few digits that it is shown, named and trained with.

    Four digits tell settings apart that train differently; a narrow interval keeps as many as make 1,000 steps of it.
    """
    if not isinstance(distribution, FloatDistribution) or distribution.step is not None or not value:
        return value
    width = distribution.high - distribution.low
    places = _DIGITS - 1 - math.floor(math.log10(abs(value)))
    places = max(places, math.ceil(math.log10(_STEPS / width))) if width else places
    return min(max(round(value, places), distribution.low), distribution.high)


def add(study: optuna.Study, new: FrozenTrial, number: int) -> FrozenTrial:
    """Add a trial that is to have a number, unless an attempt that failed has added it all the same."""
    if len(study.get_trials(deepcopy=False)) == number:
        study.add_trial(new)
    return study.get_trials(deepcopy=False)[number]


def verdict(setting: Setting, monitor: str) -> tuple[TrialState, float | None, str]:
    """Return how a setting ended whose trials are through, its value, and why it has none."""
    for name, outcome in setting.outcomes.items():
        if outcome.state == PRUNED:
            return TrialState.PRUNED, None, ""
        if outcome.state != DONE:
            return TrialState.FAIL, None, f"{name}: {outcome.state}: {outcome.reason}"
        if monitor not in outcome.metrics:
            return TrialState.FAIL, None, f"{name} ended without {monitor}"
        if not math.isfinite(outcome.metrics[monitor]):
            return TrialState.FAIL, None, f"{name} ended with {monitor} = {outcome.metrics[monitor]}"
    values = [outcome.metrics[monitor] for outcome in setting.outcomes.values()]
    return TrialState.COMPLETE, math.fsum(values) / len(values), ""


def tell(study: optuna.Study, number: int, state: TrialState, value: float | None, why: str) -> None:
    """Tell how a trial ended, unless the study knows.

    Args:
        study: The study.
        number: The trial's.
        state: How it ended.
        value: What it reached; None unless it is complete.
        why: Why it has no value; empty where that is plain.
    """
    frozen = study.get_trials(deepcopy=False)[number]
    if frozen.state.is_finished():
        return
    if why:
        optuna.trial.Trial(study, frozen._trial_id).set_user_attr(WHY, why)
    study.tell(number, value, state=state)
