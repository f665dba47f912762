"""Config keys: whether one exists, how to set it, and what was meant by one that does not."""

from collections.abc import Iterator
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import Container, DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from nnkit.config import catalog
from nnkit.config.migration import REFERENCE
from nnkit.config.places import COMMAND_LINE
from nnkit.errors import Problem
from nnkit.suggest import closest


def all_keys(config: DictConfig) -> list[str]:
    """Return every dotted key of a config, inner nodes included, lists taken as values."""
    return list(_walk(OmegaConf.to_container(config, resolve=False), ""))


def _walk(node: Any, prefix: str) -> Iterator[str]:
    if isinstance(node, dict):
        for name, child in node.items():
            key = f"{prefix}.{name}" if prefix else str(name)
            yield key
            yield from _walk(child, key)


def exists(config: DictConfig, key: str) -> bool:
    """Return whether a key is set, be its value null, missing or an interpolation."""
    node: Any = config
    for name in key.split("."):
        if isinstance(node, ListConfig):
            return name.isdigit() and int(name) < len(node)
        if not isinstance(node, DictConfig) or name not in node.keys():  # noqa: SIM118 (`in` denies a missing value)
            return False
        node = node._get_node(name)
        if isinstance(node, Container) and (node._is_none() or node._is_interpolation()):
            node = None
    return True


def sources_of(config: DictConfig, key: str) -> set[str]:
    """Return the keys that the text of a value refers to."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    raw = OmegaConf.to_container(node, resolve=False) if isinstance(node, DictConfig) else {}
    value = raw.get(name) if isinstance(raw, dict) else None
    return set(REFERENCE.findall(value)) if isinstance(value, str) else set()


def apply(config: DictConfig, override: Override) -> Problem | None:
    """Set, add or delete one value; say what is wrong where that is not possible.

    Args:
        config: The composed config, changed in place.
        override: One that does not choose an option.
    """
    key, value = override.key_or_group, override.value()
    adds = override.is_add() or override.is_force_add()
    if (problem := _refused(config, override)) is not None:
        return problem
    try:
        if override.is_delete():
            _delete(config, key)
        else:
            OmegaConf.update(config, key, value, merge=True, force_add=adds)
    except OmegaConfBaseException as error:
        return Problem(
            key, f"cannot be {override.get_value_string()}: {_reason(config, key, error)}", "", COMMAND_LINE
        )
    return None


def _refused(config: DictConfig, override: Override) -> Problem | None:
    """Return why a key cannot be set, added or deleted, whatever its value is."""
    key, adds = override.key_or_group, override.is_add() or override.is_force_add()
    if key.split(".")[0] == "fit":
        return Problem(key, "is filled in by nnkit when the data are prepared", "leave it out", COMMAND_LINE)
    if adds and key.split(".")[0] not in catalog.groups():
        return _unknown_top(config, key, override)
    if not adds and not exists(config, key):
        return _unknown(config, key, override)
    if "." not in key and (override.is_delete() or adds):
        return Problem(key, "cannot be added or deleted", f"nnkit train {key}=...", COMMAND_LINE)
    return _obstacle(config, key, override)


def _obstacle(config: DictConfig, key: str, override: Override) -> Problem | None:
    """Return the problem with a key below one that holds no keys: a number, a text or a list."""
    names = key.split(".")
    for length in range(1, len(names)):
        above = ".".join(names[:length])
        node = _raw(config, names[:length])
        if isinstance(node, ListConfig):
            last = length == len(names) - 1
            if last and not override.is_delete() and names[-1].isdigit() and int(names[-1]) < len(node):
                return None
            text, remedy = f"{above} is a list, which is set as a whole", f"{above}=[...]"
            return Problem(key, text, remedy, COMMAND_LINE)
        if node is None:
            return None
        if not isinstance(node, DictConfig):
            text = f"{above} is one value, and nothing can be put below it"
            return Problem(key, text, f"{above}=...", COMMAND_LINE)
    return None


def _raw(config: DictConfig, names: list[str]) -> Any:
    """Return what stands at a key as it is written, references as text; None where there is nothing or null."""
    node: Any = config
    for name in names:
        found = node._get_node(name, validate_access=False) if isinstance(node, DictConfig) else None
        if found is None or found._is_none():
            return None
        node = found if isinstance(found, Container) and not found._is_interpolation() else found._value()
    return node


def _reason(config: DictConfig, key: str, error: Exception) -> str:
    held = OmegaConf.select(config, key)
    if isinstance(held, ListConfig):
        return "it holds a list"
    return "it holds a mapping" if isinstance(held, DictConfig) else str(error).splitlines()[0]


def _delete(config: DictConfig, key: str) -> None:
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent)
    with open_dict(config):
        del node[name]


def _unknown_top(config: DictConfig, key: str, override: Override) -> Problem:
    top = key.split(".")[0]
    if top in catalog.plain_keys():
        return Problem(key, "nothing can be added here", f"did you mean {top}=...?", COMMAND_LINE)
    return _unknown(config, key, override)


def _unknown(config: DictConfig, key: str, override: Override) -> Problem:
    value = "" if override.is_delete() else f"={override.get_value_string()}"
    sign = "~" if override.is_delete() else ""
    known = all_keys(config)
    parent = key.rpartition(".")[0]
    siblings = _children(parent, known) if parent else []
    if f"{parent}._target_" in known and not siblings:
        hint = f"its file lists no arguments of this class; to give it one: +{key}{value}"
    elif meant := nearest_key(key, known):
        hint = f"did you mean {sign}{meant}{value}?"
    elif siblings:
        hint = f"{parent} has: {', '.join(siblings)}; to add one that its file does not list: +{key}{value}"
    else:
        hint = f"the groups are: {', '.join(catalog.groups())}"
    return Problem(key, "there is no such key", hint, COMMAND_LINE)


def _children(parent: str, known: list[str]) -> list[str]:
    depth = parent.count(".") + 1
    inside = [key for key in known if key.startswith(f"{parent}.") and key.count(".") == depth]
    return [name for key in inside if not (name := key.rpartition(".")[2]).startswith("_")]


def nearest_key(key: str, known: list[str]) -> str:
    """Return the key most probably meant by one that does not exist, or an empty text.

    A wrong name beside right ones comes first (`data.batchsize`), then a name that stands elsewhere (`lr`),
    then the same two again with a misspelling.
    """
    parent, _, name = key.rpartition(".")
    siblings = _children(parent, known) if parent else [*catalog.groups(), *catalog.plain_keys()]
    for sibling in closest(name, siblings):
        return f"{parent}.{sibling}" if parent else sibling
    by_name: dict[str, str] = {}
    for candidate in known:
        last = candidate.rpartition(".")[2]
        if not last.startswith("_"):
            by_name.setdefault(last, candidate)
    if name in by_name:
        return by_name[name]
    # Whole keys are compared only where their first part is wrong too: `optimzer.lr`.
    near = closest(key, [k for k in known if "." in k]) if parent and parent not in known else []
    near += [by_name[found] for found in closest(name, by_name)]
    return near[0] if near else ""
