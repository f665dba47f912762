"""By themselves the processes of a run have no more threads together than there are cores."""

from types import SimpleNamespace

import pytest
import torch

from nnkit import config as configs
from nnkit.distributed.world import World
from nnkit.runs import session

# Of 4 tasks on a machine of 32 cores.
TASK = World(0, 4, 0, 4, 0, "node07", 29217, "SLURM", "2007.0.0")


def threads(monkeypatch, there, cores, *words, variables=(), world=None):
    """Return what is written into the config where torch would take so many threads."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name, value in dict(variables).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch, "get_num_threads", lambda: there)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    monkeypatch.setattr(session, "cores", lambda: cores)
    monkeypatch.setattr(session, "group", lambda: world and SimpleNamespace(world=world))
    config = configs.compose(["data=iris", "model=mlp_small", "trainer.accelerator=cpu", *words]).config
    session.fix_arithmetic(config)
    return config.trainer.num_threads


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], 8),
        (["trainer.devices=2"], 4),
        (["trainer.devices=3"], 2),
        (["trainer.devices=16"], 1),
        (["trainer.devices=2", "trainer.strategy=single"], 8),
        (["trainer.devices=2", "trainer.num_threads=8"], 8),
    ],
)
def test_processes_of_one_machine_share_its_cores(monkeypatch, words, expected):
    assert threads(monkeypatch, 8, 8, *words) == expected


def test_what_the_environment_says_is_for_each_process(monkeypatch):
    assert threads(monkeypatch, 6, 8, "trainer.devices=2", variables={"OMP_NUM_THREADS": "6"}) == 6


@pytest.mark.parametrize(
    ("there", "cores", "on_machine", "expected"),
    [
        # Bound to eight cores each, or free on all.
        (8, 8, "32", 8),
        (32, 32, "32", 8),
        (8, 8, None, 8),
        (2, 2, "2", 1),
    ],
)
def test_tasks_of_slurm_share_what_they_were_given(monkeypatch, there, cores, on_machine, expected):
    variables = {} if on_machine is None else {"SLURM_CPUS_ON_NODE": on_machine}
    words = ["trainer.devices=4"]
    assert threads(monkeypatch, there, cores, *words, variables=variables, world=TASK) == expected
