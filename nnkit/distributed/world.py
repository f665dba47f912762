"""Which processes train together: read from what has started this one, before anything else is done."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nnkit.errors import UserError

# What nnkit sets for the processes it starts itself; the other variables are those of torchrun.
STARTED = "NNKIT_STARTED"
# Jobs of SLURM with these names are terminals, not commands that srun starts once for each task.
_TERMINALS = ("bash", "interactive")
# Ports for everybody's use, below those that the system hands out by itself; steps of a job and jobs that follow each
# other, which may share a machine, get different ones.
_FIRST_PORT, _PORTS, _APART = 15000, 16000, 31
# What tells a process its place; those of torchrun's agent begin with the last.
_PLACES = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT"),
    "SLURM_PROCID",
)
_AGENT = "TORCHELASTIC_"


@dataclass(frozen=True)
class World:
    """The place of this process among those that train one model together.

    Attributes:
        rank: Its number among all, from 0; that of number 0 decides, writes and prints.
        size: How many there are.
        local_rank: Its number among those of its machine; it takes the device of that number.
        local_size: How many are on its machine.
        node: Number of its machine.
        address: Machine of rank 0.
        port: Where rank 0 is met there.
        launcher: What has started the processes.
        attempt: What differs from that of processes which were started before or beside these and may be met at the
            same port.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    node: int
    address: str
    port: int
    launcher: Literal["torchrun", "SLURM", "nnkit"]
    attempt: str = ""

    @property
    def num_nodes(self) -> int:
        """Machines, as many processes on each."""
        return max(1, self.size // self.local_size)


def read_world(environment: Mapping[str, str] = os.environ) -> World | None:
    """Return the place of this process that torchrun, SLURM or nnkit has given it; None if it trains alone.

    Args:
        environment: Variables of the process.

    Raises:
        UserError: If a variable is missing or no number.
    """
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return _of_torchrun(environment)
    if "SLURM_PROCID" in environment and environment.get("SLURM_JOB_NAME") not in _TERMINALS:
        return _of_slurm(environment)
    return None


def _of_torchrun(environment: Mapping[str, str]) -> World | None:
    size = _number(environment, "WORLD_SIZE")
    launcher: Literal["nnkit", "torchrun"] = "nnkit" if STARTED in environment else "torchrun"
    if size == 1 and launcher == "torchrun" and "TORCHELASTIC_RUN_ID" not in environment:
        # Some schedulers set both for a single process too, and no address.
        return None
    return World(
        rank=_number(environment, "RANK"),
        size=size,
        local_rank=_number(environment, "LOCAL_RANK"),
        local_size=_number(environment, "LOCAL_WORLD_SIZE", size),
        node=_number(environment, "GROUP_RANK", 0),
        address=environment.get("MASTER_ADDR", "127.0.0.1"),
        port=_number(environment, "MASTER_PORT"),
        launcher=launcher,
        attempt=environment.get("TORCHELASTIC_RESTART_COUNT", "0") if launcher == "torchrun" else "",
    )


def _of_slurm(environment: Mapping[str, str]) -> World | None:
    # Only srun sets it. A command of the batch script itself has the number and the tasks of the job, and is alone.
    size = _number(environment, "SLURM_STEP_NUM_TASKS", 1)
    if size == 1:
        return None
    num_nodes = _number(environment, "SLURM_STEP_NUM_NODES", 1)
    if size % num_nodes:
        raise UserError(
            f"SLURM has started {size} tasks on {num_nodes} machines: as many on each are needed\n"
            "    srun --ntasks-per-node=N, with trainer.devices=N"
        )
    machines = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "127.0.0.1")
    job, step = _number(environment, "SLURM_JOB_ID", 0), _number(environment, "SLURM_STEP_ID", 0)
    restart = _number(environment, "SLURM_RESTART_COUNT", 0)
    return World(
        rank=_number(environment, "SLURM_PROCID"),
        size=size,
        local_rank=_number(environment, "SLURM_LOCALID"),
        local_size=size // num_nodes,
        node=_number(environment, "SLURM_NODEID", 0),
        address=environment.get("MASTER_ADDR") or first_of(machines),
        port=_number(environment, "MASTER_PORT", _FIRST_PORT + (job * _APART + step) % _PORTS),
        launcher="SLURM",
        attempt=f"{job}.{step}.{restart}",
    )


def without_place(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a process that trains by itself, whatever has started the one that starts it.

    Args:
        environment: Those of the one that starts it, such as a worker of a sweep that is a task of srun.
    """
    return {
        name: value
        for name, value in environment.items()
        if name not in _PLACES and not name.startswith(_AGENT)
    }


def first_of(machines: str) -> str:
    """Return the first machine of a list as SLURM writes it: "node[07-09,12],other" begins with "node07"."""
    match = re.match(r"([^,\[]*)(?:\[([^,\-\]]*)[^\]]*\]([^,]*))?", machines)
    assert match is not None
    return "".join(part or "" for part in match.groups())


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isdecimal():
        given = "is not set" if text is None else f"is {text!r}, no number"
        raise UserError(
            f"the environment says that this is one of several processes, but {name} {given}\n"
            "    start them with torchrun, with srun, or without either: nnkit train ... trainer.devices=N"
        )
    return int(text)


def unfit(world: World, devices: object, num_nodes: object) -> str | None:
    """Return why the processes that were started are not those that a config asks for; None if they are.

    Args:
        world: The processes.
        devices: `trainer.devices`; "auto" takes what was started.
        num_nodes: `trainer.num_nodes`; "auto" as well.
    """
    wanted_devices = world.local_size if devices == "auto" else devices
    wanted_nodes = world.num_nodes if num_nodes == "auto" else num_nodes
    if (wanted_devices, wanted_nodes) == (world.local_size, world.num_nodes):
        return None
    return (
        f"{world.launcher} has started {world.size} processes, {world.local_size} on each of {world.num_nodes} "
        f"machines, and trainer.devices={devices} trainer.num_nodes={num_nodes} asks for others\n"
        f"    type trainer.devices={world.local_size} trainer.num_nodes={world.num_nodes}, or auto for both"
    )
