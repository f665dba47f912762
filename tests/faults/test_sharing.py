"""FAULTS class 24: two processes never share a run directory, and no two runs of one second get the same."""

import os
import signal
import time
from pathlib import Path

import pytest
from warm import Warm, command

from nnkit.runs.run import Run

QUICK = ["data=iris", "model=mlp", "trainer.num_threads=1", "logger=[]", "callbacks=[checkpoint]"]
LONG = [*QUICK, "trainer.max_epochs=100000", "name=mine"]


@pytest.fixture
def start():
    """Start `nnkit train` in a process of its own."""
    started = []

    def begin(words):
        started.append(Warm(command, "train", *words))
        return started[-1]

    yield begin
    for process in started:
        process.end()


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def test_a_second_process_is_refused_with_the_number_of_the_first(cli, start):
    run = Run(Path("outputs/mine"))
    first = start(LONG)
    wait_for(lambda: list(run.checkpoints.glob("step-*[0-9].json")))
    for words in (["resume", "mine"], ["train", *LONG, "auto_resume=true"]):
        code, _, err = cli(*words)
        assert code == 2
        assert f"is in use by process {first.pid}" in err
    code, _, err = cli("train", *LONG)
    assert code == 2
    assert "exists already" in err
    assert f"process {first.pid} trains it" in cli("doctor", "mine")[1]
    assert first.poll() is None


def test_the_lock_of_a_killed_process_is_known_to_be_stale(cli, start):
    run = Run(Path("outputs/mine"))
    first = start(LONG)
    wait_for(lambda: list(run.checkpoints.glob("step-*[0-9].json")))
    os.kill(first.pid, signal.SIGKILL)
    assert first.wait()[0] == -signal.SIGKILL
    assert (run.path / ".lock").exists()
    assert run.status() == "killed"
    # The lock is passed: it is the schedule that does not allow another length.
    assert "the schedule of the learning rate" in cli("resume", "mine", "trainer.max_epochs=1")[2]
    with run.locked():
        assert run.held()


def test_runs_of_one_second_have_directories_of_their_own(start):
    for process in [start([*QUICK, "trainer.max_epochs=1"]) for _ in range(3)]:
        code, said = process.wait()
        assert code == 0, said
    runs = list(Path("outputs/mlp-iris").iterdir())
    assert len(runs) == 3
    assert all(Run(path).status() == "done" for path in runs)


def test_of_two_starts_with_one_name_one_trains_and_one_is_refused(start):
    words = [*QUICK, "trainer.max_epochs=60", "name=mine", "auto_resume=true"]
    both = [process.wait() for process in [start(words) for _ in range(2)]]
    codes, said = sorted(code for code, _ in both), [said for _, said in both]
    run = Run(Path("outputs/mine"))
    assert run.status() == "done"
    # The slower one found the directory held, or the run done.
    assert codes in ([0, 2], [0, 0]), said
    assert (run.path / "metrics.jsonl").read_text().count('"test"') == 1
