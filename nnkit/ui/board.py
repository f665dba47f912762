"""TensorBoard on this machine's loopback, for its own browser alone."""

from __future__ import annotations

import logging
from pathlib import Path

from nnkit.errors import EnvironmentFault, UserError

_HOST = "127.0.0.1"
# Files of events, and what the projector reads.
_SHOWN = ("events.out.tfevents*", "projector_config.pbtxt")


def check_events(directory: Path) -> None:
    """Refuse a directory below which TensorBoard would find nothing.

    Raises:
        UserError: If there is no such directory, or neither a file of events nor vectors for the projector below it.
    """
    if not directory.is_dir():
        raise UserError(f"there is no directory {directory}\n    nnkit runs lists the runs there are")
    if all(next(directory.rglob(name), None) is None for name in _SHOWN):
        raise UserError(
            f"{directory} holds nothing that TensorBoard shows: no file {_SHOWN[0]} lies below it"
            "\n    runs with logger=[tensorboard] write them, which is the default: nnkit train"
        )


def start(directory: Path, port: int = 0) -> str:
    """Start TensorBoard in a thread that ends with this process.

    Args:
        directory: Where its files of events lie, at any depth.
        port: Where it listens; 0: a free one.

    Returns:
        Its address.

    Raises:
        EnvironmentFault: If TensorBoard is not installed, or the port is taken.
    """
    try:
        from tensorboard.program import TensorBoard, TensorBoardServerException
    except ImportError as error:
        text = f"TensorBoard cannot be imported: {error}\n    pip install tensorboard"
        raise EnvironmentFault(text) from error
    # Each request is a line of its log.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    program = TensorBoard()
    # Without the reader in a process of its own, which would have to be ended as well.
    words = ["--logdir", str(directory), "--host", _HOST, "--port", str(port), "--load_fast", "false"]
    program.configure(argv=["tensorboard", *words])
    try:
        return str(program.launch())
    except (TensorBoardServerException, OSError) as error:
        raise EnvironmentFault(f"TensorBoard cannot be started on port {port}: {error}") from error
