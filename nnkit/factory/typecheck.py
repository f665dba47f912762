"""Config values against type hints: plain YAML data in, what the constructor wants out."""

import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from nnkit.config.hints import can_judge, describe, is_tensor, is_union


class Unknown:
    """Stands for a fact that is only known after the data are prepared; fits every hint."""

    def __repr__(self) -> str:
        return "a fact that is not known yet"


UNKNOWN = Unknown()


class MismatchError(TypeError):
    """A value that does not fit its hint; the message says what was expected."""


# No tensor and no counter holds more.
_MAX_INT = 2**63


def convert(value: Any, hint: Any) -> Any:
    """Return a plain value as its hint wants it: a list as tuple, a list of numbers as Tensor, text as Path.

    Args:
        value: None, bool, int, float, str, or lists and dicts of these.
        hint: Type hint; what cannot be judged (Any, classes that plain YAML cannot make) accepts everything.

    Raises:
        MismatchError: If it does not fit.
    """
    if isinstance(value, Unknown) or hint is Any or hint is object or isinstance(hint, str | typing.TypeVar):
        return value
    origin = typing.get_origin(hint)
    if origin is Annotated:
        return convert(value, typing.get_args(hint)[0])
    if is_union(hint):
        return _convert_union(value, hint)
    if origin is Literal:
        if value in typing.get_args(hint) and not _is_bool_for_number(value, typing.get_args(hint)):
            return value
        raise MismatchError(describe(hint))
    if origin is not None:
        return _convert_container(value, hint, origin, typing.get_args(hint))
    return _convert_simple(value, hint)


def _is_bool_for_number(value: Any, choices: tuple[Any, ...]) -> bool:
    return isinstance(value, bool) and not any(choice is value for choice in choices)


def _convert_union(value: Any, hint: Any) -> Any:
    members = typing.get_args(hint)
    # The value's own type first, so that `int | str` keeps 3 a number and `float | list` a list.
    exact = [member for member in members if member is type(value)]
    if exact:
        return value
    for member in members:
        if can_judge(member):
            try:
                return convert(value, member)
            except MismatchError:
                continue
    raise MismatchError(describe(hint))


def _convert_simple(value: Any, hint: Any) -> Any:
    if hint in (dict, list, tuple) or hint in (Mapping, Sequence, Iterable):
        return _convert_container(value, hint, hint, ())
    if is_tensor(hint):
        if not _is_numbers(value):
            raise MismatchError(describe(hint))
        from torch import float32, tensor

        return tensor(value, dtype=float32)
    checks: dict[Any, Callable[[], bool]] = {
        bool: lambda: isinstance(value, bool),
        int: lambda: isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MAX_INT,
        float: lambda: isinstance(value, int | float) and not isinstance(value, bool),
        str: lambda: isinstance(value, str),
        type(None): lambda: value is None,
        None: lambda: value is None,
        Path: lambda: isinstance(value, str),
    }
    if hint not in checks:
        return value
    if not checks[hint]():
        raise MismatchError(describe(hint))
    return Path(value) if hint is Path else value


def _is_numbers(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_is_numbers(item) for item in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _convert_container(value: Any, hint: Any, origin: Any, args: tuple[Any, ...]) -> Any:
    if not isinstance(origin, type):
        return value
    if issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise MismatchError(describe(hint))
        return {_inner(k, args, 0, hint): _inner(v, args, 1, hint) for k, v in value.items()}
    if issubclass(origin, tuple):
        return _convert_tuple(value, hint, args)
    if issubclass(list, origin):
        if not isinstance(value, list):
            raise MismatchError(describe(hint))
        return [_inner(item, args, 0, hint) for item in value]
    # A type, a callable: nothing that plain YAML could mean.
    return value


def _convert_tuple(value: Any, hint: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise MismatchError(describe(hint))
    if not args or args[-1] is Ellipsis:
        return tuple(_inner(item, args, 0, hint) for item in value)
    if len(args) != len(value):
        raise MismatchError(describe(hint))
    return tuple(_inner(item, args, number, hint) for number, item in enumerate(value))


def _inner(item: Any, args: tuple[Any, ...], number: int, hint: Any) -> Any:
    if number >= len(args):
        return item
    try:
        return convert(item, args[number])
    except MismatchError as error:
        raise MismatchError(describe(hint)) from error
