"""'Did you mean': the nearest of the words that would have been right."""

from collections.abc import Iterable
from difflib import get_close_matches


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
