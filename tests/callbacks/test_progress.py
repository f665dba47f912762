"""Lines of progress: seconds of an epoch, also of one that goes on where a run was resumed."""

import re

from exactness import cut

import nnkit
from nnkit.checkpoint.store import CheckpointStore
from nnkit.resuming import resume

WORDS = [
    "data=digits", "model=mlp", "data.subset=0.25", "trainer.max_epochs=2", "trainer.num_threads=1", "logger=[]",
    "callbacks=[checkpoint,progress]", "callbacks.checkpoint.every_n_steps=1", "callbacks.checkpoint.keep_last=99",
    "name=whole",
]  # fmt: skip


def test_the_epoch_in_which_a_run_goes_on_takes_seconds_of_its_own(capsys):
    whole = nnkit.train(WORDS).run
    middle = CheckpointStore(whole.checkpoints).manifests()[-3]
    assert middle.epoch == 0
    cut(whole, middle, "cut")
    capsys.readouterr()
    resume("cut")
    lines = re.findall(r"^epoch (\d)/2 .* ([\d.]+) s$", capsys.readouterr().out, re.MULTILINE)
    assert lines
    assert all(float(seconds) < 100 for _, seconds in lines)
