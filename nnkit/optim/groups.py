"""Which parameters weight decay applies to."""

from typing import Any

from torch import nn


def param_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split a module's parameters into those that decay and those that do not.

    Biases and the gains of normalisation layers (everything with fewer than two dimensions) do not decay:
    pulling them to zero limits what the layer can express without making it smoother.

    Args:
        module: Whose parameters to group; one that stands in two places is taken once.
        weight_decay: Decay of the weights.

    Returns:
        Groups for a torch optimizer, those that would be empty left out.

    Raises:
        ValueError: If weight_decay is negative.
    """
    if weight_decay < 0:
        raise ValueError(f"weight_decay must not be negative, not {weight_decay}")
    parameters = list(module.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
