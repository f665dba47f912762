"""Resume from every checkpoint of a run and compare with the run that was never stopped, tolerance 0."""

import shutil
from pathlib import Path

from nnkit.checkpoint.compare import differences
from nnkit.checkpoint.store import INDEX, CheckpointStore
from nnkit.runs.run import Run


def final_state(run):
    """Return the last checkpoint whole, but for the config, which has the directory's name."""
    _, state = CheckpointStore(run.checkpoints).load("last")
    return {**state, "nnkit": {key: value for key, value in state["nnkit"].items() if key != "config"}}


def assert_same_end(expected, found, where=""):
    """Compare the ends of two runs: final state whole, metrics.jsonl line by line, the best checkpoint."""
    differing = list(differences(final_state(expected), final_state(found)))
    assert not differing, f"{where}: {differing[:5]}"
    lines = [(run.path / "metrics.jsonl").read_text().splitlines() for run in (expected, found)]
    assert lines[0] == lines[1], where
    best = [CheckpointStore(run.checkpoints).load("best")[0] for run in (expected, found)]
    assert (best[0].file, best[0].score) == (best[1].file, best[1].score), where


def cut(run, manifest, path):
    """Copy a run as it was when one of its checkpoints had just been committed and the process was killed."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(run.path, path)
    copy = Run(Path(path))
    for other in CheckpointStore(run.checkpoints).manifests():
        if (other.step, other.batch) > (manifest.step, manifest.batch):
            for name in (other.file, Path(other.file).with_suffix(".json")):
                (copy.checkpoints / name).unlink()
    # The index is written after the manifest: the kill came in between.
    (copy.checkpoints / INDEX).unlink()
    copy.update(status="running")
    return copy
