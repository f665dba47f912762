"""A run of nnkit as `kill_loop.py` kills it: by the library's own train and resume."""

import json
import os
import socket
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kill_loop_core import Subject

import nnkit
from nnkit.checkpoint.compare import differences
from nnkit.checkpoint.formats import KEY
from nnkit.checkpoint.store import INDEX, CheckpointStore
from nnkit.errors import NnkitError
from nnkit.files.atomic import TEMPORARY
from nnkit.files.layout import CONFIG, METRICS
from nnkit.runs.run import Run

# The file that names the other processes of a run.
_PIDS = "processes.txt"
# Seconds within which these must have ended once one was killed.
_MOST = 30.0


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
        processes: How many train together. One of them, drawn anew for each attempt, is the one that is killed; the
            others must leave by themselves.
    """

    def __init__(self, name: str, words: Sequence[str], processes: int = 1) -> None:
        self.name = name
        self.words = [*words, *([f"trainer.devices={processes}"] if processes > 1 else [])]
        self.processes = processes

    def go_on(self, path: Path) -> None:
        """Train, or resume once there is a config, which is what a directory needs to be a run."""
        if self.processes == 1:
            self._train(path)
            return
        await_end(path.parent / _PIDS)
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        own = os.getpid() % self.processes
        children = [self._copy(path, rank, port) for rank in range(self.processes) if rank != own]
        (path.parent / _PIDS).write_text(" ".join(map(str, children)))
        self._take_part(path, own, port)
        for child in children:
            if status := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
                raise RuntimeError(f"another process of the run ended with {status}")

    def _copy(self, path: Path, rank: int, port: int) -> int:
        """Copy this process to be another one of the run, and return its number."""
        if child := os.fork():
            return child
        code = 1
        try:
            self._take_part(path, rank, port)
            code = 0
        except NnkitError as error:
            code = error.exit_code
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _take_part(self, path: Path, rank: int, port: int) -> None:
        """Train in one of several processes, as if torchrun had started it."""
        known = {
            "WORLD_SIZE": self.processes,
            "LOCAL_WORLD_SIZE": self.processes,
            "RANK": rank,
            "LOCAL_RANK": rank,
        }
        os.environ.update({name: str(value) for name, value in known.items()})
        os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)})
        self._train(path)

    def _train(self, path: Path) -> None:
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
        if (record.get("pid") != pid and self.processes == 1) or not (path / CONFIG).is_file():
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


def await_end(pids: Path) -> None:
    """Wait until the processes named in a file have ended.

    Raises:
        TimeoutError: If one lives longer than it may.
    """
    late = time.monotonic() + _MOST
    left = [int(pid) for pid in pids.read_text().split()] if pids.exists() else []
    while left := [pid for pid in left if _is_alive(pid)]:
        if time.monotonic() > late:
            raise TimeoutError(
                f"processes {left} still live {_MOST:.0f} s after another one of their run was killed"
            )
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        # What is dead and not yet buried by the system's first process has no memory.
        return "VmSize" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


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
