"""Cutting long text where no tokenizer notices."""

from collections.abc import Iterator


def cut_before(text: str, end: int, start: int = 0) -> int | None:
    """Return the last place in a text where it can be cut without changing the tokens on either side.

    That is before white space that follows something else: words end there, byte-level BPE never merges across it,
    and no rule for the token before looks at what comes after.

    Args:
        text: The text.
        end: Where to cut at the latest.
        start: Where to cut at the earliest, exclusive.

    Returns:
        The place, above start and at most end; None if there is none.
    """
    while end > start:
        place = max(text.rfind(" ", start + 1, end + 1), text.rfind("\n", start + 1, end + 1))
        if place < 0:
            return None
        if not text[place - 1].isspace():
            return place
        end = place - 1
    return None


def pieces(text: str, size: int) -> Iterator[str]:
    """Cut a text before white space into pieces of about `size` characters; together they are the text."""
    start = 0
    while len(text) - start > size:
        place = cut_before(text, start + size, start)
        if place is None:
            # One word, or one stretch of blanks, longer than a piece.
            place = next_cut(text, start + size)
        yield text[start:place]
        start = place
    yield text[start:]


def next_cut(text: str, start: int) -> int:
    """Return the first place after `start` where a text can be cut; its end if there is none."""
    for place in range(start + 1, len(text)):
        if text[place] in " \n" and not text[place - 1].isspace():
            return place
    return len(text)
