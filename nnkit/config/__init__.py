"""From a command line to one config, with every mistake collected; torch is not imported here."""

from nnkit.config.changes import Change, change, differing, flat, is_harmless
from nnkit.config.composition import (
    Composition,
    compose,
    examine,
    from_yaml,
    load,
    loading_once,
    plain,
    set_values,
    to_json,
    to_yaml,
)

__all__ = [
    "Change",
    "Composition",
    "change",
    "compose",
    "differing",
    "examine",
    "flat",
    "from_yaml",
    "is_harmless",
    "load",
    "loading_once",
    "plain",
    "set_values",
    "to_json",
    "to_yaml",
]
