"""The files of a directory, as data: bounded JSON, and tensors whose headers are checked."""

import hashlib
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from nnkit.errors import ConfigError, Problem, UserError
from nnkit.files.json_limits import MAX_BYTES, MAX_VALUES, check_cost, parse_json
from nnkit.files.paths import check_file
from nnkit.files.tensor_files import LENGTH_BYTES, check_header
from nnkit.suggest import some_of
from nnkit.ui import report

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
# What other files of weights end with; torch's are pickles, which are programs.
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# Keys that name code for the loading program to fetch and run, and weights in integers.
_CODE: Final = ("auto_map", "trust_remote_code", "custom_pipelines")
# How many batches a normalisation has seen; other whole numbers and truth values beside the weights are not read.
_COUNTER: Final = ".num_batches_tracked"
_BESIDE: Final = ("position_ids", ".attn.bias")
# Characters of a sentence, and values of a vocabulary with its merges.
_LONGEST: Final = 1_200
MANY_VALUES: Final = 4 * MAX_VALUES
_FLOATS: Final = ("F64", "F32", "F16", "BF16")


def refused(path: Path, text: str, hint: str = "") -> ConfigError:
    """Return the error that a directory or one of its files is refused with; what it quotes may have any length."""
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return ConfigError([Problem("init_from", f"{report.shorten(path)}: {text}", hint)])


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a file is read into a refusal of it."""
    try:
        yield
    except ConfigError:
        raise
    except UserError as error:
        raise refused(path, str(error)) from error
    # The library's own errors tell which claim of a header is false; torch answers a few of its claims.
    except (OSError, ValueError, SafetensorError, RuntimeError, OverflowError) as error:
        raise refused(path, f"cannot be read: {error or type(error).__name__}") from error


def read_object(path: Path, most: int = MAX_VALUES) -> dict[str, Any]:
    """Read a JSON file that holds an object and asks for no code.

    Args:
        path: The file.
        most: Values that it may hold.

    Raises:
        ConfigError: If it is anything else.
    """
    with refusing(path):
        check_file(path, MAX_BYTES)
        data = path.read_bytes()
        check_cost(data, most)
        content = parse_json(data)
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}, and an object was expected")
    code = [key for key in _CODE if content.get(key)]
    if code:
        text = f"{code[0]} asks for code of its own to be run, and nothing of a directory is run"
        raise refused(path, text, "name a model of a type that nnkit has, without such code")
    return content


class Weights:
    """The tensors of a directory, in model.safetensors or in the files that its index lists.

    Args:
        folder: The directory.

    Raises:
        ConfigError: If there are none, a file is missing or no file of tensors, or they are no floating-point numbers.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shapes: dict[str, torch.Size] = {}
        self._files: dict[str, Path] = {}
        listed = self._listed()
        for path in sorted({*listed.values()} if listed else {folder / WEIGHTS}):
            self._look_at(path)
        strangers = listed.keys() ^ self.shapes.keys() if listed else ()
        if strangers:
            text = f"it and the files that it lists do not agree on {some_of(sorted(strangers), 3)}"
            raise refused(folder / INDEX, text, "fetch the directory again, with all its files")

    def _listed(self) -> dict[str, Path]:
        """Return the file of each tensor by the index; nothing where there is one file without an index."""
        path = self.folder / INDEX
        if (self.folder / WEIGHTS).exists():
            return {}
        if not path.exists():
            raise self._without_weights()
        places = read_object(path).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise refused(path, "its weight_map must name the file of each tensor")
        for place in places.values():
            if not isinstance(place, str) or place != Path(place).name or place in ("", ".", ".."):
                raise refused(path, f"{place!r} is not the name of a file in this directory")
        with refusing(path):
            missing = sorted({place for place in places.values() if not (self.folder / place).exists()})
        if missing:
            text = f"lists {some_of(missing, 3)}, and the directory has no such file"
            raise refused(path, text, "fetch the directory again, with all its files")
        return {name: self.folder / place for name, place in places.items()}

    def _without_weights(self) -> ConfigError:
        found = sorted(path for path in self.folder.iterdir() if path.suffix in _PICKLES)
        if not found:
            return refused(self.folder, f"has neither {WEIGHTS} nor {INDEX}, so no weights")
        code = (
            "import sys, torch, safetensors.torch as s; s.save_file({name: tensor.clone() for path in sys.argv[2:] "
            'for name, tensor in torch.load(path, map_location="cpu", weights_only=True).items()}, sys.argv[1])'
        )
        words = ["python", "-c", code, str(self.folder / WEIGHTS), *map(str, found)]
        text = f"{found[0].name} is a pickle, a program that could do anything; {WEIGHTS} holds tensors only"
        return refused(self.folder, text, f"this makes one of it: {shlex.join(words)}")

    def _look_at(self, path: Path) -> None:
        """Note the names and shapes of a file of tensors."""
        with refusing(path):
            check_file(path)
            size = path.stat().st_size
            with path.open("rb") as file:
                start = file.read(LENGTH_BYTES)
                start += file.read(min(int.from_bytes(start, "little"), size))
            check_header(start, size)
            with safe_open(path, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118, it is no mapping
                    part = opened.get_slice(name)
                    if part.get_dtype() in _FLOATS or name.endswith(_COUNTER):
                        self.shapes[name] = torch.Size(part.get_shape())
                        self._files[name] = path
                    elif not name.endswith(_BESIDE):
                        raise ValueError(
                            f"{name} holds {part.get_dtype()}, and weights are floating-point numbers"
                        )

    def load(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Return tensors by name, as float32.

        Raises:
            ConfigError: If a file cannot be read, or a number is not finite.
        """
        found: dict[str, Tensor] = {}
        by_file: dict[Path, list[str]] = {}
        for name in names:
            by_file.setdefault(self._files[name], []).append(name)
        for path, here in by_file.items():
            with refusing(path), safe_open(path, "pt") as opened:
                for name in here:
                    tensor = opened.get_tensor(name)
                    found[name] = tensor if name.endswith(_COUNTER) else tensor.float()
                    # A sum is finite only if all of its terms are; one that overflows is looked at again.
                    if not found[name].sum().isfinite() and not found[name].isfinite().all():
                        raise ValueError(f"{name} holds numbers that are not finite")
        return found

    def hashes(self) -> dict[str, str]:
        """Return the SHA-256 of each file of weights."""
        hashes = {}
        for path in sorted({*self._files.values()}):
            with refusing(path), path.open("rb") as file:
                hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
        return hashes
