"""A short run has a curve too: lines of the record come at least twenty times, and where they came before."""

import json

import pytest
from exactness import cut

import nnkit
from nnkit.checkpoint.store import CheckpointStore
from nnkit.config import compose
from nnkit.runs.resuming import resume
from nnkit.runs.session import fix_logging

WORDS = [
    "data=digits", "model=mlp", "data.subset=0.25", "data.batch_size=32", "trainer.num_threads=1", "logger=[]",
    "callbacks=[checkpoint]", "callbacks.checkpoint.every_n_steps=7", "callbacks.checkpoint.keep_last=99",
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "batches", "every"),
    [
        (["trainer.max_steps=10"], 100, 1),
        (["trainer.max_steps=45"], 100, 2),
        (["trainer.max_epochs=4"], 100, 20),
        (["trainer.max_epochs=4", "trainer.accumulate_grad_batches=2"], 100, 10),
        (["trainer.max_epochs=4", "trainer.limit_train_batches=0.5"], 100, 10),
        (["trainer.max_epochs=4", "trainer.overfit_batches=5"], 100, 1),
        # A thousand steps and more are as ever.
        (["trainer.max_epochs=10"], 100, 50),
        (["trainer.max_epochs=10"], 1000, 50),
        (["trainer.max_epochs=-1", "trainer.max_time=00:00:01:00", "scheduler=constant"], 100, 50),
        # What is typed stays.
        (["trainer.max_steps=10", "trainer.log_every_n_steps=50"], 100, 50),
    ],
)
def test_the_interval_follows_the_length(words, batches, every):
    config = compose(["data=digits", *words]).config
    fix_logging(config, batches)
    assert config.trainer.log_every_n_steps == every


def test_a_run_under_fifty_steps_has_a_curve_and_goes_on_with_it():
    whole = nnkit.train([*WORDS, "trainer.max_steps=45", "name=whole"]).run
    lines = (whole.path / "metrics.jsonl").read_bytes()
    steps = [row["step"] for row in map(json.loads, lines.splitlines()) if row["split"] == "train"]
    assert steps == list(range(2, 45, 2))
    middle = next(one for one in CheckpointStore(whole.checkpoints).manifests() if one.step == 21)
    cut(whole, middle, "cut")
    assert (resume("cut").run.path / "metrics.jsonl").read_bytes() == lines
