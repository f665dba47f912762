"""What a run saves it can read: tried with the first save, and with what torch's schedules keep."""

import os

import pytest
import torch

import nnkit
from nnkit.checkpoint.plugin import StoreIO
from nnkit.checkpoint.store import CheckpointStore
from nnkit.errors import EnvironmentFault
from nnkit.files.layout import CONFIG
from nnkit.runs.resuming import resume

FACTS = {"step": 1, "epoch": 0, "monitor": None, "score": None, "best": None, "keep": 2}
STEPS = [
    "scheduler=constant",
    "~scheduler.factor",
    "~scheduler.total_iters",
    "scheduler._target_=torch.optim.lr_scheduler.MultiStepLR",
    "+scheduler.milestones=[3,5]",
]


def test_a_schedule_of_milestones_resumes_exactly():
    words = ["data=iris", "model=mlp", "trainer.num_threads=1", "logger=[]", "callbacks=[checkpoint]", *STEPS]
    whole = nnkit.train([*words, "trainer.max_steps=8", "name=whole"], show=False).run
    nnkit.train([*words, "trainer.max_steps=4", "name=cut"], show=False)
    assert (whole.path / CONFIG).is_file()
    cut = resume("cut", words=["trainer.max_steps=8"], show=False).run
    ends = [CheckpointStore(run.checkpoints).load("last")[1] for run in (whole, cut)]
    for name, tensor in ends[0]["state_dict"].items():
        if name not in ("window", "epoch_totals"):
            assert torch.equal(tensor, ends[1]["state_dict"][name]), name
    rates = [end["optimizer_states"][0]["param_groups"][0]["lr"] for end in ends]
    assert rates[0] == rates[1] == pytest.approx(3e-3 * 0.1**2)


def test_what_could_not_be_read_back_ends_the_save(tmp_path):
    io = StoreIO(CheckpointStore(tmp_path), lambda: None)
    state = {"weight": torch.ones(3), "callbacks": {"mine": {"kept": os.getpid}}}
    with pytest.raises(
        EnvironmentFault, match=r"what could not be read back: callbacks\.mine\.kept is or holds a"
    ):
        io.save_checkpoint(state, "step-000001", dict(FACTS))
    io.teardown()
    assert not list(tmp_path.iterdir())
