"""A run of nnkit as `kill_loop.py` kills it: by the library's own train and resume."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kill_loop_core import Subject

import nnkit
from nnkit.checkpoint.compare import differences
from nnkit.checkpoint.formats import KEY
from nnkit.checkpoint.store import INDEX, CheckpointStore
from nnkit.files.atomic import TEMPORARY
from nnkit.files.layout import CONFIG, METRICS
from nnkit.runs.run import Run


class Outcome(NamedTuple):
    """What a run leaves behind.

    Attributes:
        states: The last and the best checkpoint whole, by "last" and "best".
        index: What index.json says is the best and the last checkpoint.
        names: The files in the directory of checkpoints.
        litter: Temporaries, and checkpoints without a manifest or the other way round.
        lines: The lines of metrics.jsonl, the test's included.
        metrics: What run.json says the run ended with.
    """

    states: dict[str, Any]
    index: dict[str, Any]
    names: list[str]
    litter: list[str]
    lines: list[str]
    metrics: dict[str, Any]


class NnkitRun(Subject):
    """One config of nnkit.

    Args:
        name: What the table calls it.
        words: The words after ``nnkit train``.
    """

    def __init__(self, name: str, words: Sequence[str]) -> None:
        self.name = name
        self.words = list(words)

    def go_on(self, path: Path) -> None:
        """Train, or resume once there is a config, which is what a directory needs to be a run."""
        if (path / CONFIG).is_file():
            from nnkit.runs.resuming import resume

            resume(str(path), show=False)
        else:
            nnkit.train([*self.words, f"name={path.name}", f"output_dir={path.parent}"])

    def is_over(self, path: Path) -> bool:
        """Return whether run.json says so."""
        return Run(path).record().get("status") == "done"

    def step(self, path: Path) -> int:
        """Return the step of the newest checkpoint."""
        manifests = CheckpointStore(Run(path).checkpoints).manifests()
        return manifests[0].step if manifests else 0

    def place(self, path: Path, pid: int, steps: int) -> str:
        """Return it, judged by the files of the directory."""
        run = Run(path)
        record = run.record()
        if record.get("status") == "done":
            return "after the end"
        if record.get("pid") != pid or not (path / CONFIG).is_file():
            return "start-up"
        if _litter(path):
            return "during a save"
        if not CheckpointStore(run.checkpoints).manifests():
            return "before the first checkpoint"
        return "end and test" if self.step(path) == steps else "training, validation"

    def result(self, path: Path) -> Outcome:
        """Return both checkpoints, the log and the metrics; the config goes, as it holds the directory's name."""
        store, states = CheckpointStore(Run(path).checkpoints), {}
        for which in ("last", "best"):
            manifest, state = store.load(which)
            del state[KEY]["config"]
            states[which] = {"name": manifest.name, "best": manifest.best, "score": manifest.score, **state}
        index = json.loads((store.directory / INDEX).read_text())
        metrics = Run(path).record().get("metrics") or {}
        names = sorted(file.name for file in store.directory.iterdir())
        return Outcome(states, index, names, _litter(path), _lines(path), metrics)

    def differences(self, expected: Outcome, found: Outcome) -> list[str]:
        """Compare with tolerance 0."""
        return list(differences(expected._asdict(), found._asdict()))


def _litter(path: Path) -> list[str]:
    """Return the names of what a save that was cut short leaves behind."""
    files = [*path.glob("*"), *Run(path).checkpoints.glob("*")]
    names = [file.name for file in files if file.name.endswith(TEMPORARY)]
    found = Counter(
        file.name.partition(".")[0] for file in Run(path).checkpoints.glob("step-*") if file.name not in names
    )
    return sorted([*names, *(stem for stem, count in found.items() if count != 3)])


def _lines(path: Path) -> list[str]:
    return (path / METRICS).read_text().splitlines() if (path / METRICS).exists() else []
