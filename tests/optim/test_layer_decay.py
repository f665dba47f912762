"""Rates that fall from layer to layer: which layers there are, and that steps are those of rates given one by one."""

import pytest
import torch
from torch import nn

from nnkit.models.bert import BERT
from nnkit.models.cnn import CNN
from nnkit.models.lenet5 import LeNet5
from nnkit.models.lstm import LSTM
from nnkit.models.mlp import MLP
from nnkit.models.resnet import ResNet
from nnkit.models.seq2seq_lstm import Seq2SeqLSTM
from nnkit.models.transformer import Transformer
from nnkit.network import Network
from nnkit.optim.groups import param_groups
from nnkit.optim.layer_decay import layers_of, rate_scales, scale_rates
from nnkit.optim.muon import Muon


def bert():
    return Network(
        nn.Embedding(9, 6), BERT(6, dim=8, num_layers=2, num_heads=2, dropout=0.0), nn.Linear(8, 3)
    )


def test_rates_fall_from_the_head_to_the_embed():
    network = bert()
    scales = rate_scales(network, network.body, 0.5)
    expected = {"embed": 1 / 8, "body.project": 1 / 8, "body.positions": 1 / 8, "body.norm": 1 / 8}
    expected |= {"body.layers.0": 1 / 4, "body.layers.1": 1 / 2, "body.pooler": 1, "head": 1}
    for name, parameter in network.named_parameters():
        (scale,) = (scale for part, scale in expected.items() if name.startswith(f"{part}."))
        assert scales[parameter] == scale, name


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (lambda: LSTM(3, dim=4, num_layers=3), ["layers.0.0.*_l0", "layers.0.0.*_l1", "layers.0.0.*_l2"]),
        (lambda: LSTM(3, dim=4, num_layers=2, bidirectional=True), ["layers.0.*", "layers.1.*"]),
        (lambda: MLP(3, hidden=[4, 5, 6]), ["layers.0.*", "layers.1.*", "layers.2.*"]),
        (lambda: CNN(3, channels=[4, 5]), ["blocks.0.*", "blocks.2.*"]),
        (lambda: LeNet5(1), ["c1.*", "c3.*", "c5.*", "f6.*"]),
        (
            lambda: ResNet(3, channels=[4, 8], depths=[2, 1]),
            ["stem.*", "stages.0.0.*", "stages.0.1.*", "stages.1.0.*"],
        ),
        (
            lambda: Transformer(8, dim=8, num_layers=2, num_heads=2),
            ["encoder.0.*", "encoder.1.*", "decoder.0.*", "decoder.1.*"],
        ),
        (lambda: Seq2SeqLSTM(8, dim=8, num_layers=1), ["encoder.layers.0.*", "decoder.*"]),
    ],
)
def test_layers_are_found_in_every_family(body, names):
    from fnmatch import fnmatchcase

    body = body()
    named = {parameter: name for name, parameter in body.named_parameters()}
    found = [{named[parameter] for parameter in layer} for layer in layers_of(body)]
    assert found == [{name for name in named.values() if fnmatchcase(name, pattern)} for pattern in names]


def test_a_body_without_layers_is_refused():
    with pytest.raises(ValueError, match="MLP has no layers"):
        rate_scales(network := Network(nn.Identity(), MLP(3, hidden=[]), nn.Linear(3, 2)), network.body, 0.5)


@pytest.mark.parametrize(
    "make",
    [lambda groups: torch.optim.AdamW(groups, lr=0.1, fused=True), lambda groups: Muon(groups, lr=0.1)],
)
def test_steps_are_those_of_a_rate_for_each_parameter_whatever_the_schedule(make):
    torch.manual_seed(0)
    ours = bert()
    theirs = bert()
    theirs.load_state_dict(ours.state_dict())
    scales = rate_scales(ours, ours.body, 0.5)
    optimizer = make(param_groups(ours, 0.01, ours.body, scales))
    scale_rates(optimizer)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=9, cycle_momentum=False)
    of_theirs = dict(zip(theirs.parameters(), scales.values(), strict=True))
    plain = make(param_groups(theirs, 0.01, theirs.body, of_theirs))
    for _ in range(4):
        rate = schedule.get_last_lr()[0]
        for group in plain.param_groups:
            group["lr"] = rate * group["lr_scale"]
        for network in (ours, theirs):
            network.zero_grad()
            network(torch.arange(8).view(2, 4)).square().sum().backward()
        optimizer.step()
        plain.step()
        schedule.step()
        assert {group["lr"] for group in optimizer.param_groups} == {schedule.get_last_lr()[0]}
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))


def test_the_command_line_takes_it(cli):
    words = ["train", "data=iris", "model=mlp", "logger=[]", "callbacks=[checkpoint]", "trainer.max_epochs=1"]
    for typed, said in (
        (["optimizer.layer_decay=1.5"], "optimizer.layer_decay: must be above 0 and at most 1"),
        (["optimizer.layer_decay=0.5", "model.hidden=[]"], "optimizer.layer_decay: MLP has no layers"),
    ):
        code, _, err = cli(*words, *typed)
        assert (code, said in err) == (2, True), err
    assert cli(*words, "optimizer.layer_decay=0.5")[0] == 0
