"""`trainer.devices=2` without a launcher: nnkit starts the other process, and one goes on where two were stopped."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import samples
from warm import Warm, typed

from nnkit.distributed import group
from nnkit.errors import EnvironmentFault

WORDS = [
    *[
        "model=gpt",
        "model.dim=16",
        "model.num_heads=2",
        "model.num_layers=1",
        "scheduler=constant",
        "logger=[]",
    ],
    *["trainer.accelerator=cpu", "trainer.devices=2", "trainer.num_threads=1", "name=x"],
]


def checkpoints():
    return list(Path("outputs/x/checkpoints").glob("step-*[0-9].json"))


@pytest.mark.slow
def test_two_processes_are_stopped_and_one_goes_on(cli):
    words = [
        *samples.words("text"),
        *WORDS,
        "trainer.max_steps=100000",
        "callbacks.checkpoint.every_n_steps=5",
    ]
    begun = Warm(typed, "train", *words)
    late = time.monotonic() + 300
    while not checkpoints() and begun.poll() is None and time.monotonic() < late:
        time.sleep(0.1)
    # As a terminal does: every process of the group.
    os.killpg(begun.pid, signal.SIGINT)
    code, said = begun.wait(60)
    assert code == 130, said
    assert said.count("stopped by SIGINT") == 1
    assert "continue with: nnkit resume" in said
    record = json.loads(Path("outputs/x/run.json").read_text())
    assert record["processes"] == 2
    assert "stopped by SIGINT" in Path("outputs/x/logs/rank-1.log").read_text()
    longer = f"trainer.max_steps={record['step'] + 2}"
    code, out, err = cli("resume", "x", "trainer.devices=1", longer)
    assert code == 0, err
    assert "exact: no, 2 -> 1 processes" in out
    assert cli("test", "x")[0] == 0


def test_a_process_that_does_not_come_is_reported_with_what_it_said(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("raise ImportError('no such library')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        EnvironmentFault, match=r"(?s)process 1 of the run ended with exit code 1.*no such library"
    ):
        group.start(2, "broken")
    assert group.group() is None
