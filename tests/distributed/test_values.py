"""Every value that several processes take trains in two of them; every other one is a sentence before all else."""

from pathlib import Path

import pytest
import together

WORDS = [
    *["train", "model=mlp", "data=iris", "trainer.max_steps=2", "trainer.accelerator=cpu"],
    *["trainer.num_threads=1", "logger=[]", "name=run"],
]
TAKEN = [
    ["trainer.devices=2"],
    ["trainer.devices='2'", "trainer.strategy=ddp"],
    ["trainer.devices=auto", "trainer.num_nodes=auto"],
    ["trainer.devices=auto", "trainer.num_nodes=1"],
    ["trainer.devices=2", "trainer.sync_batchnorm=false", "trainer.precision=32-true"],
    ["trainer.devices=2", "trainer.precision=bf16-mixed"],
    ["trainer.devices=2", "trainer.precision=bf16-true"],
    ["trainer.devices=2", "trainer.precision=64-true"],
]
REFUSED = [
    (["trainer.devices=3"], "torchrun has started 2 processes"),
    (["trainer.devices=2", "trainer.num_nodes=2"], "torchrun has started 2 processes"),
    (["trainer.devices=2", "trainer.strategy=ddp_spawn"], "trainer.strategy: ddp_spawn copies this process"),
    (["trainer.devices=2", "trainer.strategy=deepspeed"], "trainer.strategy: must be auto"),
    (["trainer.devices=2", "trainer.sync_batchnorm=true"], "trainer.sync_batchnorm"),
    (["trainer.devices=2", "trainer.precision=8-true"], "trainer.precision"),
]


@pytest.mark.parametrize("words", TAKEN, ids=" ".join)
def test_a_value_that_is_taken_trains(words):
    ended = together.run(2, [*WORDS, *words])
    assert [one.code for one in ended] == [0, 0], ended[0].said
    assert "test/accuracy" in ended[0].said


@pytest.mark.parametrize(
    ("words", "said"), REFUSED, ids=lambda one: one if isinstance(one, str) else " ".join(one)
)
def test_a_value_that_is_not_is_a_sentence(words, said):
    ended = together.run(2, [*WORDS, *words])
    assert [one.code for one in ended] == [2, 2]
    assert said in ended[0].said
    assert "Traceback" not in ended[0].said
    assert not Path("outputs").exists()
