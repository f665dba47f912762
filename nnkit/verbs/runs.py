"""`nnkit runs`: the runs below outputs/ and how they went."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from nnkit.checkpoint.json_limits import parse_json
from nnkit.errors import NnkitError
from nnkit.paths import check_file
from nnkit.references import follow
from nnkit.run import CONFIG, METRICS, Run, all_runs
from nnkit.terminal import duration, json_line, print_rows
from nnkit.yaml_limits import read_yaml

# A line of metrics.jsonl is far shorter; enough of the end to hold the last validation.
_TAIL_BYTES = 1 << 16
# What can be written as a float; not a number is smaller than nothing.
_LARGEST = 1e300
_COLUMNS = ("run", "status", "start", "duration", "seed", "metrics")


def main(arguments: list[str]) -> int:
    """List the runs, oldest first."""
    parser = argparse.ArgumentParser(prog="nnkit runs", description="List the runs, oldest first.")
    parser.add_argument(
        "--output-dir", type=Path, default=Path("outputs"), metavar="DIR", help="default: outputs"
    )
    parser.add_argument("--json", action="store_true", help="print all that is known, as a JSON list")
    given = parser.parse_args(arguments)
    found = [describe(run, given.output_dir) for run in all_runs(given.output_dir)]
    if given.json:
        sys.stdout.write(json_line(found, sys.stdout, indent=1))
    elif found:
        print_rows(_COLUMNS, [_row(facts) for facts in found])
    else:
        sys.stderr.write(f"there are no runs below {given.output_dir}/\n    start one with: nnkit train\n")
    return 0


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


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    seed = "" if facts["seed"] is None else str(facts["seed"])
    return (
        facts["name"],
        facts["status"],
        _when(facts["start"]),
        duration(facts["seconds"]),
        seed,
        _main(facts),
    )


def _seconds(run: Run, status: str) -> float | None:
    """Return how long the run took since it was started or last resumed."""
    record = run.record()
    starts = [record.get("start"), *(note["time"] for note in run.resumptions())]
    begun = _time(starts[-1])
    ended = datetime.now(UTC) if status == "running" else _time(record.get("end"))
    return None if begun is None or ended is None else round((ended - begun).total_seconds(), 3)


def _time(text: object) -> datetime | None:
    """Return a point in time; None for what is none, or for one that no clock of ours has shown."""
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return time if time.tzinfo is not None and 1970 < time.year < 9999 else None


def _when(text: object) -> str:
    time = _time(text)
    return "" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M}"


def _main(facts: dict[str, Any]) -> str:
    """Return the metric that chose the best checkpoint, on the test part too; or the first few."""
    metrics, monitor = facts["metrics"], facts["monitor"] or ""
    wanted = [f"test/{monitor.partition('/')[2]}", monitor]
    telling = [name for name in metrics if not name.endswith("/loss")]
    chosen = [name for name in wanted if name in metrics] or (telling or list(metrics))[:2]
    return "  ".join(f"{name} {metrics[name]:.4g}" for name in chosen)


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
