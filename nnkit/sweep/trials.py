"""What a sweep is made of: trials, what they say while they run, and how they end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

# How a trial stands. A resumed sweep leaves those of `OVER` alone; it begins `FAILED` again if that is asked for.
PLANNED, STARTED, STOPPED = "planned", "started", "stopped"
DONE, PRUNED = "done", "pruned"
RAISED, EXITED, KILLED, OUT_OF_MEMORY = "failed", "exited", "killed", "out of memory"
FAILED = frozenset({RAISED, EXITED, KILLED, OUT_OF_MEMORY})
OVER = FAILED | {DONE, PRUNED}

# Trials that differ in this key alone are one setting.
SEED = "seed"


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        name: Its directory below the sweep's.
        words: What it sets beyond the sweep's own words, such as ``("model=mlp", "seed=1")``, in Hydra's grammar.
    """

    name: str
    words: tuple[str, ...]

    @property
    def setting(self) -> tuple[str, ...]:
        """Its words without the seed."""
        return tuple(word for word in self.words if not word.startswith(f"{SEED}="))


@dataclass(frozen=True)
class Progress:
    """What a running trial says of itself.

    Attributes:
        step: Optimizer steps so far.
        epoch: Epochs begun, from 1.
        total_steps: Steps it will have done at its end; None if it does not know.
        metrics: The latest validation's, such as ``{"val/loss": 0.3}``; empty before the first.
        validated: Whether this is said at the end of a validation.
    """

    step: int
    epoch: int
    total_steps: int | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    validated: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a trial ended, or was interrupted.

    Attributes:
        state: One of the words above.
        reason: Why, in a sentence; empty for what ended well.
        metrics: What the run ended with, such as ``{"test/accuracy": 0.99, "val/loss": 0.03}``.
        step: Optimizer steps at the end; None if unknown.
    """

    state: str
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    step: int | None = None


@dataclass
class Entry:
    """What the status file says of a trial.

    Attributes:
        trial: The trial.
        outcome: Its latest state.
        started: When it was started last, ISO 8601 in UTC; empty if never.
        ended: When it ended; empty if it has not.
    """

    trial: Trial
    outcome: Outcome
    started: str = ""
    ended: str = ""


class Source(Protocol):
    """Where trials come from: a grid, or a search that learns from those that have ended."""

    def next(self) -> Trial | None:
        """Return a trial to start now; None if there is none at present."""

    def total(self) -> int | None:
        """Return how many trials there will be, those that have ended before included; None if nobody knows."""

    def report(self, trial: Trial, progress: Progress) -> bool:
        """Take in a validation of a running trial; True ends the trial early."""

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """Take in the end of a trial."""


class View(Protocol):
    """Shows a sweep while it runs."""

    def begin(self, entries: Mapping[str, Entry], total: int | None) -> None:
        """Start to show; `entries` are the trials of before, by name."""

    def started(self, trial: Trial) -> None:
        """Show that a trial runs."""

    def progress(self, trial: Trial, progress: Progress) -> None:
        """Show how far a running trial is."""

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """Show how a trial ended."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def values(trial: Trial) -> dict[str, Any]:
    """Return what a trial sets, by key, as texts: ``{"model": "mlp", "seed": "1"}``."""
    return {key.lstrip("+~"): value for key, _, value in (word.partition("=") for word in trial.words)}
