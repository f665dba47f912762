"""Does a search with Optuna find a setting as good as a random one does, in fewer training steps?

python benchmarks/search.py
python benchmarks/search.py --kill          # the search is killed in its middle (SIGKILL) and goes on
python benchmarks/search.py --seed 1 --pruner hyperband --output outputs/search-1

Two sweeps of LeNet-5 on a twentieth of MNIST over the same space, with as many trials each: settings drawn at
random, each trained to its end; and settings drawn by TPE, the hopeless ones ended early by a pruner. Printed are
the training steps, the best value of those that trained to their end, and the ratio of the steps. Both are ordinary
sweeps below --output: the same command goes on where it was interrupted, and shows again what has ended. Exit status 1
if the best is worse than the random search's, or the steps are more than 0.6 of its.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from nnkit.sweep.directory import Sweep
from nnkit.sweep.trials import DONE, OVER, PRUNED

WORDS = (
    "model=lenet5",
    "data=mnist",
    "data.subset=0.05",
    "trainer.max_epochs=16",
    "trainer.limit_val_batches=4",
    "monitor=val/loss",
    "optimizer.lr=tag(log,interval(1e-4,1e-1))",
    "optimizer.weight_decay=tag(log,interval(1e-4,1))",
    "model.dropout=interval(0,0.5)",
    "model.activation=tanh,relu",
)
MONITOR = "val/loss"
LIMIT = 0.6


@dataclass(frozen=True)
class Found:
    """What a search ended with."""

    trials: int
    pruned: int
    steps: int
    best: float
    name: str


def main() -> int:
    """Run both searches and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--trials", type=int, default=30, help="trials of each search")
    parser.add_argument("--jobs", type=int, default=2, help="trials at once")
    parser.add_argument("--pruner", default="median", help="median, hyperband or patient")
    parser.add_argument("--seed", type=int, default=0, help="of both samplers")
    parser.add_argument("--output", type=Path, default=Path("outputs"), help="parent of the sweeps")
    parser.add_argument("--kill", action="store_true", help="kill the guided search in its middle")
    given = parser.parse_args()
    common = [
        *WORDS,
        f"output_dir={given.output}",
        f"hydra.launcher.n_jobs={given.jobs}",
        f"hydra.sweeper.n_trials={given.trials}",
        f"hydra.sweeper.seed={given.seed}",
    ]
    random = f"search-random-{given.seed}"
    guided = f"search-{given.pruner}-{given.seed}"
    run(given.output, [*common, "hydra.sweeper.sampler=random", f"name={random}"])
    words = [*common, "hydra.sweeper.sampler=tpe", f"hydra.sweeper.pruner={given.pruner}", f"name={guided}"]
    if given.kill:
        kill(given.output, words, guided, given.trials // 2)
    run(given.output, words)
    return compare(look(given.output, random), look(given.output, guided), given.pruner)


def command(words: list[str]) -> list[str]:
    """Return the command of a sweep."""
    return [
        sys.executable,
        "-c",
        "import sys; from nnkit.cli import main; sys.exit(main())",
        "train",
        "-m",
        *words,
    ]


def run(output: Path, words: list[str]) -> None:
    """Run a sweep to its end, or go on with it."""
    begun = time.monotonic()
    print(f"nnkit train -m {' '.join(words)}", flush=True)
    log = output / "search.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        code = subprocess.run(command(words), stdout=file, stderr=file, check=False).returncode
    if code:
        raise SystemExit(f"exit status {code}; what it said is in {log}")
    print(f"  {time.monotonic() - begun:.0f} s", flush=True)


def kill(output: Path, words: list[str], name: str, after: int) -> None:
    """Begin a sweep and kill its process once some trials have ended."""
    process = subprocess.Popen(
        command(words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    sweep = Sweep(output / "sweeps" / name)
    while process.poll() is None:
        ended = sum(entry.outcome.state in OVER for entry in sweep.entries().values())
        if ended >= after:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            left = [one for one, entry in sweep.entries().items() if entry.outcome.state not in OVER]
            print(f"killed after {ended} trials, {len(left)} of them running", flush=True)
        time.sleep(0.05)


def look(output: Path, name: str) -> Found:
    """Read what a sweep ended with."""
    outcomes = {one: entry.outcome for one, entry in Sweep(output / "sweeps" / name).entries().items()}
    values = {one: end.metrics[MONITOR] for one, end in outcomes.items() if end.state == DONE}
    best = min(values, key=lambda one: values[one])
    return Found(
        trials=len(outcomes),
        pruned=sum(end.state == PRUNED for end in outcomes.values()),
        steps=sum(end.step or 0 for end in outcomes.values()),
        best=values[best],
        name=best,
    )


def compare(random: Found, guided: Found, pruner: str) -> int:
    """Print both, and whether the guided search did as well for less."""
    for label, found in (("random", random), (f"TPE, {pruner}", guided)):
        print(
            f"{label:16} {found.trials:3} trials {found.pruned:3} pruned {found.steps:7,} steps"
            f"   best {MONITOR} {found.best:.4f}   {found.name}"
        )
    ratio = guided.steps / random.steps
    print(f"steps: {ratio:.2f} of the random search's; best {MONITOR}: {guided.best - random.best:+.4f}")
    return int(guided.best > random.best or ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
