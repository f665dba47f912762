"""How fast nnkit is: every family beside its peers, and what is around the training, in turns on this machine.

python -m benchmarks                      # everything, with one and with two threads; hours, on a quiet machine
python -m benchmarks --quick              # every part with little work and few rounds, to see that all runs
python -m benchmarks --only gpt start     # these parts alone, the others stay as they are on the page

It writes docs/performance.json, and from it the tables and plots of docs/performance.md. Other libraries are measured
where they are installed: `pip install 'nnkit[peers]'`. Exit status 1 if a part failed; a limit that is missed is on the
page and is no failure.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

# Benchmarks are scripts that import each other by their bare names.
sys.path.insert(0, str(Path(__file__).parent))

import adapters
import generation
import growth
import many_runs
import memory
import page
import picture_files
import reading
import start
import steps
import target
import text_prediction
import text_preparation
import torch
from guarded import Part, run_parts
from lines import COLUMNS, Line, Setting, from_plain
from measuring import table
from workloads import Materials

HOUR = 3600.0


@dataclass(frozen=True)
class Kind:
    """A part of the measurements.

    Attributes:
        measure: Yields its lines.
        threads: With how many it is measured.
    """

    measure: Callable[[Setting], Iterator[Line]]
    threads: tuple[int, ...] = (1, 2)


PARTS = {
    **{name: Kind(family.measure) for name, family in steps.FAMILIES.items()},
    "target": Kind(target.measure, (1,)),
    "growth": Kind(growth.steps, (1,)),
    "rows": Kind(growth.rows, (1,)),
    "adapters": Kind(adapters.measure),
    "start": Kind(start.measure, (1,)),
    "memory": Kind(memory.measure, (1,)),
    "reading": Kind(reading.reading),
    "parquet": Kind(reading.training, (1,)),
    "text": Kind(text_preparation.measure, (1,)),
    "files": Kind(picture_files.preparing, (2,)),
    "predict_tables": Kind(reading.predicting),
    "predict_files": Kind(picture_files.predicting, (2,)),
    "predict_texts": Kind(text_prediction.predicting, (1,)),
    "generation": Kind(generation.measure, (1,)),
    "housekeeping": Kind(many_runs.measure, (1,)),
}


def begin(measure: Callable[[Setting], Iterator[Line]], setting: Setting) -> Iterator[Line]:
    """Set the threads of this process and of those it starts, then measure."""
    torch.set_num_threads(setting.threads)
    os.environ["OMP_NUM_THREADS"] = str(setting.threads)
    yield from measure(setting)


def run(name: str, quick: bool, rounds: int, threads: list[int], folder: Path) -> dict[str, Any]:
    """Measure a part with each number of threads and return what the page needs."""
    lines: list[dict[str, Any]] = []
    errors = []
    for number in [one for one in PARTS[name].threads if one in threads]:
        here = folder / f"{name}-{number}"
        here.mkdir()
        setting = Setting(number, quick, here, Materials(here, 40 if quick else 1000), rounds)
        parts = {name: Part(partial(begin, PARTS[name].measure, setting), HOUR)}
        for outcome in run_parts(parts, here, HOUR):
            lines += outcome.rows
            errors += [outcome.error] if outcome.error else []
    found = {"machine": page.machine(), "quick": quick, "rounds": rounds, "lines": lines}
    return {**found, "error": "\n".join(errors)}


def main() -> int:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="little work and few rounds")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=[*PARTS], metavar="PART", help=", ".join(PARTS)
    )
    parser.add_argument(
        "--threads", nargs="+", type=int, default=[1, 2], help="with these numbers of threads"
    )
    parser.add_argument("--docs", type=Path, default=page.DOCS, help="folder of the page")
    parser.add_argument("--rounds", type=int, help="turns of each contender; default 5, with --quick 2")
    given = parser.parse_args()
    rounds = given.rounds or (2 if given.quick else 5)
    # Copies of this process set their own number; they could not if it had started threads.
    torch.set_num_threads(1)
    results, failed = page.load(given.docs), []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NNKIT_CACHE"] = str(Path(folder) / "cache")
        for name in given.only:
            results[name] = found = run(name, given.quick, rounds, given.threads, Path(folder))
            print(f"\n## {name}\n", flush=True)
            print(table(COLUMNS, [from_plain(line).cells() for line in found["lines"]]), flush=True)
            if found["error"]:
                failed.append(name)
                print(found["error"], file=sys.stderr, flush=True)
            # After each part: what was measured is kept if a later one is interrupted.
            page.save(given.docs, results, PARTS)
    if failed:
        print(f"not measured to the end: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
