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


@pytest.mark.parametrize("redirection", ["2>&-", ">&-", "2>/dev/full", ">&- 2>&-"])
def test_a_run_is_trained_to_its_end_whatever_stream_is_missing(redirection):
    if "full" in redirection and not FULL.exists():
        pytest.skip("this system has no /dev/full")
    code, _, err = run(redirection, *TRAIN)
    assert code == 0, err
    assert Run(Path("outputs/run")).status() == "done"


@needs_full
def test_a_full_disk_behind_the_log_costs_no_training():
    code, _, err = run(">/dev/full", *TRAIN)
    assert Run(Path("outputs/run")).status() == "done"
    assert err.count("No space left on device") == 1
    assert "Traceback" not in err
    assert code == 0


@needs_full
@pytest.mark.parametrize("words", [["runs"], ["predict", "run", str(IRIS)]])
def test_what_was_asked_for_and_cannot_be_written_is_an_error(words):
    assert run("", *TRAIN)[0] == 0
    code, _, err = run(">/dev/full", *words)
    assert code == 1
    assert err == "nnkit: what was to be written is lost: No space left on device\n"


def test_a_mistake_ends_with_2_though_nobody_is_told():
    assert run("2>&-", "train", "data=iris", "model=nosuch")[0] == 2
