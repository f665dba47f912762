"""`trainer.overfit_batches`: the same few batches in every epoch, augmentation included, also after a resume."""

import json

import pytest
from exactness import assert_same_end, cut
from lightning.pytorch import Callback

from nnkit.checkpoint.store import CheckpointStore
from nnkit.runs.resuming import resume

WORDS = [
    "data=digits", "model=mlp", "data.subset=0.25", "data.batch_size=32", "trainer.num_threads=1", "logger=[]",
    "callbacks=[checkpoint]",
]  # fmt: skip


class Seen(Callback):
    """Keeps the samples of each batch by epoch."""

    def __init__(self):
        self.epochs = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.epochs.setdefault(trainer.current_epoch, []).append(
            (batch.indices.tolist(), batch.inputs.sum().item())
        )


def train(*words):
    from nnkit import config as configs
    from nnkit.runs import preflight, training

    composition, problems = configs.examine([*WORDS, *words])
    assert not [*problems, *preflight.problems(composition)]
    seen = Seen()
    return training.train(composition, show=False, extra=[seen]).run, seen.epochs


@pytest.mark.parametrize(("value", "count"), [("1", 1), ("4", 4), ("0.1", 1), ("1.0", 10)])
def test_every_epoch_has_the_batches_of_the_first(value, count):
    whole = train("trainer.max_epochs=1")[1][0]
    epochs = train(f"trainer.overfit_batches={value}", "trainer.max_epochs=3")[1]
    assert len(whole) == 10
    assert epochs == {number: whole[:count] for number in range(3)}


def test_a_resumed_run_sees_them_as_well():
    words = ["trainer.overfit_batches=2", "trainer.max_epochs=3", "callbacks.checkpoint.every_n_steps=1",
             "callbacks.checkpoint.keep_last=99", "name=whole"]  # fmt: skip
    whole, _ = train(*words)
    middle = next(one for one in CheckpointStore(whole.checkpoints).manifests() if one.step == 3)
    cut(whole, middle, "cut")
    resumed = resume("cut").run
    assert_same_end(whole, resumed)
    assert (resumed.path / "metrics.jsonl").read_bytes() == (whole.path / "metrics.jsonl").read_bytes()


def test_debug_overfit_learns_a_batch_by_heart():
    run, _ = train("debug=overfit")
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    losses = [row["train/loss"] for row in rows if row["split"] == "train"]
    assert losses[-1] < 0.05 < losses[0]
