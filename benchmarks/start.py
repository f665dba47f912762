"""Seconds from a command to its first training step, against importing Lightning alone, alternating.

python benchmarks/start.py --rounds 5
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time

FIRST_STEP = """
import sys, time
from lightning.pytorch import Trainer
from lightning.pytorch.loops import _TrainingEpochLoop as Loop
advance = Loop.advance
def first(self, *arguments):
    print(time.time(), file=sys.stderr)
    Loop.advance = advance
    return advance(self, *arguments)
Loop.advance = first
"""
TRAIN = ["train", "model=lenet5", "data=mnist", "trainer.max_steps=1", "trainer.limit_test_batches=1"]
LIGHT = {
    "nnkit --help": ["--help"],
    "nnkit list": ["list"],
    "nnkit train --cfg job": ["train", "model=lenet5", "data=mnist", "--cfg", "job"],
}


def seconds(*command: str) -> float:
    """Return the wall time of a command."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def to_first_step(directory: str) -> float:
    """Return the seconds from starting Python to the first training batch."""
    words = [*TRAIN, f"output_dir={directory}"]
    code = f"from nnkit.cli import main\nimport nnkit.runs.fit\n{FIRST_STEP}\nmain({words!r})"
    start = time.time()
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stderr.splitlines()[0]) - start


def main() -> None:
    """Print the medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    lightning, first, light = [], [], {name: [] for name in LIGHT}
    with tempfile.TemporaryDirectory() as directory:
        to_first_step(directory)
        for _ in range(rounds):
            lightning.append(seconds(sys.executable, "-c", "import lightning.pytorch"))
            first.append(to_first_step(directory))
            for name, words in LIGHT.items():
                light[name].append(seconds(sys.executable, "-m", "nnkit", *words))
    for name, times in light.items():
        print(f"{name}: {statistics.median(times):.2f} s")
    print(f"import lightning.pytorch: {statistics.median(lightning):.2f} s")
    print(f"nnkit train to its first step: {statistics.median(first):.2f} s")
    ratios = [ours / theirs for ours, theirs in zip(first, lightning, strict=True)]
    print(f"ratio: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
