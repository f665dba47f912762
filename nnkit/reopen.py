"""A run, rebuilt from its directory alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nnkit import config as configs
from nnkit.build import refuse_untrusted
from nnkit.checkpoint.manifest import Manifest
from nnkit.checkpoint.store import CheckpointStore
from nnkit.run import CONFIG, Run
from nnkit.session import Session, fix_arithmetic, make_session, prepare_data


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
        UserError: If there is no checkpoint, or the config is refused.
        EnvironmentFault: If no checkpoint is valid.
    """
    config, choices = configs.load(run.path / CONFIG)
    choices = choices or run.record().get("choices", {})
    refuse_untrusted(config)
    fix_arithmetic(config)
    # Compiling pays over a training run, not over a few batches.
    config.trainer.compile = False
    data = prepare_data(config, run.preprocessing())
    session = make_session(config, choices, data)
    manifest, checkpoint = CheckpointStore(run.checkpoints).load(which)
    session.task.load_state_dict(checkpoint["state_dict"])
    session.task.eval()
    return Opened(session, manifest)
