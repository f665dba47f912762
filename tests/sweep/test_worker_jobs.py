"""Workers as a cluster runs them: tasks of srun, and jobs of submitit, which are warned before their time is up."""

import json
import os
import signal
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from warm import Warm, command

from nnkit.sweep.directory import Sweep
from nnkit.sweep.trials import DONE, STARTED, STOPPED

WORDS = [
    *[
        "train",
        "-m",
        "data=iris",
        "data.val_fraction=0.2",
        "model=mlp_small",
        "logger=[]",
        "callbacks=[checkpoint]",
    ],
    *["callbacks.checkpoint.every_n_steps=3", "trainer.num_threads=1", "seed=1,2"],
    *["hydra.launcher.n_jobs=0", "name=grid"],
]
PATH = Path("outputs/sweeps/grid")
NEEDS_SUBMITIT = pytest.mark.skipif(find_spec("submitit") is None, reason="pip install submitit")


def states():
    """Return how each trial stood, one after the other, in the order in which workers took it."""
    rows = [json.loads(line) for file in Sweep(PATH).files() for line in file.read_text().splitlines()]
    rows.sort(key=lambda row: row.get("lease", 0))
    return {name: [row["state"] for row in rows if row["trial"] == name] for name in ("seed=1", "seed=2")}


def below(pid):
    """Return the processes that a process has started, and those that they have."""
    children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*children, *(one for child in children for one in below(child))]


@pytest.mark.slow
def test_tasks_of_srun_are_workers_and_each_trial_trains_by_itself(cli):
    assert cli(*WORDS, "trainer.max_epochs=2")[0] == 0
    step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NODELIST": "localhost"}
    job = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "train", "SLURM_NODEID": "0"}
    tasks = [
        Warm(
            command,
            *("worker", "grid", "hydra.launcher.n_jobs=1"),
            env={**job, **step, "SLURM_PROCID": str(number), "SLURM_LOCALID": str(number)},
        )
        for number in range(2)
    ]
    for task in tasks:
        code, said = task.wait(60)
        assert code == 0, said
    assert states() == {"seed=1": ["planned", STARTED, DONE], "seed=2": ["planned", STARTED, DONE]}
    assert json.loads((PATH / "seed=1/run.json").read_text())["processes"] == 1


@pytest.mark.slow
@NEEDS_SUBMITIT
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
# A job outlives whoever submits it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_warned_worker_gives_its_trials_back_and_is_queued_again(cli):
    assert cli(*WORDS, "trainer.max_epochs=30")[0] == 0
    words = ["hydra.launcher.n_jobs=1", "--submit", "1", "--cluster", "local", "--job", "timeout_min=9"]
    code, out, err = cli("worker", "grid", *words)
    assert code == 0, err
    job = int(out.removeprefix("submitted to local: ").partition(";")[0])
    late = time.monotonic() + 120
    while not any((PATH / "seed=1/checkpoints").glob("step-*[0-9].json")):
        assert time.monotonic() < late
        time.sleep(0.05)
    # SLURM sends it to all processes of the job.
    for pid in below(job):
        os.kill(pid, signal.SIGUSR2)
    os.waitpid(job, 0)
    said = (PATH / f".submitit/{job}/{job}_0_log.err").read_text()
    assert "this job is timed-out" in said, said
    assert states() == {
        "seed=1": ["planned", STARTED, STOPPED, STARTED, DONE],
        "seed=2": ["planned", STARTED, DONE],
    }


@NEEDS_SUBMITIT
def test_slurm_is_asked_for_a_job_that_is_queued_again_as_often_as_it_takes(cli, monkeypatch):
    from submitit.core.utils import DelayedSubmission

    assert cli(*WORDS, "trainer.max_epochs=2")[0] == 0
    folder = Path("bin")
    folder.mkdir()
    for name, text in (("srun", ""), ("sbatch", 'cp "$1" asked.sh; echo Submitted batch job 7')):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder.absolute()}:{os.environ['PATH']}")
    job = ["--submit", "1", "--job", "timeout_min=240", "--job", "slurm_partition=gpu"]
    code, out, err = cli("worker", "grid", *job)
    assert code == 0, err
    assert out.startswith("submitted to slurm: 7;")
    asked = Path("asked.sh").read_text()
    assert "#SBATCH --partition=gpu\n" in asked
    assert "#SBATCH --time=240\n" in asked
    # submitit's own three times would leave a sweep of many hours without workers.
    submission = DelayedSubmission.load(PATH / ".submitit/7/7_submitted.pkl")
    assert submission._timeout_countdown > 1000
