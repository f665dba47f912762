"""'Did you mean': the nearest of the words that would have been right."""

import re
import shlex
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from nnkit.errors import Problem

_MOST_LISTED = 20


def some_of(items: Sequence[object], most: int, joint: str = ", ") -> str:
    """Return the first of some items in one text, and how many more there are.

    Args:
        items: The items.
        most: How many are named.
        joint: What stands between two; with a line break, the rest has a line of its own.
    """
    left = len(items) - most
    shown = joint.join(map(str, items[:most]))
    if left <= 0:
        return shown
    return f"{shown}{joint if chr(10) in joint else ' '}and {left:,} more"


def closest(word: str, candidates: Iterable[str], limit: int = 1) -> list[str]:
    """Return the candidates most like a misspelt word, best first.

    Args:
        word: What was typed.
        candidates: What would have been accepted.
        limit: How many to return at most.
    """
    by_lower: dict[str, str] = {}
    for candidate in candidates:
        by_lower.setdefault(candidate.lower(), candidate)
    near = get_close_matches(word.lower(), list(by_lower), n=limit, cutoff=0.66)
    # An abbreviation (`acc` for accuracy) is too unlike the whole word for a ratio of common letters.
    if not near and len(word) >= 3:
        near = [lower for lower in by_lower if lower.startswith(word.lower())][:limit]
    return [by_lower[lower] for lower in near]


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return ", did you mean X?" to end a sentence with, or nothing where no candidate is near.

    Args:
        word: What was typed.
        candidates: What would have been accepted.
    """
    near = closest(word, candidates)
    return f", did you mean {near[0]}?" if near else ""


def hint(word: str, candidates: Iterable[str], pattern: str = "{}") -> str:
    """Return "did you mean X?", or the list of what there is where nothing is near.

    Args:
        word: What was typed.
        candidates: What would have been accepted.
        pattern: How a candidate is typed, ``model={}`` for instance.
    """
    names = list(candidates)
    near = closest(word, names)
    if near:
        return f"did you mean {pattern.format(near[0])}?"
    return f"there is: {', '.join(names)}" if names else ""


def typed(key: str, value: str | Iterable[str]) -> str:
    """Return ``key=value`` as it is typed in a shell, in quotes only where it needs them.

    Args:
        key: Such as "data.drop".
        value: A text, or the texts of a list.
    """
    text = _quoted(value) if isinstance(value, str) else f"[{','.join(map(_quoted, value))}]"
    return in_shell(f"{key}={text}")


def absent(
    key: str,
    where: str,
    name: str,
    names: Sequence[str],
    *,
    noun: str = "column",
    given: str | Sequence[str] | None = None,
) -> Problem:
    """Return the problem with the name of a column that is not there, and what to type instead.

    Args:
        key: The key that names it.
        where: What has no such column.
        name: The name.
        names: The columns that there are.
        noun: What a column is called: "column" or "key".
        given: All that the key holds; None: the name alone.
    """
    listed = f"Its {noun}s: {some_of(names, _MOST_LISTED)}"
    near = closest(name, names)
    if near:
        whole = (
            near[0]
            if given is None or isinstance(given, str)
            else [near[0] if one == name else one for one in given]
        )
        listed = f"did you mean {typed(key, whole)}? {listed}"
    return Problem(key, f"{where} has no {noun} {name!r}", listed)


def in_shell(word: str) -> str:
    """Return a word as it is typed in a shell: in quotes only where it needs them."""
    return word if re.fullmatch(r"[\w%+=:,./@\[\]-]+", word) else shlex.quote(word)


def _quoted(text: str) -> str:
    """Return a text in the quotes that tell it from several values, a list, a mapping or nothing at all."""
    is_plain = text == text.strip() and not re.search(r"[,\[\]{}()'\"$\\]", text)
    if is_plain and text.lower() not in ("", "null", "true", "false"):
        return text
    inside = re.sub(r'(\\*)"', r'\1\1\\"', text)
    return f'"{inside}"'
