"""Which parameters keep the values that they begin with."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from nnkit.errors import ConfigError, Problem
from nnkit.suggest import closest, some_of

_LISTED = 12


def freeze(network: nn.Module, patterns: Sequence[str]) -> None:
    """Take parameters out of training.

    Args:
        network: Freshly built; changed in place.
        patterns: Names of parameters, or of the parts of the network that hold them, such as "embed" and
            "body.layers.0"; * stands for anything, ? for one character.

    Raises:
        ConfigError: If one of them names nothing, or nothing is left to train.
    """
    parameters = dict(network.named_parameters())
    named = {pattern: [name for name in parameters if _names(pattern, name)] for pattern in patterns}
    problems = [
        Problem("freeze", f"{pattern!r} names no parameter", _answer(pattern, list(parameters)))
        for pattern, found in named.items()
        if not found
    ]
    frozen = {name for found in named.values() for name in found}
    if not problems and len(frozen) == len(parameters):
        text = f"all {len(parameters)} parameters are frozen: nothing is left to train"
        problems.append(Problem("freeze", text, "leave out what is to be trained, such as the head"))
    if problems:
        raise ConfigError(problems)
    for name in frozen:
        parameters[name].requires_grad_(False)


def _names(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def _answer(pattern: str, names: Sequence[str]) -> str:
    parts = list(dict.fromkeys(part for name in names for part in _parts(name)))
    near = closest(pattern, parts)
    if near:
        return f"did you mean {near[0]}?"
    # The shallow ones first, as most of what is frozen is a whole part.
    parts.sort(key=lambda part: part.count("."))
    return f"there is: {some_of(parts, _LISTED)}"


def _parts(name: str) -> list[str]:
    steps = name.split(".")
    return [".".join(steps[:count]) for count in range(1, len(steps) + 1)]
