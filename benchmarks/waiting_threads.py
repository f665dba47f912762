"""What two OpenMP threads cost that wait for each other in one way or another, alone and beside a busy process.

python benchmarks/waiting_threads.py
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

# GNU's OpenMP, which torch's wheel brings along, lets a thread spin 300,000 times by default before it sleeps.
SETTINGS = {
    "as it is": {},
    "GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
}
FEWEST = 20


def train(words: list[str], seconds: float) -> None:
    """Train with two threads in this process for so long, and print the seconds of each step but the first ones."""
    from lightning.pytorch import Callback

    import nnkit
    from nnkit.runs.preflight import sound
    from nnkit.runs.training import train as train_composition

    stamps: list[float] = []

    class Stamps(Callback):
        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
            stamps.append(time.perf_counter())
            trainer.should_stop = len(stamps) > FEWEST and stamps[-1] - stamps[FEWEST] > seconds

    plain = ["trainer.num_threads=2", "callbacks=[]", "logger=[]", "trainer.limit_val_batches=0"]
    with tempfile.TemporaryDirectory() as folder:
        composed = nnkit.compose([*words, *plain, "trainer.limit_test_batches=0", f"output_dir={folder}"])
        train_composition(sound(composed), show=False, extra=[Stamps()])
    steps = [after - before for before, after in zip(stamps[FEWEST:], stamps[FEWEST + 1 :], strict=False)]
    sys.stdout.write(json.dumps(steps) + "\n")


def measured(words: list[str], variables: dict[str, str], seconds: float) -> list[float]:
    """Return the seconds of the steps of a training in a process with these variables in its environment."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, __file__, "--child", "--seconds", str(seconds), *words]
    done = subprocess.run(command, env=known | variables, capture_output=True, text=True, check=True)
    steps: list[float] = json.loads(done.stdout.splitlines()[-1])
    return steps


def main() -> None:
    """Print the median and the mean step of each setting."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--child", action="store_true")
    parser.add_argument("words", nargs="*", default=["model=lenet5", "data=mnist"])
    given = parser.parse_args()
    if given.child:
        train(given.words, given.seconds)
        return
    for place in ("alone", "beside a busy process"):
        busy = None if place == "alone" else subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for name, variables in SETTINGS.items():
            steps = [1000 * one for one in measured(given.words, variables, given.seconds)]
            print(
                f"{place}, {name}: median {statistics.median(steps):.1f} ms, mean {statistics.mean(steps):.1f} ms"
            )
        if busy is not None:
            busy.kill()


if __name__ == "__main__":
    main()
