"""What a config key is declared as, and that in words: type, range, meaning, a value to type."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from nnkit.config import catalog
from nnkit.config.declared import LIMITS, OWN_VALUES, PLAIN, RESERVED, TAKES_TOO, Own
from nnkit.config.hints import describe, is_union, merge_literals
from nnkit.config.signatures import SourceArgument, SourceClass, sentence, source_of

TARGET = "_target_"
# A class that the documentation of an argument names as the home of its keys.
OPTIONS_OF = re.compile(r"Options of `(nnkit\.[\w.]+)` by name")
# Limits whose words name the type themselves.
_SAYS_TYPE = ("a whole", "the ", "a run", "a list", "one of", "auto", "a share", "a count")
_DEFAULT = re.compile(r"\s*(\(default: [^)]*\)|\bDefaults?( to)?:? \S+)\.?", re.IGNORECASE)
_PLACEHOLDERS: dict[Any, str] = {int: "N", float: "X", str: "TEXT", list: "[A,B]", dict: "{KEY: VALUE}"}


class Known(NamedTuple):
    """What a key is declared as.

    Attributes:
        key: The dotted key.
        hint: Its type hint.
        about: What it means, as it is documented.
        argument: What its class says of it, if it is an argument.
        note: Why it is not typed; empty if it is.
    """

    key: str
    hint: Any
    about: str = ""
    argument: SourceArgument | None = None
    note: str = ""


def at(content: Any, key: str) -> Any:
    """Return what stands at a dotted key of plain data; None where there is nothing."""
    for name in key.split("."):
        if isinstance(content, list) and name.isdigit() and int(name) < len(content):
            content = content[int(name)]
        else:
            content = content.get(name) if isinstance(content, dict) else None
    return content


def is_at(content: Any, key: str) -> bool:
    """Return whether plain data have a dotted key, be its value null."""
    name, _, rest = key.partition(".")
    if isinstance(content, list):
        return name.isdigit() and int(name) < len(content) and not rest
    return isinstance(content, dict) and name in content and (not rest or is_at(content[name], rest))


def known_of(raw: Mapping[str, Any], choices: Mapping[str, Any], key: str) -> Known:
    """Return what a key is declared as.

    Args:
        raw: A composed config as plain data, references as text.
        choices: The option of each group.
        key: A dotted key that the config has.
    """
    if key in PLAIN:
        own = PLAIN[key]
        return Known(key, own.hint, own.meaning, note="" if own.is_typed else "nnkit fills it in")
    parent, _, name = key.rpartition(".")
    group = key.split(".")[0]
    if name == TARGET:
        source = _source(raw, parent)
        option = parent.rpartition(".")[2] if group in catalog.lists() else choices.get(group)
        note = f"names the class: choose another option of {group}, or change a copy: nnkit copy {group}/{option}"
        return Known(key, str, source.about if source is not None else "", note=note)
    reserved = _reserved(group, key)
    if reserved is not None:
        note = "" if reserved.is_typed else "says what the option is"
        return Known(key, reserved.hint, reserved.meaning, note=note)
    return _argument(raw, key)


def _reserved(group: str, key: str) -> Own | None:
    depth = 2 if group in catalog.lists() else 1
    return RESERVED.get(group, {}).get(key.rpartition(".")[2]) if key.count(".") == depth else None


def _argument(raw: Mapping[str, Any], key: str) -> Known:
    """Return what the class of the nearest node above says of a key."""
    names = key.split(".")
    for length in range(len(names) - 1, 0, -1):
        source = _source(raw, ".".join(names[:length]))
        if source is None:
            continue
        name, *deeper = names[length:]
        argument = source.arguments.get(name)
        if argument is None and not deeper and not source.is_open:
            about = "A fact about the data that other keys refer to."
            return Known(key, int | None, about, note="leave it out: the data say it when they are read")
        if argument is not None and deeper:
            argument = _inner(argument, deeper[0])
        if argument is not None:
            return Known(key, argument.hint, argument.about, argument)
        break
    source = _source(raw, key)
    hint = dict if isinstance(at(raw, key), dict) else Any
    return Known(key, hint, source.about if source is not None else "")


def _inner(argument: SourceArgument, name: str) -> SourceArgument | None:
    named = OPTIONS_OF.search(argument.about)
    options = source_of(named[1]) if named else None
    return options.arguments.get(name) if options is not None else None


def _source(raw: Mapping[str, Any], key: str) -> SourceClass | None:
    node = at(raw, key)
    target = node.get(TARGET) if isinstance(node, dict) else None
    return source_of(target) if isinstance(target, str) else None


def meaning(known: Known) -> str:
    """Return what a key means: the first sentence of its documentation, without the markup of Sphinx."""
    text = re.sub(r":\w+:`~?([^`]*)`", r"\1", known.about)
    return _DEFAULT.sub("", sentence(re.sub(r"`+_?", "", text).strip()))


def takes(known: Known) -> str:
    """Return the type and the range of a key in words."""
    hint = TAKES_TOO.get(known.key, known.hint)
    kind = "anything" if hint is Any else describe(hint)
    limit = LIMITS.get(known.key, "")
    if limit.startswith(_SAYS_TYPE):
        is_optional = type(None) in typing.get_args(hint) and "null" not in limit
        return f"{limit}{' or null' if is_optional else ''}"
    if own := OWN_VALUES.get(known.key, ()):
        kind = f"{', '.join(own)}, or {kind}"
    if not limit and known.argument is not None and known.argument.range is not None:
        limit = str(known.argument.range)
    return f"{kind}; {limit}" if limit else kind


def as_typed(value: Any) -> str:
    """Return a value as it is typed behind ``=``."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(as_typed, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{as_typed(one)}" for key, one in value.items()) + "}"
    return '""' if value == "" else str(value)


def example(known: Known, value: Any, comment: str) -> str:
    """Return a value to type: another choice, the other truth value, or the present one to change.

    Args:
        known: What the key is declared as.
        value: Its present value, references as text.
        comment: What its file says of it: a choice that is named there comes first.
    """
    hint = TAKES_TOO.get(known.key, known.hint)
    members = merge_literals(typing.get_args(hint)) if is_union(hint) else [hint]
    choices = [*OWN_VALUES.get(known.key, ())]
    choices += [
        one for member in members if typing.get_origin(member) is Literal for one in typing.get_args(member)
    ]
    others = sorted((one for one in choices if one != value), key=lambda one: str(one) not in comment)
    if others:
        return as_typed(others[0])
    if isinstance(value, bool) or (value is None and bool in members):
        return as_typed(not value)
    if value is not None:
        return as_typed(value)
    kinds = [kind for member in members if isinstance(kind := typing.get_origin(member) or member, type)]
    words = [word for kind in kinds for plain, word in _PLACEHOLDERS.items() if issubclass(kind, plain)]
    return next(iter(words), "VALUE")
