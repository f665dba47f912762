"""Values as people type them, such as ``[用户编号, prix net]``, turned into what Hydra's grammar can read."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep

_PLAIN = re.compile(r"(?:\$\{[^}]+\}|[A-Za-z0-9_/\-\\+.$%*@?|: \t])+")
_FUNCTION = re.compile(
    r"(choice|range|interval|tag|shuffle|sort|glob|int|float|str|bool|json_str|extend_list)(\s*\()(.*)(\))",
    re.DOTALL,
)
_NAMED_ARGUMENT = re.compile(r"[A-Za-z_]\w*\s*=")
_OPENING, _CLOSING = "([{", ")]}"


class UnreadableValue(ValueError):
    """A bracket or a quote has no counterpart."""


@dataclass
class Natural:
    """A value in Hydra's grammar.

    Attributes:
        text: The value, each word quoted that the grammar has no characters for.
        keys: Keys of mappings, which cannot be quoted, by what the text has in their place.
    """

    text: str = ""
    keys: dict[str, str] = field(default_factory=dict)

    def restore(self, value: Any) -> Any:
        """Return a parsed value with its own keys."""
        if isinstance(value, dict):
            return {self.keys.get(str(key), key): self.restore(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.restore(inner) for inner in value]
        if isinstance(value, ChoiceSweep):
            value.list = self.restore(value.list)
        return value


def quote(value: str) -> str:
    """Return a text in quotes that Hydra's grammar reads back as that text."""
    # A backslash counts as an escape only in front of a quote, so only such runs are doubled.
    inside = re.sub(r"(\\*)'", r"\1\1\\'", value)
    inside = re.sub(r"(\\+)$", r"\1\1", inside)
    return f"'{inside}'"


def read_natural(value: str) -> Natural:
    """Quote the words of a value that Hydra's grammar has no characters for; lists, mappings and functions stay.

    Args:
        value: What was typed behind ``=``.

    Raises:
        UnreadableValue: If a bracket or a quote has no counterpart.
    """
    natural = Natural()
    natural.text = ",".join(_element(part, natural) for part in _split(value, ","))
    return natural


def _element(typed: str, natural: Natural) -> str:
    text = typed.strip()
    first, last = text[:1], text[-1:]
    if first in ("'", '"'):
        if _closing_quote(text, 0) != len(text) - 1:
            raise UnreadableValue(text)
        return text
    if first + last in ("[]", "{}"):
        inside = text[1:-1]
        parts = list(_split(inside, ",")) if inside.strip() else []
        read = _pair if first == "{" else _element
        return first + ",".join(read(part, natural) for part in parts) + last
    if first in ("[", "{"):
        raise UnreadableValue(text)
    if (function := _FUNCTION.fullmatch(text)) is not None:
        name, opening, inside, closing = function.groups()
        return name + opening + ",".join(_argument(part, natural) for part in _split(inside, ",")) + closing
    return text if not text or _PLAIN.fullmatch(text) else quote(text)


def _argument(typed: str, natural: Natural) -> str:
    name = _NAMED_ARGUMENT.match(typed.strip())
    return typed if name is not None else _element(typed, natural)


def _pair(typed: str, natural: Natural) -> str:
    key, *values = _split(typed, ":")
    key, value = key.strip(), ":".join(values)
    if not _PLAIN.fullmatch(key):
        place = f"key_{len(natural.keys)}_of_a_mapping"
        natural.keys[place] = key.strip("'\"")
        key = place
    return f"{key}:{_element(value, natural)}"


def _split(text: str, separator: str) -> Iterator[str]:
    """Yield what stands between separators outside brackets and quotes."""
    depth, start, place, before = 0, 0, 0, ""
    while place < len(text):
        sign = text[place]
        # A quote opens a quoted text only where an element begins: `it's` is a word.
        if sign in "'\"" and before in ("", ",", ":", *_OPENING):
            place = _closing_quote(text, place)
        elif sign == "\\":
            place += 1
        elif sign in _OPENING:
            depth += 1
        elif sign in _CLOSING:
            depth -= 1
        elif sign == separator and not depth:
            yield text[start:place]
            start = place + 1
        if depth < 0:
            raise UnreadableValue(text)
        before = before if sign.isspace() else sign
        place += 1
    if depth:
        raise UnreadableValue(text)
    yield text[start:]


def _closing_quote(text: str, opening: int) -> int:
    """Return where a quote ends."""
    found = re.compile(rf"(?<!\\)(?:\\\\)*{text[opening]}").search(text, opening + 1)
    if found is None:
        raise UnreadableValue(text)
    return found.end() - 1
