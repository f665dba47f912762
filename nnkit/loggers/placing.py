"""What nnkit tells a logger: where in the run its files go, and what only the environment may say."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger

# No code, no console, no git state: a run's config and metrics are what it is logged for.
_QUIET_WANDB = {"console": "off", "silent": True, "disable_git": True, "disable_code": True}


def placed(target: type, run: Path) -> dict[str, Any]:
    """Return the constructor arguments that put a logger's files below the run directory.

    Args:
        target: Class of the logger.
        run: The run directory.
    """
    directory = str(run)
    if issubclass(target, TensorBoardLogger):
        return {"save_dir": directory, "name": "", "version": "tensorboard"}
    if issubclass(target, CSVLogger):
        return {"save_dir": directory, "name": "", "version": "csv"}
    if issubclass(target, WandbLogger):
        mode = "online" if os.environ.get("WANDB_MODE") == "online" else "offline"
        return {"save_dir": directory, "mode": mode, "settings": dict(_QUIET_WANDB)}
    if issubclass(target, MLFlowLogger):
        server = os.environ.get("MLFLOW_TRACKING_URI")
        if server:
            return {"tracking_uri": server}
        return {
            "tracking_uri": f"sqlite:///{run.absolute() / 'mlflow.db'}",
            "artifact_location": str(run.absolute() / "mlflow"),
        }
    return {"save_dir": directory} if "save_dir" in inspect.signature(target).parameters else {}


def named(target: type, run: Path) -> dict[str, str]:
    """Return the name of the run in a logger that shows many runs side by side, unless the config gives one."""
    if issubclass(target, WandbLogger):
        return {"name": run.name}
    return {"run_name": run.name} if issubclass(target, MLFlowLogger) else {}


def begins_anew(target: type) -> bool:
    """Return whether a logger cannot forget points, so that on resume it begins anew and gets all again."""
    return issubclass(target, CSVLogger | WandbLogger | MLFlowLogger)
