"""FAULTS class 17: a working directory that came from elsewhere holds files named like packages; none is imported."""

import os
import subprocess
import sys

import pytest

QUICK = ["data=iris", "model=mlp", "model.hidden=[4]", "trainer.max_epochs=2", "trainer.num_threads=1"]
QUICK += ["scheduler=constant", "callbacks=[checkpoint]", "logger=[]"]
# What nnkit depends on, and what multiprocessing imports in its servers.
NAMES = ("torch", "numpy", "nnkit", "hydra", "yaml", "optuna", "signal", "threading", "multiprocessing")
NAMES += ("lightning", "tensorboard", "rich")
# As the installed command starts: a script in a directory of its own, without the option -P.
START = "import sys\nfrom nnkit.cli import main\n\nif __name__ == '__main__':\n    sys.exit(main())\n"


@pytest.fixture
def run_here(tmp_path):
    """Return a function that runs nnkit in a working directory full of traps, and what the traps write."""
    sprung = tmp_path / "sprung"
    here = tmp_path / "here"
    here.mkdir()
    (tmp_path / "bin").mkdir()
    start = tmp_path / "bin" / "nnkit"
    start.write_text(START)

    def run(*words, **environment):
        for name in NAMES:
            (here / f"{name}.py").write_text(f"open({str(sprung)!r}, 'a').write({name!r})\n")
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
        return subprocess.run(
            [sys.executable, str(start), *words],
            cwd=here,
            env={**clean, "NNKIT_TRUST": "", **environment},
            capture_output=True,
            text=True,
        )

    return here, sprung, run


def test_the_processes_of_resume_verify_import_nothing_from_here(run_here, interrupted):
    _, sprung, run = run_here
    done = run("resume", str(interrupted), "--verify")
    assert done.returncode == 0, done.stderr
    assert not sprung.exists(), sprung.read_text()


def test_data_workers_import_nothing_from_here(run_here):
    _, sprung, run = run_here
    shown = ["callbacks=[checkpoint,progress]", "logger=[tensorboard]"]
    done = run("train", *QUICK[:-2], *shown, "data.num_workers=2", "name=run")
    assert done.returncode == 0, done.stderr
    assert not sprung.exists(), sprung.read_text()


def test_python_m_reads_installed_packages_first(tmp_path):
    """The name of nnkit and of the standard library are Python's to find; what nnkit imports is found elsewhere."""
    sprung = tmp_path / "sprung"
    for name in ("torch", "numpy", "hydra", "lightning"):
        (tmp_path / f"{name}.py").write_text(f"open({str(sprung)!r}, 'a').write({name!r})\n")
    command = [sys.executable, "-m", "nnkit", "train", *QUICK, "name=run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not sprung.exists(), sprung.read_text()


def test_a_trusted_package_is_found_behind_what_is_installed(run_here):
    """The user's own class is imported in the trials of a sweep; the traps beside it are not, by any process."""
    here, sprung, run = run_here
    source = "from nnkit.losses.cross_entropy import CrossEntropy\n\n\nclass Loss(CrossEntropy):\n    pass\n"
    (here / "mine.py").write_text(source)
    words = ("loss._target_=mine.Loss", "seed=1,2")
    done = run("train", "-m", *QUICK, *words, NNKIT_TRUST="mine")
    assert done.returncode == 0, done.stderr
    assert not sprung.exists(), sprung.read_text()
