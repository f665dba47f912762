"""What Lightning leaves out of a checkpoint: config, generators, gradients, and the length of the log."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import lightning.pytorch as lightning
import numpy
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from nnkit.callbacks.record import Record
from nnkit.checkpoint.base import Base
from nnkit.checkpoint.formats import FORMAT, KEY
from nnkit.checkpoint.plugin import in_window
from nnkit.data.counted_random import private_generator
from nnkit.distributed import collectives
from nnkit.distributed.sharded import is_sharded
from nnkit.distributed.sharded import share_of as share_like
from nnkit.tasks.base import Task


@dataclass(frozen=True)
class Origin:
    """What a checkpoint says about the run it belongs to.

    Attributes:
        config: Returns the config as one line of JSON, interpolations kept.
        choices: The option of each group.
        preprocessing_sha256: Hash of what the data module learnt.
        data_fingerprint: Hash of the data; None where the data have none.
        seed: Seed of the run.
        base: What its adapter rests on; None where it has none.
    """

    config: Callable[[], str]
    choices: Mapping[str, Any]
    preprocessing_sha256: str
    data_fingerprint: str | None
    seed: int = 0
    base: Base | None = None


class SaveState(Callback):
    """Adds to each checkpoint what a run needs to go on exactly and Lightning does not save.

    Args:
        origin: What the checkpoint says about its run.
        record: The run's log, whose length is saved.
    """

    def __init__(self, origin: Origin, record: Record) -> None:
        self.origin = origin
        self.record = record
        self._restored: dict[str, Any] | None = None

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add plain data and tensors only: a checkpoint holds nothing else."""
        gradients = divisors = None
        if in_window(trainer):
            divisors = pl_module.weighing.divisors if isinstance(pl_module, Task) else None
            gradients = {name: p.grad for name, p in pl_module.named_parameters() if p.grad is not None}
        shared = {}
        if is_sharded(pl_module):
            # They are the mean of all processes already, each having its rows.
            shared, gradients = {"gradients": gradients}, None
        own = {"generators": generator_states(), "gradients": gradients}
        ranks = gather_ranks(own, checkpoint["state_dict"])
        compiled = pl_module.compiled if isinstance(pl_module, Task) else None
        checkpoint[KEY] = {
            "format": FORMAT,
            "config": self.origin.config(),
            "choices": dict(self.origin.choices),
            "preprocessing_sha256": self.origin.preprocessing_sha256,
            "data_fingerprint": self.origin.data_fingerprint,
            "num_lines": self.record.num_lines,
            "stopped": trainer.should_stop,
            "divisors": divisors,
            **own,
            **shared,
            **({} if ranks is None else {"ranks": ranks}),
            **({} if self.origin.base is None else {"base": self.origin.base.spec()}),
            **({} if compiled is None else {"is_compiled": compiled.is_compiled}),
        }

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep generators and gradients until the first batch."""
        self._restored = checkpoint[KEY]
        if isinstance(pl_module, Task) and pl_module.compiled is not None:
            pl_module.compiled.go_on(checkpoint[KEY].get("is_compiled"))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give each process that trains together generators of its own, or all would draw one dropout mask."""
        if self._restored is None and collectives.rank():
            seed_rank(self.origin.seed, trainer.global_step)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Restore generators and gradients: all that uses them comes after this hook."""
        if self._restored is None:
            return
        if self._restored["generators"] is None:
            seed_rank(self.origin.seed, trainer.global_step)
        else:
            set_generator_states(self._restored["generators"])
        gradients = self._restored["gradients"] or {}
        if is_sharded(pl_module):
            gradients = _mean_of_all(self._restored) or {}
        for name, parameter in pl_module.named_parameters():
            if name in gradients:
                parameter.grad = share_like(gradients[name], parameter).to(parameter.device)
        for name, total in self._restored.get("totals", {}).items():
            getattr(pl_module, name).copy_(total)
        if isinstance(pl_module, Task):
            # Not in a checkpoint of an earlier release.
            pl_module.weighing.divisors = self._restored.get("divisors")
        self._restored = None


# Totals of a task: each process has its part of them.
_TOTALS = ("window", "epoch_totals")


def gather_ranks(own: dict[str, Any], weights: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return what each process that trains together has of its own, to the first; None to the others, and alone.

    Args:
        own: Generators and gradients of this one.
        weights: State of the task; its totals become those of all processes.
    """
    if not collectives.is_together():
        return None
    totals = {name: weights[name].detach().cpu().clone() for name in _TOTALS if name in weights}
    weights.update({name: collectives.summed(weights[name]) for name in totals})
    return collectives.gathered({**own, "totals": totals})


def share_of(state: dict[str, Any], rank: int, size: int) -> dict[str, Any]:
    """Return the state that one of several processes goes on with.

    As many processes as there were go on exactly. Any other number gets generators that follow from the seed, the step
    and the process (None here), the mean of the gradients, and totals that the first process takes over.

    Args:
        state: A checkpoint; it is not changed.
        rank: Number of the process.
        size: Processes that go on.
    """
    ranks = state[KEY].get("ranks") or [state[KEY]]
    if len(ranks) == size == 1:
        return state
    if len(ranks) == size:
        own = dict(ranks[rank])
        own["gradients"] = own["gradients"] or state[KEY]["gradients"]
    else:
        own = {"generators": None, "gradients": _mean_of_all(state[KEY])}
        own["totals"] = {
            name: torch.zeros_like(total) if rank else total
            for name, total in state["state_dict"].items()
            if name in _TOTALS
        }
    return {**state, KEY: {**state[KEY], **own}}


def _mean_of_all(ours: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """Return the mean of the gradients of all processes; where they shared the weights, it is what was saved."""
    own = _mean([one["gradients"] for one in ours.get("ranks") or ()])
    return own or ours["gradients"]


def _mean(gradients: Sequence[Mapping[str, Tensor] | None]) -> dict[str, Tensor] | None:
    parts = [one for one in gradients if one]
    return (
        {name: reduce(torch.add, [one[name] for one in parts]) / len(parts) for name in parts[0]}
        if parts
        else None
    )


def seed_rank(seed: int, step: int) -> None:
    """Seed the global generators of one of several processes.

    Args:
        seed: Seed of the run.
        step: Optimizer steps taken.
    """
    generator = private_generator(seed, step, collectives.rank())
    lightning.seed_everything(int(torch.randint(2**32, (), generator=generator)), verbose=False)


def generator_states() -> dict[str, Any]:
    """Return the states of the global generators of Python, NumPy and torch as plain data and tensors."""
    kind, keys, position, has_gauss, cached = numpy.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [str(kind), [int(key) for key in keys], int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_generator_states(states: dict[str, Any]) -> None:
    """Set the global generators to states from `generator_states`."""
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, position, has_gauss, cached = states["numpy"]
    numpy.random.set_state((kind, numpy.array(keys, dtype=numpy.uint32), position, has_gauss, cached))
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
