"""Kill a whole sweep at random instants, resume it each time: does it end as if it had never been killed?

python benchmarks/kill_sweep.py
python benchmarks/kill_sweep.py --kills 9 --words "model=lenet5,mlp seed=1,2,3 data=mnist trainer.max_epochs=1"

The sweep runs once undisturbed. Then it is started again under another name, and its whole process group gets a real
SIGKILL at an instant drawn evenly from what the undisturbed one took, as often as asked for; after each kill
`nnkit resume` goes on with it. At the end are compared: results.csv and results.json byte by byte, and of each trial
the last and the best checkpoint (weights, optimizer, schedule, generators, counters) and metrics.jsonl, with no
tolerance. After each kill no process of the sweep may be left. Exit status 1 if anything differs or is left behind.
"""

import argparse
import os
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import torch

from nnkit.checkpoint.compare import differences
from nnkit.checkpoint.store import CheckpointStore
from nnkit.sweep.directory import Sweep
from nnkit.sweep.trials import OVER

WORDS = (
    "model=lenet5,mlp optimizer.lr=1e-3,3e-3 seed=1,2 data=digits trainer.max_epochs=4 "
    "callbacks.checkpoint.every_n_steps=5"
)
# A process that sleeps on its parent's end needs an instant to be gone.
GRACE = 2.0


def main() -> int:
    """Run the sweep twice, once killed, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=5, help="kills of the whole process group")
    parser.add_argument("--words", default=WORDS, help="words of nnkit train -m")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of the instants")
    given = parser.parse_args()
    words, random = shlex.split(given.words), Random(given.seed)
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="kill-sweep-") as directory:
        folder = Path(directory)
        begun = time.monotonic()
        launch(folder, ["train", "-m", *words, "name=whole"], None)
        seconds = time.monotonic() - begun
        print(f"undisturbed: {seconds:.1f} s", flush=True)
        left = killed_sweep(folder, words, given.kills, seconds, random)
        sweeps = [Sweep(folder / "outputs" / "sweeps" / name) for name in ("whole", "killed")]
        found = list(compare(*sweeps))
        for line in found:
            print(f"DIFFERS {line}")
        trials = len(sweeps[0].entries())
        print(f"{trials} trials, {given.kills} kills: {len(found)} differences, {left} processes left behind")
        print((sweeps[1].path / "results.csv").read_text(encoding="utf-8"))
    return int(bool(found) or left > 0)


def killed_sweep(folder: Path, words: list[str], kills: int, seconds: float, random: Random) -> int:
    """Run the sweep, killed again and again; return how many processes outlived a kill."""
    command, left, done = ["train", "-m", *words, "name=killed"], 0, 0
    while done < kills:
        # Each attempt goes on where the one before was, so that later ones have less to do.
        instant = random.uniform(0, seconds * (1 - done / (kills + 1)))
        ended, outlived = launch(folder, command, instant)
        left += outlived
        sweep = Sweep(folder / "outputs" / "sweeps" / "killed")
        if sweep.is_one():
            command = ["resume", str(sweep.path)]
        if ended:
            break
        done += 1
        states = [entry.outcome.state for entry in sweep.entries().values()] if sweep.is_one() else []
        over = sum(state in OVER for state in states)
        print(
            f"kill {done} after {instant:.1f} s: {over} of {len(states)} trials were over, {outlived} processes left",
            flush=True,
        )
    if not ended:
        launch(folder, command, None)
    return left


def launch(folder: Path, words: list[str], instant: float | None) -> tuple[bool, int]:
    """Run nnkit; kill its process group at an instant. Return whether it ended by itself, and who outlived it."""
    command = [sys.executable, "-m", "nnkit", *words]
    with (folder / "output.txt").open("a", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(instant)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            deadline = time.monotonic() + GRACE
            while (left := len(list(session(process.pid)))) and time.monotonic() < deadline:
                time.sleep(0.05)
            return False, left
    if code:
        print((folder / "output.txt").read_text(encoding="utf-8")[-3000:])
        raise SystemExit(f"nnkit {' '.join(words)} ended with {code}")
    return True, len(list(session(process.pid)))


def session(leader: int) -> Iterator[int]:
    """Yield the processes of a session that still run (Linux)."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] not in "ZX":
            yield int(path.parent.name)


def compare(whole: Sweep, killed: Sweep) -> Iterator[str]:
    """Yield what differs between two sweeps."""
    for name in ("results.csv", "results.json"):
        if (whole.path / name).read_bytes() != (killed.path / name).read_bytes():
            yield name
    torch.set_num_threads(1)
    for entry in whole.entries().values():
        runs = [sweep.run_of(entry.trial) for sweep in (whole, killed)]
        logs = [(run.path / "metrics.jsonl").read_bytes() for run in runs]
        if logs[0] != logs[1]:
            yield f"{entry.trial.name}/metrics.jsonl"
        for which in ("last", "best"):
            states = [CheckpointStore(run.checkpoints).load(which)[1] for run in runs]
            for state in states:
                # The config names the directory.
                state["nnkit"].pop("config")
            yield from (f"{entry.trial.name} {which}: {line}" for line in differences(*states))


if __name__ == "__main__":
    sys.exit(main())
