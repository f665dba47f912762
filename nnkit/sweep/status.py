"""The lines of a status file: how each trial stands, under which lease that was noted, and which lines count."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from nnkit.errors import UserError
from nnkit.files import atomic
from nnkit.files.json_limits import parse_json
from nnkit.files.paths import check_file
from nnkit.runs.run import now
from nnkit.sweep.trials import Entry, Outcome, Trial

# What stands beside the trials in a sweep's directory: what they printed, who runs which, and a directory for each
# process that does.
LOGS, LEASES, WORKERS = "logs", "leases", "workers"


def read_status(path: Path) -> bytes:
    """Return a status file; empty where there is none.

    Raises:
        UserError: If it is no file: in a directory from elsewhere, a pipe would be waited on for ever.
    """
    if not path.exists():
        return b""
    try:
        check_file(path)
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return atomic.read(path)


def read_entries(path: Path) -> dict[str, tuple[int, Entry]]:
    """Return what one status file says of each trial, and by which generation of its lease."""
    found: dict[str, tuple[int, Entry]] = {}
    for line in read_status(path).splitlines():
        stated = read_line(line)
        # A kill can tear the last line; the trial is then as the line before says.
        if stated is None:
            continue
        trial, outcome, generation = stated
        before, entry = found.get(trial.name, (0, Entry(trial, outcome)))
        entry.outcome = outcome
        # A launcher that knows no leases goes on with what had one.
        found[trial.name] = max(before, generation), entry
    return found


def write_line(trial: Trial, outcome: Outcome, generation: int) -> str:
    """Return the line that says how a trial stands.

    Args:
        trial: The trial.
        outcome: How it stands.
        generation: Of the lease under which that is noted; 0: none.
    """
    said = {
        "lease": generation or None,
        "reason": outcome.reason or None,
        "metrics": dict(outcome.metrics) or None,
        "step": outcome.step,
    }
    known = {key: value for key, value in said.items() if value is not None}
    return json.dumps(
        {"trial": trial.name, "words": trial.words, "state": outcome.state, **known, "time": now()}
    )


def read_line(line: bytes) -> tuple[Trial, Outcome, int] | None:
    """Return a trial, its state and the generation of its lease; None for a line that cannot be read."""
    try:
        content = parse_json(line)
        trial = Trial(str(content["trial"]), tuple(str(word) for word in content["words"]))
        outcome = Outcome(
            str(content["state"]),
            str(content.get("reason", "")),
            numbers(content.get("metrics")),
            content.get("step"),
        )
        generation = int(content.get("lease", 0))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if Path(trial.name).name != trial.name or trial.name in (".", "..", LOGS, LEASES, WORKERS):
        return None
    return trial, outcome, generation


def numbers(value: object) -> dict[str, float]:
    """Return the numbers of a mapping of any origin."""
    if not isinstance(value, Mapping):
        return {}
    return {str(name): float(one) for name, one in value.items() if isinstance(one, int | float)}
