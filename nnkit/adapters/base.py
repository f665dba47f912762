"""What every adapter does: it leaves the pre-trained weights alone and says what is trained in their place."""

from abc import ABC, abstractmethod

from nnkit.network import Network


class Adapter(ABC):
    """A way to fine-tune few parameters of a network.

    The weights of embed and body stay as they are. The head is trained whole: for other classes it is new.
    """

    def adapt(self, network: Network) -> None:
        """Freeze embed and body, then add or release what is trained of them.

        Args:
            network: Freshly built; changed in place. Its weights keep their names.

        Raises:
            ConfigError: If the network has nothing that could be adapted.
        """
        for part in (network.embed, network.body):
            part.requires_grad_(False)
        self.release(network)

    @abstractmethod
    def release(self, network: Network) -> None:
        """Add to a network whose embed and body are frozen what is trained, or ask for its gradient again."""
