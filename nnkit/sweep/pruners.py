"""Which trials of a search are not worth going on with."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial

from nnkit.sweep.definition import Sweeper
from nnkit.sweep.trials import Progress

# Trials are compared at equal parts of their whole length: with another batch size, steps differ, the parts do not.
PARTS = 1000

# Nobody is judged in the first part: while the learning rate climbs, the order of trials says little. In 13 trials of
# LeNet-5 over nine epochs, the two that ended best stood ninth and tenth after the first epoch.
_WARM_UP = PARTS // 8

# The best third of each rung goes on, as in the paper of Hyperband (https://arxiv.org/abs/1603.06560).
_REDUCTION = 3


def place(progress: Progress) -> int:
    """Return how far a trial is, in thousandths of its length; in optimizer steps where nobody knows the length."""
    if not progress.total_steps:
        return progress.step
    return round(PARTS * progress.step / progress.total_steps)


def pruner(sweeper: Sweeper, trials: Sequence[FrozenTrial]) -> BasePruner | None:
    """Return what judges trials; None if each is to train to its end.

    Args:
        sweeper: How the space is searched.
        trials: Those so far, the first in front.
    """
    if sweeper.pruner is None:
        return None
    if sweeper.pruner == "hyperband":
        return _hyperband(trials)
    # No trial is ended before there are five whole ones to compare it with, which is Optuna's default too.
    median = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=_WARM_UP)
    if sweeper.pruner == "patient":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.pruners.PatientPruner(median, patience=sweeper.patience)
    return median


def _hyperband(trials: Sequence[FrozenTrial]) -> BasePruner:
    # The smallest budget is that of the first validation that counts, of whichever trial has come so far first.
    reached = [[step for step in trial.intermediate_values if step >= _WARM_UP] for trial in trials]
    budget = next((min(steps) for steps in reached if steps), PARTS)
    last = max((max(steps) for steps in reached if steps), default=PARTS)
    return optuna.pruners.HyperbandPruner(
        min_resource=budget, max_resource=max(PARTS, last), reduction_factor=_REDUCTION
    )


def is_hopeless(value: float) -> bool:
    """Return whether a metric has left the numbers, after which no trial comes back."""
    return not math.isfinite(value)
