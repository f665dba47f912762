"""Standard streams that are closed or full: what is trained does not hang on them, what was asked for does."""

import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from warm import Warm, command

from nnkit.runs.run import Run

TRAIN = ["train", "data=iris", "model=mlp", "trainer.max_epochs=2", "trainer.num_threads=1", "name=run"]
IRIS = resources.files("nnkit") / "data/datasets/files/iris.csv"
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def run_closed(shell_redirection, *words):
    """Run a command of which a shell closes streams; return its exit code."""
    script = f'exec "$0" -m nnkit "$@" {shell_redirection}'
    shell = ["/bin/sh", "-c", script, sys.executable, *words]
    return subprocess.run(shell, capture_output=True, timeout=120, check=False).returncode


def run_full(*words, err):
    """Run a command whose output goes to a full disk, and its messages to a file; return exit code and messages."""
    return Warm(command, *words, out=FULL, err=err).wait()


def test_a_run_is_trained_to_its_end_though_both_streams_are_closed():
    code = run_closed(">&- 2>&-", *TRAIN)
    assert Run(Path("outputs/run")).status() == "done"
    assert code == 0


@needs_full
def test_a_full_disk_behind_both_streams_costs_no_training():
    """As in `nohup nnkit train > log 2>&1`; a mistake is still told by its exit code."""
    run_full(*TRAIN, err=FULL)
    assert Run(Path("outputs/run")).status() == "done"
    assert run_full("train", "data=iris", "model=nosuch", err=FULL)[0] == 2


@needs_full
def test_a_full_disk_behind_the_log_costs_no_training():
    code, said = run_full(*TRAIN, err="train.txt")
    assert Run(Path("outputs/run")).status() == "done"
    assert said.count("No space left on device") == 1
    assert "Traceback" not in said
    assert code == 0
    # What is asked for and cannot be written is an error.
    for words in (["runs"], ["predict", "run", str(IRIS)]):
        code, said = run_full(*words, err=f"{words[0]}.txt")
        assert code == 1
        assert said == "nnkit: what was to be written is lost: No space left on device\n"


def test_a_mistake_ends_with_2_though_nobody_is_told():
    assert run_closed("2>&-", "nosuch") == 2
