"""What the attacks share: a run to tamper with."""

import shutil
from contextlib import nullcontext

import pytest
from hostile_run import PREDICT, QUICK, TEST, HostileRun
from untouched import untouched

import nnkit
from nnkit.checkpoint.store import CheckpointStore
from nnkit.cli import main


@pytest.fixture(scope="session")
def interrupted(tmp_path_factory):
    """A run killed after the first of two epochs, made once; what verbs import late is imported here."""
    folder = tmp_path_factory.mktemp("interrupted")
    path = nnkit.train([*QUICK, "name=run", f"output_dir={folder}"]).run.path
    run = HostileRun(path)
    store = CheckpointStore(run.checkpoints)
    store.remove(store.manifests()[0])
    run.update(status="stopped")
    assert main([TEST[0], str(path)]) == 0
    main([PREDICT[0], str(path), "nothing.csv"])
    return path


@pytest.fixture
def hostile(interrupted, tmp_path):
    """Return a copy of it as outputs/run, beside a file of rows to predict."""
    shutil.copytree(interrupted, tmp_path / "outputs" / "run")
    names = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")
    (tmp_path / "rows.csv").write_text(f"{','.join(names)}\n5.1,3.5,1.4,0.2\n")
    return HostileRun(tmp_path / "outputs" / "run")


@pytest.fixture
def refuses(cli, tmp_path, monkeypatch):
    """Assert that a command line is refused with a sentence that says something, and writes nothing.

    A run that goes on, and fails then, records that: `begins`.
    """

    def check(words, *said, codes=(1, 2), begins=False):
        with nullcontext() if begins else untouched(tmp_path, monkeypatch):
            code, out, err = cli(*words)
        assert code in codes, (words, out, err)
        assert "Traceback" not in err
        assert len(err) < 3000
        for text in said:
            assert text in err, err

    return check
