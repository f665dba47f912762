"""Faults of files, worker processes, memory and data that reach a training loop, explained in sentences."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from nnkit.errors import EnvironmentFault, NnkitError, UserError

# What torch's DataLoader says of its worker processes.
_DEAD = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)")
_LATE = re.compile(r"DataLoader timed out after ([\d.]+) seconds")
_RAISED = re.compile(r"Caught (\w+) in DataLoader worker process (\d+)\.\nOriginal Traceback")
_PLACE = re.compile(r'^  File "(.+)", line (\d+)', re.MULTILINE)
# What torch says of data that a network or a loss cannot take.
_CLASS = re.compile(r"Target (-?\d+) is out of bounds")
_NO_MEMORY = re.compile(r"can't allocate memory: you tried to allocate (\d+) bytes")
_ALONE = "Expected more than 1 value per channel when training"
_LOADER = torch.utils.data.dataloader.__file__

_log = logging.getLogger("nnkit")


@contextmanager
def explained() -> Iterator[None]:
    """Turn faults of the environment and of data that reach a training loop into sentences; bugs keep their traceback.

    Raises:
        EnvironmentFault: For a file that cannot be read or written, a worker process that raised, died or hangs, and
            memory that is used up.
        UserError: For data that a loss or a layer cannot take, or a trainer's value that does not fit them.
    """
    try:
        yield
    except Exception as error:
        said = _sentence(error)
        if said is None:
            raise
        raise said from error


def _sentence(error: Exception) -> NnkitError | None:
    """Return the explanation of an error; None if it needs none."""
    text = str(error)
    if (said := _of_memory(error)) is not None:
        return EnvironmentFault(f"{said}\n    try a smaller data.batch_size")
    if match := _RAISED.match(text):
        return _raised_in_worker(error, match)
    if (said := _of_workers(error)) is not None:
        return EnvironmentFault(said)
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        return EnvironmentFault(f"{name}{error.strerror or error}")
    return _of_data(error)


def _of_memory(error: Exception) -> str | None:
    if isinstance(error, torch.OutOfMemoryError):
        return f"the GPU's memory is used up: {str(error).splitlines()[0]}"
    if isinstance(error, MemoryError):
        return "memory is used up"
    match = _NO_MEMORY.search(str(error))
    return f"memory is used up: {int(match[1]):,} bytes more were wanted" if match else None


def _raised_in_worker(error: Exception, match: re.Match[str]) -> NnkitError:
    """Explain what a worker process raised; torch makes its whole traceback the text of the error."""
    text, kind = str(error), match[1]
    # From the last line that begins with the error's class, as a message may have several lines.
    last = list(re.finditer(rf"^[\w.]*{kind}(?:: |$)", text, re.MULTILINE))
    reason = text[last[-1].end() :].strip() if last else ""
    if isinstance(error, NnkitError):
        return UserError(reason) if isinstance(error, UserError) else EnvironmentFault(reason)
    _log.info("%s", text)
    places = _PLACE.findall(text)
    place = f" ({Path(places[-1][0]).name}, line {places[-1][1]})" if places else ""
    return EnvironmentFault(
        f"worker process {match[2]}, which loads data, raised {kind}{f': {reason}' if reason else ''}{place}\n"
        "    data.num_workers=0 loads in the training process, which shows the whole traceback"
    )


def _of_workers(error: Exception) -> str | None:
    text = str(error)
    if isinstance(error, RuntimeError) and (match := _LATE.search(text)):
        return (
            f"no batch came from the worker processes within {match[1]} seconds\n"
            "    data.num_workers=0 loads in the training process, which shows where it hangs"
        )
    dead = _DEAD.search(text) if isinstance(error, RuntimeError) else None
    # The pipe of a process that has just died may break before torch sees that it is dead.
    if dead is None and not (isinstance(error, OSError | EOFError) and _from_worker(error)):
        return None
    which = f" (process {dead[1].strip()})" if dead else ""
    return (
        f"a worker process that loads data died{which}: {text.splitlines()[0] if text else type(error).__name__}\n"
        "    the system ends one where memory is short: try fewer data.num_workers\n"
        "    data.num_workers=0 loads in the training process, which says more"
    )


def _from_worker(error: Exception) -> bool:
    """Return whether an error came up while torch's DataLoader waited for what a worker process sends."""
    codes = (frame.f_code for frame, _ in walk_tb(error.__traceback__))
    return any(code.co_filename == _LOADER and code.co_name == "_try_get_data" for code in codes)


def _of_data(error: Exception) -> UserError | None:
    if isinstance(error, MisconfigurationException):
        # Every other value for the trainer has been checked; what is left depends on the size of the data.
        return UserError(str(error))
    if isinstance(error, IndexError) and (match := _CLASS.search(str(error))):
        return UserError(
            f"a sample has class {match[1]}, and the network has no such output\n    clean the data's targets"
        )
    if isinstance(error, ValueError) and _ALONE in str(error):
        return UserError(
            "a batch of one sample came to a layer that normalises over the batch, which needs two\n"
            "    choose another data.batch_size, so that no single sample is left over at the end of an epoch"
        )
    return None
