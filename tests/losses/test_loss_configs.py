"""Every loss of conf/loss that scores classes or real values."""

from importlib import import_module
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

CONF = Path(__file__).parents[2] / "conf" / "loss"
TARGETS = {
    "index": torch.tensor([0, 2, 1, 0]),
    "one_hot": torch.eye(3)[[0, 2, 1, 0]],
    "multi": torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]),
    "real": torch.randn(4, 3),
}
CASES = [
    pytest.param(path.stem, takes, id=f"{path.stem}-{takes}")
    for path in sorted(CONF.glob("*.yaml"))
    for takes in OmegaConf.load(path).takes
]


@pytest.mark.parametrize(("name", "takes"), CASES)
def test_gives_a_scalar_that_falls_along_its_gradient(name, takes):
    node = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    module, cls = node.pop("_target_").rsplit(".", 1)
    node.pop("takes")
    loss = getattr(import_module(module), cls)(**node)
    prediction = torch.randn(4, 3, requires_grad=True)
    score = loss(prediction, TARGETS[takes])
    assert score.shape == ()
    (slope,) = torch.autograd.grad(score, prediction)
    assert loss(prediction - 0.01 * slope / slope.norm(), TARGETS[takes]) < score
