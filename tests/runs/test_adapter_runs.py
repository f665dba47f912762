"""Runs that train an adapter: their checkpoints hold it alone and name what it rests on, and they go on exactly."""

import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from exactness import assert_same_end, cut
from omegaconf import OmegaConf

import nnkit
from nnkit.checkpoint.formats import KEY, dump, encode
from nnkit.checkpoint.store import CheckpointStore
from nnkit.hugging_face import write_directory
from nnkit.runs.reopen import open_run
from nnkit.runs.resuming import resume
from nnkit.runs.run import Run

QUICK = [
    "data=iris",
    "model=mlp",
    "model.hidden=[8,6]",
    "logger=[]",
    "trainer.num_threads=1",
    "optimizer.lr=0.01",
]
BASE = [*QUICK, "callbacks=[checkpoint]", "name=base", "trainer.max_epochs=2"]
LORA = ["adapter=lora", "adapter.rank=2", "adapter.dropout=0.3", "init_from=base", "seed=5"]
# A validation and a checkpoint each epoch, and an average of the weights.
MINE = [
    *QUICK,
    *LORA,
    "callbacks=[checkpoint,nan_guard,ema]",
    "data.val_fraction=0.2",
    "trainer.max_epochs=3",
]
ADDED = {f"network.body.layers.{number}.0.lora_{part}" for number in (0, 1) for part in "ab"}
HEAD = {"network.head.linear.weight", "network.head.linear.bias"}
TOTALS = {"window", "epoch_totals"}


def weights(run):
    return open_run(run).session.task.state_dict()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run, and one that trains an adapter on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("runs"))
        base, mine = nnkit.train(BASE).run, nnkit.train([*MINE, "name=mine"]).run
        return Run(base.path.absolute()), Run(mine.path.absolute())


@pytest.fixture
def copied(runs, tmp_path):
    """Both, at another place; where they were there is nothing."""
    shutil.copytree(runs[0].path.parent, tmp_path / "outputs")
    hidden = runs[0].path.with_name("hidden")
    runs[0].path.rename(hidden)
    yield [Run(Path("outputs") / run.path.name) for run in runs]
    hidden.rename(runs[0].path)


def test_checkpoints_hold_what_is_trained_and_name_their_base(runs):
    base, mine = runs
    state = CheckpointStore(mine.checkpoints).load("best")[1]
    assert state["state_dict"].keys() == state["current_model_state"].keys() == ADDED | HEAD | TOTALS
    best = CheckpointStore(base.checkpoints).load("best")[0]
    said = state[KEY]["base"]
    assert (said["path"], said["checkpoint"], said["sha256"]) == (str(base.path), best.name, best.sha256)
    before, after = weights(base), weights(mine)
    assert set(said["names"]) == before.keys() - HEAD - TOTALS
    assert all(torch.equal(before[name], after[name]) for name in said["names"])
    assert any(not torch.equal(before[name], after[name]) for name in HEAD)
    assert mine.record()["init_from"]["fresh"] == []


def test_a_run_goes_on_exactly_from_each_checkpoint(runs, monkeypatch):
    monkeypatch.chdir(runs[1].path.parents[1])
    whole = nnkit.train([*MINE, "name=whole", "callbacks.checkpoint.keep_last=9"]).run
    others = CheckpointStore(whole.checkpoints).manifests()[1:]
    assert len(others) == 2
    for manifest in others:
        again = cut(whole, manifest, Path("outputs/again"))
        resume("again", show=False)
        assert_same_end(whole, again, manifest.name)


def test_a_moved_run_finds_its_base_beside_it(copied, runs):
    before = CheckpointStore(copied[0].checkpoints).load("best")[1]["state_dict"]
    after = weights(copied[1])
    assert torch.equal(before["network.body.layers.0.0.weight"], after["network.body.layers.0.0.weight"])


def test_a_base_that_is_gone_or_another_one_is_refused_and_nothing_is_written(copied, cli):
    base, mine = copied
    best = CheckpointStore(base.checkpoints).load("best")[0]
    hidden = base.path.rename("elsewhere")
    more = ["trainer.max_epochs=9"]
    commands = (["test", mine.path], ["resume", mine.path, *more], ["train", *QUICK, "init_from=mine"])
    files = {path: path.read_bytes() for path in mine.path.rglob("*.*") if path.name != "train.log"}

    def refused(said):
        for words in commands:
            code, _, err = cli(*words)
            assert (code, said in " ".join(err.split())) == (2, True), (words, err)

    at = CheckpointStore(mine.checkpoints).load("best")[1][KEY]["base"]["path"]
    refused(f"outputs/mine holds an adapter only, and its base, {best.name} of {at}, is gone put back")
    other = CheckpointStore(nnkit.train([*BASE, "seed=3"]).run.checkpoints)
    refused("has changed: its SHA-256 is")
    other.remove(other.load("best")[0])
    refused(f"has no {best.name} any more")
    assert hidden.is_dir()
    assert files == {path: path.read_bytes() for path in files}
    assert not Path("outputs/mlp-iris").exists()


def test_a_base_that_leads_back_or_is_none_is_refused(copied, cli):
    mine = copied[1]
    store = CheckpointStore(mine.checkpoints)
    manifest, state = store.load("last")
    own = {"path": str(mine.path.absolute()), "checkpoint": manifest.name, "sha256": "0" * 64, "names": []}
    for base, said in ((own, "has changed: its SHA-256 is"), ({"path": 3}, "its base is of the wrong kind")):
        state[KEY]["base"] = base
        facts = {name: getattr(manifest, name) for name in ("step", "epoch", "batch")}
        store.commit(manifest.name, dump(*encode(state)), **facts)
        mine.update(init_from=None)
        code, _, err = cli("test", "mine")
        assert (code, said in err) == (2, True), err


def test_a_run_that_starts_from_an_adapter_takes_the_sum(runs, monkeypatch):
    mine = runs[1]
    monkeypatch.chdir(mine.path.parents[1])
    still = [
        "optimizer=sgd",
        "optimizer.lr=0",
        "scheduler=constant",
        "trainer.max_steps=1",
        "callbacks=[checkpoint]",
    ]
    taken = weights(nnkit.train([*QUICK, *still, "init_from=mine"]).run)
    layer = open_run(mine).session.task.network.body.layers[0][0]
    change = 16 / 2 * layer.lora_b @ layer.lora_a
    torch.testing.assert_close(taken["network.body.layers.0.0.weight"], layer.weight + change)
    again = nnkit.train([*QUICK, *still, *LORA[:3], "init_from=mine", "name=upon"]).run
    assert torch.equal(
        weights(again)["network.body.layers.0.0.weight"], taken["network.body.layers.0.0.weight"]
    )


def test_mistakes_are_found_before_anything_is_written(cli, runs, monkeypatch):
    monkeypatch.chdir(runs[0].path.parents[1])
    before = {*Path("outputs").rglob("*")}
    start = "init_from=base"
    for words, said in (
        (["adapter=lora"], "adapter: adapts weights that were trained before, and none are given"),
        (["adapter=lroa", start], "did you mean adapter=lora?"),
        (["adapter=lora", "adapter.rank=0", start], "adapter.rank: rank must be at least 1, not 0"),
        (["adapter=lora", "adapter.rnk=3", start], "did you mean adapter.rank"),
        (["adapter=lora", "adapter.targets=[bdoy]", start], "did you mean body?"),
        (["adapter=lora", "adapter.targets=body", start], "adapter.targets: must be a list of texts or null"),
        (["adapter=lora", "freeze=[body,head]", start], "nothing is left to train"),
    ):
        code, _, err = cli("train", *QUICK, *words)
        assert (code, said in err) == (2, True), (words, err)
    assert {*Path("outputs").rglob("*")} == before


def test_check_counts_what_is_frozen_and_what_that_saves(cli, runs, monkeypatch):
    monkeypatch.chdir(runs[0].path.parents[1])
    code, out, err = cli("check", *QUICK, *LORA)
    body, head = (4 * 8 + 8) + (8 * 6 + 6), 6 * 3 + 3
    trained = 2 * (4 + 8) + 2 * (8 + 6) + head
    assert code == 0, err
    # AdamW keeps two numbers for each, beside a gradient.
    assert f"{trained} trained, {body} frozen" in out
    assert "saves 1.1 KiB of gradients and optimizer state" in out


def test_a_directory_of_hugging_face_is_a_base_too(cli):
    lines = [f"{'good fine nice' if row % 2 else 'bad poor sad'} {row},{row % 2}" for row in range(24)]
    Path("texts.csv").write_text("\n".join(["text,label", *lines]))
    size = ["model.dim=8", "model.num_layers=1", "model.num_heads=2", "model.max_len=256"]
    words = ["data=text_csv", "data.path=texts.csv", "data.tokenizer=wordpiece", "model=bert", *QUICK[3:]]
    words += ["trainer.max_steps=2", "scheduler=constant", "callbacks=[checkpoint]"]
    opened = open_run(nnkit.train([*words, *size]).run).session
    config = OmegaConf.to_container(opened.config, resolve=True)
    state = opened.task.network.state_dict()
    learnt = opened.data.preprocessing
    write_directory(
        Path("bert"),
        model=config["model"],
        head=config["head"],
        data=config["data"],
        state=state,
        preprocessing=learnt,
    )
    mine = nnkit.train([*words, "init_from=bert", "adapter=lora", "name=mine"]).run
    saved = CheckpointStore(mine.checkpoints).load("best")[1]
    assert {name for name in saved["state_dict"] if name not in TOTALS and "lora" not in name} == HEAD
    after = weights(mine)
    assert all(
        torch.equal(after[f"network.{name}"], tensor) for name, tensor in state.items() if "head" not in name
    )
    resume("mine", words=["trainer.max_steps=3"], show=False)
    tensors = safetensors.torch.load_file("bert/model.safetensors")
    tensors["bert.pooler.dense.bias"] += 1
    safetensors.torch.save_file(tensors, "bert/model.safetensors")
    code, _, err = cli("test", "mine")
    assert (code, "has changed: its SHA-256 is" in err) == (2, True), err
