"""The real torchrun: a process that is killed is started again with the others, and the run ends as if undisturbed."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import together
from safetensors.torch import load_file

from nnkit.checkpoint.store import CheckpointStore

WORDS = [
    *[
        "train",
        "model=mlp",
        "model.dropout=0.3",
        "data=digits",
        "data.batch_size=16",
        "trainer.max_steps=300",
    ],
    *[
        "trainer.accelerator=cpu",
        "trainer.num_threads=1",
        "logger=[]",
        "callbacks.checkpoint.every_n_steps=20",
    ],
    *["trainer.devices=auto", "trainer.num_nodes=auto", "auto_resume=true"],
]


def process_of(rank, parent):
    """Return the process of a rank that torchrun has started."""
    for number in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with suppress(OSError):
            if f"RANK={rank}".encode() in Path(f"/proc/{number}/environ").read_bytes().split(b"\0"):
                return int(number)
    return None


def weights(run):
    store = CheckpointStore(Path("outputs", run, "checkpoints"))
    return load_file(store.directory / f"{store.load('last')[0].name}.safetensors")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the process in /proc")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_is_started_again_and_the_run_ends_as_if_undisturbed(rank):
    ended = together.run(2, [*WORDS, "name=whole"])
    assert [one.code for one in ended] == [0, 0], ended[0].said
    line = [*["--nproc-per-node", "2", "--max-restarts", "1", "-m", "nnkit"], *WORDS, "name=job"]
    with Path("said.txt").open("w") as said:
        launcher = subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *line], stdout=said, stderr=said
        )
        late = time.monotonic() + 120
        while not list(Path("outputs/job/checkpoints").glob("step-*.json")) and time.monotonic() < late:
            time.sleep(0.02)
        os.kill(process_of(rank, launcher.pid), signal.SIGKILL)
        code = launcher.wait(240)
    text = Path("said.txt").read_text()
    assert code == 0, text
    assert "outputs/job: going on from step-" in text, text
    found, expected = weights("job"), weights("whole")
    assert found.keys() == expected.keys()
    assert all(found[name].equal(expected[name]) for name in expected)
    assert Path("outputs/job/metrics.jsonl").read_bytes() == Path("outputs/whole/metrics.jsonl").read_bytes()
