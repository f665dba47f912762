"""Commands that only look, on many runs, a sweep of many trials, and a run of a million lines of metrics.

python benchmarks/housekeeping.py
python benchmarks/housekeeping.py --runs 200 --lines 100000 --only doctor

One trivial trial is trained; the others are copies of it, of their own seed and learning rate. Each command is a
process of its own, from starting Python to its end: seconds by the clock, of processor time, and the most memory it
held (Linux). The floor is `nnkit --version`.
"""

import argparse
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

WORDS = ["model=mlp_small", "data=iris", "data.val_fraction=0.2", "trainer.max_epochs=2"]
WORDS += ["trainer.num_threads=1", "logger=[]"]
SEEDS = 100


class Cost(NamedTuple):
    """What one command took: seconds by the clock, seconds of processor time, MiB at most."""

    wall: float
    cpu: float
    memory: float
    code: int


def run(directory: Path, *words: str) -> Cost:
    """Run a command of nnkit in a directory, its output thrown away."""
    start = time.perf_counter()
    with (directory / "out.txt").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "nnkit", *words], cwd=directory, stdout=out, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    return Cost(
        wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status)
    )


def settings(count: int) -> Iterator[tuple[str, int]]:
    """Yield learning rates and seeds, as many as asked for."""
    rates = (f"{number / 1000}" for number in itertools.count(1))
    return itertools.islice(((rate, seed) for rate in rates for seed in range(1, SEEDS + 1)), count)


def copy_run(source: Path, target: Path, rate: str, seed: int) -> None:
    """Copy a trained run as if it had another learning rate and seed."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors", ".lock"))
    for weights in source.glob("checkpoints/*.safetensors"):
        os.link(weights, target / "checkpoints" / weights.name)
    config = (target / "config.yaml").read_text()
    config = config.replace("\nseed: 1\n", f"\nseed: {seed}\n").replace("lr: 0.001\n", f"lr: {rate}\n")
    (target / "config.yaml").write_text(config)
    record = (target / "run.json").read_text()
    record = record.replace('"seed=1"', f'"seed={seed}"').replace('"seed": 1,', f'"seed": {seed},')
    (target / "run.json").write_text(record.replace("lr=0.001", f"lr={rate}"))


def make_runs(directory: Path, count: int) -> None:
    """Train one run and copy it."""
    outputs = directory / "outputs"
    done = run(directory, "train", *WORDS, "optimizer.lr=0.001", "seed=1", "name=first")
    if done.code:
        raise SystemExit((directory / "out.txt").read_text())
    for number, (rate, seed) in enumerate(settings(count)):
        copy_run(outputs / "first", outputs / "mlp_small-iris" / f"{number:05d}", rate, seed)


def make_sweep(directory: Path, count: int) -> None:
    """Sweep one setting, and let it be a sweep of many that has ended."""
    done = run(directory, "train", "-m", *WORDS, "optimizer.lr=0.001", "seed=1", "name=many")
    if done.code:
        raise SystemExit((directory / "out.txt").read_text())
    sweep = directory / "outputs" / "sweeps" / "many"
    pairs = list(settings(count))
    rates = dict.fromkeys(rate for rate, _ in pairs)
    seeds = dict.fromkeys(str(seed) for _, seed in pairs)
    definition = json.loads((sweep / "sweep.json").read_text())
    words = [word for word in definition["words"] if not word.startswith(("optimizer.lr", "seed"))]
    axes = [f"optimizer.lr={','.join(rates)}", f"seed={','.join(seeds)}"]
    (sweep / "sweep.json").write_text(json.dumps({**definition, "words": words, "axes": axes}))
    (source,) = (path.parent for path in sweep.glob("*/run.json"))
    lines = [json.loads(line) for line in (sweep / "trials.jsonl").read_text().splitlines()]
    notes = []
    for rate, seed in pairs:
        name = f"optimizer.lr={rate},seed={seed}"
        if (sweep / name) != source:
            copy_run(source, sweep / name, rate, seed)
            (sweep / "logs" / f"{name}.log").touch()
        notes += [{**line, "trial": name, "words": name.split(",")} for line in lines]
    if source.name != f"optimizer.lr={pairs[0][0]},seed={pairs[0][1]}":
        shutil.rmtree(source)
    (sweep / "trials.jsonl").write_text("".join(f"{json.dumps(note)}\n" for note in notes))


def make_long(directory: Path, lines: int) -> None:
    """Train one run that then has so many lines of metrics."""
    done = run(directory, "train", *WORDS, "name=long")
    if done.code:
        raise SystemExit((directory / "out.txt").read_text())
    path = directory / "outputs" / "long" / "metrics.jsonl"
    first = json.loads(path.read_text().splitlines()[0])
    with path.open("a") as file:
        for step in range(lines):
            file.write(json.dumps({**first, "step": step, "train/loss": 1 / (step + 1)}) + "\n")


def main() -> None:
    """Make runs, time every command on them, and print a row for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--only", default="", help="commands that contain this word")
    parser.add_argument("--keep", type=Path, help="make everything there, or use what an earlier start made")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        top = arguments.keep or Path(temporary)
        places = {name: top / name for name in ("runs", "sweep", "long")}
        makers = {"runs": make_runs, "sweep": make_sweep, "long": make_long}
        for name, place in places.items():
            if not place.exists():
                place.mkdir(parents=True)
                makers[name](place, arguments.lines if name == "long" else arguments.runs)
        commands: list[tuple[str, tuple[str, ...]]] = [
            ("runs", ("--version",)),
            ("runs", ("runs",)),
            ("runs", ("runs", "--json")),
            ("runs", ("compare",)),
            ("runs", ("compare", "--curves", "curves.svg")),
            ("runs", ("compare", "first")),
            ("runs", ("doctor", "first")),
            ("sweep", ("runs",)),
            ("sweep", ("compare", "many")),
            ("sweep", ("compare", "many", "--no-seeds", "--history", "history.svg")),
            ("sweep", ("resume", "many")),
            ("sweep", ("train", "-m", *_axes(places["sweep"]))),
            ("long", ("doctor", "long")),
            ("long", ("compare", "long", "--curves", "curves.svg")),
            ("long", ("runs",)),
            ("long", ("resume", "long")),
        ]
        print(f"{arguments.runs:,} runs, {arguments.runs:,} trials, {arguments.lines:,} lines\n")
        print("| command | seconds | of processor time | MiB | exit code |\n|---|---|---|---|---|")
        for place, words in commands:
            if arguments.only not in " ".join(words):
                continue
            cost = run(places[place], *words)
            shown = " ".join(word if len(word) < 40 else f"{word[:37]}..." for word in words)
            line = f"{cost.wall:.2f} | {cost.cpu:.2f} | {cost.memory:.0f} | {cost.code}"
            print(f"| {place}: `nnkit {shown}` | {line} |", flush=True)
    print(f"\n{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MiB at most of all")


def _axes(place: Path) -> list[str]:
    definition = json.loads((place / "outputs" / "sweeps" / "many" / "sweep.json").read_text())
    return [*definition["words"], *definition["axes"], "name=many"]


if __name__ == "__main__":
    main()
