"""What a sweep was asked for: written once, read by whoever resumes or compares it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Launcher:
    """How trials are run: ``hydra.launcher.*``.

    Attributes:
        n_jobs: Trials at once; None: as many as there are GPUs where trials use them, or else cores.
        memory_limit: What one trial may claim, such as "4GB"; None: as much as there is.
    """

    n_jobs: int | None = None
    memory_limit: str | None = None


@dataclass(frozen=True)
class Sweeper:
    """How a space is searched: ``hydra.sweeper.*``; a grid of values needs none of it.

    Attributes:
        n_trials: Settings to try in all, those of before a resumption included.
        timeout: Seconds after which no further trial is started; None: no limit.
        sampler: "tpe" or "random".
        pruner: "median", "hyperband", "patient", or None: every trial trains to its end.
        patience: For "patient": validations without improvement that are allowed.
        storage: Where Optuna keeps the study: any URL it takes; None: a journal in the sweep's directory.
        seed: Of the sampler.
    """

    n_trials: int | None = None
    timeout: float | None = None
    sampler: Literal["tpe", "random"] = "tpe"
    pruner: Literal["median", "hyperband", "patient"] | None = None
    patience: int = 3
    storage: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Definition:
    """What a sweep was asked for.

    Attributes:
        words: The words that all trials share, in Hydra's grammar.
        axes: The words that trials differ in, with all their values: ``("model=lenet5,mlp", "seed=1,2,3")``.
        search: Whether Optuna draws the settings; otherwise the axes are a grid.
        monitor: The metric that says which setting is better, such as "val/accuracy".
        mode: "min" or "max": which way it is better.
        num_threads: Threads of each trial, part of its arithmetic.
        launcher: How trials are run.
        sweeper: How the space is searched.
        config_dir: Directory of more option files; None: none.
        gpus: GPUs of each trial; 0: trials use none.
        hydra: The words that chose a launcher or sweeper of Hydra's ecosystem; empty for ours.
    """

    words: tuple[str, ...]
    axes: tuple[str, ...]
    search: bool
    monitor: str
    mode: str
    num_threads: int
    launcher: Launcher = field(default_factory=Launcher)
    sweeper: Sweeper = field(default_factory=Sweeper)
    config_dir: str | None = None
    gpus: int = 0
    hydra: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def from_plain(cls, content: dict[str, Any]) -> Definition:
        """Read it back.

        Raises:
            TypeError: If keys are missing or unknown.
        """
        parts = {
            **content,
            "words": tuple(content["words"]),
            "axes": tuple(content["axes"]),
            "hydra": tuple(content.get("hydra", ())),
            "launcher": Launcher(**content["launcher"]),
            "sweeper": Sweeper(**content["sweeper"]),
        }
        return cls(**parts)
