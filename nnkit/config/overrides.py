"""What was typed after the verb: parsed with Hydra's grammar, after words that it cannot read have been quoted."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException

from nnkit.config import catalog
from nnkit.config.places import COMMAND_LINE
from nnkit.errors import Problem
from nnkit.suggest import in_shell

# Keys whose values are texts whatever they look like: `name=2024` names a directory, `data.target=2020_01` a column.
TEXT_KEYS = frozenset(
    {
        *("name", "output_dir", "init_from", "monitor"),
        *("data.path", "data.train_path", "data.val_path", "data.test_path", "data.inputs"),
        *("data.target", "data.text", "data.split_column", "data.group", "data.time", "data.id"),
        *("data.drop", "data.categorical", "data.missing", "data.delimiter", "data.date_format"),
        *("data.columns", "data.target_columns"),
    }
)

_ASSIGNMENT = re.compile(
    r"(?P<sign>\+\+?|~)?(?P<key>[A-Za-z_]\w*(?:[./]\w+)*)(?P<equals>=)?(?P<value>.*)", re.DOTALL
)


@dataclass(frozen=True)
class Words:
    """The arguments of a command, sorted out.

    Attributes:
        overrides: Those that can be read, in order.
        problems: One for each that cannot.
    """

    overrides: tuple[Override, ...]
    problems: tuple[Problem, ...]


def parse(lines: Sequence[str], sweep: bool = False) -> Words:
    """Parse overrides such as ``optimizer.lr=1e-3``, each by itself so that every mistake is found.

    Args:
        lines: Arguments as typed.
        sweep: Whether one may hold several values.
    """
    parser = OverridesParser.create()
    overrides: list[Override] = []
    problems: list[Problem] = []
    for line in lines:
        parsed = _parse_line(parser, line)
        if isinstance(parsed, Problem):
            problems.append(parsed)
        elif parsed.is_sweep_override() and not sweep:
            problems.append(_several_values(parsed, line))
        else:
            overrides.append(parsed)
    return Words(tuple(overrides), tuple(problems))


def _parse_line(parser: OverridesParser, line: str) -> Override | Problem:
    assignment = _ASSIGNMENT.fullmatch(line)
    try:
        parsed = parser.parse_override(line)
    except HydraException:
        return _parse_natural(parser, line)
    if assignment is None or parsed.is_sweep_override():
        return parsed
    text = assignment["value"]
    if text.isspace():
        text = quote(text)
    elif parsed.key_or_group in TEXT_KEYS:
        text = _as_texts(parser, text)
    return (
        parsed
        if text == assignment["value"]
        else parser.parse_override(line[: assignment.start("value")] + text)
    )


def _as_texts(parser: OverridesParser, typed: str) -> str:
    """Return a value, or a list of values, with each in quotes that Hydra takes for a number or a truth value."""
    value = parser.parse_override(f"key={typed}").value()
    if isinstance(value, list):
        return f"[{','.join(_as_texts(parser, part) for part in _split(typed.strip()[1:-1], ',') if part.strip())}]"
    return typed if isinstance(value, str | dict | None) else quote(typed.strip())


def _parse_natural(parser: OverridesParser, line: str) -> Override | Problem:
    """Parse a line that Hydra's grammar refuses: words of any language, and paths with spaces or accents."""
    found = _ASSIGNMENT.fullmatch(line)
    if found is None or not (found["equals"] or (found["sign"] == "~" and not found["value"])):
        return _not_an_assignment(line)
    key, value = found["key"], found["value"]
    # It may be the key that Hydra cannot read: whether there is such a key is for the config to say.
    head = f"{found['sign'] or ''}key{found['equals'] or ''}"
    try:
        natural = read_natural(value)
        parsed = parser.parse_override(head + natural.text)
        if key in TEXT_KEYS and not parsed.is_sweep_override():
            natural.text = _as_texts(parser, natural.text)
            parsed = parser.parse_override(head + natural.text)
    except (HydraException, UnreadableValue):
        # What opens a list, a mapping or a quote was meant as one: as text it would only fail later.
        if value.lstrip()[:1] in {"[", "{", "'", '"'}:
            return _half_open(key, value)
        natural = Natural(quote(value))
        parsed = parser.parse_override(head + natural.text)
    line = line if natural.keys else line[: found.start("value")] + natural.text
    return replace(parsed, key_or_group=key, _value=natural.restore(parsed._value), input_line=line)


def _half_open(key: str, value: str) -> Problem:
    hint = f"if it is a text, quote it twice: {_as_text(key, value)}"
    if value.lstrip().startswith("[") and value.count("[") == value.count("]") + 1:
        hint = f"a list: {in_shell(f'{key}={value}]')}; {hint}"
    return Problem(key, f"cannot read {value}", hint, COMMAND_LINE)


def _as_text(key: str, value: str) -> str:
    """Return what to type in a shell where a value is a text whatever it looks like."""
    inside = re.sub(r'(\\*)"', r'\1\1\\"', value)
    return shlex.quote(f'{key}="{inside}"')


def _not_an_assignment(line: str) -> Problem:
    if line.startswith("-"):
        return Problem("", f"{line} is no option of this command", "nnkit train --help lists them")
    return Problem("", f"{line!r} is not of the form key=value", "such as optimizer.lr=1e-3", COMMAND_LINE)


def _several_values(override: Override, line: str) -> Problem:
    key, value = override.key_or_group, line.partition("=")[2]
    hint = f"one run for each: nnkit train -m {in_shell(f'{key}={value}')}"
    if key not in catalog.groups() or key in catalog.lists():
        hint += f"; one list: {in_shell(f'{key}=[{value}]')}"
    if key not in catalog.groups():
        hint += f"; one text: {_as_text(key, value)}"
    return Problem(key, f"{value} is several values, and this is a single run", hint, COMMAND_LINE)


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
