"""Standard streams that are closed or full: what is trained does not hang on them, what was asked for does."""

import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from nnkit.run import Run

TRAIN = ["train", "data=iris", "model=mlp", "trainer.max_epochs=2", "trainer.num_threads=1", "name=run"]
IRIS = resources.files("nnkit") / "data/tables/iris.csv"
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def run(shell_redirection, *words):
    """Run a command whose streams a shell redirects; return its exit code, its output and its messages."""
    command = f'exec "$0" -m nnkit.cli "$@" {shell_redirection}'
    done = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, *words], capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout, done.stderr


def test_a_run_is_trained_to_its_end_though_both_streams_are_closed():
    code, _, _ = run(">&- 2>&-", *TRAIN)
    assert Run(Path("outputs/run")).status() == "done"
    assert code == 0


@needs_full
def test_a_full_disk_behind_both_streams_costs_no_training():
    """As in `nohup nnkit train > log 2>&1`; a mistake is still told by its exit code."""
    run(">/dev/full 2>&1", *TRAIN)
    assert Run(Path("outputs/run")).status() == "done"
    assert run(">/dev/full 2>&1", "train", "data=iris", "model=nosuch")[0] == 2


@needs_full
def test_a_full_disk_behind_the_log_costs_no_training():
    code, _, err = run(">/dev/full", *TRAIN)
    assert Run(Path("outputs/run")).status() == "done"
    assert err.count("No space left on device") == 1
    assert "Traceback" not in err
    assert code == 0
    # What is asked for and cannot be written is an error.
    for words in (["runs"], ["predict", "run", str(IRIS)]):
        code, _, err = run(">/dev/full", *words)
        assert code == 1
        assert err == "nnkit: what was to be written is lost: No space left on device\n"


def test_a_mistake_ends_with_2_though_nobody_is_told():
    assert run("2>&-", "train", "data=iris", "model=nosuch")[0] == 2
