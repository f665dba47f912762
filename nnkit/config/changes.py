"""What of a run's config may still be changed when it is resumed, and why the rest may not."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nnkit.config import catalog
from nnkit.config.keys import apply
from nnkit.config.migration import flatten
from nnkit.config.overrides import parse
from nnkit.config.places import COMMAND_LINE
from nnkit.config.settle import fill_in
from nnkit.errors import Problem

# Keys that change where, how long or how visibly a run is trained, and no number in it.
_HARMLESS = re.compile(
    r"""logger(\..*)?
      | callbacks\.(checkpoint|progress|throughput|pictures|samples|attention|nan_guard)(\..*)?
      | trainer\.(accelerator|devices|num_nodes|strategy|log_every_n_steps|profiler|detect_anomaly|limit_test_batches)
      | data\.(root|(\w+_)?path|num_workers)
      | auto_resume | report""",
    re.VERBOSE,
)
_LENGTH = re.compile(
    r"trainer\.(max_epochs|max_steps|max_time|min_epochs|min_steps)|data\.max_epochs|callbacks\.early_stopping(\..*)?"
)
# Keys that say which run this is, or are filled in by nnkit.
_FIXED = {
    "name": "a run keeps its directory; it may be moved or copied by hand",
    "output_dir": "a run keeps its directory; it may be moved or copied by hand",
    "init_from": "the run has begun, with the weights it began with",
    "fit": "is filled in by nnkit when the data are prepared",
}
_TOTAL = "fit.total_steps"
_LONGER = (
    "train longer in a new run: nnkit train ... init_from=RUN; scheduler=constant and plateau have no length"
)


@dataclass(frozen=True)
class Change:
    """One value that differs from what a run was started with.

    Attributes:
        key: Dotted key.
        old: Its value before, None where it was not there.
        new: Its value now, None where it is deleted.
    """

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.old!r} -> {self.new!r}"

    @property
    def lengthens(self) -> bool:
        """Whether it may make a run that has ended go on."""
        return bool(_LENGTH.fullmatch(self.key))


def is_harmless(key: str) -> bool:
    """Return whether a key may differ between a run and its checkpoints."""
    return bool(_HARMLESS.fullmatch(key) or _LENGTH.fullmatch(key)) or key.split(".")[0] in _FIXED


def change(
    config: DictConfig, words: Sequence[str], allowed: Collection[str] = ()
) -> tuple[list[Change], list[Problem]]:
    """Apply the words after ``nnkit resume RUN`` to the config of the run.

    Args:
        config: The saved config; changed in place.
        words: Such as ``trainer.max_epochs=20``.
        allowed: Keys that the user lets change although the weights will differ.

    Returns:
        What has changed, and one problem for each word that is refused.
    """
    before = flat(config)
    parsed = parse(words)
    problems = list(parsed.problems)
    for override in parsed.overrides:
        key = override.key_or_group
        if key in catalog.groups():
            text = f"a run keeps its {key}"
            problems.append(
                Problem(key, text, f"a new run from its weights: nnkit train {key}=... init_from=RUN")
            )
        elif key.split(".")[0] in _FIXED:
            problems.append(Problem(key, _FIXED[key.split(".")[0]], "leave it out", COMMAND_LINE))
        elif (problem := apply(config, override)) is not None:
            problems.append(problem)
    fill_in(config)
    changes = differing(before, flat(config))
    problems += _refused(changes, config, allowed)
    unused = [key for key in allowed if not any(_is_under(one.key, key) for one in changes)]
    problems += [
        Problem("", f"--allow {key}: nothing changes there", f"give its value too: {key}=...")
        for key in unused
    ]
    return changes, problems


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return the keys of two flat configs whose values differ."""
    keys = dict.fromkeys([*old, *new])
    return [Change(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


def flat(config: DictConfig) -> dict[str, Any]:
    """Return a config as dotted keys and raw values, lists taken as values, interpolations as text."""
    return dict(flatten(OmegaConf.to_container(config, resolve=False)))


def _is_under(key: str, parent: str) -> bool:
    return key == parent or key.startswith(f"{parent}.")


def has_length(config: DictConfig) -> bool:
    """Return whether the schedule of the learning rate is laid out over a length, so that a run cannot be longer."""
    return _TOTAL in OmegaConf.to_yaml(config.scheduler)


def _refused(changes: Sequence[Change], config: DictConfig, allowed: Collection[str]) -> Iterator[Problem]:
    lengths = [one for one in changes if one.lengthens and one.key.split(".")[0] != "callbacks"]
    if lengths and has_length(config):
        for one in lengths:
            text = "the schedule of the learning rate was laid out over the length the run was started with"
            yield Problem(one.key, text, _LONGER, COMMAND_LINE)
    for one in changes:
        if not is_harmless(one.key) and not any(_is_under(one.key, key) for key in allowed):
            text = f"{one.old!r} -> {one.new!r} changes the arithmetic: the run would not be the one that was started"
            yield Problem(one.key, text, f"if that is meant: --allow {one.key}", COMMAND_LINE)
