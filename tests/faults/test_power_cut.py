"""Class 4: whatever of a save the disk has kept when the power comes back, it is the state before it or after it."""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest
from exactness import assert_same_end
from power_cut import PoweredOs
from short_run import SHORT_RUN
from small_store import SmallStore

import nnkit
from nnkit.checkpoint.store import CheckpointStore
from nnkit.errors import UserError
from nnkit.files import atomic
from nnkit.files.layout import CONFIG, METRICS, PREPROCESSING, RECORD
from nnkit.runs.resuming import resume
from nnkit.runs.run import Run

pytestmark = pytest.mark.slow


@pytest.fixture
def powered(monkeypatch, tmp_path):
    """For a block it is known what a power cut would leave of this test's folder."""

    @contextmanager
    def watch():
        with monkeypatch.context() as context:
            proxy = PoweredOs(tmp_path)
            context.setattr(atomic, "os", proxy)
            yield proxy

    return watch


@pytest.mark.parametrize(("keep", "bests"), [(1, (4, 5)), (2, (1, 1))], ids=str)
def test_two_saves_leave_the_state_before_or_after(store, powered, tmp_path, keep, bests, warned):
    for step in (1, 2, 3):
        store.save(step, best=1, keep=keep)
    with powered() as proxy:
        proxy.promise(3)
        for step, best in zip((4, 5), bests, strict=True):
            # Lines that no checkpoint has promised may be lost.
            atomic.append_lines(store.directory.parent / METRICS, [str(step)])
            store.save(step, best=best, keep=keep)
            proxy.promise(step)
    best_of = dict(zip((3, 4, 5), (1, *bests), strict=True))
    seen = set()
    for cut in proxy.cuts:
        cut.restore(tmp_path, Path("disk"))
        copy = SmallStore(Path("disk/run/checkpoints"))
        manifest, state = copy.load("last")
        assert manifest.step in (cut.promises[-1], cut.promises[-1] + 1)
        assert copy.loaded("best") == best_of[manifest.step]
        lines = (copy.directory.parent / METRICS).read_bytes().splitlines()
        assert lines[: state["nnkit"]["num_lines"]] == [b"1", b"2", b"3", b"4", b"5"][: manifest.step]
        seen.add((cut.promises[-1], manifest.step))
    assert seen == {(3, 3), (3, 4), (4, 4), (4, 5), (5, 5)}
    assert not warned


def test_the_first_save_and_the_start_before_it_leave_nothing_or_all(powered, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / METRICS).touch()
    store = SmallStore(tmp_path / "run" / "checkpoints")
    with powered() as proxy:
        store.prepare()
        store.save(1, best=1)
        proxy.promise(1)
    for cut in proxy.cuts:
        cut.restore(tmp_path, Path("disk"))
        copy = SmallStore(Path("disk/run/checkpoints"))
        if cut.promises or copy.holds_any():
            assert copy.loaded("best") == 1
        else:
            with pytest.raises(UserError, match="no checkpoint yet"):
                copy.load("last")
        # A run that starts now saves as if nothing had happened.
        copy.prepare()
        copy.save(1, best=1)
        assert copy.loaded("last") == 1


@pytest.fixture(scope="module")
def a_run(tmp_path_factory):
    """Train the short run; return its directory and what a power cut at any instant may have left of it."""
    folder = tmp_path_factory.mktemp("powered")
    proxy = PoweredOs(folder, thorough=False)
    write, commit = atomic.write_atomic, CheckpointStore.commit

    def write_and_promise(path, data):
        write(path, data)
        proxy.promise(path.name)

    def commit_and_promise(self, name, *files, **facts):
        manifest = commit(self, name, *files, **facts)
        proxy.promise(facts["step"])
        return manifest

    with pytest.MonkeyPatch.context() as context:
        context.setattr(atomic, "write_atomic", write_and_promise)
        context.setattr(CheckpointStore, "commit", commit_and_promise)
        context.setattr(atomic, "os", proxy)
        run = nnkit.train([*SHORT_RUN, f"output_dir={folder}", "name=whole"]).run
    return run, proxy.cuts


def test_a_run_leaves_whole_files_a_checkpoint_and_the_log_it_counts(a_run):
    run, cuts = a_run
    steps = [promise for promise in cuts[-1].promises if isinstance(promise, int)]
    whole = (run.path / METRICS).read_bytes().splitlines()
    for cut in cuts:
        cut.restore(run.path.parent, Path("disk"))
        copy = Run(Path("disk/whole"))
        for name in (RECORD, CONFIG, PREPROCESSING):
            assert_old_or_new(copy.path / name, name in cut.promises)
        num_saved = sum(isinstance(promise, int) for promise in cut.promises)
        store = CheckpointStore(copy.checkpoints)
        if num_saved or store.holds_any():
            manifest, state = store.load("last")
            assert manifest.step in steps[max(num_saved - 1, 0) : num_saved + 1]
            count = state["nnkit"]["num_lines"]
            assert (copy.path / METRICS).read_bytes().splitlines()[:count] == whole[:count]


def test_a_run_resumes_exactly_after_a_power_cut(a_run, undisturbed):
    run, cuts = a_run
    begun = [cut for cut in cuts if CONFIG in cut.promises]
    for cut in begun[:: len(begun) // 10]:
        cut.restore(run.path.parent, Path("disk"))
        copy = Run(Path("disk/whole"))
        if copy.status() != "done":
            resume(str(copy.path), show=False)
            assert_same_end(undisturbed, copy)


def test_a_run_that_is_done_has_its_whole_log_after_a_power_cut(a_run, undisturbed):
    run, cuts = a_run
    for cut in cuts:
        cut.restore(run.path.parent, Path("disk"))
        copy = Run(Path("disk/whole"))
        if copy.record().get("status") == "done":
            assert_same_end(undisturbed, copy)


def assert_old_or_new(path, is_promised):
    """A file is whole if it is there, and it is there once it has been written."""
    assert path.exists() or not is_promised
    if path.exists():
        content = path.read_bytes()
        assert content.endswith(b"\n")
        assert path.suffix != ".json" or json.loads(content)
