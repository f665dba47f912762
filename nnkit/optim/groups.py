"""Which parameters weight decay applies to, and which are matrices inside a body."""

from collections.abc import Mapping
from typing import Any

from torch import nn


def param_groups(
    module: nn.Module,
    weight_decay: float,
    matrices_of: nn.Module | None = None,
    scales: Mapping[nn.Parameter, float] | None = None,
) -> list[dict[str, Any]]:
    """Split a module's parameters into those that decay and those that do not.

    Biases and the gains of normalisation layers (everything with fewer than two dimensions) do not decay:
    pulling them to zero limits what the layer can express without making it smoother.

    Args:
        module: Whose parameters to group; one that is in two places is taken once.
        weight_decay: Decay of the weights.
        matrices_of: A part of the module whose weights of two dimensions, embeddings left out, make up a group of
            their own; groups say with `matrices` which they are then. None: no such group.
        scales: What the rate of each parameter is multiplied by; each factor has groups of its own, which name it
            `lr_scale`. None: one rate for all.

    Returns:
        Groups for a torch optimizer, those that would be empty left out; parameters that are frozen are in none.

    Raises:
        ValueError: If weight_decay is negative.
    """
    if weight_decay < 0:
        raise ValueError(f"weight_decay must not be negative, not {weight_decay}")
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    inside = set() if matrices_of is None else _matrices(matrices_of)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p in inside], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim >= 2 and p not in inside], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    if matrices_of is not None:
        for number, group in enumerate(groups):
            group["matrices"] = number == 0
    if scales is not None:
        groups = [part for group in groups for part in _by_scale(group, scales)]
    return [group for group in groups if group["params"]]


def _by_scale(group: dict[str, Any], scales: Mapping[nn.Parameter, float]) -> list[dict[str, Any]]:
    """Return the group in parts, that of the smallest rate first."""
    return [
        {**group, "params": [p for p in group["params"] if scales[p] == scale], "lr_scale": scale}
        for scale in sorted({scales[p] for p in group["params"]})
    ]


def _matrices(module: nn.Module) -> set[nn.Parameter]:
    owners = [inner for inner in module.modules() if not isinstance(inner, nn.Embedding)]
    return {p for owner in owners for p in owner.parameters(recurse=False) if p.ndim == 2}
