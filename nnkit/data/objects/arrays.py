"""Arrays in NumPy files of the user's: inputs of any one shape, with a target each."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from nnkit.data.base import Split
from nnkit.data.cache import remembered_sha256
from nnkit.data.download.sources import fingerprint
from nnkit.data.objects.base import Array, ArrayData, Pairs, join_splits
from nnkit.data.objects.files import Role, arrays_by_role, open_arrays
from nnkit.data.splits import SPLITS
from nnkit.errors import ConfigError, Problem
from nnkit.files.paths import expand
from nnkit.suggest import absent

_logger = logging.getLogger("nnkit")


@dataclass(kw_only=True, eq=False)
class Arrays(ArrayData):
    """Inputs and targets in a .npz file, or in a .npy file each.

    A .npz file holds x and y, or x_train, y_train and the like for splits of its own; usual other names are known.

    Attributes:
        path: The .npz file.
        inputs: Name of the array of inputs in it; None: found by usual names.
        target: Name of the array of targets in it.
        inputs_path: The .npy file of inputs, instead of `path`.
        target_path: The .npy file of targets.

    Raises:
        ValueError: If no file is named, or an option is out of range.
    """

    path: str | None = None
    inputs: str | None = None
    target: str | None = None
    inputs_path: str | None = None
    target_path: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.path) == bool(self.inputs_path) or bool(self.path) == bool(self.target_path):
            files = "data.inputs_path=X.npy data.target_path=Y.npy"
            raise ValueError(f"path must name a .npz file: data.path=FILE.npz; or two .npy files: {files}")
        if (self.inputs is None) != (self.target is None):
            raise ValueError("inputs and target go together: give both or none of them")

    def open(self) -> Pairs:
        """Open the files.

        Raises:
            UserError: If they cannot be read, or inputs and targets do not go together.
            ConfigError: If an array that was named is not there.
        """
        paths = [path for path in (self.path, self.inputs_path, self.target_path) if path]
        found = [open_arrays(expand(path), path) for path in paths]
        if not self.path:
            chosen = [next(iter(arrays.values())) for arrays in found]
            roles: dict[Role, Array] = {("train", "inputs"): chosen[0], ("train", "targets"): chosen[1]}
        else:
            roles = self._named(found[0]) if self.inputs else arrays_by_role(found[0], self.path)
        hashes = [remembered_sha256(expand(path)) for path in paths]
        inputs, targets, settled = join_splits(self._with_targets(roles), paths[0])
        return Pairs(paths[0], inputs, targets, settled, hashes[0] if self.path else fingerprint(hashes))

    def _named(self, arrays: Mapping[str, Array]) -> dict[Role, Array]:
        chosen = {"inputs": str(self.inputs), "target": str(self.target)}
        problems = [
            absent(f"data.{key}", str(self.path), name, list(arrays), noun="array")
            for key, name in chosen.items()
            if name not in arrays
        ]
        if problems:
            raise ConfigError(problems)
        return {("train", "inputs"): arrays[chosen["inputs"]], ("train", "targets"): arrays[chosen["target"]]}

    def roles_in(self, arrays: dict[str, Array], title: str) -> dict[Role, Array]:
        """Return arrays by what each is: by the names that the user gave for training, where the file has them."""
        if self.inputs not in arrays:
            return super().roles_in(arrays, title)
        named = {"inputs": self.inputs, "targets": str(self.target)}
        return {("train", role): arrays[name] for role, name in named.items() if name in arrays}

    def _with_targets(self, roles: Mapping[Role, Array]) -> dict[Split, tuple[Array, Array]]:
        """Return inputs and targets of each split; one without targets is left out."""
        if ("train", "targets") not in roles or ("train", "inputs") not in roles:
            text = f"{self.path} holds no inputs and targets to train on"
            raise ConfigError(
                [Problem("data.path", text, "name them x and y, or type data.inputs=NAME data.target=NAME")]
            )
        parts: dict[Split, tuple[Array, Array]] = {}
        for split in SPLITS:
            inputs, targets = roles.get((split, "inputs")), roles.get((split, "targets"))
            if inputs is not None and targets is not None:
                parts[split] = inputs, targets
            elif (inputs is not None or targets is not None) and self.is_new:
                has, lacks = ("inputs", "targets") if targets is None else ("targets", "inputs")
                _logger.warning(
                    "%s: the %s split has %s and no %s; it is left out", self.path, split, has, lacks
                )
        return parts
