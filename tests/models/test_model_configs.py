"""Every model of conf/model with every kind of input that can be told apart into ten classes."""

from importlib import import_module
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch.nn import functional

from nnkit.network import Network

CONF = Path(__file__).parents[2] / "conf"
FACTS = {
    "num_classes": 10, "in_channels": 1, "height": 8, "width": 8, "num_features": 12, "vocab_size": 20,
    "window": 16, "num_channels": 2, "cardinalities": [],
}  # fmt: skip
SMALL = {"dim": 32, "num_heads": 2, "num_kv_heads": 1, "hidden": 64, "num_layers": 1}
FEW_MAPS = {"depths": [1, 1], "channels": [16, 16]}
# Those of the kinds of input that are told apart into classes.
SHAPES = {"pictures": (1, 8, 8), "table": (12,), "tokens": (7,), "series": (16, 2)}


def draw(kind, size):
    shape = (size, *SHAPES[kind])
    return torch.randint(FACTS["vocab_size"], shape) if kind == "tokens" else torch.randn(shape)


def load(group, name, **changes):
    node = OmegaConf.load(CONF / group / f"{name}.yaml")
    if "embeds" in node:
        node.embeds = {kind: embed for kind, embed in node.embeds.items() if kind in SHAPES}
    config = OmegaConf.create({"data": FACTS, group: node})
    config[group].update(changes)
    return OmegaConf.to_container(config, resolve=True)[group]


def build(node, *reserved, **injected):
    module, name = node["_target_"].rsplit(".", 1)
    arguments = {key: value for key, value in node.items() if key not in ("_target_", "defaults", *reserved)}
    return getattr(import_module(module), name)(**injected, **arguments)


def assemble(name, kind, small=False):
    """Build the network, its loss and the target the loss takes, as the model's own YAML wants them."""
    model = load("model", name)
    if small and "num_heads" in model:
        # Transformers come in sizes that are learnt in hours.
        model = load("model", name, **{key: size for key, size in SMALL.items() if key in model})
    elif small and "depths" in model:
        model = load("model", name, **FEW_MAPS)
    parts = {"head": "classifier", "loss": "cross_entropy"}
    for entry in model.get("defaults", []):
        (key, option), *_ = entry.items()
        parts[key.split("@")[0].removeprefix("override /")] = option
    embed = build(model["embeds"][kind])
    body = build(model, "embeds", dim_in=embed.dim_out)
    head = build(load("head", parts["head"]), "fits", dim_in=body.dim_out)
    loss = load("loss", parts["loss"])
    return Network(embed, body, head), build(loss, "takes"), loss["takes"][-1]


CASES = [
    pytest.param(path.stem, kind, id=f"{path.stem}-{kind}")
    for path in sorted((CONF / "model").glob("*.yaml"))
    for kind in OmegaConf.load(path).get("embeds", {})
    if kind in SHAPES
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_builds_and_runs_on_the_meta_device(name, kind):
    with torch.device("meta"):
        network, _, _ = assemble(name, kind)
        outputs = network(draw(kind, 3))
    assert outputs.is_meta
    assert outputs.shape == (3, 10)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_learns_sixteen_random_samples_by_heart(name, kind):
    torch.manual_seed(0)
    network, loss, takes = assemble(name, kind, small=True)
    inputs, target = draw(kind, 16), torch.arange(16) % 10
    wanted = functional.one_hot(target, 10).float() if takes == "one_hot" else target
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(1500):
        optimizer.zero_grad()
        score = loss(network(inputs), wanted)
        score.backward()
        optimizer.step()
        # Without dropout, or the answer is drawn anew at every look.
        right = torch.equal(network.eval()(inputs).argmax(1), target)
        network.train()
        if right:
            break
    network.eval()
    assert torch.equal(network(inputs).argmax(1), target)
    probabilities = network.head.probabilities(network(inputs))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(16))
