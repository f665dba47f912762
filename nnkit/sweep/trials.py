"""What a sweep is made of: trials and their names, what they report while they run, and how they end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# The states of a trial. A resumed sweep leaves those of `OVER` alone; it begins `FAILED` again if that is asked for.
PLANNED, STARTED, STOPPED = "planned", "started", "stopped"
DONE, PRUNED = "done", "pruned"
RAISED, EXITED, KILLED, OUT_OF_MEMORY = "failed", "exited", "killed", "out of memory"
FAILED = frozenset({RAISED, EXITED, KILLED, OUT_OF_MEMORY})
OVER = FAILED | {DONE, PRUNED}

# Trials that differ in these keys alone repeat one setting: with other random numbers, with another fold as test split.
SEED = "seed"
FOLD = "data.fold"
REPEATED = (FOLD, SEED)

# File systems allow 255 bytes a name; temporary files and logs add a few.
_LONGEST_NAME = 160
# Of a setting that has a number as well.
_LONGEST_SETTING = 40
_UNNAMED = re.compile(r"[^\w.,=+@-]+")


@dataclass(frozen=True)
class Trial:
    """One run of a setting with a seed, and with a fold of the data where these vary.

    Attributes:
        name: Its directory below the sweep's.
        words: What it sets beyond the sweep's own words, such as ``("model=mlp", "seed=1")``, in Hydra's grammar.
    """

    name: str
    words: tuple[str, ...]

    @property
    def setting(self) -> tuple[str, ...]:
        """Its words without seed and fold."""
        return tuple(word for word in self.words if word.partition("=")[0] not in REPEATED)


@dataclass(frozen=True)
class TrialReport:
    """What a running trial reports.

    Attributes:
        step: Optimizer steps so far.
        epoch: Epochs begun, from 1.
        total_steps: Steps at its end; None if unknown.
        metrics: Those of the latest validation, such as ``{"val/loss": 0.3}``; empty before the first.
        validated: Whether a validation has just ended.
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
        state: One of the states above.
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
    """A trial, and its latest state by the status file."""

    trial: Trial
    outcome: Outcome


def values(trial: Trial) -> dict[str, Any]:
    """Return what a trial sets, by key, as texts: ``{"model": "mlp", "seed": "1"}``."""
    return {key.lstrip("+~"): value for key, _, value in (word.partition("=") for word in trial.words)}


def count_states(states: Iterable[str]) -> str:
    """Return how several trials stand: "done", or "2 done, 1 killed"."""
    counts = Counter(states)
    return (
        next(iter(counts)) if len(counts) == 1 else ", ".join(f"{n} {state}" for state, n in counts.items())
    )


def trial_name(words: Sequence[str]) -> str:
    """Return the name of the directory of a grid's trial: its words."""
    whole = ",".join(words)
    plain = _UNNAMED.sub("_", whole)
    # A hash tells apart what other characters or long values would make the same.
    if plain != whole or len(plain.encode()) > _LONGEST_NAME:
        # The server of a sweep starts the sooner without it.
        import hashlib

        digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
        plain = f"{plain.encode()[: _LONGEST_NAME - 12].decode(errors='ignore')}~{digest}"
    return plain or "trial"


def numbered_name(words: Sequence[str], number: int, before: Iterable[Trial] = ()) -> str:
    """Return the name of the directory of a trial whose setting is drawn: ``0007,lr=0.003162,dim=64,seed=1``.

    Number, fold and seed tell trials apart; the rest is cut to a few letters.

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
    setting = _cut(",".join(part for key, part in parts if key not in REPEATED))
    repeated = [_cut(part) for key, part in parts if key in REPEATED]
    return ",".join([head, *([setting] if setting else []), *repeated])


def _cut(text: str) -> str:
    plain = _UNNAMED.sub("_", re.sub(r"['\"\[\] ]", "", text))
    return plain if len(plain) <= _LONGEST_SETTING else f"{plain[: _LONGEST_SETTING - 1]}~"
