"""The JSON file beside an exported network: how its inputs are made, and what its outputs mean."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnkit import __version__
from nnkit import config as configs
from nnkit.errors import UserError
from nnkit.files import atomic
from nnkit.files.json_limits import read_json
from nnkit.files.paths import check_file
from nnkit.ui import report

if TYPE_CHECKING:
    from omegaconf import DictConfig

_FORMAT, _VERSION = "nnkit export", 1


@dataclass(frozen=True)
class Description:
    """What is known of an exported network besides its weights.

    Attributes:
        choices: The option chosen in each group.
        config: The run's config.
        preprocessing: What the data module learnt: class names, statistics of pictures, columns, tokenizer.
        arrays: What the file takes and returns, for readers: sizes by name, a text for each that may vary.
    """

    choices: dict[str, Any]
    config: DictConfig
    preprocessing: dict[str, Any]
    arrays: dict[str, dict[str, list[int | str]]]

    def to_json(self, content: bytes) -> bytes:
        """Return the JSON text that belongs to a file.

        Args:
            content: The bytes of the file, whose hash is written down.
        """
        plain = {
            "format": _FORMAT,
            "version": _VERSION,
            "nnkit": __version__,
            "sha256": atomic.sha256(content),
            **self.arrays,
            "choices": self.choices,
            "preprocessing": self.preprocessing,
            # With its references, so that no secret is written out.
            "config": configs.to_yaml(self.config),
        }
        return (json.dumps(plain, indent=1, ensure_ascii=False) + "\n").encode()


def beside(path: Path) -> Path:
    """Return where the description of a file is."""
    return path.with_name(f"{path.name}.json")


def read_described(path: Path) -> tuple[bytes, Description]:
    """Read an exported file and its description; nothing in them is trusted.

    Args:
        path: The file.

    Returns:
        The bytes of the file, which are those that the description was written for, and the description.

    Raises:
        UserError: If one of both is missing or garbled, or they do not belong together.
        ConfigError: If the config is refused.
    """
    place = beside(path)
    shown = report.shorten(path)
    try:
        check_file(path)
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(f"{shown} cannot be read: {error}") from error
    try:
        known = read_json(place)
        _check(known)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{report.shorten(place)}, which nnkit export writes beside {path.name}, cannot be read: {error}"
        ) from error
    if known["sha256"] != atomic.sha256(content):
        raise UserError(
            f"{report.shorten(place)} was written for another file than {shown}: its SHA-256 is another one\n"
            "    export the run again: nnkit export RUN --format onnx"
        )
    config = configs.from_yaml(known["config"])
    return content, Description(known["choices"], config, known["preprocessing"], {})


def _check(known: Any) -> None:
    if not isinstance(known, dict) or known.get("format") != _FORMAT:
        raise ValueError(f"it does not say that its format is {_FORMAT!r}")
    if known.get("version") != _VERSION:
        raise ValueError(f"its version is {known.get('version')!r}, and {_VERSION} is what can be read")
    kinds = {"sha256": str, "config": str, "choices": dict, "preprocessing": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(known.get(name), kind)]
    if wrong:
        raise ValueError(f"its {wrong[0]} is missing or of another kind")
