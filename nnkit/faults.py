"""What goes wrong in the machinery below, said in sentences: files, worker processes, memory."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nnkit.errors import EnvironmentFault

# What torch's DataLoader says of its worker processes.
_DEAD = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)")
_LATE = re.compile(r"DataLoader timed out after ([\d.]+) seconds")


@contextmanager
def explained() -> Iterator[None]:
    """Turn faults of the environment that reach a training loop into sentences; bugs keep their traceback.

    Raises:
        EnvironmentFault: For a file that cannot be read or written, a worker process that died or hangs, and memory
            that is used up.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EnvironmentFault(
            f"the GPU's memory is used up: {_first_line(error)}\n    try a smaller data.batch_size"
        ) from error
    except MemoryError as error:
        raise EnvironmentFault("memory is used up\n    try a smaller data.batch_size") from error
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        raise EnvironmentFault(f"{name}{error.strerror or error}") from error
    except RuntimeError as error:
        said = _of_workers(str(error))
        if said is None:
            raise
        raise EnvironmentFault(said) from error


def _of_workers(text: str) -> str | None:
    if match := _DEAD.search(text):
        return (
            f"a worker process that loads data died (process {match[1].strip()}): {text.splitlines()[0]}\n"
            "    data.num_workers=0 loads in the training process, which says more"
        )
    if match := _LATE.search(text):
        return (
            f"no batch came from the worker processes within {match[1]} seconds\n"
            "    data.num_workers=0 loads in the training process, which shows where it hangs"
        )
    return None


def _first_line(error: BaseException) -> str:
    return str(error).split("\n")[0]
