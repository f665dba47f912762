"""A JSON schema of option files and composed configs, made from the signatures and the files there are."""

from __future__ import annotations

import ast
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from nnkit.config import catalog
from nnkit.config.declared import (
    ALLOWED,
    CHOICES,
    INJECTED,
    LIMITS,
    OWN_VALUES,
    PLAIN,
    RANGES,
    RESERVED,
    TAKES_TOO,
)
from nnkit.config.hints import is_tensor, is_union
from nnkit.config.known import OPTIONS_OF, TARGET, Known, meaning
from nnkit.config.signatures import Range, SourceArgument, SourceClass, source_of
from nnkit.config.source import Other

Schema = dict[str, Any]
DRAFT = "https://json-schema.org/draft/2020-12/schema"
CONFIG = "config"
_REFERENCE = {"type": "string", "pattern": r"\$\{.+\}|^\?\?\?$"}
_NUMBERS: Schema = {"anyOf": [{"type": "number"}, {"type": "array"}]}
_FACT: Schema = {
    "description": "A fact about the data, null where they say it when they are read.",
    "anyOf": [
        {"type": ["integer", "null"], "minimum": 0},
        {"type": "array", "items": {"type": "integer"}},
        {"$ref": "#/$defs/reference"},
    ],
}
# A class of nnkit is one of those that option files name; of other packages any may be.
_ELSEWHERE = {"type": "string", "pattern": r"^(?!nnkit\.)[A-Za-z]\w*(\.[A-Za-z]\w*)+$"}
_EMBEDS = "embeds"


def schema(part: str = "", config_dir: Path | None = None) -> Schema:
    """Return the schema of option files, experiments and composed configs.

    Args:
        part: A group, for its files alone; "config" for composed configs; empty: it tells the files apart.
        config_dir: The directory given with ``--config-dir``; its options and those of ./conf may be named as well.
    """
    made = _Maker(config_dir)
    groups = catalog.groups()
    definitions: Schema = {"reference": _REFERENCE, CONFIG: made.config()}
    definitions |= {group: made.file(group) for group in groups}
    definitions |= {f"defaults.{group}": made.defaults(group) for group in groups}
    definitions |= {
        f"node.{group}": made.node(group) for group in (*made.plain_groups(), *catalog.lists(), _EMBEDS)
    }
    definitions |= {f"part.{group}": made.partial(group) for group in (*made.plain_groups(), _EMBEDS)}
    definitions |= {f"class.{target}": made.of_class(group, target) for group, target in made.all_classes()}
    top = {"$ref": f"#/$defs/{part}"} if part else made.root()
    return {"$schema": DRAFT, "title": f"nnkit {part}".rstrip(), **top, "$defs": definitions}


class _Maker:
    """Makes the parts of a schema.

    Args:
        config_dir: The directory given with ``--config-dir``.
    """

    def __init__(self, config_dir: Path | None) -> None:
        self.config_dir = config_dir
        self.classes: dict[str, list[str]] = {group: [] for group in (*catalog.groups(), _EMBEDS)}
        self.facts: dict[str, set[str]] = {}
        for group in catalog.groups():
            for option in catalog.options(group, config_dir):
                content = catalog.read(group, option, config_dir)
                for home, node in _nodes(group, content):
                    target = node.get(TARGET)
                    if isinstance(target, str) and target not in self.classes[home]:
                        self.classes[home].append(target)
                    if isinstance(target, str):
                        self.facts.setdefault(target, set()).update(node)

    def plain_groups(self) -> list[str]:
        """Return the groups that take one option, whose node has a class."""
        return [group for group in catalog.groups() if group not in catalog.lists() and self.classes[group]]

    def all_classes(self) -> Iterator[tuple[str, str]]:
        for group, targets in self.classes.items():
            for target in targets:
                yield group, target

    def root(self) -> Schema:
        """Return what tells the kinds of files apart: by the class they name, or by whatever fits."""
        named = [
            {
                "if": {"properties": {TARGET: {"enum": self.classes[group]}}, "required": [TARGET]},
                "then": {"$ref": f"#/$defs/{group}"},
            }
            for group in self.plain_groups()
        ]
        others = [{"$ref": f"#/$defs/{name}"} for name in (*catalog.groups(), CONFIG)]
        return {"type": "object", "allOf": named, "anyOf": others}

    def file(self, group: str) -> Schema:
        """Return the schema of the option files of a group."""
        about = {"description": f"An option of the group {group}."}
        if group in catalog.lists():
            inside = {"$ref": f"#/$defs/node.{group}"}
            return {
                **about,
                "type": "object",
                "properties": _to_defaults(group),
                "additionalProperties": inside,
            }
        if not self.classes[group]:
            return {**about, **self._recipe(group)}
        return {
            **about,
            "type": "object",
            "properties": _to_defaults(group),
            # What does not name its class builds on an option that does.
            "anyOf": [{"required": [TARGET]}, {"required": ["defaults"]}],
            **_node_or_part(group),
        }

    def _recipe(self, group: str) -> Schema:
        """Return the schema of files that choose options and set keys of any group: experiments, and the defaults."""
        properties = _to_defaults(group)
        properties |= {name: {"$ref": f"#/$defs/part.{name}"} for name in self.plain_groups()}
        properties |= {name: _open_nodes() for name in catalog.lists()}
        return {
            "type": "object",
            "properties": {**properties, **_plain_keys()},
            "additionalProperties": False,
        }

    def config(self) -> Schema:
        """Return the schema of a composed config, such as a run saves."""
        nodes: Schema = {
            name: {"anyOf": [{"$ref": f"#/$defs/node.{name}"}, {"type": "null"}]}
            if catalog.defaults()[name] is None
            else {"$ref": f"#/$defs/node.{name}"}
            for name in self.plain_groups()
        }
        nodes |= {
            name: {"type": ["object", "null"], "additionalProperties": {"$ref": f"#/$defs/node.{name}"}}
            for name in catalog.lists()
        }
        needed = [name for name in self.plain_groups() if catalog.defaults()[name] is not None]
        return {
            "description": "A composed config: nnkit train --cfg job, or config.yaml of a run.",
            "type": "object",
            "properties": {**nodes, **_plain_keys()},
            "required": [*needed, *(key for key in catalog.plain_keys())],
            "additionalProperties": False,
        }

    def defaults(self, group: str) -> Schema:
        """Return the schema of a file's list of defaults."""
        own = {"enum": [*catalog.options(group, self.config_dir), "_self_"]}
        chosen: Schema = {}
        for name in catalog.groups():
            options = {"enum": [*catalog.options(name, self.config_dir), None]}
            several = {"type": "array", "items": {"enum": catalog.options(name, self.config_dir)}}
            head = rf"^((override|optional) )*/?{name}(@_global_\.{name})?$"
            chosen[head] = {"anyOf": [options, several]} if name in catalog.lists() else options
        entry = {
            "type": "object",
            "patternProperties": chosen,
            "additionalProperties": False,
            "minProperties": 1,
        }
        about = "Options that this file builds on or chooses, in the order in which they count."
        return {"description": about, "type": "array", "items": {"anyOf": [own, entry]}}

    def node(self, group: str) -> Schema:
        """Return the schema of a node that names its class."""
        known = self.classes[group]
        named = [
            {
                "if": {"properties": {TARGET: {"const": target}}, "required": [TARGET]},
                "then": {"$ref": f"#/$defs/class.{target}"},
            }
            for target in known
        ]
        # One of another group is no option of this one.
        foreign = {one for home, targets in self.classes.items() for one in targets if home != group} - {
            *known
        }
        elsewhere = {**_ELSEWHERE, "not": {"enum": sorted(foreign)}}
        target = {"description": "The class.", "anyOf": [{"enum": known}, elsewhere]}
        return {"type": "object", "required": [TARGET], "properties": {TARGET: target}, "allOf": named}

    def partial(self, group: str) -> Schema:
        """Return the schema of keys whose class another file names: those of any class of the group."""
        found: dict[str, list[Schema]] = {}
        for target in self.classes[group]:
            for name, one in self.of_class(group, target)["properties"].items():
                if one not in found.setdefault(name, []):
                    found[name].append(one)
        properties = {name: ones[0] if len(ones) == 1 else {"anyOf": ones} for name, ones in found.items()}
        return {"type": "object", "properties": properties, "additionalProperties": False}

    def of_class(self, group: str, target: str) -> Schema:
        """Return the schema of a node of one class."""
        source = source_of(target)
        if source is None:
            # A class that is not there; `nnkit check` says so.
            return {"type": "object", "properties": {}}
        properties: Schema = {
            TARGET: {"type": ["string", "null"]},
            **_to_defaults(group),
        }
        properties |= {
            name: _own(f"{group}.{name}", own.hint, own.meaning)
            for name, own in RESERVED.get(group, {}).items()
        }
        if group == "model":
            properties[_EMBEDS] = {"type": "object", "additionalProperties": _node_or_part(_EMBEDS)}
        given = INJECTED.get(group, ()) or ()
        listed = (
            ALLOWED.get(group, {}).get(target.rpartition(".")[2]) if target.startswith("lightning.") else None
        )
        for name, argument in source.arguments.items():
            if name not in given and (listed is None or name in listed.arguments):
                properties[name] = _argument(f"{group}.{name}", argument)
        for name in listed.arguments - properties.keys() if listed is not None else ():
            # What it hands on to its own package.
            properties[name] = {}
        for name in source.names.get("node_names", ()):
            properties[name] = {"type": "object"}
        for name in self._facts(group, target, source) - properties.keys():
            properties[name] = _FACT
        about = {"description": source.about} if source.about else {}
        is_open = source.is_open and listed is None
        return {**about, "type": "object", "properties": properties, "additionalProperties": is_open}

    def _facts(self, group: str, target: str, source: SourceClass) -> set[str]:
        """Return the keys of a dataset that are facts; a list that the class puts together is that of its files."""
        if group != "data":
            return set()
        return {*source.names.get("fact_names", ())} or {*self.facts[target]}


def _nodes(group: str, content: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the nodes of an option file that may name a class, each with its group."""
    if group in catalog.lists():
        yield from ((group, node) for node in content.values() if isinstance(node, dict))
        return
    yield group, content
    embeds = content.get(_EMBEDS) if group == "model" else None
    for node in embeds.values() if isinstance(embeds, dict) else ():
        if isinstance(node, dict):
            yield _EMBEDS, node


def _node_or_part(group: str) -> Schema:
    """Return the schema of a node that names its class, or builds on one that another file names."""
    return {
        "if": {"required": [TARGET]},
        "then": {"$ref": f"#/$defs/node.{group}"},
        "else": {"$ref": f"#/$defs/part.{group}"},
    }


def _to_defaults(group: str) -> Schema:
    return {} if group == _EMBEDS else {"defaults": {"$ref": f"#/$defs/defaults.{group}"}}


def _plain_keys() -> Schema:
    keys = {
        key: _own(key, own.hint, own.meaning) for key, own in PLAIN.items() if "." not in key and key != "fit"
    }
    inner = {
        key.partition(".")[2]: _own(key, own.hint, own.meaning) for key, own in PLAIN.items() if "." in key
    }
    return {**keys, "fit": {"type": "object", "properties": inner, "additionalProperties": False}}


def _open_nodes() -> Schema:
    """Return the schema of nodes whose classes are named elsewhere, under any name."""
    return {"type": ["object", "null"], "additionalProperties": {"type": "object"}}


def _argument(key: str, argument: SourceArgument) -> Schema:
    named = OPTIONS_OF.search(argument.about)
    options = source_of(named[1]) if named else None
    made = _own(key, argument.hint, meaning(Known(key, argument.hint, argument.about)), argument.range)
    if options is not None:
        inner = {name: _argument(f"{key}.{name}", one) for name, one in options.arguments.items()}
        made["anyOf"] = [
            {"type": ["object", "null"], "properties": inner, "additionalProperties": False},
            _to_reference(),
        ]
    try:
        default = ast.literal_eval(argument.default)
    except (ValueError, SyntaxError):
        return made
    if isinstance(default, bool | int | str) or (isinstance(default, float) and math.isfinite(default)):
        made["default"] = default
    return made


def _to_reference() -> Schema:
    return {"$ref": "#/$defs/reference"}


def _own(key: str, hint: Any, about: str, admitted: Range | None = None) -> Schema:
    """Return the schema of one value: what its hint says, or a reference to another key."""
    limit = LIMITS.get(key, "")
    text = "; ".join(part for part in (about.rstrip("."), limit) if part)
    described = {"description": text} if text else {}
    if key in CHOICES:
        optional = [None] if type(None) in typing.get_args(hint) else []
        return {**described, "anyOf": [{"enum": [*CHOICES[key], *optional]}, _to_reference()]}
    least, most = RANGES.get(key, (-math.inf, math.inf))
    if key in RANGES:
        admitted = Range(least if math.isfinite(least) else None, most if math.isfinite(most) else None)
    members = _members(TAKES_TOO.get(key, hint), admitted)
    if any(not one for one in members):
        return described
    own = [{"enum": list(OWN_VALUES[key])}] if key in OWN_VALUES else []
    return {**described, "anyOf": [*own, *members, _to_reference()]}


def _members(hint: Any, admitted: Range | None) -> list[Schema]:
    """Return a schema for each member of a hint; an empty one admits anything."""
    hints = typing.get_args(hint) if is_union(hint) else (hint,)
    # What plain YAML cannot make is passed over, unless there is nothing else; no one types a tensor for a number.
    kinds = [one for one in hints if one is not Other and not (is_tensor(one) and float in hints)] or [Any]
    return [_of_hint(one, admitted) for one in kinds]


@cache
def _plain_types() -> dict[Any, Schema]:
    return {
        bool: {"type": "boolean"},
        int: {"type": "integer"},
        float: {"type": "number"},
        str: {"type": "string"},
        Path: {"type": "string"},
        type(None): {"type": "null"},
        None: {"type": "null"},
        dict: {"type": "object"},
        list: {"type": "array"},
        tuple: {"type": "array"},
    }


def _of_hint(hint: Any, admitted: Range | None) -> Schema:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _of_hint(args[0], admitted)
    if origin is Literal:
        return {"enum": list(args)}
    if is_tensor(hint):
        return _NUMBERS
    if isinstance(origin, type) and not isinstance(hint, types.UnionType):
        return _of_container(origin, args, admitted)
    found = dict(_plain_types().get(hint, {}))
    is_number = hint in (int, float) and admitted is not None and not admitted.of_each
    return {**found, **(_bounds(admitted) if is_number and admitted is not None else {})}


def _of_container(origin: type, args: tuple[Any, ...], admitted: Range | None) -> Schema:
    if issubclass(origin, Mapping):
        return {"type": "object"}
    if not (issubclass(origin, tuple) or issubclass(list, origin)):
        return {}
    each = admitted if admitted is not None and admitted.of_each else None
    inner = Range(each.least, each.most, each.opens, each.closes_before) if each is not None else None
    if issubclass(origin, tuple) and args and args[-1] is not ...:
        items = [_any_of(_members(one, inner)) for one in args]
        return {"type": "array", "prefixItems": items, "minItems": len(args), "maxItems": len(args)}
    return {"type": "array", "items": _any_of(_members(args[0], inner))} if args else {"type": "array"}


def _any_of(members: Iterable[Schema]) -> Schema:
    found = list(members)
    return {} if any(not one for one in found) else {"anyOf": [*found, _to_reference()]}


def _bounds(admitted: Range) -> Schema:
    found: Schema = {}
    if admitted.least is not None:
        found["exclusiveMinimum" if admitted.opens else "minimum"] = admitted.least
    if admitted.most is not None:
        found["exclusiveMaximum" if admitted.closes_before else "maximum"] = admitted.most
    return found
