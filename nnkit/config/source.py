"""Names in source files: where one is defined, which bases a class has, what a hint means; nothing is executed."""

from __future__ import annotations

import ast
import operator
from collections import abc
from collections.abc import Iterator, Mapping
from functools import cache, reduce
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

_DEFINITIONS = (ast.FunctionDef, ast.ClassDef)
_MOST_STEPS = 24


class Tensor:
    """Stands for torch's own in hints."""


Tensor.__module__ = "torch"


class Other:
    """Stands for every class that plain YAML cannot make."""


class Place(NamedTuple):
    """A top-level statement.

    Attributes:
        module: Dotted name of its module.
        node: The definition, or the assigned value.
    """

    module: str
    node: ast.AST


@cache
def _file(module: str) -> Path | None:
    top, *rest = module.split(".")
    spec = find_spec(top) if top else None
    # A user's own package lies in the working directory, which is searched last.
    homes = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not homes and spec is not None and not rest and spec.origin:
        return Path(spec.origin)
    for home in (*homes, str(Path.cwd() / top)):
        place = Path(home, *rest)
        for path in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
            if path.is_file() and (rest or path.name == "__init__.py"):
                return path
    return None


@cache
def _statements(module: str) -> Mapping[str, ast.AST]:
    """Return the top-level names of a module: definitions, assigned values, and where imported ones come from."""
    path = _file(module)
    try:
        tree = ast.parse(path.read_text(encoding="utf-8")) if path is not None else None
    except (OSError, SyntaxError, ValueError):
        return {}
    found: dict[str, ast.AST] = {}
    for node in _top_level(tree.body if tree is not None else []):
        for name, value in _named(node):
            # Of both branches of an `if` the first one counts.
            found.setdefault(name, value)
    return found


def _named(node: ast.stmt) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, _DEFINITIONS):
        yield node.name, node
    elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            yield ast.unparse(target), node.value
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            name = f"*{node.level}{node.module}" if alias.name == "*" else alias.asname or alias.name
            yield name, ast.ImportFrom(node.module, [alias], node.level)
    elif isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.asname or alias.name.split(".")[0], ast.Import([alias])


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        for name in ("body", "orelse") if isinstance(node, ast.If | ast.Try) else ():
            yield from _top_level(getattr(node, name))


def find(module: str, name: str, steps: int = _MOST_STEPS) -> Place | None:
    """Follow imports to where a name is defined; None where it is not found, or is a module.

    Args:
        module: Dotted name of a module.
        name: A name in it.
        steps: Imports that are followed at most.
    """
    names = _statements(module)
    node = names.get(name)
    if isinstance(node, ast.ImportFrom):
        home = _home(module, node)
        return find(home, node.names[0].name, steps - 1) if steps else None
    if node is not None:
        return None if isinstance(node, ast.Import) else Place(module, node)
    for key, star in names.items() if steps else ():
        if key.startswith("*") and isinstance(star, ast.ImportFrom):
            found = find(_home(module, star), name, steps - 1)
            if found is not None:
                return found
    return None


def _home(module: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    path = _file(module)
    is_package = path is not None and path.name == "__init__.py"
    parts = module.split(".")
    above = parts[: len(parts) - node.level + is_package]
    return ".".join([*above, *((node.module or "").split(".") if node.module else [])])


def line_of(place: Place) -> list[Place]:
    """Return a class and its bases, in the order in which Python looks for a method (C3)."""
    node = place.node
    assert isinstance(node, ast.ClassDef)
    bases = [found for base in node.bases if (found := _place_of(place.module, base)) is not None]
    lines = [line_of(base) for base in bases]
    merged, waiting = [place], [*lines, bases]
    while waiting := [line for line in waiting if line]:
        heads = [line[0] for line in waiting if not any(line[0] in other[1:] for other in waiting)]
        if not heads:
            break
        merged.append(heads[0])
        waiting = [[one for one in line if one != heads[0]] for line in waiting]
    return merged


def _place_of(module: str, node: ast.expr) -> Place | None:
    """Return the class that an expression names."""
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Name):
        found = find(module, node.id)
    elif isinstance(node, ast.Attribute):
        found = find(_module_named(module, node.value), node.attr)
    else:
        return None
    return found if found is not None and isinstance(found.node, ast.ClassDef) else None


def _module_named(module: str, node: ast.expr) -> str:
    """Return the module that an expression such as ``nn`` or ``torch.nn`` names inside another module."""
    first, *rest = ast.unparse(node).split(".")
    statement = _statements(module).get(first)
    if isinstance(statement, ast.ImportFrom):
        return ".".join([_home(module, statement), statement.names[0].name, *rest])
    if isinstance(statement, ast.Import):
        alias = statement.names[0]
        return ".".join([alias.name if alias.asname else first, *rest])
    return ""


def method(place: Place, name: str) -> ast.FunctionDef | None:
    """Return a method that the class itself defines, the last of overloads.

    Args:
        place: The class.
        name: The method.
    """
    body = place.node.body if isinstance(place.node, ast.ClassDef) else []
    found = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == name]
    return found[-1] if found else None


_NAMES: dict[str, Any] = {
    **{one.__name__: one for one in (bool, int, float, str, dict, list, tuple, object)},
    **{name: getattr(abc, name) for name in ("Sequence", "Iterable", "Mapping", "Collection")},
    **{name: getattr(abc, name) for name in ("MutableMapping", "MutableSequence")},
    "None": None,
    "Any": Any,
    "Dict": dict,
    "List": list,
    "Tuple": tuple,
    "Path": Path,
    "Tensor": Tensor,
}


def evaluate(module: str, node: ast.expr, steps: int = _MOST_STEPS) -> Any:
    """Return the hint that an annotation stands for; what plain YAML cannot make is `Other`.

    Args:
        module: Its module.
        node: The annotation.
        steps: Names that are followed at most.
    """
    if isinstance(node, ast.Constant):
        if not isinstance(node.value, str):
            return node.value
        node = ast.parse(node.value, mode="eval").body
    if isinstance(node, ast.BinOp):
        return _union([evaluate(module, one, steps) for one in (node.left, node.right)])
    if isinstance(node, ast.Subscript):
        return _subscript(module, node, steps)
    name = ast.unparse(node).rpartition(".")[2]
    if name not in _NAMES and isinstance(node, ast.Name | ast.Attribute) and steps:
        home = module if isinstance(node, ast.Name) else _module_named(module, node.value)
        found = find(home, name)
        if found is not None and isinstance(found.node, ast.expr):
            return evaluate(found.module, found.node, steps - 1)
    return _NAMES.get(name, Other)


def _subscript(module: str, node: ast.Subscript, steps: int) -> Any:
    name = ast.unparse(node.value).rpartition(".")[2]
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Literal":
        choices = [one for part in inner for one in _constants(module, part, steps)]
        return Literal[tuple(choices)] if choices else Other
    if name == "Annotated":
        return evaluate(module, inner[0], steps)
    arguments = [
        ... if isinstance(part, ast.Constant) and part.value is ... else evaluate(module, part, steps)
        for part in inner
    ]
    if name in ("Union", "Optional"):
        return _union([*arguments, None] if name == "Optional" else arguments)
    origin = _NAMES.get(name, Other)
    return Other if origin is Other else origin[tuple(arguments)]


def _constants(module: str, node: ast.expr, steps: int) -> list[Any]:
    try:
        return [ast.literal_eval(node)]
    except ValueError:
        # Another Literal inside.
        return list(getattr(evaluate(module, node, steps), "__args__", ()))


def _union(members: list[Any]) -> Any:
    # `None | None` is no hint, and a class's own `|` may mean something else.
    return reduce(operator.or_, [type(None) if one is None else one for one in members])
