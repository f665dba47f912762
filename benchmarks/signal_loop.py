"""Send training a real signal at every kind of place, resume it: does it end as documented, and to the last bit?

python benchmarks/signal_loop.py --signals 200 --seed 2026 --jobs 2 --results signals.jsonl

Each case is a command line of its own, in a process group of its own or on a pseudo-terminal, of a random pairing of a
model with data it takes (`pairings.py`) and 0, 2 or 4 worker processes. At a place of it, a signal goes to the process,
to its whole group as systemd and scancel send it, or Ctrl-C is typed on its terminal. A case is wrong if the exit code
or the status in run.json is not the documented one, if a traceback is shown or a process is left behind, or if the run,
resumed until it ends, differs in one bit of one number from the run that got no signal: its last and best checkpoint
(weights, optimizer, schedulers, generators, counters, callbacks), metrics.jsonl and test metrics. With --results a loop
that was stopped goes on where it was. Exit status 1 if a case is wrong.
"""

import argparse
import json
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice, product
from pathlib import Path
from random import Random
from threading import Lock
from typing import Any

from kill_loop_core import HANGS_AFTER, attempt
from kill_loop_nnkit import NnkitRun, Outcome
from pairings import pairings
from rich.console import Console
from rich.table import Table
from signal_loop_core import LONGEST_DELAY, PLACES, WAYS, Ended, send_at

from nnkit.files.layout import CONFIG
from nnkit.runs.run import Run

WORKERS = (0, 2, 4)


@dataclass(frozen=True)
class Case:
    """One signal.

    Attributes:
        way: A key of `WAYS`.
        place: One of `PLACES`.
        workers: Worker processes.
        pairing: Number of the pairing.
        delay: Seconds from the start of the place to the signal.
    """

    way: str
    place: str
    workers: int
    pairing: int
    delay: float


def main() -> int:
    """Run all cases, print the table, and return the exit status."""
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    print(f"seed {arguments.seed}", flush=True)
    results = None if arguments.results is None else arguments.results.absolute()
    known = read(results, arguments.seed)
    with tempfile.TemporaryDirectory(prefix="signal-loop-") as directory:
        os.chdir(directory)
        loop = Loop(Path(directory), list(islice(pairings(str(arguments.seed)), arguments.pairings)))
        cases = draw(arguments.signals, arguments.pairings, arguments.seed)
        write = Lock()

        def one(number: int) -> dict[str, Any]:
            if number in known:
                return known[number]
            wrong = loop.run(cases[number], number)
            row = {"seed": arguments.seed, "number": number, **asdict(cases[number]), "wrong": wrong}
            with write:
                print(f"{number}: {loop.described(cases[number])}: {wrong or 'right'}", flush=True)
                if results is not None:
                    with results.open("a") as file:
                        file.write(json.dumps(row) + "\n")
            return row

        with ThreadPoolExecutor(arguments.jobs) as threads:
            rows = list(threads.map(one, range(arguments.signals)))
        Console(width=110).print(table(rows))
        wrong = [row for row in rows if row["wrong"]]
        for row in wrong:
            case = Case(**{name: row[name] for name in Case.__dataclass_fields__})
            print(f"{row['number']}: {loop.described(case)}: {row['wrong']}\n    {loop.command(case)}")
    print(f"{len(wrong)} of {len(rows)} wrong")
    return int(bool(wrong))


def draw(count: int, num_pairings: int, seed: int) -> list[Case]:
    """Draw cases: each way at each place with each number of workers before one comes again."""
    random = Random(seed)
    cases: list[Case] = []
    while len(cases) < count:
        # Without workers no process is started.
        kinds = [kind for kind in product(WAYS, PLACES, WORKERS) if kind[1:] != ("new process", 0)]
        random.shuffle(kinds)
        cases += [
            Case(*kind, random.randrange(num_pairings), random.uniform(0, LONGEST_DELAY)) for kind in kinds
        ]
    return cases[:count]


def read(results: Path | None, seed: int) -> dict[int, dict[str, Any]]:
    """Return the cases that an earlier loop has done, by number."""
    if results is None or not results.exists():
        return {}
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    return {row["number"]: row for row in rows if row["seed"] == seed}


class Loop:
    """Runs cases and compares each with the run of its pairing that got no signal.

    Args:
        directory: An empty directory of its own.
        drawn: Names and words of the pairings.
    """

    def __init__(self, directory: Path, drawn: list[tuple[str, list[str]]]) -> None:
        self.directory = directory
        self.drawn = drawn
        self._expected: dict[int, Outcome] = {}
        self._locks = [Lock() for _ in drawn]

    def described(self, case: Case) -> str:
        """Return a case in words."""
        return f"{case.way}, {case.place}, {case.workers} workers; {self.drawn[case.pairing][0]}"

    def command(self, case: Case) -> str:
        """Return the command that a case starts."""
        return f"nnkit train {' '.join(self.words(case))}"

    def words(self, case: Case) -> list[str]:
        """Return the words of `nnkit train`."""
        words = [word for word in self.drawn[case.pairing][1] if not word.startswith("data.num_workers=")]
        return [*words, f"data.num_workers={case.workers}"]

    def run(self, case: Case, number: int) -> str:
        """Run one case and return what is wrong with it; empty if nothing is."""
        expected = self.expected(case.pairing)
        folder = self.directory / f"case-{number}"
        folder.mkdir()
        words = ["train", *self.words(case), "name=run", f"output_dir={folder}"]
        ended = send_at(case.place, WAYS[case.way], case.delay, words, folder / "run")
        run = Run(folder / "run")
        found = judge(case, ended, run)
        subject = NnkitRun(str(number), self.words(case))
        if problem := self._to_its_end(subject, folder):
            found.append(problem)
        else:
            result = subject.result(run.path)
            # A signal adds a checkpoint, so that other files are left.
            differing = subject.differences(expected._replace(names=[]), result._replace(names=[]))
            found += [f"differs: {', '.join(differing[:3])}"] if differing else []
        return "; ".join(found)

    def _to_its_end(self, subject: NnkitRun, folder: Path) -> str:
        path = folder / "run"
        if not subject.is_over(path):
            ended = attempt(partial(subject.go_on, path), folder, HANGS_AFTER)
            if ended.code != 0 or not subject.is_over(path):
                return f"does not go on: exit {ended.code}: {ended.said}"
        return ""

    def expected(self, pairing: int) -> Outcome:
        """Return how a pairing ends that gets no signal; trained once."""
        with self._locks[pairing]:
            if pairing not in self._expected:
                words = self.words(Case("", "", 0, pairing, 0.0))
                folder = self.directory / f"expected-{pairing}"
                folder.mkdir()
                subject = NnkitRun(self.drawn[pairing][0], words)
                if problem := self._to_its_end(subject, folder):
                    raise RuntimeError(f"{subject.name}, which gets no signal: {problem}")
                self._expected[pairing] = subject.result(folder / "run")
            return self._expected[pairing]


def judge(case: Case, ended: Ended, run: Run) -> list[str]:
    """Return what is wrong with how a command ended."""
    way, found = WAYS[case.way], []
    status = run.status() if (run.path / CONFIG).is_file() else "not begun"
    if way.stops:
        allowed = {(128 + way.stops, end) for end in ("stopped", "not begun")}
        if ended.late:
            allowed |= {(0, "done"), (128 + way.stops, "done")}
    else:
        allowed = {(0, "done")}
    if way.kills:
        allowed |= {(-signal.SIGKILL, status)}
    if (ended.code, status) not in allowed:
        found.append(f"exit {ended.code}, {status}: {ended.said[-300:]}")
    if "Traceback" in ended.said:
        found.append(f"a traceback: {ended.said[-300:]}")
    if ended.left_behind:
        found.append("processes are left behind")
    return found


def table(rows: list[dict[str, Any]]) -> Table:
    """Return how many cases of each kind were wrong."""
    shown = Table("signal", *PLACES, "all", title="wrong / sent")

    def count(keep: Callable[[dict[str, Any]], bool]) -> str:
        kept = [row for row in rows if keep(row)]
        return f"{sum(bool(row['wrong']) for row in kept)}/{len(kept)}"

    for way in WAYS:
        cells = [
            count(lambda row, way=way, place=place: (row["way"], row["place"]) == (way, place))
            for place in PLACES
        ]
        shown.add_row(way, *cells, count(lambda row, way=way: row["way"] == way))
    shown.add_row(
        "all",
        *(count(lambda row, place=place: row["place"] == place) for place in PLACES),
        count(lambda row: True),
    )
    return shown


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--signals", type=int, default=200, help="cases")
    parser.add_argument("--pairings", type=int, default=12, help="random pairings")
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time")
    parser.add_argument(
        "--results", type=Path, help="file of JSON lines in which cases are kept as they are done"
    )
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="draws everything")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
