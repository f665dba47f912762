"""'Did you mean': the nearest of the words that would have been right."""

from collections.abc import Iterable, Sequence
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
    near = get_close_matches(word.lower(), list(by_lower), n=limit, cutoff=0.6)
    # An abbreviation (`acc` for accuracy) is too unlike the whole word for a ratio of common letters.
    if not near and len(word) >= 3:
        near = [lower for lower in by_lower if lower.startswith(word.lower())][:limit]
    return [by_lower[lower] for lower in near]


def did_you_mean(word: str, candidates: Sequence[str], pattern: str = "{}") -> str:
    """Return "did you mean X?", or the list of what exists where nothing is near.

    Args:
        word: What was typed.
        candidates: What would have been accepted.
        pattern: How a candidate is typed, ``model={}`` for instance.
    """
    near = closest(word, candidates)
    if near:
        return f"did you mean {pattern.format(near[0])}?"
    return f"there is: {', '.join(candidates)}" if candidates else ""
