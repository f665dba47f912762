"""What was measured of a training on this machine, kept in the cache so that the next run need not measure again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from nnkit import config as configs
from nnkit.data import cache
from nnkit.errors import EnvironmentFault
from nnkit.files import atomic
from nnkit.files.json_limits import read_json
from nnkit.machine.cores import processor
from nnkit.runs.choosing import Figure, Way
from nnkit.runs.run import cpu_capability, versions

if TYPE_CHECKING:
    from omegaconf import DictConfig

Figures = dict[Way, Figure]

_FILE = "measured.json"
# Keys of the data that change nothing about a step.
_PLACES = ("seed", "root", "path", "num_workers", "max_epochs", "val_fraction", "test_fraction", "verify")
_TRAINER = ("accelerator", "accumulate_grad_batches", "gradient_clip_algorithm", "activation_checkpointing")


def key_of(config: DictConfig, device: str, processes: int) -> dict[str, Any]:
    """Return what the times of a step depend on: machine, versions, network and data, as plain data.

    Neither the seed nor a rate is among it, so that the trials of a sweep over these share what was measured.

    Args:
        config: A composed config, facts and threads filled in.
        device: "cuda", "mps" or "cpu".
        processes: How many train together.
    """
    plain = configs.plain(config)
    optimizer = {
        name: value for name, value in plain["optimizer"].items() if isinstance(value, bool | str | None)
    }
    data = {
        name: value
        for name, value in plain["data"].items()
        if name not in _PLACES and not name.endswith("_path")
    }
    trainer = {name: plain["trainer"].get(name) for name in _TRAINER}
    asked = {name: plain["trainer"][name] for name in ("precision", "matmul_precision", "num_threads")}
    parts = {name: plain.get(name) for name in ("model", "head", "task", "loss", "adapter", "freeze")}
    return {
        "processor": processor(),
        "instructions": cpu_capability(),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "processes": processes,
        "versions": {name: versions()[name] for name in ("nnkit", "torch")},
        "trainer": {**trainer, **asked, "clips": bool(plain["trainer"].get("gradient_clip_val"))},
        "optimizer": optimizer,
        "data": data,
        **parts,
    }


class KeptFigures:
    """The figures of one key, in a file of the cache.

    Args:
        key: From `key_of`.

    Attributes:
        path: The file.
    """

    def __init__(self, key: Mapping[str, Any]) -> None:
        self._key: Any = json.loads(json.dumps(key))
        digest = hashlib.sha256(atomic.canonical(self._key)).hexdigest()[:16]
        self.path = cache.cache_dir() / "fastest" / digest / _FILE

    def read(self) -> Figures:
        """Return the figures; empty where there are none, or the file is damaged or was made for another key."""
        try:
            content = read_json(self.path)
            if content["key"] != self._key:
                return {}
            return {Way(**one["way"]): Figure.parse(one["figure"]) for one in content["figures"]}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def write(self, figures: Figures) -> None:
        """Keep figures.

        Raises:
            EnvironmentFault: If the cache cannot be written.
        """
        content = {
            "key": self._key,
            "figures": [{"way": asdict(way), "figure": asdict(one)} for way, one in figures.items()],
        }
        with cache.explained(self.path), cache.replacing(self.path) as temporary:
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the file, so that of several processes one measures; yield whether the cache can be written."""
        holding = cache.locked(self.path.parent)
        try:
            holding.__enter__()
        except EnvironmentFault:
            yield False
            return
        try:
            yield True
        finally:
            holding.__exit__(None, None, None)
