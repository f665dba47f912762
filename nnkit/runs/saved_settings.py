"""What saved configs say by dotted key; of thousands that are alike nearly everywhere, each part is parsed once."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from nnkit.config.migration import flatten, migrate
from nnkit.errors import NnkitError
from nnkit.files.paths import check_file
from nnkit.files.yaml_limits import LOADER, MAX_BYTES, check_yaml

# Where a key at the left edge begins; our own files have little else there.
_EDGE = re.compile(r"^(?=[A-Za-z_]\w*:)", re.MULTILINE)
# A config has about twenty keys at the left edge; a file with more is parsed as a whole, under the limits of one.
_MOST_PARTS = 100


def read_settings(path: Path) -> dict[str, Any]:
    """Return a saved config by dotted key, references as text; empty where the file is lost or garbled.

    Args:
        path: A config.yaml of any origin.
    """
    try:
        check_file(path, MAX_BYTES)
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return {}
    before, *parts = _EDGE.split(text)
    try:
        if parts and not before.strip() and len(parts) <= _MOST_PARTS:
            return dict(pair for part in parts for pair in _part(part))
    except (NnkitError, yaml.YAMLError, ValueError):
        # An anchor, or a text that goes on at the left edge, binds parts together.
        pass
    try:
        return dict(_load(text, path.name))
    except (NnkitError, yaml.YAMLError, ValueError):
        return {}


@lru_cache(maxsize=4096)
def _part(text: str) -> tuple[tuple[str, Any], ...]:
    return _load(text, "")


def _load(text: str, name: str) -> tuple[tuple[str, Any], ...]:
    check_yaml(text, name)
    content = yaml.load(text, Loader=LOADER)
    if not isinstance(content, dict):
        raise ValueError(f"{name} holds no keys")
    return tuple(flatten(migrate(content)))
