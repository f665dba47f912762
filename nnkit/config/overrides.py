"""What was typed after the verb: parsed with Hydra's grammar, or kept as text where that cannot read it."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from nnkit.config import catalog
from nnkit.config.natural import Natural, UnreadableValue, quote, read_natural
from nnkit.errors import Problem
from nnkit.suggest import in_shell

# Keys whose value is a text whatever it looks like: `name=2024` names a directory.
TEXT_KEYS = frozenset({"name", "output_dir", "init_from", "monitor"})

_ASSIGNMENT = re.compile(
    r"(?P<sign>\+\+?|~)?(?P<key>[A-Za-z_]\w*(?:[./]\w+)*)(?P<equals>=)?(?P<value>.*)", re.DOTALL
)
COMMAND_LINE = "command line"


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
    number = not isinstance(parsed.value(), str | None) and not parsed.is_sweep_override()
    if assignment is None or not (number and parsed.key_or_group in TEXT_KEYS):
        return parsed
    return parser.parse_override(line[: assignment.start("value")] + quote(assignment["value"]))


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
