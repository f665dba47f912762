"""Training killed at random instants, for real, ends as if it had never been killed."""

import time
from pathlib import Path
from random import Random

import pytest

import nnkit

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

# An odd number of batches, accumulated in pairs: validation in mid-epoch falls inside an accumulation window.
WORDS = [
    "data=digits",
    "data.batch_size=48",
    "data.augment.shift=1",
    "model.dropout=0.2",
    "+callbacks=ema",
    "trainer.num_threads=1",
    "trainer.accelerator=cpu",
    "trainer.accumulate_grad_batches=2",
    "trainer.val_check_interval=0.5",
    "trainer.log_every_n_steps=4",
    "callbacks.checkpoint.every_n_steps=3",
]
RUNS = {
    "mlp": ["model=mlp", "scheduler=plateau", "scheduler.patience=0", "data.max_epochs=5"],
    "cnn": ["model=cnn", "model.channels=[8,16]", "scheduler=onecycle", "data.max_epochs=4"],
}


@pytest.fixture
def subjects(monkeypatch):
    """Make the loop of the benchmark importable, here and in the processes that it starts."""
    monkeypatch.syspath_prepend(BENCHMARKS)


class Late(Random):
    """Draws instants near the end, when the work has begun for certain."""

    def uniform(self, a, b):
        return a + 0.7 * (b - a)


class Counting:
    """Counts to twenty; after a kill it counts from one again, which differs in starts, or cannot start again."""

    def __init__(self, breaks):
        self.name = "counting"
        self.breaks = breaks

    def go_on(self, path):
        path.mkdir(exist_ok=not self.breaks)
        with (path / "starts").open("a") as file:
            file.write("start\n")
        for number in range(1, 21):
            (path / f"{number}").touch()
            time.sleep(0.03)

    def is_over(self, path):
        return self.step(path) == 20

    def step(self, path):
        return max((int(file.name) for file in path.glob("[0-9]*")), default=0)

    def place(self, path, pid, steps):
        return "counting"

    def result(self, path):
        return (path / "starts").read_text()

    def differences(self, expected, found):
        return [] if expected == found else [f"{found!r} instead of {expected!r}"]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_killed_again_and_again_ends_as_the_one_never_killed(name, subjects, tmp_path):
    from kill_loop_core import Loop
    from kill_loop_nnkit import NnkitRun

    tally = Loop(NnkitRun(name, [*RUNS[name], *WORDS]), tmp_path, Random(0)).run(kills=12)

    assert (tally.mismatches, tally.unreadable) == (0, 0), tally.problems
    assert tally.kills == sum(tally.places.values()) == 12


def test_the_loop_sees_a_single_bit(subjects, tmp_path):
    from kill_loop_nnkit import NnkitRun

    run = NnkitRun("mlp", ["model=mlp_small", "data.max_epochs=1", *WORDS[:3]])
    path = nnkit.train([*run.words, "name=one", f"output_dir={tmp_path}"]).run.path
    expected, found = run.result(path), run.result(path)
    assert run.differences(expected, found) == []

    weight = next(iter(found.states["best"]["state_dict"].values()))
    weight.flatten()[-1] += 1e-6
    found.lines[-1] = found.lines[-1].replace("test", "best", 1)
    assert [one.split(":")[0].split(".")[0] for one in run.differences(expected, found)] == [
        "states",
        "lines",
    ]


@pytest.mark.parametrize("breaks", [False, True])
def test_the_loop_counts_what_does_not_go_on(breaks, subjects, tmp_path):
    from kill_loop_core import Loop

    tally = Loop(Counting(breaks), tmp_path, Late()).run(kills=2)

    assert tally.kills == 2
    assert (tally.mismatches > 0, tally.unreadable > 0) == (not breaks, breaks)
