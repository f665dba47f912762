"""What a checkpoint may hold: nothing that costs more than its size, nothing that code would run past the end of."""

import io
import struct
import zipfile
from typing import Any

import torch
from torch import Tensor

from nnkit.checkpoint.formats import KEY

# The end of every file of torch.save: the directory's 64-bit record, its locator, the plain record without a comment.
_TAIL = struct.Struct("<4s36xQQ 4s4xQ4x 4s16xH")
_SIGNATURES = (b"PK\x06\x06", b"PK\x06\x07", b"PK\x05\x06")

_MAX_VALUES = 1_000_000
_MAX_DEPTH = 64

# What nnkit and Lightning read without looking; what is there must be of this kind.
_OUTLINE: dict[tuple[str, ...], tuple[type, ...]] = {
    ("state_dict",): (dict,),
    ("optimizer_states",): (list,),
    ("lr_schedulers",): (list,),
    ("loops",): (dict,),
    ("callbacks",): (dict,),
    ("epoch",): (int,),
    ("global_step",): (int,),
    ("pytorch-lightning_version",): (str,),
    (KEY, "config"): (str,),
    (KEY, "choices"): (dict,),
    (KEY, "preprocessing_sha256"): (str,),
    (KEY, "data_fingerprint"): (str, type(None)),
    (KEY, "num_lines"): (int, type(None)),
    (KEY, "stopped"): (bool,),
    (KEY, "gradients"): (dict, type(None)),
    (KEY, "generators"): (dict,),
}
_NUMPY_NUMBERS = 624


def check_archive(data: bytes) -> None:
    """Refuse a file that would unpack to more than itself; torch stores tensors as they are.

    The directory must stand where torch looks for it: another reader of zip files could be shown another one.

    Raises:
        ValueError: If it is no file of torch.save, or its records are compressed or share their bytes.
    """
    if len(data) < _TAIL.size or not data.startswith(b"PK\x03\x04"):
        raise ValueError("it is no file that torch.save has written")
    end = len(data) - _TAIL.size
    first, size, start, second, located, third, comment = _TAIL.unpack_from(data, end)
    if (first, second, third) != _SIGNATURES or (start + size, located, comment) != (end, end, 0):
        raise ValueError("it is no file that torch.save has written: its directory is elsewhere")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        records = archive.infolist()
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise ValueError("its records are compressed, which torch.save never does")
    unpacked = sum(record.file_size for record in records)
    if unpacked > len(data):
        raise ValueError(f"its {len(data):,} bytes claim to be {unpacked:,} bytes of records")


def check_values(state: object) -> None:
    """Refuse values that cost far more to walk through than to store, and tensors that reach beyond their memory.

    Raises:
        ValueError: If values are nested too deeply or within themselves, repeat each other a million times, or a
            tensor does not own as many numbers as its shape says: fused kernels read and write by that number alone.
    """
    ahead: list[tuple[object, int]] = [(state, 0)]
    count = 0
    while ahead:
        value, depth = ahead.pop()
        count += 1
        if depth > _MAX_DEPTH:
            raise ValueError(f"its values are nested more than {_MAX_DEPTH} deep")
        if count > _MAX_VALUES:
            raise ValueError(f"it holds more than {_MAX_VALUES:,} values, its repetitions counted")
        if isinstance(value, Tensor) and not _owns_its_numbers(value):
            raise ValueError(f"a tensor of shape {tuple(value.shape)} is stored with fewer numbers than that")
        if isinstance(value, dict):
            ahead.extend((inner, depth + 1) for inner in value.values())
        elif isinstance(value, list | tuple | set):
            ahead.extend((inner, depth + 1) for inner in value)


def _owns_its_numbers(tensor: Tensor) -> bool:
    if tensor.layout is not torch.strided or tensor.device.type != "cpu":
        return False
    end = (tensor.storage_offset() + tensor.numel()) * tensor.element_size()
    return tensor.numel() == 0 or end <= tensor.untyped_storage().nbytes()


def check_outline(state: dict[str, Any]) -> None:
    """Refuse a checkpoint in which something is not of the kind that its readers take for granted.

    Raises:
        ValueError: With the first that is not.
    """
    for path, kinds in _OUTLINE.items():
        place: Any = state
        for name in path[:-1]:
            place = place.get(name, {})
        if path[-1] in place and not isinstance(place[path[-1]], kinds):
            raise ValueError(f"its {'.'.join(path)} is of the wrong kind: {type(place[path[-1]]).__name__}")
    for name in ("optimizer_states", "lr_schedulers"):
        if not all(isinstance(one, dict) for one in state.get(name, [])):
            raise ValueError(f"its {name} hold something of the wrong kind")
    for name, value in state.get("state_dict", {}).items():
        if not isinstance(value, Tensor) and not str(name).endswith("_extra_state"):
            raise ValueError(f"its state_dict.{name} is no tensor")
    # NumPy takes any position for its next number and reads there.
    generator = state[KEY].get("generators", {}).get("numpy", [None, [], 0])
    if not isinstance(generator, list | tuple) or len(generator) < 3:
        raise ValueError("its generators are of the wrong kind")
    if not isinstance(generator[2], int) or not 0 <= generator[2] <= _NUMPY_NUMBERS:
        raise ValueError(f"its generators are of the wrong kind: position {generator[2]!r}")
