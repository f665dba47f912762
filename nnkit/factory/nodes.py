"""One config node: its class, its arguments, and all that is wrong with them before anything is called."""

import inspect
import math
import re
import sys
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import nn

from nnkit.config.declared import OWN_VALUES, RESERVED
from nnkit.errors import Problem
from nnkit.factory.fence import RefusedError, refused, resolve
from nnkit.factory.typecheck import UNKNOWN, MismatchError, convert
from nnkit.suggest import hint, typed

TARGET = "_target_"


@dataclass(frozen=True)
class Node:
    """A config node whose class is known.

    Attributes:
        key: Dotted key in the config.
        group: Group it belongs to.
        target: The class.
        arguments: What the config gives it, as the hints want it; `UNKNOWN` for facts not known yet.
        is_sound: Whether no argument is wrong; those that are, are left out of `arguments`.
    """

    key: str
    group: str
    target: type
    arguments: dict[str, Any]
    is_sound: bool = True

    @property
    def complete(self) -> bool:
        """Whether every argument is known."""
        return not _holds_unknown(self.arguments)


def _holds_unknown(value: Any) -> bool:
    if isinstance(value, dict | list | tuple):
        return any(_holds_unknown(item) for item in (value.values() if isinstance(value, dict) else value))
    return value is UNKNOWN


def nodes_of(config: DictConfig) -> Iterator[tuple[str, str, Any]]:
    """Yield the key, the group and the content of every node that is built, in the order of building."""
    for group in ("data", "model", "head", "loss", "optimizer", "scheduler", "task", "trainer"):
        yield group, group, config.get(group)
        for name, child in _nested(config.get(group)) if group == "data" else ():
            yield f"data.{name}", "dataset", child
        if group == "model":
            embeds = config.model.get("embeds")
            for kind in map(str, embeds if isinstance(embeds, DictConfig) else ()):
                yield f"model.embeds.{kind}", "embeds", embeds[kind]
    if config.get("adapter") is not None:
        yield "adapter", "adapter", config.adapter
    for group in ("callbacks", "logger", "metrics"):
        for name, node in (config.get(group) or {}).items():
            yield f"{group}.{name}", group, node


def _nested(node: Any) -> Iterator[tuple[str, DictConfig]]:
    """Yield the nodes inside another one that say which class they are."""
    for name in node if isinstance(node, DictConfig) else ():
        child = node._get_node(name)
        if isinstance(child, DictConfig) and not child._is_none() and child.get(TARGET) is not None:
            yield str(name), child


def target_of(node: object, key: str, group: str) -> type | Problem:
    """Return the class a node names, or why it is refused."""
    if not isinstance(node, DictConfig):
        remedy = f"~{key} leaves it out" if "." in key else ""
        return Problem(key, f"must hold keys, not {node!r}", remedy)
    if TARGET not in node:
        return Problem(key, f"does not say which class it is ({TARGET})")
    try:
        # As text: the path itself may not be put together from other keys.
        raw: Any = node._get_node(TARGET)
        return resolve(raw._value(), group)
    except RefusedError as refusal:
        return Problem(f"{key}.{TARGET}", str(refusal), refusal.hint)


def read_node(
    node: Any, key: str, group: str, injected: Collection[str] | None, null_fact: Any = None
) -> tuple[Node | None, list[Problem]]:
    """Check one node against its class without calling anything.

    Args:
        node: Content of the node, attached to its config so that references resolve.
        key: Its dotted key.
        group: Its group.
        injected: Arguments that are added when it is built; None if any may be.
        null_fact: What replaces a reference to a null: `UNKNOWN` while the data's facts are missing.

    Returns:
        The node, None if its class is unknown or it needs an argument that is wrong or missing, and one problem for
        each mistake.

    Raises:
        OmegaConfBaseException: If a value refers to a key that does not exist.
    """
    target = target_of(node, key, group)
    if isinstance(target, Problem):
        return None, [target]
    reserved = {TARGET, *RESERVED.get(group, ()), *getattr(target, "fact_names", ())}
    inner = getattr(target, "node_names", ())
    given = {str(name): _value(node, name, null_fact) for name in node if name not in {*reserved, *inner}}
    problems = [p for name, value in given.items() for p in _special_keys(value, f"{key}.{name}", name)]
    parameters, is_open = signature(target)
    arguments, mistakes = _read_inner(node, key, inner, null_fact)
    problems += mistakes
    if group == "logger" and injected is not None:
        # A logger of the user's own may be given its place; of Lightning's, the list says what a config may give.
        injected = [name for name in injected if name not in given]
    for name, value in given.items():
        path = f"{key}.{name}"
        if problem := refused(target, group, name, value, path):
            problems.append(problem)
        elif injected is not None and name in injected:
            problems.append(Problem(path, "is given by nnkit itself, not by the config", "leave it out"))
        elif name in parameters:
            _accept(arguments, problems, path, value, parameters[name])
        elif is_open:
            arguments[name] = value
        elif not name.startswith("_"):
            known = [other for other in parameters if other not in (injected or ())]
            text = f"{target.__name__} takes no such argument"
            problems.append(Problem(path, text, hint(name, known, f"{key}.{{}}")))
    if injected is not None:
        needed = [name for name, parameter in parameters.items() if parameter.needed]
        missing = [f"{key}.{name}" for name in needed if name not in given and name not in injected]
        problems += [Problem(path, f"{target.__name__} needs it", f"+{path}=...") for path in missing]
    absent = [name for name, parameter in parameters.items() if parameter.needed and name not in arguments]
    lacking = [name for name in absent if injected is not None and name not in injected]
    return (None if lacking else Node(key, group, target, arguments, not problems)), problems


def _read_inner(
    node: DictConfig, key: str, names: Collection[str], null_fact: Any
) -> tuple[dict[str, Any], list[Problem]]:
    """Return what makes the object of each node inside another one, by its name, and what is wrong with them."""
    makers, problems = {}, []
    for name, child in _nested(node):
        if name in names:
            made, found = read_node(child, f"{key}.{name}", "dataset", (), null_fact)
            problems += found
            if made is not None:
                makers[name] = partial(made.target, **made.arguments)
    return makers, problems


def _accept(
    arguments: dict[str, Any], problems: list[Problem], path: str, value: Any, parameter: "Parameter"
) -> None:
    """Add one argument as its hint wants it, or the problem with it."""
    if value in OWN_VALUES.get(path, ()):
        return
    # NaN passes every comparison that a constructor makes, and one weight that meets it is NaN as well.
    if not _is_finite(value) and _is_finite(parameter.default):
        problems.append(Problem(path, f"must be finite, not {value!r}"))
        return
    try:
        arguments[path.rpartition(".")[2]] = convert(value, parameter.hint)
    except MismatchError as error:
        problems.append(_mismatch(path, value, str(error)))


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _value(node: DictConfig | ListConfig, name: Any, null_fact: Any) -> Any:
    """Return a value as plain data, references filled in."""
    value = node[name]
    if value is None and OmegaConf.is_interpolation(node, name):
        return null_fact
    if isinstance(value, DictConfig):
        return {key: _value(value, key, null_fact) for key in value}
    if isinstance(value, ListConfig):
        return [_value(value, number, null_fact) for number in range(len(value))]
    return value


def _special_keys(value: Any, key: str, name: str) -> Iterator[Problem]:
    """Refuse what Hydra's instantiate would obey inside a node, or a class hidden in an argument."""
    if name.startswith("_"):
        yield Problem(key, "a key that starts with an underscore is not allowed", "delete it")
    if isinstance(value, Mapping):
        for inner, child in value.items():
            yield from _special_keys(child, f"{key}.{inner}", str(inner))
    elif isinstance(value, list | tuple):
        for number, child in enumerate(value):
            yield from _special_keys(child, f"{key}.{number}", "")


def _mismatch(key: str, value: Any, expected: str) -> Problem:
    choices = expected.removeprefix("one of ").split(" or ")[0].split(", ")
    if own := OWN_VALUES.get(key, ()):
        choices, expected = [*own, *choices], f"{', '.join(own)} or {expected}"
    text = f"must be {expected}, not {value!r}"
    if isinstance(value, float) and value.is_integer() and "whole number" in expected:
        return Problem(key, text, f"{key}={int(value)}")
    if isinstance(value, bool | int | float) and expected.startswith("text"):
        return Problem(key, text, f"""quote it twice: '{key}="{value}"'""")
    if isinstance(value, str) and expected.startswith("a list"):
        # A list that was quoted as a whole is one text.
        inside = value[1:-1].split(",") if value.startswith("[") and value.endswith("]") else [value]
        return Problem(key, text, typed(key, [item.strip() for item in inside]))
    if isinstance(value, str) and len(choices) > 1:
        return Problem(key, text, hint(value, choices, f"{key}={{}}"))
    return Problem(key, text)


@dataclass(frozen=True)
class Parameter:
    """One argument of a constructor.

    Attributes:
        hint: Its type hint, Any where there is none.
        needed: Whether it has no default.
        default: What it is where it is not given; a class whose own default is infinite takes any number.
    """

    hint: Any
    needed: bool
    default: Any = None


@lru_cache(maxsize=1024)
def signature(target: type) -> tuple[Mapping[str, Parameter], bool]:
    """Return the arguments a class takes, those it passes on to its bases with ``**`` included.

    Args:
        target: The class.

    Returns:
        The arguments by name, and whether it takes any other too.
    """
    found: dict[str, Parameter] = {}
    passes_on = False
    # A class of torchmetrics whose `__new__` makes one of several others names their arguments there.
    maker = "__new__" if _is_metric(target) and "__new__" in target.__dict__ else "__init__"
    owners = [owner for owner in target.__mro__ if maker in owner.__dict__]
    first = owners[0]
    for owner in owners:
        # These take anything and then refuse it.
        if owner in (object, nn.Module, _metric()):
            break
        constructor = getattr(owner, maker)
        hints = _hints(constructor)
        passes_on = False
        for name, parameter in list(inspect.signature(constructor).parameters.items())[1:]:
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                passes_on = True
            elif parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
                # What a base needs beyond that is the affair of the class that calls it.
                needed = parameter.default is inspect.Parameter.empty and owner is first
                found.setdefault(name, Parameter(hints.get(name, Any), needed, parameter.default))
        if not passes_on:
            break
    return found, passes_on and not _is_metric(target)


def _is_metric(target: type) -> bool:
    return (metric := _metric()) is not None and issubclass(target, metric)


def _metric() -> type | None:
    """Return the class of all metrics; None where no class can be one, as torchmetrics is not imported."""
    module = sys.modules.get("torchmetrics")
    return getattr(module, "Metric", None)


def _hints(constructor: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(constructor, include_extras=True)
    except (NameError, TypeError, AttributeError):
        # Some hint names what only a type checker imports; the others still say what they say.
        return {
            name: value for name, value in constructor.__annotations__.items() if not isinstance(value, str)
        }


# What messages of torch.optim call their arguments.
_SPOKEN = {
    "learning rate": "lr",
    "beta": "betas",
    "epsilon": "eps",
    "rho": "rho",
    "Nesterov": "nesterov",
    "weight decay": "weight_decay",
    # And torch.nn's cross-entropy.
    "weight tensor": "class_weights",
}


def blame(error: Exception, key: str, arguments: Collection[str]) -> Problem:
    """Turn what a constructor raised into a problem of the argument its message names.

    Args:
        error: The exception.
        key: Dotted key of the node.
        arguments: Names of the class's arguments.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    named = {
        match.start(): name for name in arguments if (match := re.search(rf"\b{re.escape(name)}\b", text))
    }
    if not named:
        lower = text.lower()
        named = {
            lower.index(spoken.lower()): name
            for spoken, name in _SPOKEN.items()
            if spoken.lower() in lower and name in arguments
        }
    culprit = f"{key}.{named[min(named)]}" if named else key
    return Problem(culprit, text if len(text) <= 400 else f"{text[:400]}...")
