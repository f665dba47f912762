"""FSDP2: each process keeps a share of all weights, gradients and optimizer states, and gathers a block to use it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint
from typing_extensions import override

from nnkit.distributed import collectives


def blocks_of(body: nn.Module) -> list[nn.Module]:
    """Return the layers of a body: what its outermost lists of modules hold, such as the blocks of a Transformer."""
    found: list[nn.Module] = []
    for child in body.children():
        is_block = isinstance(body, nn.ModuleList) and not isinstance(child, nn.ModuleList)
        found += [child] if is_block else blocks_of(child)
    return found


def shard(network: nn.Module, body: nn.Module, device: str, precision: str) -> None:
    """Leave this process its rows of every parameter; a block's are gathered while it computes.

    Args:
        network: What is trained; all processes have the same weights. Changed in place.
        body: Its part with the blocks.
        device: Type of the device, such as "cuda".
        precision: Of Lightning; "bf16-mixed" gathers weights in bfloat16, and sums gradients up in float32.
    """
    # A layer of attention returns keys and values, which are views, for the steps that follow; nothing changes them.
    warnings.filterwarnings("ignore", r"FSDP2-wrapped module \(.*\) returned a view tensor")
    mesh = init_device_mesh(device, (collectives.size(),))
    policy = MixedPrecisionPolicy()
    if precision == "bf16-mixed":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for parameter in network.parameters():
        # Rows are sent as they lie in memory; the weights of convolutions lie by channels until now.
        parameter.data = parameter.data.contiguous()
    for block in blocks_of(body):
        if any(True for _ in block.parameters()):
            fully_shard(block, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
    # The rest is used at the beginning and at the end of the forward pass: it stays gathered in between.
    fully_shard(network, mesh=mesh, mp_policy=policy, reshard_after_forward=False)


def checkpoint_activations(body: nn.Module) -> int:
    """Let the blocks of a body keep their inputs alone for the backward pass, and compute the rest a second time.

    Chen et al. 2016, "Training deep nets with sublinear memory cost"; the second time with the same random numbers.

    Args:
        body: Changed in place.

    Returns:
        How many blocks there are.
    """
    blocks = blocks_of(body)
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    return len(blocks)


def is_sharded(module: nn.Module) -> bool:
    """Return whether each process has a share of the module's parameters only."""
    return any(isinstance(part, FSDPModule) for part in module.modules())


def local_rows(tensor: Tensor) -> Tensor:
    """Return the rows that this process has of a tensor; all, where it is not sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def share_of(whole: Tensor, like: Tensor) -> Tensor:
    """Return a tensor sharded as another one of its shape, from what every process has in full.

    Args:
        whole: The values.
        like: A tensor, sharded or not; where it is not, or has another shape, `whole` is returned.
    """
    if not isinstance(like, DTensor) or whole.shape != like.shape:
        return whole
    mesh = like.device_mesh
    # The rule of torch.chunk: the last processes may have fewer rows, or none.
    chunks = whole.chunk(mesh.size())
    rank = mesh.get_local_rank()
    # A copy: a view would keep the whole in memory.
    rows = (chunks[rank] if rank < len(chunks) else whole[:0]).to(like.device, copy=True)
    return DTensor.from_local(
        rows, mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def whole_state(module: nn.Module) -> dict[str, Any]:
    """Return the state of a sharded module in full, to every process; all must call this."""
    scatter(module)
    state = module.state_dict()
    return {name: one.full_tensor() if isinstance(one, DTensor) else one for name, one in state.items()}


def gather(module: nn.Module) -> None:
    """Give each process all weights until `scatter`, so that each computes without the others; all must call this."""
    for part in _parts(module):
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()


def scatter(module: nn.Module) -> None:
    """Leave this process its share of each weight again."""
    for number, part in enumerate(_parts(module)):
        part.set_reshard_after_forward(number > 0, recurse=False)
        part.reshard()


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Give each process all weights for a while; nothing happens where they are not sharded."""
    gather(module)
    try:
        yield
    finally:
        scatter(module)


def _parts(module: nn.Module) -> list[FSDPModule]:
    return [part for part in module.modules() if isinstance(part, FSDPModule)]


class GatherToEvaluate(Callback):
    """Gathers the weights for each validation and for what comes after the last step.

    There one process computes more often than another: it has more batches, writes longer texts or draws.
    """

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather."""
        gather(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather."""
        gather(pl_module)


class ScatterToTrain(Callback):
    """Scatters the weights after what is drawn of a validation, and before it is saved."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Scatter."""
        scatter(pl_module)


class FullySharded(DDPStrategy):
    """Lightning's strategy for `shard`, whose processes have joined; every process saves its share.

    Args:
        precision: As for `shard`.
    """

    def __init__(self, precision: str) -> None:
        super().__init__()
        self._precision = precision

    @override
    def configure_ddp(self) -> None:
        """Shard the network; the task's totals stay each process's own."""
        module = self.lightning_module
        assert module is not None
        # The first process may have taken its weights from another run.
        collectives.from_first([*module.parameters(), *module.buffers()])
        network: Any = module.network
        shard(network, network.body, self.root_device.type, self._precision)

    @override
    def load_model_state_dict(self, checkpoint: Any, strict: bool = True) -> None:
        """Take this process's share of the weights."""
        module = self.lightning_module
        assert module is not None
        here = module.state_dict()
        state = {
            name: share_of(one, here[name]) if name in here else one
            for name, one in checkpoint["state_dict"].items()
        }
        module.load_state_dict(state, strict=strict)

    @override
    def load_optimizer_state_dict(self, checkpoint: Any) -> None:
        """Take this process's share of the optimizer's state."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [one for group in optimizer.param_groups for one in group["params"]]
            parts = {
                number: {
                    key: share_of(value, parameters[number]) if isinstance(value, Tensor) else value
                    for key, value in values.items()
                }
                for number, values in state["state"].items()
            }
            optimizer.load_state_dict({**state, "state": parts})

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        """Let every process write its share."""
        self.checkpoint_io.save_checkpoint(checkpoint, filepath, storage_options=storage_options)

    @override
    def teardown(self) -> None:
        """End; the shares stay on the device, from which `whole_state` gathers them."""
        assert self.cluster_environment is not None
        assert self.accelerator is not None
        self.cluster_environment.teardown()
        self.precision_plugin.teardown()
        self.accelerator.teardown()
        self.checkpoint_io.teardown()
