"""FAULTS class 24: two processes never share a run directory, and no two runs of one second get the same."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from nnkit.run import Run

QUICK = ["data=iris", "model=mlp", "trainer.num_threads=1", "logger=[]", "callbacks=[checkpoint]"]
LONG = [*QUICK, "trainer.max_epochs=100000", "name=mine"]
COMMAND = [sys.executable, "-m", "nnkit.cli", "train"]


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def test_a_second_process_is_refused_with_the_number_of_the_first(cli):
    run = Run(Path("outputs/mine"))
    first = subprocess.Popen([*COMMAND, *LONG], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: list(run.checkpoints.glob("step-*.json")))
        for words in (["resume", "mine"], ["train", *LONG, "auto_resume=true"]):
            code, _, err = cli(*words)
            assert code == 2
            assert f"is in use by process {first.pid}" in err
        code, _, err = cli("train", *LONG)
        assert code == 2
        assert "exists already" in err
        assert f"process {first.pid} trains it" in cli("doctor", "mine")[1]
        assert first.poll() is None
    finally:
        first.kill()
        first.wait()


def test_the_lock_of_a_killed_process_is_known_to_be_stale(cli):
    run = Run(Path("outputs/mine"))
    first = subprocess.Popen([*COMMAND, *LONG], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: list(run.checkpoints.glob("step-*.json")))
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert (run.path / ".lock").exists()
    assert run.status() == "killed"
    # The lock is passed: it is the schedule that does not allow another length.
    assert "the schedule of the learning rate" in cli("resume", "mine", "trainer.max_epochs=1")[2]
    with run.locked():
        assert run.held()


def test_runs_of_one_second_have_directories_of_their_own():
    words = [*COMMAND, *QUICK, "trainer.max_epochs=1"]
    processes = [
        subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    runs = list(Path("outputs/mlp-iris").iterdir())
    assert len(runs) == 3
    assert all(Run(path).status() == "done" for path in runs)


def test_of_two_starts_with_one_name_one_trains_and_one_is_refused():
    words = [*COMMAND, *QUICK, "trainer.max_epochs=200", "name=mine", "auto_resume=true"]
    processes = [
        subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[1] for process in processes]
    codes = sorted(process.returncode for process in processes)
    run = Run(Path("outputs/mine"))
    assert run.status() == "done"
    # The slower one found the directory held, or the run done.
    assert codes in ([0, 2], [0, 0]), said
    assert (run.path / "metrics.jsonl").read_text().count('"test"') == 1
