"""Runs of earlier releases, kept as they were written: this release must test and resume them.

`python tests/golden/make.py` adds those of the present release, whenever the checkpoint format changes.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch

from nnkit.checkpoint.formats import FORMAT
from nnkit.checkpoint.store import CheckpointStore
from nnkit.errors import UserError
from nnkit.runs.fit import test as run_test
from nnkit.runs.resuming import resume
from nnkit.runs.run import Run

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = sorted(path.name for path in GOLDEN.glob("v*"))


@pytest.fixture(params=VERSIONS)
def runs(request, tmp_path):
    """Return a finished run of a release, and one of the same command that was stopped in the middle of an epoch."""
    shutil.copytree(GOLDEN / request.param, tmp_path / "outputs")
    return Run(Path("outputs/finished")), Run(Path("outputs/stopped"))


def test_the_present_format_has_its_golden_runs():
    manifests = [json.loads(path.read_text()) for path in GOLDEN.glob("v*/*/checkpoints/step-??????.json")]
    assert {manifest["format"] for manifest in manifests} == set(range(1, FORMAT + 1))


def test_a_finished_run_is_tested_and_not_resumed(runs):
    finished, _ = runs
    expected = {
        name: value for name, value in finished.record()["metrics"].items() if name.startswith("test/")
    }
    # Another processor rounds otherwise.
    assert run_test("finished") == pytest.approx(expected, rel=1e-4)
    with pytest.raises(UserError, match="is finished"):
        resume("finished")


def test_a_stopped_run_goes_on_to_where_the_other_ended(runs):
    _, stopped = runs
    resume("stopped", show=False)
    assert stopped.status() == "done"
    ends = [CheckpointStore(run.checkpoints).load("last")[1] for run in runs]
    assert ends[0]["global_step"] == ends[1]["global_step"]
    for name, tensor in ends[0]["state_dict"].items():
        found = ends[1]["state_dict"][name]
        if name in ("window", "epoch_totals"):
            # Kept in another form since; at the end of an epoch they hold nothing.
            assert not tensor.any()
            assert not found.any()
        else:
            assert torch.allclose(tensor, found, rtol=1e-4, atol=1e-6), name
    rows = [(run.path / "metrics.jsonl").read_text().splitlines() for run in runs]
    assert [_place(line) for line in rows[0]] == [_place(line) for line in rows[1]]


def _place(line):
    row = json.loads(line)
    return row["step"], row["epoch"], row["split"]


def test_the_best_checkpoint_of_an_old_run_is_found(runs):
    finished, _ = runs
    best, _ = CheckpointStore(finished.checkpoints).load("best")
    assert best.name == finished.record()["best"].removesuffix(".ckpt")
