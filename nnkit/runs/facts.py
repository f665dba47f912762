"""What the directory of a run says about it, as plain data; nothing of it is executed."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from nnkit.config.references import follow
from nnkit.errors import NnkitError
from nnkit.files.json_limits import parse_json
from nnkit.files.layout import CONFIG, METRICS
from nnkit.files.paths import check_file
from nnkit.files.yaml_limits import read_yaml
from nnkit.runs.run import Run

# A line of metrics.jsonl is far shorter; enough of the end to hold the last validation.
_TAIL_BYTES = 1 << 16
# What can be written as a float; not a number is smaller than nothing.
_LARGEST = 1e300


def describe(run: Run, output_dir: Path) -> dict[str, Any]:
    """Return what a run's directory says about it, as plain data.

    Args:
        run: The run.
        output_dir: Where runs are looked for; `name` is relative to it.

    Returns:
        `metrics` has those of the test and the best validation score, or those of the latest validation if
        the run has not ended; `seconds` is None where nothing says how long the run took.
    """
    record = run.record()
    choices = _mapping(record.get("choices"))
    status = run.status()
    metrics = _numbers(record.get("metrics")) or _last_validation(run.path / METRICS)
    return {
        "name": str(run.path.relative_to(output_dir)),
        "path": str(run.path),
        "status": status,
        "start": record.get("start"),
        "end": record.get("end"),
        "seconds": _seconds(run, status),
        "step": record.get("step"),
        "seed": record.get("seed"),
        "model": choices.get("model"),
        "data": choices.get("data"),
        "monitor": _monitor(run, metrics),
        "metrics": metrics,
        "better": {
            name: way for name, way in _mapping(record.get("better")).items() if way in ("max", "min")
        },
        "error": record.get("error"),
    }


def _mapping(value: object) -> dict[str, Any]:
    """Return what stands in a file that anyone may have written, empty where it is no mapping."""
    return value if isinstance(value, dict) else {}


def _numbers(value: object) -> dict[str, float]:
    return {
        name: one
        for name, one in _mapping(value).items()
        if type(one) in (int, float) and abs(one) < _LARGEST
    }


def _seconds(run: Run, status: str) -> float | None:
    """Return how long the run took since it was started or last resumed."""
    record = run.record()
    starts = [record.get("start"), *(note["time"] for note in run.resumptions())]
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
    try:
        text = read_yaml(run.path / CONFIG, CONFIG)
        config = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return str(follow({"task.monitor": config["task"]["monitor"]}, config["monitor"]))
    except (OSError, ValueError, NnkitError, yaml.YAMLError, KeyError, TypeError):
        # A run with a damaged config is listed all the same.
        return None


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
