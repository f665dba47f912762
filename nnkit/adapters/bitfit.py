"""BitFit: of the pre-trained weights, the biases alone are trained."""

from typing_extensions import override

from nnkit.adapters.base import Adapter
from nnkit.errors import ConfigError, Problem
from nnkit.network import Network


class BitFit(Adapter):
    """Trains every bias of embed and body, those of normalisations included, and the head.

    Ben Zaken, Goldberg and Ravfogel 2022, "BitFit: simple parameter-efficient fine-tuning for Transformer-based masked
    language-models".
    """

    @override
    def release(self, network: Network) -> None:
        """Ask for the gradients of biases, whose names begin with "bias" in torch's layers."""
        parts = (network.embed, network.body)
        found = [
            parameter
            for part in parts
            for name, parameter in part.named_parameters()
            if name.rpartition(".")[2].startswith("bias")
        ]
        if not found:
            text = f"{type(network.body).__name__} has no biases that could be trained"
            raise ConfigError(
                [Problem("adapter", text, "adapter=lora adapts linear layers and convolutions")]
            )
        for parameter in found:
            parameter.requires_grad_(True)
