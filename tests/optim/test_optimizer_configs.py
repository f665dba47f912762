"""Every optimizer with every schedule of conf/."""

import inspect
from importlib import import_module
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from nnkit.optim.groups import param_groups

CONF = Path(__file__).parents[2] / "conf"
OPTIMIZERS = sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml"))
SCHEDULERS = sorted(path.stem for path in (CONF / "scheduler").glob("*.yaml"))
# Decided by nnkit or by torch, never by a user.
INTERNAL = {
    "mode",
    "self",
    "params",
    "optimizer",
    "foreach",
    "maximize",
    "capturable",
    "differentiable",
    "last_epoch",
}
OTHER_LENGTHS = {"epochs", "steps_per_epoch", "decoupled_weight_decay"}


def load(optimizer, scheduler, total_steps=10):
    nodes = {"optimizer": optimizer, "scheduler": scheduler}
    config = OmegaConf.create({"fit": {"total_steps": total_steps, "steps_per_epoch": 5}})
    for group, name in nodes.items():
        config[group] = OmegaConf.load(CONF / group / f"{name}.yaml")
    return OmegaConf.to_container(config, resolve=True)


def target(node):
    module, name = node["_target_"].rsplit(".", 1)
    return getattr(import_module(module), name)


def arguments(node):
    return {key: value for key, value in node.items() if key not in ("_target_", "interval", "layer_decay")}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_any_optimizer_runs_under_any_schedule_without_touching_its_momentum(optimizer, scheduler):
    config = load(optimizer, scheduler)
    module = nn.Linear(3, 2)
    given = arguments(config["optimizer"])
    decay = given.pop("weight_decay")
    built = target(config["optimizer"])(param_groups(module, decay), **given)
    schedule = target(config["scheduler"])(built, **arguments(config["scheduler"]))
    before = module.weight.detach().clone()
    for _ in range(10):
        module(torch.ones(4, 3)).square().mean().backward()
        built.step()
        schedule.step(1.0) if isinstance(schedule, ReduceLROnPlateau) else schedule.step()
        assert all(0 <= group["lr"] <= given["lr"] * 1.0001 for group in built.param_groups)
        assert all(group.get("momentum", 0) == given.get("momentum", 0) for group in built.param_groups)
    assert not torch.equal(module.weight, before)
    assert module.weight.isfinite().all()


@pytest.mark.parametrize("group", ["optimizer", "scheduler"])
def test_every_argument_a_user_may_want_is_listed(group):
    for path in (CONF / group).glob("*.yaml"):
        node = OmegaConf.to_container(OmegaConf.load(path))
        wanted = set(inspect.signature(target(node).__init__).parameters) - INTERNAL - OTHER_LENGTHS
        assert set(arguments(node)) == wanted, path.name


@pytest.mark.parametrize("total_steps", [1, 2, 3])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_schedules_survive_very_short_runs(scheduler, total_steps):
    config = load("sgd", scheduler, total_steps)
    built = torch.optim.SGD(nn.Linear(3, 2).parameters(), lr=0.1)
    schedule = target(config["scheduler"])(built, **arguments(config["scheduler"]))
    for _ in range(total_steps - 1):
        built.step()
        schedule.step(1.0) if isinstance(schedule, ReduceLROnPlateau) else schedule.step()
    assert 0 <= built.param_groups[0]["lr"] <= 0.1
