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
    median = optuna.pruners.MedianPruner(n_startup_trials=5)
    if sweeper.pruner == "patient":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.pruners.PatientPruner(median, patience=sweeper.patience)
    return median


def _hyperband(trials: Sequence[FrozenTrial]) -> BasePruner:
    # The smallest budget is that of the first validation: before it there is nothing to judge by.
    first = next((min(trial.intermediate_values) for trial in trials if trial.intermediate_values), 1)
    last = max((max(trial.intermediate_values) for trial in trials if trial.intermediate_values), default=1)
    budget = max(first, 1)
    return optuna.pruners.HyperbandPruner(
        min_resource=budget, max_resource=max(PARTS, last, budget), reduction_factor=_REDUCTION
    )


def is_hopeless(value: float) -> bool:
    """Say whether a metric has left the numbers, after which no trial comes back."""
    return not math.isfinite(value)
