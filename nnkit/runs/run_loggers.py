"""The loggers of a run: built below its directory, guarded, and given again what a resumed run does not log twice."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning.pytorch.loggers import Logger, TensorBoardLogger

from nnkit import config as configs
from nnkit.callbacks.record import Record, point_of
from nnkit.callbacks.state import generator_states, set_generator_states
from nnkit.config.migration import flatten, follow
from nnkit.factory import build, target_class
from nnkit.loggers import Guarded, Journal, Point, begins_anew, named, placed
from nnkit.runs.session import Session

if TYPE_CHECKING:
    from omegaconf import DictConfig

_URI = "MLFLOW_TRACKING_URI"


class _Past(NamedTuple):
    """What was logged up to the checkpoint that a run resumes from.

    Attributes:
        step: Step of the checkpoint; -1 for a run that starts.
        recorded: Points of metrics.jsonl.
        others: Points of other callbacks.
        due: Whether the validation of the step follows: it was saved before.
    """

    step: int
    recorded: list[Point]
    others: list[Point]
    due: bool

    def points(self, since: int = 0) -> list[Point]:
        """Return all points from a step on, in the order of their steps."""
        found = [point for point in (*self.recorded, *self.others) if point.step >= since]
        return sorted(found, key=lambda point: point.step)

    def names(self) -> frozenset[str]:
        """Return what other callbacks logged at the step of the checkpoint, and log again when the run goes on."""
        return frozenset(name for point in self.others if point.step == self.step for name in point.metrics)


def make_loggers(session: Session, directory: Path, step: int, record: Record) -> list[Guarded]:
    """Build the loggers of a config; on resume each of them ends up with every point once.

    Args:
        session: The parts of the run.
        directory: The run directory.
        step: Step of the checkpoint that is resumed; -1 for a run that starts.
        record: The run's record, cut back to the checkpoint.
    """
    nodes = session.config.get("logger") or {}
    if not nodes:
        return []
    journal = Journal(directory)
    rows = record.rows() if step >= 0 else []
    due = not any(row["split"] == "val" for row in rows if row["step"] == step)
    past = _Past(step, [point_of(row) for row in rows], journal.cut_back(step), due)
    with _undisturbed():
        loggers = [_make(name, node, directory, past) for name, node in nodes.items()]
        for logger in loggers:
            # TensorBoard shows hyperparameters beside the metrics that a run ends with.
            if not isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(_hyperparameters(session))
    return [*loggers, Guarded("points.jsonl", lambda: journal)]


def _make(name: str, node: DictConfig, directory: Path, past: _Past) -> Guarded:
    target = target_class(node, "logger")
    arguments = placed(target, directory)
    purges = past.step >= 0 and issubclass(target, TensorBoardLogger)
    if purges:
        # Saved before the validation of its step, a killed process may have shown it, and the run does it again.
        arguments["purge_step"] = past.step if past.due else past.step + 1
    logger = Guarded(f"logger.{name}", partial(_build, node, target, directory, arguments))
    if past.step < 0:
        return logger
    if begins_anew(target) or (purges and past.due):
        for point in past.points(since=0 if begins_anew(target) else past.step):
            logger.log_metrics(point.metrics, step=point.step)
    logger.hold(past.step, past.names())
    return logger


def _build(node: DictConfig, target: type, directory: Path, arguments: dict[str, Any]) -> Logger:
    node = node.copy()
    unnamed = {key: value for key, value in named(target, directory).items() if node.get(key) is None}
    configs.set_values(node, **unnamed)
    # Only a logger of the user's own may be given its place by the config.
    logger: Logger = build(
        node, "logger", **{key: value for key, value in arguments.items() if key not in node}
    )
    return logger


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Undo what loggers do to the process as they begin: MLflow draws a name at random and sets its address for all."""
    generators, address = generator_states(), os.environ.get(_URI)
    # Each new database is announced.
    disabled = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(disabled)
        set_generator_states(generators)
        os.environ.pop(_URI, None)
        if address is not None:
            os.environ[_URI] = address


def flush(loggers: Sequence[Guarded]) -> None:
    """Write out what is still held in a queue, as points before a checkpoint are not logged again."""
    for logger in loggers:
        logger.flush()


def finish(session: Session, loggers: Sequence[Logger], metrics: dict[str, float]) -> None:
    """Show hyperparameters beside the final metrics, and end every logger.

    Args:
        session: The parts of the run.
        loggers: Its loggers.
        metrics: Test metrics and the best validation score.
    """
    for logger in loggers:
        if metrics and isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(_hyperparameters(session), metrics)
        logger.finalize("success")


def _hyperparameters(session: Session) -> dict[str, Any]:
    """Return the chosen options and the config's dotted keys, as values that a table of hyperparameters can hold."""
    # A config has no key that says which model it is.
    chosen = {group: option for group, option in session.choices.items() if isinstance(option, str)}
    flat: dict[str, Any] = {
        key: value if isinstance(value, bool | int | float | str) else json.dumps(value)
        for key, value in flatten(configs.plain(session.config))
    }
    flat = {key: follow(flat, value) for key, value in flat.items()}
    return {**chosen, **{key: value for key, value in flat.items() if _is_setting(key, value)}}


def _is_setting(key: str, value: Any) -> bool:
    """Return whether a key tells runs apart: no class, no outward reference, nothing of how a run is shown."""
    return not (
        key.endswith("_target_") or "${" in str(value) or key.split(".")[0] in ("callbacks", "logger", "fit")
    )
