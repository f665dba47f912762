"""What of an input a network's score rests on: integrated gradients, and what is lost where a part is hidden."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from nnkit.analysis.inspection.capture import recording

if TYPE_CHECKING:
    from nnkit.batches import Batch
    from nnkit.tasks.base import Task

# Maps inputs of one form, (samples, ...), to one score each, (samples,).
Score = Callable[[Tensor], Tensor]

# Points of the path in one forward pass, and numbers that the network may put out in it.
_AT_ONCE, _MOST_NUMBERS = 16, 2**24
# Points of the path at first and at most, and how far from the change of the score their sum may be, as a share of it.
_STEPS, _MOST_STEPS, _TOLERANCE = 32, 256, 0.01


class Attributed(NamedTuple):
    """Attributions, and what they add up to where they are exact.

    Attributes:
        values: Of the shape of one sample.
        change: The score less that of the baseline.
        steps: Points of the path that were computed.
    """

    values: Tensor
    change: float
    steps: int


def integrated_gradients(
    score: Score, inputs: Tensor, baseline: Tensor, steps: int = 32, at_once: int = _AT_ONCE
) -> Tensor:
    """Return how much each number of an input adds to its score, beside the score of a baseline.

    Sundararajan, Taly and Yan 2017, "Axiomatic attribution for deep networks", equation 1::

        (x_i - x'_i) * integral from 0 to 1 of dF(x' + a (x - x')) / dx_i da

    by the midpoint rule. The attributions add up to F(x) - F(x') ("completeness"); of a linear F they are
    w_i (x_i - x'_i), exactly.

    Args:
        score: F.
        inputs: x, a batch of one, (1, ...).
        baseline: x', of the same shape.
        steps: Points on the straight path between them.
        at_once: How many of them go through the network in one pass.

    Returns:
        Attributions of the shape of one sample.
    """
    points = (torch.arange(steps, dtype=inputs.dtype, device=inputs.device) + 0.5) / steps
    total = torch.zeros_like(inputs[0])
    for some in torch.split(points, at_once):
        shares = some.reshape(-1, *[1] * (inputs.ndim - 1))
        path = (baseline + shares * (inputs - baseline)).detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(score(path).sum(), path)
        total += gradient.sum(0)
    return (inputs - baseline)[0] * total / steps


def complete_gradients(score: Score, inputs: Tensor, baseline: Tensor, numbers: int = 1) -> Attributed:
    """Return integrated gradients along as many points as it takes for their sum to be the change of the score.

    From 32 points on their number is doubled until the sum is within 1 % of the change, up to 256. A network that puts
    out millions of numbers for each point, such as a score for each token of a large vocabulary, keeps to 32.

    Args:
        score: F.
        inputs: A batch of one, (1, ...).
        baseline: What it is compared with, of the same shape.
        numbers: How many numbers the network puts out for one point.
    """
    with torch.no_grad():
        change = float(score(inputs) - score(baseline))
    at_once = max(1, min(_AT_ONCE, _MOST_NUMBERS // numbers))
    steps, most = _STEPS, _MOST_STEPS if at_once == _AT_ONCE else _STEPS
    while True:
        values = integrated_gradients(score, inputs, baseline, steps, at_once)
        if abs(float(values.sum()) - change) <= _TOLERANCE * abs(change) or steps >= most:
            return Attributed(values, change, steps)
        steps *= 2


def occlusion(score: Score, inputs: Tensor, baseline: Tensor, regions: Sequence[Tensor]) -> Tensor:
    """Return how much of the score is lost where each region of an input is replaced by the baseline.

    Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 4.2.

    Args:
        score: Scores inputs.
        inputs: A batch of one, (1, ...).
        baseline: What a hidden region is replaced by, of the same shape.
        regions: True where an input is hidden, each of the shape of one sample or of one that broadcasts to it.

    Returns:
        F(x) - F(x with the region hidden) for each region, (regions,).
    """
    with torch.no_grad():
        whole = score(inputs)
        lost = []
        for start in range(0, len(regions), _AT_ONCE):
            hidden = torch.cat(
                [torch.where(region, baseline, inputs) for region in regions[start : start + _AT_ONCE]]
            )
            lost.append(whole - score(hidden))
    return torch.cat(lost)


def squares(height: int, width: int, side: int, step: int) -> list[tuple[slice, slice]]:
    """Return squares that cover a picture, each `step` pixels from the one before, cut at the edges."""
    return [
        (slice(top, min(top + side, height)), slice(left, min(left + side, width)))
        for top in range(0, max(height - side, 0) + step, step)
        for left in range(0, max(width - side, 0) + step, step)
        if top < height and left < width
    ]


def occluded_picture(score: Score, inputs: Tensor, baseline: Tensor) -> Tensor:
    """Return for each pixel the mean loss of score over the squares that hide it, (height, width).

    Args:
        score: Scores pictures.
        inputs: A batch of one, (1, channels, height, width).
        baseline: What hides it, of the same shape.
    """
    height, width = inputs.shape[-2:]
    side = max(1, round(max(height, width) / 5))
    places = squares(height, width, side, max(1, side // 2))
    regions = [torch.zeros(height, width, dtype=torch.bool, device=inputs.device) for _ in places]
    for region, place in zip(regions, places, strict=True):
        region[place] = True
    lost = occlusion(score, inputs, baseline, regions)
    counts = torch.stack(regions).sum(0)
    return torch.stack([region * value for region, value in zip(regions, lost, strict=True)]).sum(0) / counts


def score_of(task: Task, sample: Batch, data: Any, row: int, column: int) -> Score:
    """Return what scores inputs by one column of a task's outcome, such as the logit of a class.

    Args:
        task: The task, in evaluation mode.
        sample: What else the network is called with: its mask, the text that is written.
        data: The data module of the run.
        row: LayerRow of the outcome.
        column: Its column.
    """
    _, *others = sample.network_inputs()

    def score(inputs: Tensor) -> Tensor:
        rest = [None if one is None else one.expand(len(inputs), *one.shape[1:]) for one in others]
        found: Tensor = task.outcome(task.network(inputs, *rest), sample, data).scores[:, row, column]
        return found

    return score


def score_of_embedded(task: Task, sample: Batch, data: Any, row: int, column: int) -> tuple[Score, Tensor]:
    """Return the same for what the embed makes of a sample, and that, (1, ...): tokens themselves have no gradient."""
    embed = task.network.embed
    plain = score_of(task, sample, data, row, column)
    inputs = sample.network_inputs()[0]
    assert inputs is not None

    def score(vectors: Tensor) -> Tensor:
        def replaced(module: nn.Module, given: Any, output: Any) -> Tensor:
            return vectors

        handle = embed.register_forward_hook(replaced)
        try:
            return plain(inputs.expand(len(vectors), *inputs.shape[1:]))
        finally:
            handle.remove()

    with torch.no_grad(), recording([embed]) as calls:
        plain(inputs)
    embedded: Tensor = calls[embed][0][1]
    return score, embedded.detach()
