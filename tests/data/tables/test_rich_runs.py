"""A run on categories with vectors: checked, summed up, trained, resumed exactly and applied."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from exactness import assert_same_end, cut

import nnkit
from nnkit.checkpoint.store import CheckpointStore
from nnkit.errors import ConfigError
from nnkit.runs.resuming import resume

WORDS = [
    *("data=table", "data.path=rows.csv", "data.target=[y1,y2]", "task=regression", "data.val_fraction=0.2"),
    *("trainer.num_threads=1", "trainer.log_every_n_steps=2", "data.batch_size=64", "logger=[]"),
]


@pytest.fixture(autouse=True)
def rows():
    city = np.arange(800) % 40
    frame = pd.DataFrame(
        {"x": np.arange(800) % 7, "city": [f"c{n}" for n in city], "y1": city % 5, "y2": -1.0 * city}
    )
    frame.to_csv("rows.csv", index=False)


def test_from_the_check_to_an_exact_resume(cli):
    # 40 categories and unknown ones, 13 numbers each; one number beside them; 64 hidden; two outputs.
    parameters = 41 * 13 + (13 + 1 + 1) * 64 + 65 * 2
    for verb in ("check", "summary"):
        code, out, _ = cli(verb, *WORDS)
        assert code == 0
        assert f"{parameters:,}" in out.replace(" ", "")
    words = [
        *WORDS,
        "trainer.max_steps=8",
        "callbacks.checkpoint.every_n_steps=3",
        "callbacks.checkpoint.keep_last=9",
    ]
    whole = nnkit.train([*words, "name=whole"], show=False)
    manifest = CheckpointStore(whole.run.checkpoints).manifests()[0]
    part = cut(whole.run, manifest, "outputs/part")
    resume("part", show=False)
    assert_same_end(whole.run, part)
    pd.DataFrame({"city": ["c1", "never seen"], "x": [1, 2]}).to_csv("new.csv", index=False)
    code, out, _ = cli("predict", "whole", "new.csv")
    assert code == 0
    assert out.count("new.csv:") == 2
    assert "y2" in out


def test_a_model_that_reads_no_categories_is_refused_with_what_to_type():
    words = [
        "model.embeds.table._target_=nnkit.embeds.flat.Flat", "~model.embeds.table.num_features",
        "~model.embeds.table.cardinalities", "+model.embeds.table.shape=[${data.num_features}]",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="max_vectors=0"):
        nnkit.train([*WORDS, *words, "trainer.max_steps=2"], show=False)
    assert not Path("outputs").exists()
