"""Steps under bf16-mixed lead where those in float32 lead, for the families that have layers of their own."""

import math
from pathlib import Path

import pytest

import nnkit

QUICK = ["logger=[]", "callbacks=[checkpoint]", "trainer.num_threads=1", "scheduler=constant"]
QUICK += ["trainer.max_steps=12", "trainer.log_every_n_steps=1", "optimizer=adamw", "optimizer.lr=1e-3"]
FAMILIES = {
    "resnet20": ["model=resnet20", "data=digits"],
    "vit": ["model=vit", "data=digits", "model.dim=32", "model.num_layers=2"],
    "llama": [
        "model=llama",
        "data=text_file",
        "data.path=prose.txt",
        "model.dim=32",
        "model.num_layers=2",
        "data.block_size=32",
    ],
}


@pytest.mark.parametrize("name", FAMILIES)
def test_losses_are_near_those_in_float32(name, records):
    Path("prose.txt").write_text("the cat sees a dog, and the dog sees the cat\n" * 200)
    losses = {}
    for precision in ("32-true", "bf16-mixed"):
        words = [*FAMILIES[name], *QUICK, f"trainer.precision={precision}", f"name={precision}"]
        run = nnkit.train(words).run
        lines = records(run.path / "metrics.jsonl")
        losses[precision] = [line["train/loss"] for line in lines if "train/loss" in line]
        assert run.record()["precision"] == precision
    exact, short = losses.values()
    assert len(exact) == len(short) >= 12
    assert all(map(math.isfinite, short))
    # The first is of equal weights; a mantissa of 8 bits has an error of 0.4 % each.
    assert short[0] == pytest.approx(exact[0], rel=0.02)
    assert short != exact
    for one, other in zip(short, exact, strict=True):
        assert one == pytest.approx(other, rel=0.05, abs=0.02)
    assert sum(short[-3:]) < 0.95 * sum(short[:3])
