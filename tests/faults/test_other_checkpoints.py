"""FAULTS class 9: a checkpoint of another model, width, dataset, seed or release is refused, with the difference."""

import shutil
from pathlib import Path

import pytest
import torch
from words import replace

import nnkit
from nnkit.checkpoint.formats import FORMAT, dump, encode
from nnkit.checkpoint.store import CheckpointStore

SMALL = [
    "data=iris",
    "model=mlp",
    "model.hidden=[8]",
    "trainer.max_epochs=2",
    "trainer.num_threads=1",
    "logger=[]",
]
MINE = [*SMALL, "callbacks=[checkpoint]", "name=mine"]


@pytest.fixture
def run():
    """Return an interrupted run."""
    made = nnkit.train(MINE).run
    made.update(status="stopped")
    return made


def put_checkpoints_of(other, run):
    shutil.rmtree(run.checkpoints)
    shutil.copytree(other.checkpoints, run.checkpoints)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.hidden=[16]"], "model.hidden: [16] there, [8] in config.yaml"),
        (["seed=5"], "seed: 5 there, 0 in config.yaml"),
        (["optimizer.lr=0.5"], "optimizer.lr: 0.5 there"),
        (["data=wine"], "data._target_: 'nnkit.data.datasets.wine.Wine' there"),
        (["data.split_seed=4"], "data.split_seed: 4 there, 0 in config.yaml"),
    ],
)
def test_a_checkpoint_of_another_config_is_refused_with_the_difference(cli, run, words, said):
    put_checkpoints_of(nnkit.train(replace(MINE, *words, "name=other")).run, run)
    before = (run.path / "metrics.jsonl").read_bytes()
    code, _, err = cli("resume", "mine")
    assert code == 2
    assert "belongs to another config" in err
    assert said in err
    assert (run.path / "metrics.jsonl").read_bytes() == before


def test_an_edited_config_is_refused(cli, run):
    path = run.path / "config.yaml"
    path.write_text(path.read_text().replace("weight_decay: ", "weight_decay: 1"))
    code, _, err = cli("resume", "mine")
    assert code == 2
    assert "optimizer.weight_decay:" in err


def test_other_data_under_the_same_config_are_refused(cli, tmp_path):
    rows = "".join(f"{number},{number % 7},{'ab'[number % 2]}\n" for number in range(60))
    Path("rows.csv").write_text("x,y,label\n" + rows)
    words = ["data=csv", "data.path=rows.csv", *SMALL[1:], "callbacks=[checkpoint]"]
    run = nnkit.train([*words, "name=mine"]).run
    run.update(status="stopped")
    Path("rows.csv").write_text("x,y,label\n" + rows + "60,4,a\n")
    for verb in ("resume", "test"):
        code, _, err = cli(verb, "mine")
        assert code == 2
        assert "rows.csv has changed since this run was prepared: its SHA-256 was" in err
    other = nnkit.train([*words, "name=other"]).run
    put_checkpoints_of(other, run)
    code, _, err = cli("resume", "mine")
    assert code == 2
    assert "preprocessing.json is not the one that" in err


def rewrite(run, change):
    """Change the state in the newest checkpoint and commit it again, hash and all."""
    store = CheckpointStore(run.checkpoints)
    manifest = store.manifests()[0]
    state = store.state(manifest)
    change(state)
    return store.commit(manifest.name, dump(*encode(state)), step=manifest.step, epoch=manifest.epoch)


def test_weights_of_another_shape_are_refused_by_name(cli, run):
    def widen(state):
        state["state_dict"]["network.head.linear.weight"] = torch.zeros(3, 9)

    rewrite(run, widen)
    code, _, err = cli("resume", "mine")
    assert code == 2
    assert "network.head.linear.weight: (3, 9) there, (3, 8) here" in err
    assert "Traceback" not in err


def test_a_checkpoint_of_a_newer_release_is_refused_by_name_and_the_older_one_used(cli, run):
    def age(state):
        state["nnkit"]["format"] = FORMAT + 1

    manifest = rewrite(run, age)
    code, _, err = cli("resume", "mine")
    assert code == 0, err
    assert f"written by a newer nnkit (format {FORMAT + 1}, this one reads {FORMAT})" in err
    assert manifest.name in err
    assert run.status() == "done"


def test_a_file_of_another_tool_is_refused(cli, run):
    def empty(state):
        del state["nnkit"]

    rewrite(run, empty)
    code, _, err = cli("resume", "mine")
    assert code == 0, err
    assert "it is not a checkpoint of nnkit" in err
