"""How metrics use a loss: without what only helps training, and as a sum that does not depend on the batches."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

# One value of a total and what its mean divides by.
Share = tuple[Tensor, Tensor]


def evaluation_form(loss: nn.Module) -> nn.Module:
    """Return the loss that validation and test report.

    A loss that has a method ``evaluation_form()`` names it itself. Of any other loss, label smoothing is left out, and
    the reduction "sum" is replaced by "mean", since a sum would grow with the batch.

    Args:
        loss: The training loss.
    """
    own = getattr(loss, "evaluation_form", None)
    if own is not None:
        form: nn.Module = own()
        return form
    changes: dict[str, Any] = {}
    if getattr(loss, "label_smoothing", 0.0):
        changes["label_smoothing"] = 0.0
    if getattr(loss, "reduction", "mean") == "sum":
        changes["reduction"] = "mean"
    if not changes:
        return loss
    # Shallow: class weights and other buffers are shared with the training loss.
    plain = copy.copy(loss)
    for name, value in changes.items():
        setattr(plain, name, value)
    return plain


def total_weight(loss: nn.Module, target: Tensor) -> Tensor:
    """Return what the mean over targets is divided by: the sum of class weights, or the number of targets.

    Args:
        loss: The training loss; one that weights its targets has a method ``total_weight(target)``.
        target: What the loss is given as its target.

    Returns:
        A scalar, on the target's device.
    """
    own = getattr(loss, "total_weight", None)
    if own is not None:
        weight: Tensor = own(target)
        return weight
    return number_of(target)


def weights_of(loss: nn.Module, batches: Sequence[Sequence[Tensor] | None], count: int) -> list[list[float]]:
    """Return what each mean in the loss of each batch divides by.

    Args:
        loss: The training loss.
        batches: The targets of each mean; None for a batch that counts for nothing.
        count: How many means there are.
    """
    nothing = [0.0] * count
    return [
        nothing if targets is None else [float(total_weight(loss, target)) for target in targets]
        for targets in batches
    ]


def shares_of(
    loss: nn.Module, weights: Sequence[float], divisors: Sequence[float] | None, times: int
) -> list[float] | None:
    """Return what each mean in the loss of a batch is multiplied by, so that means of several batches add up to one.

    Args:
        loss: The training loss.
        weights: What each mean of the batch divides by.
        divisors: What the means over all batches divide by; None where that is not known, and each batch counts alike.
        times: How many losses the mean is taken of afterwards: by Lightning over batches, by DDP over processes.
    """
    if getattr(loss, "reduction", "mean") == "sum":
        # Sums just add up.
        return [float(times) if weight else 0.0 for weight in weights]
    if divisors is None:
        return None
    return [times * own / whole if whole else 1.0 for own, whole in zip(weights, divisors, strict=True)]


def number_of(target: Tensor) -> Tensor:
    """Return how many targets there are, as a scalar on their device."""
    return torch.full((), float(target.numel()), device=target.device)


def training_share(loss: nn.Module, value: Tensor, target: Tensor) -> Share:
    """Split the value of a training loss into a sum and the weight to divide it by.

    Args:
        loss: The training loss.
        value: What it returned.
        target: What it was given as its target.
    """
    value, weight = value.detach().float(), total_weight(loss, target)
    return (value if getattr(loss, "reduction", "mean") == "sum" else _times(value, weight)), weight


def evaluation_share(loss: nn.Module, prediction: Tensor, target: Tensor) -> Share:
    """Return the sum of the evaluation form of a loss over targets, and the weight to divide it by.

    Args:
        loss: The training loss.
        prediction: As for the loss, of any precision.
        target: As for the loss.
    """
    weight = total_weight(loss, target)
    value: Tensor = evaluation_form(loss)(at_least_32_bits(prediction), target)
    return _times(value.detach().float(), weight), weight


def at_least_32_bits(values: Tensor) -> Tensor:
    """Return values of half precision in single precision; under 64 bits they stay, as class weights are of 64 then."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _times(mean: Tensor, weight: Tensor) -> Tensor:
    # The mean over nothing is not a number.
    return torch.where(weight > 0, mean * weight, 0.0)


def is_log_likelihood(loss: nn.Module) -> bool:
    """Return whether the evaluation form is the plain negative log-likelihood of the classes, in nats."""
    return isinstance(loss, nn.CrossEntropyLoss) and loss.weight is None
