"""What a class takes, as its source has it: arguments, hints, ranges and descriptions, without an import of torch.

`nnkit.factory.nodes.signature` reads the same from the classes themselves, when a config is checked.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from nnkit.config.source import Place, evaluate, find, line_of, method

# Bases whose constructors take anything and then refuse it.
_ENDS = ("torch.nn.modules.module.Module", "torchmetrics.metric.Metric")


@dataclass(frozen=True)
class Range:
    """What a constructor admits of a number.

    Attributes:
        least: The lower end; None: there is none.
        most: The upper end.
        opens: Whether the lower end itself is refused.
        closes_before: Whether the upper end itself is refused.
        of_each: Whether it is about each number of a list.
    """

    least: float | None = None
    most: float | None = None
    opens: bool = False
    closes_before: bool = False
    of_each: bool = False

    def __str__(self) -> str:
        parts = []
        if self.least is not None:
            parts.append(f"{'above' if self.opens else 'at least'} {self.least:g}")
        if self.most is not None:
            parts.append(f"{'below' if self.closes_before else 'at most'} {self.most:g}")
        return f"{'each ' if self.of_each else ''}{' and '.join(parts)}"

    def merged(self, other: Range) -> Range:
        """Return the range that both admit, ends of this one first."""
        lower = self if self.least is not None else other
        upper = self if self.most is not None else other
        return Range(lower.least, upper.most, lower.opens, upper.closes_before, self.of_each or other.of_each)


@dataclass(frozen=True)
class SourceArgument:
    """One argument of a constructor.

    Attributes:
        hint: Its type hint, Any where there is none.
        needed: Whether it has no default.
        default: As the source has it; empty where it is needed.
        range: What the constructor admits beyond its type.
        about: What the documentation of the class says of it.
    """

    hint: Any
    needed: bool
    default: str = ""
    range: Range | None = None
    about: str = ""


@dataclass(frozen=True)
class SourceClass:
    """A class as its file has it.

    Attributes:
        path: Dotted path of the class, where it is defined.
        about: First sentence of its documentation.
        arguments: By name, in the order of the constructor.
        is_open: Whether it takes any other argument too.
        names: Tuples of texts that the class holds, such as ``fact_names``.
    """

    path: str
    about: str
    arguments: Mapping[str, SourceArgument]
    is_open: bool
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@cache
def source_of(path: str) -> SourceClass | None:
    """Return what the source says of a class; None where it cannot be found.

    Args:
        path: Dotted path, as `_target_` has it.
    """
    module, _, name = path.rpartition(".")
    place = find(module, name)
    if place is None or not isinstance(place.node, ast.ClassDef):
        return None
    line = line_of(place)
    arguments, is_open = _signature(line)
    ranges, about = _ranges(line), _documented(line)
    found = {
        key: SourceArgument(one.hint, one.needed, one.default, ranges.get(key), about.get(key, ""))
        for key, one in arguments.items()
    }
    maker = method(place, "__init__")
    # Lightning's Trainer is documented at its constructor.
    text = _docstring(place) or (ast.get_docstring(maker) if maker is not None else "") or ""
    names: dict[str, tuple[str, ...]] = {}
    for one in reversed(line):
        names |= _names(one)
    return SourceClass(f"{place.module}.{place.node.name}", sentence(text), found, is_open, names)


def _is_dataclass(place: Place) -> bool:
    assert isinstance(place.node, ast.ClassDef)
    return any("dataclass" in ast.unparse(one).split("(")[0] for one in place.node.decorator_list)


def _signature(line: list[Place]) -> tuple[dict[str, SourceArgument], bool]:
    """Return the arguments of a class, as `nnkit.factory.nodes.signature` does."""
    is_metric = any(f"{one.module}.{getattr(one.node, 'name', '')}" == _ENDS[1] for one in line)
    maker = "__new__" if is_metric and method(line[0], "__new__") is not None else "__init__"
    found: dict[str, SourceArgument] = {}
    first, passes_on = True, False
    for number, place in enumerate(line):
        if f"{place.module}.{getattr(place.node, 'name', '')}" in _ENDS:
            break
        constructor = method(place, maker)
        if constructor is None and not _is_dataclass(place):
            continue
        passes_on = False
        for name, one in _own_arguments(place, constructor, line[number:]):
            if name.startswith("**"):
                passes_on = True
            else:
                found.setdefault(name, SourceArgument(one.hint, one.needed and first, one.default))
        first = False
        if not passes_on:
            break
    return found, passes_on and not is_metric


def _own_arguments(
    place: Place, constructor: ast.FunctionDef | None, line: list[Place]
) -> Iterator[tuple[str, SourceArgument]]:
    if constructor is None:
        yield from _fields(line).items()
        return
    plain = [*constructor.args.posonlyargs, *constructor.args.args][1:]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(constructor.args.defaults))
    pairs = [*zip(plain, [*defaults, *constructor.args.defaults][-len(plain) or len(plain) :], strict=False)]
    for argument, default in [
        *pairs,
        *zip(constructor.args.kwonlyargs, constructor.args.kw_defaults, strict=True),
    ]:
        hint = Any if argument.annotation is None else evaluate(place.module, argument.annotation)
        yield (
            argument.arg,
            SourceArgument(hint, default is None, "" if default is None else ast.unparse(default)),
        )
    if constructor.args.kwarg is not None:
        yield f"**{constructor.args.kwarg.arg}", SourceArgument(Any, False)


def _fields(line: list[Place]) -> dict[str, SourceArgument]:
    """Return the fields of a dataclass, those of its bases first."""
    found: dict[str, SourceArgument] = {}
    for place in reversed(line):
        body = place.node.body if isinstance(place.node, ast.ClassDef) and _is_dataclass(place) else []
        for node in body:
            if isinstance(node, ast.AnnAssign) and "ClassVar" not in ast.unparse(node.annotation):
                default = "" if node.value is None else ast.unparse(node.value)
                hint = evaluate(place.module, node.annotation)
                found[ast.unparse(node.target)] = SourceArgument(hint, node.value is None, default)
    # Those that a subclass has decided keep their place for one that gives them back.
    return {name: one for name, one in found.items() if "init=False" not in one.default}


_MAKERS = ("__init__", "__post_init__")
_FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt,
    ast.LtE: ast.GtE,
    ast.Gt: ast.Lt,
    ast.GtE: ast.LtE,
}


def _ranges(line: list[Place]) -> dict[str, Range]:
    """Return what the constructors of a class and its bases admit of each number."""
    found: dict[str, Range] = {}
    for place in line:
        for name in _MAKERS:
            maker = method(place, name)
            for argument, one in _checks(place.module, maker) if maker is not None else ():
                found[argument] = found[argument].merged(one) if argument in found else one
    return found


def _checks(module: str, function: ast.FunctionDef) -> Iterator[tuple[str, Range]]:
    """Yield the ranges outside which a function, or one that it hands arguments to, raises ValueError."""
    for node in ast.walk(function):
        if isinstance(node, ast.If) and any(_is_refusal(one) for one in node.body):
            yield from _admitted(node.test)
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id.startswith("check_")
        ):
            place = find(module, node.func.id)
            if place is not None and isinstance(place.node, ast.FunctionDef):
                names = [one.arg for one in place.node.args.args]
                given = dict(zip(names, map(ast.unparse, node.args), strict=False))
                for argument, one in _checks(place.module, place.node):
                    if argument in given:
                        yield given[argument].removeprefix("self."), one


def _is_refusal(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Raise)
        and node.exc is not None
        and ast.unparse(node.exc).startswith("ValueError(")
    )


def _admitted(test: ast.expr, *, denied: bool = True) -> Iterator[tuple[str, Range]]:
    """Yield what a condition admits: of one under which a value is refused, unless `denied` is false.

    A part that is no comparison with a number (``x is not None``) says nothing; where one of several parts suffices,
    only a single comparison can be read.
    """
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        yield from _admitted(test.operand, denied=not denied)
    elif isinstance(test, ast.BoolOp):
        parts = [[*_admitted(one, denied=denied)] for one in test.values]
        # `a or b` refuses where either does, so that both must be admitted; of `a and b` one is enough.
        if isinstance(test.op, ast.Or) == denied or sum(map(bool, parts)) == 1:
            yield from (found for part in parts for found in part)
    elif isinstance(test, ast.Call) and ast.unparse(test.func) in ("any", "all") and test.args:
        yield from _of_each(test, denied)
    elif isinstance(test, ast.Compare):
        yield from _compared(test, denied)


def _of_each(test: ast.Call, denied: bool) -> Iterator[tuple[str, Range]]:
    inner = test.args[0]
    if isinstance(inner, ast.GeneratorExp) and len(inner.generators) == 1:
        target, values = (ast.unparse(one) for one in (inner.generators[0].target, inner.generators[0].iter))
        for name, one in _admitted(inner.elt, denied=denied):
            if name == target:
                yield values.removeprefix("self."), replace(one, of_each=True)


def _compared(test: ast.Compare, denied: bool) -> Iterator[tuple[str, Range]]:
    terms = [test.left, *test.comparators]
    if denied and len(test.ops) > 1:
        return
    for left, sign, right in zip(terms, test.ops, terms[1:], strict=False):
        number, name, kind = _number(right), _name(left), type(sign)
        if number is None:
            number, name, kind = _number(left), _name(right), _FLIPPED.get(type(sign), type(sign))
        if number is None or name is None or kind not in _FLIPPED:
            continue
        # A value below the number is refused: it must be at least that.
        is_lower = (kind in (ast.Lt, ast.LtE)) == denied
        is_open = (kind in (ast.LtE, ast.GtE)) == denied
        of_each = name.endswith("]")
        name = name.split("[")[0]
        yield (
            name,
            (
                Range(least=number, opens=is_open, of_each=of_each)
                if is_lower
                else Range(most=number, closes_before=is_open, of_each=of_each)
            ),
        )


def _number(node: ast.expr) -> float | None:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _name(node: ast.expr) -> str | None:
    text = ast.unparse(node).removeprefix("self.")
    return text if re.fullmatch(r"\w+(\[\d\])?", text) else None


# An argument in the documentation of a class: its name, in torch's also its type, and what it is.
_ENTRY = re.compile(r"^(?P<indent> +)\*{0,2}(?P<name>\w+)(?: ?\([^\n]*?\))?: ?(?P<text>.*)$")
_SECTION = re.compile(r"^(?P<indent> *)(Args|Arguments|Attributes|Parameters|Keyword Args):$")


def _documented(line: list[Place]) -> dict[str, str]:
    """Return what a class and its bases say of each argument."""
    found: dict[str, str] = {}
    for place in line:
        maker = method(place, "__init__")
        own = "" if maker is None else ast.get_docstring(maker, clean=True) or ""
        for name, text in [*_entries(_docstring(place)), *_entries(own)]:
            found.setdefault(name, text)
    return found


def _docstring(place: Place) -> str:
    """Return the documentation of a class; that of torch's optimizers is put together behind them."""
    assert isinstance(place.node, ast.ClassDef)
    text = ast.get_docstring(place.node, clean=True)
    if text is not None:
        return text
    added = find(place.module, f"{place.node.name}.__doc__")
    parts = ast.walk(added.node) if added is not None else ()
    return "\n".join(
        one.value for one in parts if isinstance(one, ast.Constant) and isinstance(one.value, str)
    )


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """Yield the arguments that a documentation lists, each with its first paragraph."""
    inside, depth, name, words = -1, -1, "", list[str]()
    for row in [*text.splitlines(), "."]:
        indent = len(row) - len(row.lstrip())
        entry = (
            _ENTRY.match(row) if inside >= 0 and (depth < 0 or indent <= depth) and indent > inside else None
        )
        section = _SECTION.match(row)
        ends = bool(row.strip()) and inside >= 0 and indent <= inside
        if name and (entry or section or ends or not row.strip()):
            yield name, " ".join(words)
            name, words = "", []
        if section is not None:
            inside, depth = len(section["indent"]), -1
        elif ends:
            inside = -1
        elif entry is not None:
            depth, name, words = indent, entry["name"], [entry["text"]]
        elif name:
            words.append(row.strip())


def sentence(text: str) -> str:
    """Return the first sentence of a documentation."""
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    found = re.match(r".*?(?<!e\.g)(?<!i\.e)(?<!al)[.](?=\s|$)", paragraph)
    return found[0] if found else paragraph


def _names(place: Place) -> dict[str, tuple[str, ...]]:
    """Return the tuples of texts that a class holds."""
    assert isinstance(place.node, ast.ClassDef)
    found: dict[str, tuple[str, ...]] = {}
    for node in place.node.body:
        targets = (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AnnAssign)
            else []
        )
        value = getattr(node, "value", None)
        if isinstance(value, ast.Tuple) and all(isinstance(one, ast.Constant) for one in value.elts):
            for target in targets:
                found[ast.unparse(target)] = tuple(str(ast.literal_eval(one)) for one in value.elts)
    return found
