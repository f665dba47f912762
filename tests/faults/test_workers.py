"""A worker process that raises, dies or hangs ends the run with a sentence and leaves no process (class 16)."""

import multiprocessing
import os
import sys
import time
from pathlib import Path

import faulty
import pytest
import torch
from faulty import TRAIN
from warm import Warm, command

from nnkit.data import loading
from nnkit.errors import EnvironmentFault, UserError
from nnkit.machine.faults import explained
from nnkit.runs.run import Run

BAD = ["data.num_workers=2", "data.bad=[40]"]

# torch raises that a worker has died wherever this process is at that moment. In a callback of the garbage
# collector, such as hypothesis has, Python passes over it with a warning, and torch says it again where it waits for
# the worker.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def own_package(monkeypatch):
    faulty.install(monkeypatch)
    # What torch waits for a worker that does not end by itself.
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.5)


def assert_no_process_is_left():
    # One that was told to end may need a moment.
    deadline = time.monotonic() + 10
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not multiprocessing.active_children()


FAULTS = {
    "raise": [
        "which loads data, raised ValueError: a picture is\ntorn (faulty.py, line",
        "data.num_workers=0",
    ],
    "unreadable": ["which loads data, raised OSError: [Errno 5] Input/output error: 'faulty/5.png'"],
    # In which words torch notices it depends on the moment.
    "die": ["a worker process that loads data died", "fewer data.num_workers", "data.num_workers=0"],
    "leave": ["a worker process that loads data died"],
}


@pytest.mark.parametrize("where", ["train", "always"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_worker_that_fails_is_named(cli, fault, where):
    code, _, err = cli("train", *TRAIN, *BAD, f"data.fault={fault}", f"data.where={where}")
    assert code == 1
    # Beside the sentence a thread of multiprocessing that was serving a dead process may complain of its own.
    assert "nnkit: " in err
    assert "Traceback" not in err or ("resource_sharer" in err and "fit.py" not in err)
    for words in FAULTS[fault]:
        assert words in err
    assert_no_process_is_left()
    # What the data do wherever they are drawn is found before anything is written.
    assert Path("outputs").exists() == (where == "train")
    if where == "train":
        assert Run(Path("outputs/run")).status() == "failed"
        assert "worker process" in Run(Path("outputs/run")).record()["error"]


def test_the_whole_traceback_stands_in_the_log(cli):
    cli("train", *TRAIN, *BAD, "data.fault=raise")
    log = Path("outputs/run/train.log").read_text()
    assert "Original Traceback" in log
    assert "in _raise" in log


def test_a_sentence_from_a_worker_is_passed_on_as_it_is(cli):
    code, _, err = cli("train", *TRAIN, *BAD, "data.fault=vanish")
    assert code == 2
    assert err == "nnkit: faulty/5.png cannot be used: there is no such file\n"
    assert Run(Path("outputs/run")).record()["error"] == err.removeprefix("nnkit: ").strip()


def test_a_worker_that_dies_in_the_final_test(cli, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("nnkit.runs.fit.evaluate", _evaluate_with_a_dying_worker)
        code, _, err = cli("train", *TRAIN)
    assert code == 1
    assert "a worker process that loads data died" in err
    assert "Traceback" not in err
    run = Run(Path("outputs/run"))
    assert run.status() == "failed"
    code, _, err = cli("resume", "run")
    assert code == 0, err
    assert run.status() == "done"


def _evaluate_with_a_dying_worker(session, directory, callbacks):
    raise RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed.")


@pytest.mark.parametrize("where", ["train", "always"])
def test_a_worker_that_hangs_is_given_up(cli, monkeypatch, where):
    monkeypatch.setattr(loading, "WORKER_TIMEOUT", 1)
    start = time.monotonic()
    code, _, err = cli("train", *TRAIN, *BAD, "data.fault=hang", f"data.where={where}")
    assert code == 1
    assert "no batch came from the worker processes within 1 seconds" in err
    assert "data.num_workers=0" in err
    assert time.monotonic() - start < 20
    assert_no_process_is_left()


def test_whatever_ends_a_run_ends_its_workers():
    data = faulty.Faulty(num_workers=2)
    data.setup_data()
    assert_no_process_is_left()
    next(iter(data.train_dataloader()))
    next(iter(data.val_dataloader()))
    assert len(multiprocessing.active_children()) == 4
    data.on_exception(RuntimeError())
    assert_no_process_is_left()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers start as the system's default says")
def test_workers_are_forked_in_a_process_that_starts_others_by_a_server_as_a_trial_does(monkeypatch):
    server = multiprocessing.get_context("forkserver")
    monkeypatch.setattr(multiprocessing.context._default_context, "_actual_context", server)
    data = faulty.Faulty(num_workers=2)
    data.setup_data()
    next(iter(data.train_dataloader()))
    assert {type(one).__name__ for one in multiprocessing.active_children()} == {"ForkProcess"}
    data.on_exception(RuntimeError())
    assert_no_process_is_left()


def test_workers_have_two_minutes():
    assert loading.WORKER_TIMEOUT == 120


def test_the_command_ends_and_no_process_is_left():
    # In a group of its own: what is left of it can be asked for.
    process = Warm(command, "train", *TRAIN, *BAD, "data.fault=hang", env={"FAULTY_TIMEOUT": "2"})
    try:
        code, said = process.wait(90)
        assert code == 1
        assert "within 2.0 seconds" in said
        assert "Traceback" not in said
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
    finally:
        process.end()


class Odd(Exception):
    def __init__(self, one, two):
        super().__init__(one, two)


@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (RuntimeError("DataLoader worker (pid(s) 12, 13) exited unexpectedly"), EnvironmentFault, "12, 13"),
        (RuntimeError("a bug of ours"), RuntimeError, "a bug of ours"),
        (Odd(1, 2), Odd, "1"),
        (UserError("as it is"), UserError, "as it is"),
        (MemoryError(), EnvironmentFault, "memory is used up"),
        (
            OSError(28, "No space left on device", "x.ckpt"),
            EnvironmentFault,
            "^x.ckpt: No space left on device$",
        ),
    ],
)
def test_what_is_no_fault_of_the_environment_keeps_its_traceback(error, expected, words):
    with pytest.raises(expected, match=words) as caught, explained():
        raise error
    assert type(caught.value) is expected


def test_more_memory_than_there_is_is_said_with_the_bytes():
    with pytest.raises(EnvironmentFault, match="memory is used up: 4,000,000,000,000,000 bytes"), explained():
        torch.zeros(10**15)
