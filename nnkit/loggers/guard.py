"""Loggers that cannot fail a training, and what nnkit tells them: where in the run their files go."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger

_log = logging.getLogger("nnkit")
# No code, no console, no git state: a run's config and metrics are what it is logged for.
_QUIET_WANDB = {"console": "off", "silent": True, "disable_git": True, "disable_code": True}


class Guarded(Logger):
    """Passes everything on to a logger until that raises; then it is named in a warning and left alone.

    To callbacks it looks like the logger inside: `isinstance` and attributes are those of that logger.

    Args:
        key: Config key of the logger, for the warning.
        make: Builds the logger; if it raises, the run has no such logger.
    """

    def __init__(self, key: str, make: Callable[[], Logger]) -> None:
        self._key = key
        self._inner: Logger = DummyLogger()
        # Names that the logger holds already at a step that a resumed run logs again.
        self._held: tuple[int, frozenset[str]] = (-1, frozenset())
        inner = self._try("be built", make)
        if inner is not None:
            self._inner = inner

    @property
    def __class__(self) -> Any:
        """The class of the logger inside: callbacks look for theirs with `isinstance`."""
        return type(self._inner)

    @__class__.setter
    def __class__(self, other: type) -> None:
        raise AttributeError("a logger that is guarded keeps its class")

    @property
    def name(self) -> Any:
        """As the logger inside."""
        return self._read("name")

    @property
    def version(self) -> Any:
        """As the logger inside."""
        return self._read("version")

    @property
    def save_dir(self) -> Any:
        """As the logger inside."""
        return self._read("save_dir")

    @property
    def root_dir(self) -> Any:
        """As the logger inside."""
        return self._read("root_dir")

    @property
    def log_dir(self) -> Any:
        """As the logger inside."""
        return self._read("log_dir")

    @property
    def group_separator(self) -> Any:
        """As the logger inside."""
        return self._read("group_separator")

    def __getattr__(self, name: str) -> Any:
        """Return what only the logger inside has, such as `experiment`; its methods are guarded too."""
        kind = type(self._inner)
        if name.startswith("__") or not (
            hasattr(kind, name) or name in vars(self._inner) or hasattr(kind, "__getattr__")
        ):
            raise AttributeError(f"{kind.__name__} has no {name}")
        found = self._read(name)
        return partial(self._call, name) if callable(found) else found

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics; what the logger holds at this step already is left out."""
        held_at, held = self._held
        if step == held_at:
            metrics = {name: value for name, value in metrics.items() if name not in held}
        if metrics:
            self._call("log_metrics", metrics, step=step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Log hyperparameters."""
        self._call("log_hyperparams", params, *args, **kwargs)

    def log_graph(self, *args: Any, **kwargs: Any) -> None:
        """Log the graph of a network."""
        self._call("log_graph", *args, **kwargs)

    def save(self) -> None:
        """Write out what is held back."""
        self._call("save")

    def finalize(self, status: str) -> None:
        """Tell the logger how a training ended."""
        self._call("finalize", status)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Tell the logger that a checkpoint was saved."""
        self._call("after_save_checkpoint", checkpoint_callback)

    def hold(self, step: int, names: frozenset[str]) -> None:
        """Leave out these names at this step from now on: the logger has them from before the run was resumed."""
        self._held = (step, names)

    def flush(self) -> None:
        """Write out what TensorBoard still holds in a queue: points before a checkpoint are not logged again."""
        inner = self._inner
        if isinstance(inner, TensorBoardLogger):
            self._try("flush", lambda: inner.experiment.flush())

    def close(self) -> None:
        """End what outlives a logger: W&B has one run a process, which the next logger would write into."""
        inner = self._inner
        # Without an experiment nothing was begun, and asking for it would begin it.
        if isinstance(inner, WandbLogger) and inner._experiment is not None:
            self._try("finish", lambda: inner.experiment.finish())

    def _read(self, name: str) -> Any:
        found = self._try(name, lambda: (getattr(self._inner, name),))
        return getattr(self._inner, name) if found is None else found[0]

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self._try(name, lambda: getattr(self._inner, name)(*args, **kwargs))

    def _try(self, what: str, act: Callable[[], Any]) -> Any:
        """Return what a call returns, or None after it has raised and the logger is switched off."""
        try:
            return act()
        # Whatever it is: a full disk, a server that is gone, a mistake in a logger of the user's own.
        except Exception as error:
            reason = " ".join(str(error).split())[:300] or "no message"
            text = "%s is switched off and the run goes on without it: %s failed with %s: %s"
            _log.warning(text, self._key, what, type(error).__name__, reason)
            self._inner = DummyLogger()
            return None


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
