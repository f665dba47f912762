"""Arrays in .npy and .npz files, which hold numbers and texts and never objects."""

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnkit.data.splits import Split, split_of_word
from nnkit.errors import UserError
from nnkit.machine.memory import total_memory
from nnkit.suggest import some_of

Array = NDArray[Any]
Role = tuple[Split, str]

# What arrays of inputs and of targets are called in a file, beside the name of their split; upper case made lower.
_ROLES = {
    "inputs": {"x", "inputs", "input", "data", "features", "images", "image", "series", "arr_0"},
    "targets": {"y", "targets", "target", "labels", "label", "classes", "values", "arr_1"},
}
_LISTED = 8
_TORCH = (".pt", ".pth", ".ckpt")


def open_arrays(path: Path, given: str) -> dict[str, Array]:
    """Return the arrays of a .npz file by name, or the one of a .npy file under "inputs", not yet read.

    Args:
        path: The file.
        given: What the user typed for it.

    Raises:
        UserError: If there is no such file, it is of another kind, damaged, or holds objects.
    """
    if not path.is_file():
        raise UserError(f"no such file: {given}")
    suffix = path.suffix.lower()
    if suffix in _TORCH:
        load = f"d = torch.load({str(given)!r}, weights_only=True)"
        command = (
            f'python -c "import numpy, torch; {load}; numpy.savez({path.stem + ".npz"!r}, x=d[0], y=d[1])"'
        )
        raise UserError(
            f"{given} is a file of torch, which may run code when it is opened; convert it where you trust it:\n"
            f"    {command}\n    (d[0] and d[1] being inputs and targets, or d['x'] and d['y'])"
        )
    if suffix not in (".npy", ".npz"):
        raise UserError(
            f"{given} is no .npy or .npz file: numpy.savez('FILE.npz', x=inputs, y=targets) writes one"
        )
    try:
        if suffix == ".npy":
            return {"inputs": _checked(np.load(path, mmap_mode="r", allow_pickle=False), given)}
        _check_size(path, given)
        with np.load(path, allow_pickle=False) as archive:
            return {name: _checked(archive[name], f"{given}, {name}") for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        if "pickle" in str(error) or "objects" in str(error):
            raise UserError(
                f"{given} holds Python objects: save arrays of numbers or texts instead"
            ) from error
        raise UserError(f"{given} cannot be read: {error}") from error


def _check_size(path: Path, given: str) -> None:
    """Refuse an archive that unpacks to more than half of the memory."""
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    check_memory(
        size, given, "save each array with numpy.save, and give data.inputs_path=X.npy data.target_path=Y.npy"
    )


def check_memory(num_bytes: int, title: str, remedy: str) -> None:
    """Refuse what takes more than half of the machine's memory.

    Raises:
        UserError: If it does.
    """
    memory = total_memory()
    if memory is not None and num_bytes > memory // 2:
        raise UserError(
            f"{title} takes {num_bytes / 1e9:.1f} GB of memory, more than half of the {memory / 1e9:.1f} GB that "
            f"there are\n    {remedy}"
        )


def _checked(array: Any, name: str) -> Array:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiubU":
        raise UserError(f"{name} holds {getattr(array, 'dtype', 'no array')}, not numbers or texts")
    return array


def role_of(name: str) -> Role | None:
    """Return the split and the role that an array is named for: ``x_train``, ``y``, ``test_images``; None if for none.

    Args:
        name: Its name in the file.
    """
    words = [word for word in re.split(r"[_\W]+", name.casefold()) if word]
    splits = [split for word in words if (split := split_of_word(word)) is not None]
    rest = "_".join(word for word in words if split_of_word(word) is None)
    role = next((role for role, names in _ROLES.items() if rest in names), None)
    return (splits[0] if splits else "train", role) if role is not None and len(splits) <= 1 else None


def arrays_by_role(arrays: dict[str, Array], title: str) -> dict[Role, Array]:
    """Return arrays by split and role ("inputs", "targets"); "train" where the name tells no split.

    Args:
        arrays: By name, from `open_arrays`.
        title: What messages call the file.

    Raises:
        UserError: If no array is named for inputs, or two for the same.
    """
    found: dict[Role, str] = {}
    for name in arrays:
        role = role_of(name)
        if role is not None and role in found:
            raise UserError(f"{title}: {found[role]!r} and {name!r} may both be the {role[1]} of {role[0]}")
        if role is not None:
            found[role] = name
    if not any(role == "inputs" for _, role in found):
        names = some_of(list(map(repr, arrays)), _LISTED)
        raise UserError(
            f"{title} holds {names}: none is named for the inputs\n"
            "    expected: x and y, or x_train, y_train, x_val, y_val, x_test, y_test; or type data.inputs=NAME "
            "data.target=NAME"
        )
    return {role: arrays[name] for role, name in found.items()}
