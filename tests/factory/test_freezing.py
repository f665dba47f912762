"""Parts of a network that keep their weights: named, checked, left out of training and of nothing else."""

from pathlib import Path

import pytest
import torch
from torch import nn

import nnkit
from nnkit.checkpoint.store import CheckpointStore
from nnkit.errors import ConfigError
from nnkit.factory.construct import freeze
from nnkit.runs.reopen import open_run
from nnkit.runs.resuming import resume

SMALL = [
    "data=iris",
    "model=mlp",
    "model.hidden=[8,6]",
    "data.val_fraction=0.2",
    "trainer.max_epochs=2",
    "trainer.num_threads=1",
    "logger=[]",
    "callbacks=[checkpoint,nan_guard]",
]
STILL = ["optimizer=sgd", "optimizer.lr=0", "scheduler=constant", "trainer.max_steps=1"]


def network_of(run):
    return open_run(run).session.task.network


def state(run):
    return CheckpointStore(run.checkpoints).load("last")[1]


def test_what_is_frozen_keeps_its_weights_and_the_rest_learns():
    start = network_of(nnkit.train([*SMALL, *STILL]).run)
    run = nnkit.train([*SMALL, "freeze=[body]"]).run
    trained = dict(network_of(run).named_parameters())
    for name, parameter in start.named_parameters():
        assert torch.equal(parameter, trained[name]) == name.startswith("body."), name
    body = sum(parameter.numel() for name, parameter in trained.items() if name.startswith("body."))
    assert run.record()["parameters"] == sum(map(torch.numel, trained.values())) - body
    # The optimizer knows nothing of them.
    assert sum(len(group["params"]) for group in state(run)["optimizer_states"][0]["param_groups"]) == 2
    assert nnkit.load(run).network.body is not None


def test_a_run_with_frozen_parts_goes_on_exactly():
    whole, run = (
        nnkit.train([*SMALL, "freeze=[body.*.0]", f"name={name}"]).run for name in ("whole", "mine")
    )
    store = CheckpointStore(run.checkpoints)
    store.remove(store.manifests()[0])
    run.update(status="stopped")
    resume("mine", show=False)
    one, other = state(whole), state(run)
    assert all(torch.equal(tensor, other["state_dict"][name]) for name, tensor in one["state_dict"].items())
    with pytest.raises(ConfigError, match=r"freeze: .* changes the arithmetic"):
        resume("mine", words=["freeze=[head]"], show=False)


def frozen(*patterns):
    network = nn.ModuleDict(
        {
            "embed": nn.Linear(2, 2),
            "body": nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]),
            "head": nn.Linear(2, 1),
        }
    )
    freeze(network, patterns)
    return {name for name, parameter in network.named_parameters() if not parameter.requires_grad}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], set()),
        (["embed"], {"embed.weight", "embed.bias"}),
        (["body.1"], {"body.1.weight", "body.1.bias"}),
        (["*.bias"], {"embed.bias", "body.0.bias", "body.1.bias", "head.bias"}),
        (["body.?.weight", "embed.bias"], {"body.0.weight", "body.1.weight", "embed.bias"}),
        (["b*"], {"body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias"}),
    ],
)
def test_parts_are_named_by_prefix_or_pattern(patterns, expected):
    assert frozen(*patterns) == expected


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        (["boddy"], r"'boddy' names no parameter\n    did you mean body\?"),
        (["xyz"], r"'xyz' names no parameter\n    there is: embed, body, head"),
        # No part of a name is a name.
        (["emb"], "'emb' names no parameter"),
        (["*"], "all 8 parameters are frozen"),
    ],
)
def test_what_cannot_be_frozen_is_a_mistake(patterns, said):
    with pytest.raises(ConfigError, match=said):
        frozen(*patterns)


def test_mistakes_are_found_before_anything_is_written(cli):
    words = ["data=iris", "model=mlp"]
    for typed, said in (
        ("freeze=body", "freeze: must be a list of parts of the network, not 'body'"),
        ("freeze=[3]", "freeze: must be a list of parts of the network, not [3]"),
        ("freeze=[bdoy]", "freeze: 'bdoy' names no parameter"),
        ("freeze=[body,head]", "freeze: all 6 parameters are frozen"),
    ):
        for verb in ("train", "summary"):
            code, _, err = cli(verb, *words, typed)
            assert (code, said in err) == (2, True), (verb, typed, err)
    assert not Path("outputs").exists()


def test_summary_and_check_count_what_is_frozen(cli):
    code, out, _ = cli("summary", *SMALL[:3], "freeze=[body]")
    assert code == 0
    total = next(line.split() for line in out.splitlines() if line.strip().startswith("total"))
    body, head = (4 * 8 + 8) + (8 * 6 + 6), 6 * 3 + 3
    assert total[1:3] == [str(head), str(body)]
    code, out, _ = cli("check", *SMALL[:3], "freeze=[body]")
    assert f"{head} trained" in out
