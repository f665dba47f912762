"""torchrun: a process that is killed is started again with the others, and the run ends as if undisturbed."""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import together
from safetensors.torch import load_file
from warm import Warm, command

from nnkit.checkpoint.store import CheckpointStore

WORDS = [
    *[
        "train",
        "model=mlp",
        "model.dropout=0.3",
        "data=digits",
        "data.batch_size=16",
        "trainer.max_steps=160",
    ],
    *[
        "trainer.accelerator=cpu",
        "trainer.num_threads=1",
        "logger=[]",
        "callbacks.checkpoint.every_n_steps=20",
    ],
    *["trainer.devices=auto", "trainer.num_nodes=auto", "auto_resume=true"],
]


def one_of_them(*words):
    """Be a process that torchrun has started, after telling which one."""
    Path(f"rank-{os.environ['RANK']}.txt").write_text(str(os.getpid()))
    if code := command(*words):
        sys.exit(code)


def torchrun(*words):
    """Be torchrun, but that the processes are copies of this one, which has imported what they need."""
    from torch.distributed import launcher, run

    port = str(together.free_port())
    line = ["--nproc-per-node", "2", "--max-restarts", "2", "--master-port", port, "-m", "nnkit"]
    config = replace(run.config_from_args(run.parse_args(line))[0], start_method="fork")
    launcher.elastic_launch(config, one_of_them)(*words)
    return 0


def checkpoints():
    return set(Path("outputs/job/checkpoints").glob("step-*[0-9].json"))


def weights(run):
    store = CheckpointStore(Path("outputs", run, "checkpoints"))
    return load_file(store.directory / f"{store.load('last')[0].name}.safetensors")


@pytest.mark.slow
def test_a_killed_process_is_started_again_and_the_run_ends_as_if_undisturbed():
    ended = together.run(2, [*WORDS, "name=whole"])
    assert [one.code for one in ended] == [0, 0], ended[0].said
    job, known = Warm(torchrun, *WORDS, "name=job"), set()
    for rank in (0, 1):
        late = time.monotonic() + 120
        while checkpoints() <= known and time.monotonic() < late:
            time.sleep(0.02)
        os.kill(int(Path(f"rank-{rank}.txt").read_text()), signal.SIGKILL)
        known |= checkpoints()
    code, text = job.wait(240)
    assert code == 0, text
    assert text.count("outputs/job: going on from step-") == 2, text
    found, expected = weights("job"), weights("whole")
    assert found.keys() == expected.keys()
    assert all(found[name].equal(expected[name]) for name in expected)
    assert Path("outputs/job/metrics.jsonl").read_bytes() == Path("outputs/whole/metrics.jsonl").read_bytes()
