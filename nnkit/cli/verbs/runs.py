"""`nnkit runs`: the runs below outputs/ and how they went."""

import sys
from typing import Any

from nnkit.cli.parser import Given
from nnkit.cli.verbs import OUTPUT_DIR, Option, Verb
from nnkit.ui.report import print_rows
from nnkit.ui.terminal import duration, json_line

VERB = Verb("runs", (), (OUTPUT_DIR, Option("--json", "print all that is known, as a JSON list")))
_COLUMNS = ("run", "status", "start", "duration", "seed", "metrics")


def run(given: Given) -> int:
    """List the runs, oldest first."""
    from nnkit.runs.run import all_runs, describe

    found = [describe(run, given.output_dir) for run in all_runs(given.output_dir)]
    if given.json:
        sys.stdout.write(json_line(found, sys.stdout, indent=1))
    elif found:
        print_rows(_COLUMNS, [_row(facts) for facts in found])
    else:
        sys.stderr.write(f"there are no runs below {given.output_dir}/\n    start one with: nnkit train\n")
    return 0


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    seed = "" if facts["seed"] is None else str(facts["seed"])
    start, seconds = _when(facts["start"]), duration(facts["seconds"])
    return facts["name"], facts["status"], start, seconds, seed, _main(facts)


def _when(text: object) -> str:
    from nnkit.runs.run import point_in_time

    time = point_in_time(text)
    return "" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M}"


def _main(facts: dict[str, Any]) -> str:
    """Return the metric that chose the best checkpoint, on the test part too; or the first few."""
    metrics, monitor = facts["metrics"], facts["monitor"] or ""
    wanted = [f"test/{monitor.partition('/')[2]}", monitor]
    telling = [name for name in metrics if not name.endswith("/loss")]
    chosen = [name for name in wanted if name in metrics] or (telling or list(metrics))[:2]
    return "  ".join(f"{name} {metrics[name]:.4g}" for name in chosen)
