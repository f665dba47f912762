"""Resume from every checkpoint of a run and compare with the run that was never stopped, tolerance 0."""

import shutil
from pathlib import Path

from nnkit.checkpoint.compare import run_differences
from nnkit.checkpoint.store import INDEX, CheckpointStore
from nnkit.runs.run import Run


def assert_same_end(expected, found, where=""):
    """Compare the ends of two runs: final state whole, metrics.jsonl line by line, the best checkpoint."""
    differing = list(run_differences(expected.path, found.path))
    assert not differing, f"{where}: {differing[:5]}"
    best = [CheckpointStore(run.checkpoints).load("best")[0] for run in (expected, found)]
    assert (best[0].name, best[0].score) == (best[1].name, best[1].score), where


def cut(run, manifest, path):
    """Copy a run as it was when one of its checkpoints had just been committed and the process was killed."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(run.path, path)
    copy = Run(Path(path))
    for other in CheckpointStore(run.checkpoints).manifests():
        if (other.step, other.batch) > (manifest.step, manifest.batch):
            CheckpointStore(copy.checkpoints).remove(other)
    # The index is written after the manifest: the kill came in between.
    (copy.checkpoints / INDEX).unlink()
    copy.update(status="running")
    return copy
