"""A key of a run's config explained: the saved value, and what of the files and the command leads there today."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nnkit import config as configs
from nnkit.config.explanation import Explanation, in_run, of_composition
from nnkit.config.places import SetBy, settings_in_text
from nnkit.files.layout import CONFIG, RECORD
from nnkit.runs.run import Run, find_run


def explain_in_run(spec: str, output_dir: Path, key: str) -> Explanation:
    """Explain a key of the config that a run was trained with.

    Args:
        spec: Run directory, unique prefix, or "last".
        output_dir: Where runs are looked for.
        key: A dotted key, or a group.

    Raises:
        UserError: If there is no such run, or its config cannot be read.
        ConfigError: If the config has no such key.
    """
    run = find_run(spec, output_dir)
    saved = configs.load(run.path / CONFIG)
    given = run.record().get("overrides")
    typed = [word for word in given if isinstance(word, str)] if isinstance(given, list) else []
    # Files may have changed since, or be gone; the run's config is what counts.
    today, _ = configs.examine(typed)
    known = today if today is not None else configs.Composition(saved, {})
    composition = replace(known, config=saved, choices=run.choices() or known.choices)
    return in_run(of_composition(composition).explain(key), _place(run, key), _changes(run, key))


def _place(run: Run, key: str) -> str:
    """Return the file and line of a key; of a group, the file that names the chosen option."""
    text = (run.path / CONFIG).read_text(encoding="utf-8")
    places = {name: one.place for name, one in settings_in_text(text, str(run.path / CONFIG))}
    return str(run.path / RECORD) if key in run.choices() else places.get(key, str(run.path / CONFIG))


def _changes(run: Run, key: str) -> list[SetBy]:
    """Return what later commands changed."""
    return [
        SetBy(f"resumed {note['time'] or ''}".rstrip(), str(change.get("new")))
        for note in run.resumptions()
        for change in note["changes"]
        if isinstance(change, dict) and change.get("key") == key
    ]
