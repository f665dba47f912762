"""Parts of a network named by prefix or pattern."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from nnkit.errors import Problem
from nnkit.suggest import closest, some_of

_LISTED = 12


def is_named(pattern: str, name: str) -> bool:
    """Return whether a pattern names something, or a part that holds it.

    Args:
        pattern: Such as "body.layers.0"; * matches anything, ? one character.
        name: Dotted name, such as "body.layers.0.attention.out.weight".
    """
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def unknown(key: str, pattern: str, names: Iterable[str], what: str) -> Problem:
    """Return the problem with a pattern that names nothing, and what was probably meant.

    Args:
        key: Key of the config that holds it.
        pattern: The pattern.
        names: What could have been named.
        what: What these are, such as "parameter".
    """
    return Problem(key, f"{pattern!r} names no {what}", _answer(pattern, names))


def _answer(pattern: str, names: Iterable[str]) -> str:
    parts = list(dict.fromkeys(part for name in names for part in _parts(name)))
    # Behind a wildcard, as in *.quary, what was meant is one step of a name.
    last = pattern.rpartition(".")[2]
    if near := closest(pattern, parts):
        return f"did you mean {near[0]}?"
    if last != pattern and (near := closest(last, {part.rpartition(".")[2]: None for part in parts})):
        return f"did you mean {pattern.removesuffix(last)}{near[0]}?"
    # The shallow ones first, as most of what is named is a whole part.
    parts.sort(key=lambda part: part.count("."))
    return f"there is: {some_of(parts, _LISTED)}"


def _parts(name: str) -> Sequence[str]:
    steps = name.split(".")
    return [".".join(steps[:count]) for count in range(1, len(steps) + 1)]
