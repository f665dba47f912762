"""What was typed after the verb: parsed with Hydra's grammar, or kept as text where that cannot read it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from nnkit import catalog
from nnkit.errors import Problem

# Keys whose value is a text whatever it looks like: `name=2024` names a directory.
TEXT_KEYS = frozenset({"name", "output_dir", "init_from", "monitor"})

_ASSIGNMENT = re.compile(r"(?P<sign>\+\+?|~)?(?P<key>[A-Za-z_]\w*(?:[./]\w+)*)=(?P<value>.*)", re.DOTALL)
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


def quote(value: str) -> str:
    """Return a text in quotes that Hydra's grammar reads back as that text."""
    # A backslash counts as an escape only in front of a quote, so only such runs are doubled.
    inside = re.sub(r"(\\*)'", r"\1\1\\'", value)
    inside = re.sub(r"(\\+)$", r"\1\1", inside)
    return f"'{inside}'"


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
            problems.append(_several_values(parsed))
        else:
            overrides.append(parsed)
    return Words(tuple(overrides), tuple(problems))


def _parse_line(parser: OverridesParser, line: str) -> Override | Problem:
    assignment = _ASSIGNMENT.fullmatch(line)
    try:
        parsed = parser.parse_override(line)
    except HydraException:
        if assignment is None:
            return _not_an_assignment(line)
        return _assigned(parser, assignment)
    number = not isinstance(parsed.value(), str | None) and not parsed.is_sweep_override()
    if assignment is None or not (number and parsed.key_or_group in TEXT_KEYS):
        return parsed
    return _with_value(parser, assignment, quote(assignment["value"]))


def _assigned(parser: OverridesParser, assignment: re.Match[str]) -> Override | Problem:
    """Read an assignment that Hydra's grammar cannot: its keys are ASCII, and its texts hold few signs."""
    value = assignment["value"]
    try:
        return _with_value(parser, assignment, value)
    except HydraException:
        # What opens a list, a mapping or a quote was meant as one: as text it would only fail later.
        if value.lstrip()[:1] in {"[", "{", "'", '"'}:
            return _half_open(assignment["key"], value)
        return _with_value(parser, assignment, quote(value))


def _with_value(parser: OverridesParser, assignment: re.Match[str], value: str) -> Override:
    sign, key = assignment["sign"] or "", assignment["key"]
    parsed = parser.parse_override(f"{sign}key={value}")
    return replace(parsed, key_or_group=key, input_line=f"{sign}{key}={value}")


def _half_open(key: str, value: str) -> Problem:
    hint = f"""if it is a text, quote it twice: '{key}="{value}"'"""
    return Problem(key, f"cannot read {value}", hint, COMMAND_LINE)


def _not_an_assignment(line: str) -> Problem:
    if line.startswith("-"):
        return Problem("", f"{line} is no option of this command", "nnkit train --help lists them")
    return Problem("", f"{line!r} is not of the form key=value", "such as optimizer.lr=1e-3", COMMAND_LINE)


def _several_values(override: Override) -> Problem:
    key = override.key_or_group
    value = override.get_value_string()
    hint = f"one run for each: nnkit train -m {key}={value}"
    if key not in catalog.groups() or key in catalog.lists():
        hint += f"; one list: {key}=[{value}]"
    if key not in catalog.groups():
        hint += f"""; one text: '{key}="{value}"'"""
    return Problem(key, f"{value} is several values, and this is a single run", hint, COMMAND_LINE)
