"""A run, rebuilt from its directory alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from nnkit import config as configs
from nnkit.checkpoint.manifest import Manifest
from nnkit.errors import UserError
from nnkit.factory import build_network, refuse_untrusted
from nnkit.files.layout import CONFIG
from nnkit.runs.base import load_state
from nnkit.runs.run import Run
from nnkit.runs.session import Session, fix_arithmetic, make_session, prepare_data

if TYPE_CHECKING:
    from omegaconf import DictConfig

_SHOWN = 10


@dataclass
class Opened:
    """A finished run, rebuilt.

    Attributes:
        session: Its parts, weights loaded.
        manifest: The checkpoint they came from.
    """

    session: Session
    manifest: Manifest


def open_run(run: Run, which: Literal["last", "best"] = "best") -> Opened:
    """Rebuild a run's network from its directory, with no dataset on disk.

    Raises:
        UserError: If there is no checkpoint, the config is refused, or they do not belong together.
        EnvironmentFault: If no checkpoint is valid.
    """
    config = configs.load(run.path / CONFIG)
    refuse_untrusted(config)
    fix_arithmetic(config)
    # Compiling pays over a training run, not over a few batches.
    config.trainer.compile = False
    data = prepare_data(config, run.preprocessing(), directory=run.directory())
    manifest, checkpoint = load_state(run, which)
    weights = checkpoint.get("state_dict", {})
    wrong = _misfits(config, weights)
    if not wrong:
        session = make_session(config, run.choices(), data)
        try:
            session.task.load_state_dict(weights)
        except RuntimeError as error:
            wrong = [line.strip() for line in str(error).splitlines()[1:]]
    if wrong:
        lines = "\n    ".join(wrong[:_SHOWN])
        raise UserError(
            f"{run.checkpoints / manifest.name} does not fit the model of {run.path / CONFIG}\n    {lines}"
        )
    session.task.eval()
    return Opened(session, manifest)


def _misfits(config: DictConfig, weights: dict[str, Any]) -> list[str]:
    """Compare the network with the weights before it is built: a config alone must not claim memory without end."""
    try:
        with torch.device("meta"):
            network = build_network(config)
    except (RuntimeError, NotImplementedError):
        # A constructor that reads values cannot run without them.
        return []
    here = _shapes({f"network.{name}": value for name, value in network.state_dict().items()})
    there = _shapes(weights)
    return [
        f"{name}: {there.get(name, 'missing')} there, {shape} here"
        for name, shape in here.items()
        if there.get(name) != shape
    ]


def _shapes(values: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in values.items() if isinstance(value, torch.Tensor)}
