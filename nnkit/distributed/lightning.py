"""The joined processes as Lightning sees them."""

from inspect import signature
from typing import Any

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel
from typing_extensions import override

from nnkit.distributed.world import World


class Joined(ClusterEnvironment):
    """Processes that have joined already: Lightning starts none.

    Args:
        world: The place of this one.
    """

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    @property
    @override
    def creates_processes_externally(self) -> bool:
        """Whether something else has started the processes."""
        return True

    @property
    @override
    def main_address(self) -> str:
        """Machine of the first process."""
        return self._world.address

    @property
    @override
    def main_port(self) -> int:
        """Port of the first process."""
        return self._world.port

    @staticmethod
    @override
    def detect() -> bool:
        """Return whether Lightning is to find it by itself."""
        return False

    @override
    def world_size(self) -> int:
        """Return how many processes there are."""
        return self._world.size

    @override
    def set_world_size(self, size: int) -> None:
        """Do nothing: their number is known."""

    @override
    def global_rank(self) -> int:
        """Return the number of this process."""
        return self._world.rank

    @override
    def set_global_rank(self, rank: int) -> None:
        """Do nothing: it is known."""

    @override
    def local_rank(self) -> int:
        """Return its number on this machine."""
        return self._world.local_rank

    @override
    def node_rank(self) -> int:
        """Return the number of this machine."""
        return self._world.node


def data_parallel() -> DDPStrategy:
    """Return the strategy under which each process has the whole network and its share of each batch.

    Buffers stay each process's own while training: those of batch norm are used in evaluation only, before which all
    take those of the first process. Gradients lie where they are sent from, which saves two copies each step.
    """
    known = signature(DistributedDataParallel).parameters
    # Its name since torch 2.13.
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {name: False, "gradient_as_bucket_view": True}
    return DDPStrategy(**options)
