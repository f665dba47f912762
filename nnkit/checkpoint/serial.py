"""From the state of a run to the bytes of a checkpoint and back, without executing anything."""

import io
import re
from typing import Any

import torch

from nnkit.checkpoint.pickles import check_pickle
from nnkit.checkpoint.vetting import check_archive, check_values

# What torch names where a file asks for more than plain data.
_FOREIGN = re.compile(r"GLOBAL ([\w.]+) (?:was not an allowed|whose module)")


def dump_bytes(checkpoint: dict[str, Any]) -> bytes:
    """Serialise a checkpoint of plain data and tensors."""
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return buffer.getvalue()


def load_bytes(data: bytes) -> dict[str, Any]:
    """Deserialise a checkpoint without executing anything in it.

    Raises:
        ValueError: If the bytes hold more than plain data and tensors, or are no checkpoint.
    """
    try:
        check_archive(data)
        check_pickle(data)
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        check_values(loaded)
    except Exception as error:
        raise ValueError(f"the checkpoint is refused: {_reason(error)}") from error
    if not isinstance(loaded, dict):
        raise ValueError(f"the checkpoint holds a {type(loaded).__name__}, not a dictionary")
    return loaded


def _reason(error: Exception) -> str:
    """Return why a file is refused; torch's own words advise to load it unsafely."""
    text = str(error).strip()
    if match := _FOREIGN.search(text):
        return f"it holds {match[1]}, which is no plain data; nothing in it was run"
    if "Weights only load failed" in text:
        return "it holds more than plain data and tensors; nothing in it was run"
    return text.splitlines()[0] if text else type(error).__name__
