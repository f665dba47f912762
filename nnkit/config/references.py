"""References between the keys of a saved config, followed as text: nothing is executed, no environment is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_REFERENCE = re.compile(r"\$\{([\w.]+)\}")
# More than any config has; a circle ends here.
_MOST_STEPS = 16


def follow(settings: Mapping[str, Any], value: Any) -> Any:
    """Return what a value refers to; as it stands where that is not in the config.

    Args:
        settings: A config by dotted key, such as ``{"monitor": "${task.monitor}", "task.monitor": "val/loss"}``.
        value: One of its values.
    """
    for _ in range(_MOST_STEPS):
        found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if found is None or found[1] not in settings:
            return value
        value = settings[found[1]]
    return value
