"""Where messages go: warnings of nnkit to the terminal, everything to the run's train.log."""

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from typing_extensions import override

from nnkit.errors import EnvironmentFault
from nnkit.ui.terminal import printable

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
# The loggers whose messages belong to a run; py.warnings carries what the warnings module says.
_SOURCES = ("nnkit", "lightning.pytorch", "lightning.fabric", "py.warnings")
# Advice of Lightning that does not hold here: batches are gathered in this process, and resume is exact.
_NOT_HERE = (
    "does not have many workers",
    "is smaller than the logging interval",
    "You're resuming from a checkpoint that ended before the epoch ended",
    "You defined a `validation_step` but have no `val_dataloader`",
    "Checkpoint directory .* exists and is not empty",
    "Starting from v1.9.0, `tensorboardX` has been removed",
    # A scaler that skips the first step looks like that; the schedule itself is right.
    "Detected call of `lr_scheduler.step\\(\\)` before `optimizer.step\\(\\)`",
    # The task adds its metrics up over the processes before it logs them.
    "when logging on epoch level in distributed setting",
    "`isinstance.treespec, LeafSpec.` is deprecated",
    # On a cluster's machines one process is started without it, and several join by themselves.
    "The `srun` command is available on your system but is not used",
)


class _Printable(logging.Formatter):
    """Messages without control characters: names of files and runs may hold commands to the terminal.

    The same goes for log files, which are shown on a terminal later.
    """

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return a message as one or more lines of text."""
        return printable(super().format(record))


def set_up(verbose: bool = False) -> None:
    """Send nnkit's warnings to standard error, once; keep Lightning's chatter off the terminal."""
    logger = logging.getLogger("nnkit")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_Printable("%(levelname)s: %(message)s"))
        handler.setLevel(logging.INFO if verbose else logging.WARNING)
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    for name in _SOURCES:
        logging.getLogger(name).propagate = False


def quiet_lightning() -> None:
    """Take away the handlers Lightning sets at import; its messages go to train.log alone."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.handlers = [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
        logger.propagate = False


class _Quiet(logging.FileHandler):
    """A log file that is given up where it cannot be written: the run reports once what is wrong with the disk."""

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        """Ignore the error; logging would print a traceback for each message."""


class _Memory(logging.Handler):
    """Keeps messages for a log file that is not there yet."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.records.append(record)


@contextmanager
def remembered() -> Iterator[list[logging.LogRecord]]:
    """Yield a list of nnkit's messages of the block, for `write`: they come before there is a run directory."""
    logger, handler = logging.getLogger("nnkit"), _Memory()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler.records
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def write(path: Path, records: Iterable[logging.LogRecord]) -> None:
    """Write messages that were remembered to a new log file."""
    handler = _Quiet(path, encoding="utf-8", delay=True)
    handler.setFormatter(_Printable(_FORMAT))
    for record in records:
        handler.handle(record)
    handler.close()


class _Fewer(logging.Filter):
    """Lets the first few messages of each kind through and counts the others."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        # For each kind the first message, and how many there were.
        self.kinds: dict[str, tuple[str, int]] = {}

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a message goes on."""
        first, count = self.kinds.get(str(record.msg), (record.getMessage(), 0))
        self.kinds[str(record.msg)] = first, count + 1
        return count < self.most


@contextmanager
def a_few_of_each(most: int) -> Iterator[None]:
    """Let the first messages of each kind through, and tell at the end how many more there were.

    Args:
        most: Of each kind.
    """
    logger, fewer = logging.getLogger("nnkit"), _Fewer(most)
    logger.addFilter(fewer)
    try:
        yield
    finally:
        logger.removeFilter(fewer)
        for first, count in fewer.kinds.values():
            if count > most:
                logger.warning("%s more like: %s", f"{count - most:,}", first)


@contextmanager
def off_the_terminal() -> Iterator[None]:
    """Keep the terminal free of messages: another process of the run has the same ones."""
    logger = logging.getLogger("nnkit")
    handlers = [one for one in logger.handlers if isinstance(one, logging.StreamHandler)]
    levels = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for handler, level in zip(handlers, levels, strict=True):
            handler.setLevel(level)


@contextmanager
def to_file(path: Path) -> Iterator[None]:
    """Write all messages and warnings of the block to a file as well.

    Raises:
        EnvironmentFault: If the file is a link.
    """
    if path.is_symlink():
        # In a run directory from elsewhere it could lead to any file of the user's.
        raise EnvironmentFault(f"{path} is a link: delete it, or put a file in its place")
    handler = _Quiet(path, encoding="utf-8", delay=True)
    handler.setFormatter(_Printable(_FORMAT))
    quiet_lightning()
    loggers = [logging.getLogger(name) for name in _SOURCES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        # Lightning's INFO lines are advertisements and restatements of its defaults.
        logger.setLevel(logging.INFO if logger.name == "nnkit" else logging.WARNING)
    try:
        with warnings.catch_warnings():
            for text in _NOT_HERE:
                warnings.filterwarnings("ignore", message=f".*{text}")
            logging.captureWarnings(True)
            yield
    finally:
        logging.captureWarnings(False)
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
        handler.close()
