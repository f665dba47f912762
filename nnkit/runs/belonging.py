"""Whether a checkpoint belongs to the config and the data of a run directory; imports no Lightning."""

from __future__ import annotations

import re
import reprlib
from typing import TYPE_CHECKING, Any

from nnkit import config as configs
from nnkit.checkpoint.formats import KEY
from nnkit.config import Change
from nnkit.errors import UserError
from nnkit.files import atomic
from nnkit.files.layout import CONFIG
from nnkit.runs.run import Run

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from nnkit.checkpoint.manifest import Manifest

# A config from elsewhere may hold lists that would fill the terminal.
_REPR = reprlib.Repr()
_REPR.maxlist = _REPR.maxdict = 20
_REPR.maxstring = _REPR.maxother = 200
# The length of a run, which training fills in, ends the text of a config.
_FILLED_IN = re.compile(r', "fit": \{[^{}]*\}\}$')


def check_belongs(run: Run, config: DictConfig, newest: tuple[Manifest, dict[str, Any]]) -> None:
    """Refuse a checkpoint of another config or other data than the directory speaks of.

    Raises:
        UserError: With the difference.
    """
    manifest, state = newest
    ours = state[KEY]
    # One function writes both texts: to read what is equal would take as long as to build the session.
    if _FILLED_IN.sub("", ours["config"]) != _FILLED_IN.sub("", configs.to_json(config)):
        _compare(run, config, newest)
    learnt = atomic.sha256(atomic.canonical(run.preprocessing()))
    if learnt != ours["preprocessing_sha256"]:
        raise UserError(
            f"{run.path}/preprocessing.json is not the one that {manifest.name} was trained with: "
            f"its SHA-256 is {learnt[:12]}, the checkpoint says {ours['preprocessing_sha256'][:12]}"
        )


def _compare(run: Run, config: DictConfig, newest: tuple[Manifest, dict[str, Any]]) -> None:
    """Refuse a checkpoint of a config that differs in what changes the arithmetic and was not allowed to."""
    manifest, state = newest
    trained = configs.from_yaml(state[KEY]["config"])
    permitted = {key for note in run.resumptions() for key in note["allowed"]}
    found = [
        one
        for one in configs.differing(configs.flat(trained), configs.flat(config))
        if not configs.is_harmless(one.key)
        and not any(one.key == key or one.key.startswith(f"{key}.") for key in permitted)
        and not _is_filled_in(one)
    ]
    if found:
        lines = "\n    ".join(
            f"{one.key}: {_REPR.repr(one.old)} there, {_REPR.repr(one.new)} in config.yaml" for one in found
        )
        raise UserError(
            f"{run.checkpoints / manifest.name} belongs to another config than {run.path / CONFIG}\n    {lines}"
        )


def _is_filled_in(one: Change) -> bool:
    """Return whether a value differs only because the run's start filled it in."""
    return one.key == "trainer.num_threads" and None in (one.old, one.new)
