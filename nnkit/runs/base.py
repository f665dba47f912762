"""Read what a run has learnt, whole: the checkpoint of an adapter together with the weights beneath it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nnkit import config as configs
from nnkit.adapters.lora import is_added, merge
from nnkit.checkpoint.base import Base
from nnkit.checkpoint.formats import KEY
from nnkit.checkpoint.manifest import Manifest
from nnkit.checkpoint.store import CheckpointStore
from nnkit.errors import NnkitError, UserError
from nnkit.factory import build_network, refuse_untrusted
from nnkit.files import atomic
from nnkit.files.layout import CONFIG
from nnkit.hugging_face import Directory
from nnkit.runs.run import Run
from nnkit.ui import report

PREFIX = "network."


def load_state(run: Run, which: Literal["last", "best"]) -> tuple[Manifest, dict[str, Any]]:
    """Return a checkpoint of a run, the weights of its base included.

    Args:
        run: The run.
        which: As for `CheckpointStore.load`.

    Raises:
        UserError: If there is no checkpoint, or its base is gone or another one by now.
        EnvironmentFault: If no checkpoint is valid.
    """
    manifest, state = CheckpointStore(run.checkpoints).load(which)
    return manifest, completed(run, manifest, state)


def completed(run: Run, manifest: Manifest, state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a checkpoint with the weights of its base.

    Args:
        run: The run it belongs to.
        manifest: Its manifest.
        state: What it holds.

    Raises:
        UserError: If the base is gone, or another one by now.
    """
    where = f"{run.checkpoints / manifest.name}"
    try:
        if (base := Base.of(state)) is None:
            return state
        weights = _weights_of_base(run, base)
        return base.put_back(state, {f"{PREFIX}{name}": tensor for name, tensor in weights.items()})
    except ValueError as error:
        raise UserError(f"{report.shorten(Path(where))}: {error}") from error


def _weights_of_base(run: Run, base: Base) -> dict[str, Tensor]:
    said = (
        f"{report.shorten(run.path)} holds an adapter only, and its base, {base.checkpoint} of {base.path},"
    )
    answer = "put back what it was trained on, or train a new one: nnkit train ... init_from=RUN"
    problem = "is gone"
    for place in _places(run, base):
        if not _is_directory(place):
            continue
        try:
            found, weights = _read(run, base, place)
        except NnkitError as error:
            problem = f"cannot be read: {error}"
            continue
        if found == base.sha256:
            return weights
        problem = f"has changed: its SHA-256 is {found[:12]}, the adapter was trained on {base.sha256[:12]}"
    raise UserError(f"{said} {problem}\n    {answer}")


def _is_directory(place: Path) -> bool:
    try:
        return place.is_dir()
    # Such as a name that is too long.
    except OSError:
        return False


def _read(run: Run, base: Base, place: Path) -> tuple[str, dict[str, Tensor]]:
    """Return the hash and the weights of a base, by their names in the network."""
    if (place / CONFIG).is_file():
        found = _named(CheckpointStore(Run(place).checkpoints), base.checkpoint)
        # Compared before its own base is read: one that led back to itself could not hold its own hash.
        return found.sha256, _whole(Run(place), found) if found.sha256 == base.sha256 else {}
    config = configs.load(run.path / CONFIG)
    refuse_untrusted(config)
    with torch.device("meta"):
        network = build_network(config)
    directory, with_head = Directory(place), any(name.startswith(f"{PREFIX}head.") for name in base.names)
    taken = directory.take(shapes_of(network), str(config.head.get("_target_")), with_head=with_head)
    return digest(directory.weights.hashes()), taken.tensors


def digest(sha256: str | dict[str, str]) -> str:
    """Return one hash of one or of the hashes of several files."""
    return sha256 if isinstance(sha256, str) else atomic.sha256(atomic.canonical(sha256))


def shapes_of(network: nn.Module) -> dict[str, torch.Size]:
    """Return the shapes of a network's tensors by name, without those of an adapter."""
    return {name: tensor.shape for name, tensor in network.state_dict().items() if not is_added(name)}


def _places(run: Run, base: Base) -> Iterator[Path]:
    """Yield where the base may be: where it was, and as it lay beside the run, which may have been moved with it."""
    yield Path(base.path)
    beside = (run.record().get("init_from") or {}).get("beside")
    if isinstance(beside, str):
        yield run.path / beside


def weights_of(run: Run) -> tuple[Manifest, dict[str, Tensor]]:
    """Return the best weights of a run's network by name, an adapter folded into those that it adapts.

    Args:
        run: The run.

    Raises:
        UserError: If there is no checkpoint, or its base is gone or another one by now.
        EnvironmentFault: If no checkpoint is valid.
    """
    manifest, state = load_state(run, "best")
    return manifest, _weights_in(state)


def _named(store: CheckpointStore, name: str) -> Manifest:
    found = next((one for one in store.manifests() if one.name == name), None)
    if found is None:
        raise UserError(f"{store.directory} has no {name} any more")
    return found


def _whole(run: Run, manifest: Manifest) -> dict[str, Tensor]:
    try:
        state = CheckpointStore(run.checkpoints).state(manifest)
    except ValueError as error:
        raise UserError(str(error)) from error
    return _weights_in(completed(run, manifest, state))


def _weights_in(state: dict[str, Any]) -> dict[str, Tensor]:
    named = state["state_dict"].items()
    weights = {one.removeprefix(PREFIX): tensor for one, tensor in named if one.startswith(PREFIX)}
    return _folded(state, weights) if any(map(is_added, weights)) else weights


def _folded(state: dict[str, Any], weights: dict[str, Tensor]) -> dict[str, Tensor]:
    # That of the checkpoint, which its hash covers: config.yaml may have been changed since.
    config = configs.from_yaml(state[KEY]["config"])
    refuse_untrusted(config)
    # The weights that are drawn here are replaced; those of the run that begins must not depend on it.
    with torch.random.fork_rng(devices=[]):
        network = build_network(config)
    network.load_state_dict(weights)
    merge(network)
    return dict(network.state_dict())
