"""What the fault tests share: a store of small states, a short run undisturbed, and the same run killed half-way."""

import logging
import shutil

import pytest
from failing_os import KILL, FailingOs, Killed
from short_run import SHORT_RUN
from small_store import SmallStore

import nnkit
from nnkit.checkpoint.plugin import StoreIO
from nnkit.checkpoint.store import CheckpointStore
from nnkit.files import atomic
from nnkit.files.layout import CONFIG
from nnkit.runs.run import Run


@pytest.fixture
def store(tmp_path):
    """An empty store inside a run that has logged three lines."""
    store = SmallStore(tmp_path / "run" / "checkpoints")
    store.directory.parent.mkdir()
    atomic.append_lines(store.directory.parent / "metrics.jsonl", ["1", "2", "3"])
    store.prepare()
    return store


@pytest.fixture
def operating(monkeypatch):
    """Put something in the place of `os` where checkpoints and records are written, until the test is over."""

    def put(proxy):
        monkeypatch.setattr(atomic, "os", proxy)
        return proxy

    return put


@pytest.fixture
def warned():
    """What nnkit warns of, whether or not a command line was run before in this process."""
    messages = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger("nnkit").addHandler(handler)
    yield messages
    logging.getLogger("nnkit").removeHandler(handler)


@pytest.fixture
def one_after_another(monkeypatch):
    """Training waits for each save, so that the n-th operation is the same in every run."""
    save = StoreIO.save_checkpoint

    def save_and_wait(self, *arguments, **keywords):
        save(self, *arguments, **keywords)
        self.flush()

    monkeypatch.setattr(StoreIO, "save_checkpoint", save_and_wait)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The short run that nothing ever happened to, not to be changed: steps 8 and 10, and the best, step 5."""
    run = nnkit.train([*SHORT_RUN, f"output_dir={tmp_path_factory.mktemp('undisturbed')}"]).run
    assert [manifest.step for manifest in CheckpointStore(run.checkpoints).manifests()] == [10, 8, 5]
    return run


@pytest.fixture(scope="session")
def _killed(tmp_path_factory):
    """The short run killed in its second epoch: steps 6 and 8, and the best, step 5."""
    folder = tmp_path_factory.mktemp("killed")
    with pytest.MonkeyPatch.context() as context:
        context.setattr(
            atomic, "os", FailingOs(1, KILL, lambda name, path: path.name == "step-000010.safetensors.tmp")
        )
        with pytest.raises(Killed):
            nnkit.train([*SHORT_RUN, f"output_dir={folder}"])
    return next(folder.rglob(CONFIG)).parent


@pytest.fixture
def halfway(_killed, tmp_path):
    """The short run killed in its second epoch, a copy for this test: steps 6 and 8, and the best, step 5."""
    run = Run(tmp_path / "outputs" / "halfway")
    shutil.copytree(_killed, run.path)
    assert [manifest.step for manifest in CheckpointStore(run.checkpoints).manifests()] == [8, 6, 5]
    assert CheckpointStore(run.checkpoints).load("best")[0].step == 5
    return run
