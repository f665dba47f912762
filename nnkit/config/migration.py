"""Saved configs as plain data, read without Hydra; those of earlier releases are brought up to date."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

REFERENCE = re.compile(r"\$\{([\w.]+)\}")
# References that are followed one after the other: more than any config has, so that a circle ends.
_MOST_STEPS = 16
# Keys that train.yaml did not have in earlier releases, with the value that a run of theirs had without knowing.
ADDED: dict[str, Any] = {"auto_resume": False, "freeze": None, "report": False}

# Modules that classes named by `_target_` lived in, and where they live now.
MOVED = {
    f"nnkit.data.{name}": f"nnkit.data.{place.format(name)}"
    for place, names in {
        "datasets.{}": (
            "breast_cancer cmudict dates diabetes digits fashion_mnist iris langid mackey_glass mnist multi30k"
            " pydocs pydocs_pairs pydocs_topics shakespeare wine"
        ),
        "pairs.sentence_pairs": "text_pairs_file",
        "pairs.text_pairs": "text_pairs",
        "pictures.image_folder": "image_folder",
        "text.long_text": "text_file",
    }.items()
    for name in names.split()
}
MOVED |= {
    f"nnkit.callbacks.{name}": "nnkit.callbacks.tensorboard" for name in ("attention", "pictures", "samples")
}
MOVED["nnkit.callbacks.early_stopping"] = "nnkit.callbacks.stopping"
# Classes that have another name now.
RENAMED = {
    f"nnkit.data.{old}": f"nnkit.data.{new}"
    for new, names in {
        "text.text_table.TextTable": (
            "jsonl.JSONLines text_csv.TextCSV text.labelled_files.JSONLines text.labelled_files.TextCSV"
        ),
        "series.series.Series": "series_csv.SeriesCSV series.series_csv.SeriesCSV",
        "tables.table.Table": "csv.CSV tables.csv.CSV",
    }.items()
    for old in names.split()
}
# Keys that a class did not list in earlier releases, with the value that a config of theirs had without knowing.
ADDED_TO: dict[str, dict[str, Any]] = {"nnkit.data.tables.table.Table": {"cardinalities": []}}


def migrate(content: Any) -> Any:
    """Return a saved config with the present path of each class that has moved.

    Args:
        content: The config as plain dicts, lists and values.
    """
    if isinstance(content, dict):
        target = now_at(content.get("_target_")) or content.get("_target_")
        found = {key: migrate(value) for key, value in content.items()}
        return {
            **ADDED_TO.get(str(target), {}),
            **found,
            **({"_target_": target} if target is not None else {}),
        }
    return [migrate(value) for value in content] if isinstance(content, list) else content


def now_at(path: object) -> str | None:
    """Return where the class of an older `_target_` lives now, None if it has not moved."""
    module, _, name = str(path).rpartition(".")
    if str(path) in RENAMED:
        return RENAMED[str(path)]
    return f"{MOVED[module]}.{name}" if module in MOVED else None


def flatten(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings with their dotted keys; a list is a value.

    Args:
        content: Plain data.
        prefix: Key of the content.
    """
    if isinstance(content, dict):
        for name, child in content.items():
            yield from flatten(child, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, content


def follow(settings: Mapping[str, Any], value: Any) -> Any:
    """Return what a value refers to; as it stands where that is not in the config.

    Args:
        settings: A config by dotted key, such as ``{"monitor": "${task.monitor}", "task.monitor": "val/loss"}``.
        value: One of its values.
    """
    for _ in range(_MOST_STEPS):
        found = REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if found is None or found[1] not in settings:
            return value
        value = settings[found[1]]
    return value
