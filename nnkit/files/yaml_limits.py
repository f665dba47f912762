"""What a YAML text may be before it is parsed: bounded in size, depth and in what its aliases expand to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import yaml

from nnkit.errors import ConfigError, Problem
from nnkit.files.paths import check_file

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_NODES = 10_000

# The parser written in C is several times faster where PyYAML was built with it.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check_yaml(text: str, name: str) -> None:
    """Refuse a YAML text that would take seconds or gigabytes to load; takes well under a second itself.

    Args:
        text: The text, not parsed yet.
        name: What the user knows it by, a path for instance.

    Raises:
        ConfigError: If it is too long, nested too deeply, expands to too many values, or is not YAML at all.
    """
    size = len(text.encode())
    if size > MAX_BYTES:
        _refuse(name, f"a config has at most {MAX_BYTES:,} bytes, and this one has {size:,}")
    try:
        _count(yaml.parse(text, Loader=LOADER), name)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark is not None else ""
        what = getattr(error, "problem", None) or "it cannot be read"
        _refuse(name, f"not a valid YAML file{line}: {what}")


def read_yaml(path: Path, name: str) -> str:
    """Return the text of an option file of any origin.

    Args:
        path: The file.
        name: What the user knows it by.

    Raises:
        ConfigError: As `check_yaml`, or if it cannot be read.
    """
    try:
        check_file(path, MAX_BYTES)
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        _refuse(name, "not a text in UTF-8")
    except (OSError, ValueError) as error:
        _refuse(name, f"cannot be read: {error}")
    check_yaml(text, name)
    return text


def _refuse(name: str, text: str) -> NoReturn:
    raise ConfigError([Problem(key="", text=f"{name}: {text}")])


def _count(events: Iterator[Any], name: str) -> None:
    """Add up the nodes the text expands to, each alias as large as what it repeats."""
    sizes: dict[str, int] = {}
    # One frame for each open collection: its anchor and its nodes so far.
    frames: list[tuple[str | None, int]] = [(None, 0)]

    def add(count: int) -> None:
        anchor, nodes = frames[-1]
        frames[-1] = (anchor, nodes + count)
        if nodes + count > MAX_NODES:
            _refuse(name, f"a config has at most {MAX_NODES:,} values, its aliases expanded")

    for event in events:
        if isinstance(event, yaml.AliasEvent) and any(event.anchor == anchor for anchor, _ in frames):
            _refuse(name, "a value contains itself")
        elif isinstance(event, yaml.AliasEvent | yaml.ScalarEvent):
            # A scalar counts as one value under its anchor too.
            add(sizes.get(event.anchor or "", 1) if isinstance(event, yaml.AliasEvent) else 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            frames.append((event.anchor, 1))
            if len(frames) > MAX_DEPTH:
                _refuse(name, f"a config is nested at most {MAX_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, nodes = frames.pop()
            if anchor:
                sizes[anchor] = nodes
            add(nodes)
