"""A sweep whose trials are two processes each: one that loses a process has failed, and is begun again exactly."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from warm import Warm, command

from nnkit.checkpoint.compare import run_differences
from nnkit.runs.run import Run
from nnkit.sweep.directory import Sweep

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

WORDS = [
    *["data=iris", "data.val_fraction=0.2", "model=mlp_small", "model.dropout=0.2", "logger=[]", "seed=1,2"],
    *["trainer.devices=2", "trainer.accelerator=cpu", "trainer.num_threads=1", "trainer.max_epochs=12"],
    *["callbacks=[checkpoint]", "callbacks.checkpoint.every_n_steps=3", "hydra.launcher.n_jobs=1"],
]


def folder(name):
    return Path("outputs/sweeps", name)


def states(name):
    return {entry.trial.name: entry.outcome for entry in Sweep(folder(name)).entries().values()}


def second_process(trial):
    """The process id of the other one of a trial's two, once it trains."""
    record = Run(trial).record()
    children = Path(f"/proc/{record.get('pid')}/task/{record.get('pid')}/children")
    found = children.read_text().split() if children.exists() else []
    return int(found[0]) if found and list(trial.glob("checkpoints/step-*")) else None


def test_a_trial_that_loses_a_process_has_failed_alone_and_is_begun_again_exactly(cli):
    code, _, err = cli("train", "-m", *WORDS, "name=whole")
    assert code == 0, err
    sweep = Warm(command, "train", "-m", *WORDS, "name=cut")
    deadline, pid = time.monotonic() + 120, None
    while (pid := second_process(folder("cut") / "seed=1")) is None:
        assert sweep.poll() is None, sweep.said()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    code, said = sweep.wait()
    assert code == 1, said
    found = states("cut")
    assert (found["seed=1"].state, found["seed=2"].state) == ("killed", "done")
    assert "process 1 of the run has ended" in found["seed=1"].reason
    code, _, err = cli("resume", "cut", "--retry-failed")
    assert code == 0, err
    for seed in ("seed=1", "seed=2"):
        assert not list(run_differences(folder("whole") / seed, folder("cut") / seed))
    names = ("results.csv", "results.json")
    assert [(folder("cut") / name).read_bytes() for name in names] == [
        (folder("whole") / name).read_bytes() for name in names
    ]
