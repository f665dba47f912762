"""Class 10: a run directory that was moved or copied goes on exactly, and knows its best checkpoint."""

import shutil

from exactness import assert_same_end
from small_store import SmallStore

from nnkit.checkpoint.store import CheckpointStore
from nnkit.runs.resuming import resume
from nnkit.runs.run import Run


def content(run):
    """Return what is in a run directory."""
    return {
        path: path.read_bytes() for path in run.path.rglob("*") if path.is_file() and path.name != ".lock"
    }


def test_a_moved_run_goes_on_exactly_with_its_best(cli, halfway, undisturbed, tmp_path):
    moved = Run(tmp_path / "elsewhere" / "another name")
    moved.path.parent.mkdir()
    halfway.path.rename(moved.path)
    assert CheckpointStore(moved.checkpoints).load("best")[0].step == 5
    code, out, err = cli("test", moved.path)
    assert code == 0, err
    assert "step-000005" in out
    resume(str(moved.path), show=False)
    assert_same_end(undisturbed, moved)
    assert not halfway.path.exists()


def test_the_best_of_a_moved_directory_outlives_pruning(store, tmp_path):
    for step in (1, 2, 3):
        store.save(step, best=1)
    store.directory.parent.rename(tmp_path / "moved")
    moved = SmallStore(tmp_path / "moved" / "checkpoints")
    moved.prepare()
    for step in (4, 5, 6):
        moved.save(step, best=1)
    assert moved.steps() == [1, 5, 6]
    assert moved.loaded("best") == 1
    assert not moved.litter()


def test_a_copied_run_goes_on_exactly_and_leaves_the_original_alone(halfway, undisturbed, tmp_path):
    copied = Run(tmp_path / "copy")
    shutil.copytree(halfway.path, copied.path)
    before = content(halfway)
    resume(str(copied.path), show=False)
    assert_same_end(undisturbed, copied)
    assert content(halfway) == before
    resume(str(halfway.path), show=False)
    assert_same_end(undisturbed, halfway)
