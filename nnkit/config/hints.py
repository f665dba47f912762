"""Type hints in a user's words; torch is not imported."""

import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union

_SIMPLE: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "null",
    None: "null",
    Path: "a path",
    dict: "a mapping",
    list: "a list",
    tuple: "a list",
}
_TENSOR = "a list of numbers"
_PLURALS = {"a whole number": "whole numbers", "a number": "numbers", "text": "texts"}


def is_tensor(hint: Any) -> bool:
    """Return whether a hint is torch's Tensor, or what stands for it where torch is not imported."""
    return isinstance(hint, type) and (hint.__module__, hint.__name__) == ("torch", "Tensor")


def is_union(hint: Any) -> bool:
    """Return whether a hint has several members."""
    return typing.get_origin(hint) is Union or isinstance(hint, types.UnionType)


def can_judge(hint: Any) -> bool:
    """Return whether plain YAML can hold a value of a hint."""
    return hint in _SIMPLE or is_tensor(hint) or typing.get_origin(hint) is not None or is_union(hint)


def merge_literals(hints: tuple[Any, ...]) -> list[Any]:
    """Return the members of a union with all its literals as one, in the order of their first."""
    choices: list[Any] = []
    others: list[Any] = []
    for hint in hints:
        if typing.get_origin(hint) is Literal:
            choices += [choice for choice in typing.get_args(hint) if choice not in choices]
        else:
            others.append(hint)
    # Texts stand before numbers that only repeat them (precision: "16", 16).
    choices = [c for c in choices if isinstance(c, str) or str(c) not in choices]
    return [Literal[tuple(choices)], *others] if choices else others


def describe(hint: Any) -> str:
    """Return a hint in a user's words, such as "a whole number or null"."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return describe(args[0])
    if is_union(hint):
        parts = dict.fromkeys(describe(arg) for arg in merge_literals(args) if can_judge(arg))
        # A tensor may stand wherever torch takes a number; nobody types one.
        if float in args and any(map(is_tensor, args)):
            parts.pop(_TENSOR, None)
        return " or ".join(parts)
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in args)
    if isinstance(origin, type):
        return _describe_container(origin, args)
    return _TENSOR if is_tensor(hint) else _SIMPLE.get(hint, "a value of another type")


def _describe_container(origin: type, args: tuple[Any, ...]) -> str:
    if issubclass(origin, Mapping):
        return "a mapping"
    if issubclass(origin, tuple) and args and args[-1] is not Ellipsis:
        inner = dict.fromkeys(describe(arg) for arg in args)
        one = _PLURALS.get(next(iter(inner)), "values") if len(inner) == 1 else "values"
        return f"a list of {len(args)} {one}"
    # The arguments of a callable are a list.
    one = _PLURALS.get(describe(args[0]), "") if args and not isinstance(args[0], list) else ""
    return f"a list of {one}" if one else "a list"
