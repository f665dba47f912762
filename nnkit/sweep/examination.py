"""Every mistake in every trial of a sweep, found before the first one starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from nnkit import config as configs
from nnkit.errors import ConfigError, Problem
from nnkit.sweep.space import Axis, Space, grid
from nnkit.sweep.trials import Trial
from nnkit.ui.terminal import is_terminal

# From so many trials on, a line says that they are being checked.
_MANY = 20


@dataclass(frozen=True)
class Plan:
    """What all trials have in common.

    Attributes:
        monitor: The metric that is followed.
        mode: "min" or "max".
        uses_gpu: Whether trials take a GPU where there is one.
        devices: GPUs of each trial.
        output_dir: Parent of all runs.
        name: The sweep's name; None: it gets a time stamp.
        validates: Whether there is a validation part to compare settings by, as far as the config tells.
    """

    monitor: str
    mode: str
    uses_gpu: bool
    devices: int
    output_dir: str
    name: str | None
    validates: bool


def examine(space: Space, search: bool, config_dir: str | None, here: bool = True) -> Plan:
    """Compose and check every trial of a grid, or every value of a space that is searched.

    Args:
        space: The words.
        search: Whether settings are drawn from the space.
        config_dir: A directory of more option files.
        here: Whether the trials run on this machine, whose devices they then need.

    Raises:
        ConfigError: With each mistake once, however many trials share it.
        UserError: If there is no run to start from.
        EnvironmentFault: If a device is missing.
    """
    trials = list(_samples(space.axes) if search else grid(space.axes))
    found: dict[tuple[str, str, str], Problem] = {}
    plan: Plan | None = None
    with configs.loading_once(), _checking(len(trials)):
        for trial in trials:
            mistakes, one = _check([*space.fixed, *trial.words], config_dir, search, here)
            for problem in mistakes:
                found.setdefault((problem.key, problem.text, problem.where), problem)
            plan = plan or one
    if found or plan is None:
        raise ConfigError(list(found.values()))
    return plan


def _check(
    words: Sequence[str], config_dir: str | None, search: bool, here: bool
) -> tuple[list[Problem], Plan | None]:
    from nnkit.runs import preflight
    from nnkit.runs.optimization import task_of
    from nnkit.runs.transfer import source_of

    composition, problems = configs.examine(words, config_dir)
    if composition is None:
        return problems, None
    problems = [*problems, *preflight.problems(composition)]
    if problems:
        return problems, None
    config = composition.config
    validates = bool(config.data.get("val_fraction", True))
    if search and not validates:
        text = "a search compares settings by a validation part, and these data have none by themselves"
        return [Problem("data.val_fraction", text, "data.val_fraction=0.2")], None
    if here:
        preflight.check_devices(config)
    source_of(config)
    devices = config.trainer.devices
    plan = Plan(
        monitor=str(config.monitor),
        mode=task_of(config).mode(str(config.monitor)),
        uses_gpu=str(config.trainer.accelerator) in ("auto", "gpu", "cuda"),
        devices=devices if isinstance(devices, int) and devices > 0 else 1,
        output_dir=str(config.output_dir),
        name=config.name,
        validates=validates,
    )
    return [], plan


def _samples(axes: Sequence[Axis]) -> Iterable[Trial]:
    """Yield trials in which each value of each axis, and both ends of each interval, occur once."""
    ends = [_texts(axis) for axis in axes]
    firsts = [texts[0] for texts in ends]
    yield Trial("", tuple(firsts))
    for number, texts in enumerate(ends):
        for text in texts[1:]:
            yield Trial("", tuple([*firsts[:number], text, *firsts[number + 1 :]]))


def _texts(axis: Axis) -> list[str]:
    if axis.choices is not None:
        return [f"{axis.key}={choice}" for choice in axis.choices]
    ends = (int(axis.low), int(axis.high)) if axis.integer else (axis.low, axis.high)
    return [f"{axis.key}={end!r}" for end in ends]


@contextmanager
def _checking(count: int) -> Iterator[None]:
    """Show on a terminal that many settings are being checked, as that takes a while."""
    if count < _MANY or not is_terminal():
        yield
        return
    from nnkit.ui.report import console

    with console().status(f"checking {count:,} trials"):
        yield


def without(words: Sequence[str], *keys: str) -> tuple[str, ...]:
    """Return the words that set none of the keys."""
    return tuple(word for word in words if word.partition("=")[0].lstrip("+") not in keys)
