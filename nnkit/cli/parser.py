"""Reads the words after a verb by what the verb declares, and explains it by the same.

argparse stops at the first mistake, knows no "did you mean" before Python 3.14 and no command line that is still being
typed, which is what TAB asks about.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from nnkit.cli.verbs import VERBS, Argument, Option, Verb
from nnkit.errors import UserError
from nnkit.suggest import did_you_mean, hint
from nnkit.ui.report import show

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.padding import Padding

# Not a negative number, and not a text that happens to begin with a dash.
_OPTION = re.compile(r"--?[^\W\d_][^\s=]*(=.*)?", re.DOTALL)
_KINDS: dict[Any, str] = {int: "a whole number", float: "a number"}
_EXAMPLES = (
    ("nnkit train", "LeNet-5 on MNIST, tested at the end"),
    ("nnkit train model=mlp data=iris seed=1", "choose options, set values"),
    ("nnkit check model=cnn data=digits", "sound? and what will it cost?"),
    ("nnkit predict last digit.png", "apply the latest run to a picture"),
    ('nnkit generate last --prompt "ROMEO:"', "let a language model write on"),
    ("nnkit list model", "what there is to choose from"),
)
_PLACES = (
    "Runs go to outputs/MODEL-DATA/TIME, or to outputs/NAME with name=NAME. A RUN on the command line is "
    "such a directory, the beginning of its name, or: last. Option files in ./conf come before nnkit's own.\n"
    "Tab completion: nnkit completion --help     One verb: nnkit VERB --help"
)


class Given(SimpleNamespace):
    """What was typed: an attribute for each argument and option of the verb, and `help`."""


class Reading(NamedTuple):
    """What the words after a verb say, right or wrong.

    Attributes:
        given: The values.
        num_plain: How many words are no options and no values of options.
        problems: A sentence for each mistake.
        waiting: The option that the last word is, if its value is still to be typed.
    """

    given: Given
    num_plain: int
    problems: list[str]
    waiting: Option | None


def module_of(verb: str) -> ModuleType:
    """Return the module of a verb, with its `VERB` and its `run`."""
    return import_module(f"nnkit.cli.verbs.{verb}")


def parse(verb: Verb, words: Sequence[str]) -> Given:
    """Return what the words after a verb say.

    Raises:
        UserError: With every mistake, unless help is asked for.
    """
    given, _, problems, _ = read(verb, words)
    if problems and not given.help:
        answer = f"{usage(verb)}     {len(problems)} mistakes" if len(problems) > 1 else usage(verb)
        raise UserError("\n".join([*problems, f"    {answer}; more: nnkit {verb.name} --help"]))
    return given


def read(verb: Verb, words: Sequence[str]) -> Reading:
    """Read the words after a verb as far as they can be read."""
    given = Given(**{one.name: one.default for one in verb.all_words})
    queue, plain = deque(words), list[str]()
    problems, waiting = list[str](), None
    while queue:
        word = queue.popleft()
        if word == "--":
            plain += queue
            break
        if not _OPTION.fullmatch(word):
            plain.append(word)
            continue
        name, equals, text = word.partition("=")
        option = find(verb, name)
        if option is None:
            problems.append(_unknown(verb, name))
            continue
        try:
            value = _value(verb, option, text if equals else None, queue)
        except ValueError as error:
            problems.append(f"{option.names[-1]} {error}")
            waiting = option if not queue and not equals and option.metavar else None
            continue
        setattr(given, option.name, [*getattr(given, option.name), value] if option.many else value)
    problems += _place(verb, given, plain)
    return Reading(given, len(plain), problems, waiting)


def find(verb: Verb, name: str) -> Option | None:
    """Return the option of a name, or of the beginning of one that no other shares."""
    options = verb.all_options
    exact = [option for option in options if name in option.names]
    if exact or not name.startswith("--"):
        return exact[0] if exact else None
    begun = [option for option in options if any(flag.startswith(name) for flag in option.names)]
    return begun[0] if len(begun) == 1 else None


def _unknown(verb: Verb, name: str) -> str:
    flags = [option.names[-1] for option in verb.all_options]
    text = f"{verb.name} has no option {name!r}{did_you_mean(name, flags) or f'; {hint(name, flags)}'}"
    if any(argument.forms for argument in verb.arguments):
        text += "\n    settings are typed without dashes: optimizer.lr=1e-3"
    return text


def _value(verb: Verb, option: Option, text: str | None, queue: deque[str]) -> Any:
    """Return the value of an option; where it is not typed with it, it is the next word of the queue."""
    if not option.metavar:
        if text is not None:
            raise ValueError("takes no value")
        return True if option.const is None else option.const
    is_there = bool(queue) and not any(queue[0].partition("=")[0] in one.names for one in verb.all_options)
    if text is None and option.const is not None and not (is_there and queue[0] in option.choices):
        return option.const
    if text is None and is_there:
        text = queue.popleft()
    if text is None or (not text and option.convert is Path):
        raise ValueError(f"needs a value: {option.names[-1]} {option.metavar}")
    return _converted(option, text)


def _converted(option: Option, text: str) -> Any:
    if option.choices and text not in option.choices:
        near = did_you_mean(text, option.choices)
        raise ValueError(f"must be one of {', '.join(option.choices)}, not {text!r}{near}")
    try:
        value = option.convert(text)
    except ValueError:
        raise ValueError(f"must be {_KINDS[option.convert]}, not {text!r}") from None
    if option.at_least is not None and value < option.at_least:
        raise ValueError(f"must be at least {option.at_least}, not {text}")
    return value


def _place(verb: Verb, given: Given, plain: Sequence[str]) -> list[str]:
    """Give each word without dashes to its argument, and return what is wrong with them."""
    left, problems = list(plain), []
    for argument in verb.arguments:
        taken = left if argument.many else left[:1]
        left = left[len(taken) :]
        if argument.many or taken:
            setattr(given, argument.name, taken if argument.many else taken[0])
        if argument.required and not taken:
            problems.append(f"{verb.name} needs {argument.metavar}: {argument.help}")
        for word in taken if argument.choices else ():
            if word not in argument.choices:
                near = did_you_mean(word, argument.choices)
                known = ", ".join(argument.choices)
                problems.append(f"{argument.metavar} must be one of {known}, not {word!r}{near}")
    return problems + [f"{verb.name} has no use for {word!r}: it is one word too many" for word in left]


def usage(verb: Verb) -> str:
    """Return how a verb is typed, in one line."""
    return " ".join(["nnkit", verb.name, *map(_placeholder, verb.arguments), "[OPTION ...]"])


def _placeholder(argument: Argument) -> str:
    several = f"{argument.metavar} ..." if argument.many else argument.metavar
    return several if argument.required else f"[{several}]"


def print_guide() -> None:
    """Print the one page that gets a user going."""
    _heading("nnkit", "trains neural networks from a config: one command, every family, exact resume.")
    _section("Try", _EXAMPLES)
    _section("Verbs", VERBS.items())
    _note(_PLACES)


def print_help(verb: Verb) -> None:
    """Print the page of one verb."""
    _heading(usage(verb), VERBS.get(verb.name, ""))
    rows = [
        row
        for argument in verb.arguments
        for row in argument.forms or ((_placeholder(argument), argument.help),)
    ]
    if rows:
        _section("Words", rows)
    for section in dict.fromkeys(option.section for option in verb.all_options):
        _section(section, [_row(option) for option in verb.all_options if option.section == section])
    if verb.examples:
        _section("Try", verb.examples)
    for note in verb.notes:
        _note(note)


def _row(option: Option) -> tuple[str, str]:
    value = f"[{option.metavar}]" if option.const is not None else option.metavar
    default = f" (default: {option.without})" if option.without not in (None, "") else ""
    return f"{', '.join(option.names)} {value}".rstrip() if option.metavar else ", ".join(option.names), (
        option.help + default
    )


def _heading(name: str, text: str) -> None:
    from rich.text import Text

    show("", _indented(Text.assemble((name, "bold cyan"), "  ", text)), "")


def _section(title: str, rows: Iterable[tuple[str, str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for left, right in rows:
        table.add_row(Text(left), Text(right))
    show(_indented(Text(title, style="bold")), _indented(table, 4), "")


def _note(text: str) -> None:
    from rich.text import Text

    show(_indented(Text(text, style="dim")), "")


def _indented(part: RenderableType, by: int = 2) -> Padding:
    from rich.padding import Padding

    return Padding(part, (0, 0, 0, by))
