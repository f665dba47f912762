"""The run directory: create it once, find it again, keep its record, and read what it says about the run."""

import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from nnkit.config.migration import follow
from nnkit.errors import EnvironmentFault, UserError
from nnkit.files import atomic, locks
from nnkit.files.git import commit
from nnkit.files.json_limits import parse_json, read_json
from nnkit.files.layout import CHECKPOINTS, CONFIG, METRICS, PREPROCESSING, RECORD
from nnkit.files.paths import check_file, expand
from nnkit.machine.cores import cores, processor
from nnkit.runs.saved_settings import read_settings


def now() -> str:
    """Return the present time in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Run:
    """One run directory.

    Args:
        path: The directory, which exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, output_dir: Path, label: str, name: str | None = None) -> "Run":
        """Make a directory that no other run shares.

        Args:
            output_dir: Parent of all runs.
            label: MODEL-DATA, the folder of runs without a name.
            name: The user's own name for it.

        Raises:
            UserError: If a run of this name exists, or output_dir is a file.
            EnvironmentFault: If the directory cannot be made.
        """
        stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        path = output_dir / name if name else output_dir / label / f"{stamp}-{secrets.token_hex(2)}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(exist_ok=cls(path).is_shell())
            atomic.make_directory(path)
        except FileExistsError as error:
            if not path.is_dir():
                raise UserError(f"output_dir: {error.filename} is a file, a directory is needed") from error
            raise UserError(exists_already(path)) from error
        except NotADirectoryError as error:
            raise UserError(
                f"output_dir: {output_dir} leads through a file, a directory is needed"
            ) from error
        except OSError as error:
            raise EnvironmentFault(f"{path} cannot be created: {error.strerror}") from error
        return cls(path)

    def is_shell(self) -> bool:
        """Return whether the directory holds no more than what a start that was killed leaves behind."""
        if not self.path.is_dir() or self.held():
            return False
        left = {locks.LOCK, RECORD, PREPROCESSING}
        names = {entry.name.removesuffix(atomic.TEMPORARY) for entry in self.path.iterdir()}
        return names <= {*left, CONFIG} and not (self.path / CONFIG).exists()

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints stand."""
        return self.path / CHECKPOINTS

    def record(self) -> dict[str, Any]:
        """Return what run.json says; empty where it is missing or garbled."""
        try:
            record = read_json(self.path / RECORD)
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def resumptions(self, record: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return when, where and with what changes the run was resumed; unknown facts are empty.

        Args:
            record: What run.json says, where it was read already.
        """
        notes = (self.record() if record is None else record).get("resumed")
        known = (
            [note if isinstance(note, dict) else {"time": note} for note in notes]
            if isinstance(notes, list)
            else []
        )
        return [{"time": None, "step": None, "changes": [], "allowed": [], **note} for note in known]

    def update(self, **fields: Any) -> None:
        """Set fields of run.json."""
        atomic.write_json(self.path / RECORD, {**self.record(), **fields})

    def status(self, record: Mapping[str, Any] | None = None) -> str:
        """Return the status; a run that is recorded as running while no process holds its lock was killed.

        Args:
            record: What run.json says, where it was read already.
        """
        status = str((self.record() if record is None else record).get("status", "unknown"))
        return "killed" if status == "running" and not self.held() else status

    def choices(self, record: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the option of each group, as far as the record says it in a way that a config could.

        Args:
            record: What run.json says, where it was read already.
        """
        known = (self.record() if record is None else record).get("choices")
        choices = known if isinstance(known, dict) else {}
        kinds = (str, list, type(None))
        sound = {"model", "data"} <= choices.keys() and all(
            isinstance(one, kinds) for one in choices.values()
        )
        return choices if sound else {}

    def settings(self) -> dict[str, Any]:
        """Return the saved config by dotted key, references as text; empty where the file is lost or garbled."""
        return read_settings(self.path / CONFIG)

    def preprocessing(self) -> dict[str, Any]:
        """Return what the data module learnt.

        Raises:
            UserError: If the file is missing or garbled.
        """
        try:
            learnt = read_json(self.path / PREPROCESSING)
        except (OSError, ValueError) as error:
            raise UserError(f"{self.path / PREPROCESSING} cannot be read: {error}") from error
        if not isinstance(learnt, dict):
            raise UserError(f"{self.path / PREPROCESSING} holds no keys")
        return learnt

    def directory(self) -> Path | None:
        """Return the working directory of the command that began the run, below which its relative paths lead."""
        known = self.record().get("directory")
        return Path(known) if isinstance(known, str) else None

    def refuse_links(self) -> None:
        """Refuse a directory that holds a link out of it: what a logger writes would follow it to any file.

        Raises:
            UserError: With the first of them.
        """
        inside = self.path.resolve()
        for folder, folders, names in os.walk(self.path):
            if Path(folder) == self.path / "wandb":
                # W&B links to logs of its own from the folders of its runs; none is written to again.
                folders.clear()
            for path in (Path(folder) / name for name in (*folders, *names)):
                if path.is_symlink() and not path.resolve().is_relative_to(inside):
                    raise UserError(
                        f"{path} is a link that leads out of the run: delete it, or put in its place what it leads to"
                    )

    def locked(self) -> AbstractContextManager[None]:
        """Hold the directory for this process alone.

        Raises:
            UserError: If another process holds it, naming its process id.
            EnvironmentFault: If the lock file cannot be written.
        """
        return locks.locked(
            self.path, lambda: f"{self.path} is in use by process {self.record().get('pid', '?')}"
        )

    def held(self) -> bool:
        """Return whether a process holds the directory."""
        return locks.is_held(self.path)


def exists_already(path: Path) -> str:
    """Return the sentence that a run of this name exists, and what to type instead."""
    return (
        f"name: {path} exists already\n    continue it with: nnkit resume {path}\n    or choose another name="
    )


@cache
def versions() -> Mapping[str, str]:
    """Return the versions on which the bits of a run depend."""
    from importlib.metadata import version

    from nnkit import __version__

    packages = ("torch", "lightning", "hydra-core", "numpy")
    return {"nnkit": __version__, **{package: version(package) for package in packages}}


def cpu_capability() -> str:
    """Return the vector instructions torch computes with, such as "AVX512": others sum in another order."""
    import torch

    return str(torch.backends.cpu.get_cpu_capability())


def start_record() -> dict[str, Any]:
    """Return the facts known when a run starts: command and where it was typed, process, versions, git commit."""
    return {
        "status": "running",
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "directory": str(Path.cwd()),
        "pid": os.getpid(),
        "start": now(),
        "end": None,
        "python": sys.version.split()[0],
        "versions": versions(),
        "cpu_capability": cpu_capability(),
        "processor": processor(),
        "cores": cores(),
        "git": commit(Path.cwd()),
    }


def all_runs(output_dir: Path) -> list[Run]:
    """Return the runs below a directory, the latest start last."""
    found = {
        path.parent for pattern in ("*", "*/*", "*/*/*") for path in output_dir.glob(f"{pattern}/{CONFIG}")
    }
    runs = [Run(path) for path in found]
    return sorted(runs, key=lambda run: (str(run.record().get("start", "")), run.path.name))


# What a directory of Hugging Face has, and no run.
_PUBLISHED = "config.json"
# What files end with that `nnkit export` writes.
_EXPORTED = (".onnx", ".pt2", ".safetensors")


def find_run(spec: str, output_dir: Path = Path("outputs")) -> Run:
    """Find a run by directory, unique prefix, or the word `last`.

    Raises:
        UserError: If nothing or more than one run fits.
    """
    path = expand(spec)
    if (path / CONFIG).is_file():
        return Run(path)
    if (path / _PUBLISHED).is_file():
        raise UserError(
            f"{spec} is a published model, and a run is needed\n"
            f"    nnkit train model=... data=... init_from={spec} makes a run of it"
        )
    if path.is_file() and path.suffix.lower() in _EXPORTED:
        takes = f"; nnkit predict {spec} ITEM... takes the file" if path.suffix.lower() == ".onnx" else ""
        raise UserError(
            f"{spec} is a file, and the run that it was exported from is needed\n"
            f"    nnkit runs lists the runs{takes}"
        )
    runs = all_runs(output_dir)
    if not runs:
        raise UserError(
            f"no run {spec!r}: there are no runs below {output_dir}/\n    start one with: nnkit train"
        )
    if spec == "last":
        return runs[-1]
    names = {str(run.path.relative_to(output_dir)): run for run in runs}
    fits = [name for name in names if name.startswith(spec) or Path(name).name.startswith(spec)]
    exact = [name for name in fits if spec in (name, Path(name).name)]
    fits = exact or fits
    if len(fits) == 1:
        return names[fits[0]]
    if not fits:
        latest = "\n    ".join(list(names)[-5:])
        raise UserError(f"no run {spec!r} below {output_dir}/; the latest are\n    {latest}")
    raise UserError(
        f"{spec!r} fits {len(fits)} runs, type more of the name:\n    " + "\n    ".join(fits[:10])
    )


# A line of metrics.jsonl is far shorter; enough of the end to hold the last validation.
_TAIL_BYTES = 1 << 16
# What can be written as a float; not a number is smaller than nothing.
_LARGEST = 1e300


def describe(run: Run, output_dir: Path, record: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what a run's directory says about it, as plain data.

    Args:
        run: The run.
        output_dir: Where runs are looked for; `name` is relative to it.
        record: What run.json says, where it was read already.

    Returns:
        `metrics` has those of the test and the best validation score, or those of the latest validation if
        the run has not ended; `seconds` is None where nothing says how long the run took.
    """
    record = run.record() if record is None else record
    choices = _mapping(record.get("choices"))
    status = run.status(record)
    metrics = _numbers(record.get("metrics")) or _last_validation(run.path / METRICS)
    return {
        "name": str(run.path.relative_to(output_dir)),
        "path": str(run.path),
        "status": status,
        "start": record.get("start"),
        "end": record.get("end"),
        "seconds": _seconds(run, status, record),
        "step": record.get("step"),
        "seed": record.get("seed"),
        "model": model_name(choices, record.get("init_from")),
        "data": choices.get("data"),
        "monitor": _monitor(run, metrics),
        "metrics": metrics,
        "better": {
            name: way for name, way in _mapping(record.get("better")).items() if way in ("max", "min")
        },
        "error": record.get("error"),
    }


def model_name(choices: Mapping[str, Any], begun: object) -> str | None:
    """Return what is trained: the option of `model=`, or the model type where a directory of Hugging Face decides.

    Args:
        choices: The option of each group.
        begun: `init_from` of the record, what the weights began as.
    """
    # Its size and kind are those of the directory, whatever the option would have had.
    kind = _mapping(begun).get("model_type")
    return kind if isinstance(kind, str) else choices.get("model")


def _mapping(value: object) -> dict[str, Any]:
    """Return a value of a file that anyone may have written; empty where it is no mapping."""
    return value if isinstance(value, dict) else {}


def _numbers(value: object) -> dict[str, float]:
    return {
        name: one
        for name, one in _mapping(value).items()
        if type(one) in (int, float) and abs(one) < _LARGEST
    }


def _seconds(run: Run, status: str, record: Mapping[str, Any]) -> float | None:
    """Return how long the run took since it was started or last resumed."""
    starts = [record.get("start"), *(note["time"] for note in run.resumptions(record))]
    begun = point_in_time(starts[-1])
    ended = datetime.now(UTC) if status == "running" else point_in_time(record.get("end"))
    return None if begun is None or ended is None else round((ended - begun).total_seconds(), 3)


def point_in_time(text: object) -> datetime | None:
    """Return a point in time; None for what is none, or for one that no clock of ours has shown."""
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return time if time.tzinfo is not None and 1970 < time.year < 9999 else None


def _monitor(run: Run, metrics: dict[str, float]) -> str | None:
    """Return the name of the monitored metric, from the config only where the metrics do not tell."""
    validated = [name for name in metrics if name.startswith("val/")]
    if len(validated) <= 1:
        return validated[0] if validated else None
    settings = run.settings()
    found = follow(settings, settings.get("monitor"))
    return found if isinstance(found, str) else None


def _last_validation(path: Path) -> dict[str, float]:
    try:
        # To open a pipe would be to wait for its writer.
        check_file(path)
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - _TAIL_BYTES, 0))
            lines = file.read().splitlines()
    except (OSError, ValueError):
        return {}
    for line in reversed(lines):
        try:
            row = parse_json(line)
        except ValueError:
            # The first line of the tail, or one that is being written.
            continue
        if isinstance(row, dict) and row.get("split") == "val":
            return {name: value for name, value in _numbers(row).items() if name.startswith("val/")}
    return {}
