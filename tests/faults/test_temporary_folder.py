"""Class 7: where $TMPDIR points to makes no difference, as saves never leave the run's directory."""

import shutil
import tempfile
from pathlib import Path

import pytest
from exactness import assert_same_end
from failing_os import WatchedOs
from short_run import SHORT_RUN

import nnkit

SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture(params=["missing", "another file system"])
def tmpdir_variable(request, monkeypatch, tmp_path):
    """Point $TMPDIR to a folder that is not there, or to one from which nothing can be renamed into the run."""
    path = tmp_path / "missing"
    if request.param != "missing":
        if not SHARED_MEMORY.is_dir() or SHARED_MEMORY.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is no second file system")
        path = Path(tempfile.mkdtemp(dir=SHARED_MEMORY))
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_a_run_ends_the_same_and_writes_nothing_outside_its_directory(
    tmpdir_variable, operating, undisturbed
):
    proxy = operating(WatchedOs())
    run = nnkit.train(SHORT_RUN).run
    written = {path for name, path in proxy.operations if name in ("write", "replace")}
    assert_same_end(undisturbed, run)
    assert not list(tmpdir_variable.rglob("*"))
    assert len(written) > 10
    assert not [path for path in written if run.path not in path.parents]
