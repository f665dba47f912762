"""From a command line to one config, with every mistake collected; torch is not imported here.

The first use of a name imports Hydra; `nnkit.config.catalog` does without.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnkit.config.changes import Change, change, differing, flat, has_length, is_harmless
    from nnkit.config.composition import (
        Composition,
        compose,
        copy,
        examine,
        from_yaml,
        load,
        loading_once,
        plain,
        remove,
        set_values,
        to_json,
        to_yaml,
    )

__all__ = [
    "Change",
    "Composition",
    "change",
    "compose",
    "copy",
    "differing",
    "examine",
    "flat",
    "from_yaml",
    "has_length",
    "is_harmless",
    "load",
    "loading_once",
    "plain",
    "remove",
    "set_values",
    "to_json",
    "to_yaml",
]
_OF_CHANGES = {"Change", "change", "differing", "flat", "has_length", "is_harmless"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"nnkit.config.{'changes' if name in _OF_CHANGES else 'composition'}"), name)
