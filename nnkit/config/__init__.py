"""From a command line to one config, with every mistake collected; torch is not imported here."""

from nnkit.config.composition import (
    Composition,
    compose,
    examine,
    from_yaml,
    load,
    plain,
    to_json,
    to_yaml,
)

__all__ = ["Composition", "compose", "examine", "from_yaml", "load", "plain", "to_json", "to_yaml"]
