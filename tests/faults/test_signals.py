"""A signal to a run or its process group, at every kind of place: it saves and ends, or saves and goes on."""

import os
import pty
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
import signalling
from exactness import assert_same_end
from signalling import HOOKS
from warm import Warm, typed

import nnkit
from nnkit.checkpoint.store import CheckpointStore
from nnkit.cli import main
from nnkit.machine import signals
from nnkit.runs.resuming import resume
from nnkit.runs.run import Run

pytestmark = pytest.mark.slow

# 11 steps an epoch, a validation in its middle and one at its end.
WORDS = [
    "data=digits",
    "data.subset=0.5",
    "data.batch_size=64",
    "data.eval_batch_size=64",
    "data.augment.shift=1",
    "model=mlp",
    "model.hidden=[16]",
    "model.dropout=0.2",
    "trainer.max_epochs=4",
    "trainer.val_check_interval=6",
    "trainer.num_threads=1",
    "trainer.log_every_n_steps=1",
    "callbacks=[checkpoint,progress]",
    "logger=[]",
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the run that gets no signal."""
    path = tmp_path_factory.mktemp("whole")
    return nnkit.train([*WORDS, "name=whole", f"output_dir={path}"]).run


def command(place, number, way, workers, *more):
    """Run the command line in a process group of its own, which gets a signal; return its exit code and words."""
    words = ["train", *WORDS, f"data.num_workers={workers}", "name=mine", *more]
    process = Warm(signalling.run, place, number, way, words)
    try:
        code, said = process.wait()
    finally:
        process.end()
    assert "Traceback" not in said, said
    return code, said


@pytest.mark.parametrize(
    ("place", "number", "workers"),
    [("training", "SIGTERM", 2), ("validation", "SIGINT", 2), ("saving", "SIGHUP", 2), ("test", "SIGINT", 2)],
)
def test_a_signal_to_the_group_ends_the_run_which_goes_on_exactly(place, number, workers, whole):
    code, said = command(place, number, "group", workers)
    assert code == 128 + signal.Signals[number], said
    assert f"stopped by {number} at step" in said
    assert "nnkit resume outputs/mine" in said
    run = Run(Path("outputs/mine"))
    assert run.status() == "stopped"
    if place == "training":
        # The step in which the signal came is finished and saved.
        assert CheckpointStore(run.checkpoints).load("last")[0].step == HOOKS[place][1]
    resume("mine", words=["data.num_workers=0"], show=False)
    assert_same_end(whole, run)


@pytest.mark.parametrize(("place", "number"), [("preparation", "SIGHUP"), ("new process", "SIGTERM")])
def test_a_signal_before_training_ends_the_command_with_its_code(place, number):
    code, said = command(place, number, "group", 2)
    assert code == 128 + signal.Signals[number], said
    assert f"stopped by {number}" in said


@pytest.mark.parametrize("place", ["training", "new process"])
def test_sigusr1_to_the_group_saves_and_the_run_goes_on(place, whole):
    code, said = command(place, "SIGUSR1", "group", 2)
    assert code == 0, said
    run = Run(Path("outputs/mine"))
    assert run.status() == "done"
    step = HOOKS[place][1] if place == "training" else 1
    assert f"SIGUSR1: the run is saved at step {step} and goes on" in (run.path / "train.log").read_text()
    assert_same_end(whole, run)


def test_sigterm_and_a_kill_a_second_later_lose_nothing(whole):
    code, said = command("training", "SIGTERM+SIGKILL", "group", 2)
    assert code in (143, -signal.SIGKILL), said
    assert Run(Path("outputs/mine")).status() == ("stopped" if code == 143 else "killed")
    resume("mine", words=["data.num_workers=0"], show=False)
    assert_same_end(whole, Run(Path("outputs/mine")))


def on_a_terminal(*words):
    """Run a command line on the terminal that it writes to."""
    # The first that the first process of a session can read from is the one that its signals come from.
    os.open(os.ttyname(1), os.O_RDWR)
    return typed(*words)


def test_ctrl_c_on_a_terminal_saves_the_finished_step(whole):
    ours, theirs = pty.openpty()
    words = ["train", *WORDS, "data.num_workers=2", "name=mine"]
    process = Warm(on_a_terminal, *words, out=os.ttyname(theirs))
    try:
        wait_for_checkpoints(process, 1)
        os.close(theirs)
        os.write(ours, b"\x03")
        said = read_all(ours)
        assert process.wait(30)[0] == 130, said
    finally:
        process.end()
        os.close(ours)
    assert "stopped by SIGINT at step" in said
    assert "Traceback" not in said
    run = Run(Path("outputs/mine"))
    assert run.status() == "stopped"
    resume("mine", words=["data.num_workers=0"], show=False)
    assert_same_end(whole, run)


def wait_for_checkpoints(process, count):
    """Wait until so many checkpoints are committed."""
    deadline = time.monotonic() + 60
    while len(list(Path("outputs/mine/checkpoints").glob("*.json"))) <= count:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def read_all(terminal):
    """Return what a terminal shows until its last process has closed it."""
    parts = []
    # Linux answers the last reading with an error.
    with suppress(OSError):
        while part := os.read(terminal, 4096):
            parts.append(part)
    return b"".join(parts).decode(errors="replace")


def test_a_repeated_message_is_one_and_a_second_ctrl_c_leaves_at_once(monkeypatch):
    left = []
    monkeypatch.setattr(os, "_exit", left.append)
    with signals.noted():
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
        assert signals.stop() == signal.SIGTERM
        assert not left
        os.kill(os.getpid(), signal.SIGINT)
        assert left == [130]
        # What came for this block alone is over with it.
        signals._state.stop = 0


def test_a_signal_that_comes_too_late_to_be_acted_on_reaches_the_script_that_called():
    with pytest.raises(KeyboardInterrupt), signals.noted():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("verb", ["train", "list"])
def test_sigusr1_ends_no_command(verb, monkeypatch, capfd):
    monkeypatch.setattr(
        f"nnkit.cli.verbs.{verb}.run", lambda words: os.kill(os.getpid(), signal.SIGUSR1) or 0
    )
    assert main([verb]) == 0


def test_what_a_signal_breaks_off_with_another_error_ends_with_its_code(monkeypatch, capfd):
    def break_off(words):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except BaseException as error:
            raise ImportError("initialization failed") from error

    monkeypatch.setattr("nnkit.cli.verbs.list.run", break_off)
    assert main(["list"]) == 143
    assert capfd.readouterr().err == "nnkit: stopped by SIGTERM\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_is_ignored_stays_ignored(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with signals.noted():
            os.kill(os.getpid(), number)
            assert not signals.stop()
    finally:
        signal.signal(number, before)
