"""What the class token of a Vision Transformer attends to, laid over the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnkit.analysis.inspection.recorded import Recorded
from nnkit.analysis.pages import look
from nnkit.tasks.drawing import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

    from nnkit.analysis.inspection.parts import InputView
    from nnkit.ui.figures import Pixels

# Heads that are drawn, panels of a row, and the side of a panel in pixels.
_MOST_HEADS, _ACROSS, _SIDE = 16, 4, 150


def rollout(weights: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """Return how much of each input step is mixed into each output step over all layers ("attention rollout").

    Abnar and Zuidema 2020, "Quantifying attention flow in transformers", section 3: with its residual connection
    a layer mixes by A = (W + I) / 2, W the mean of its heads, and all of them by A_L ... A_2 A_1.

    Args:
        weights: Of each layer from the first on, (heads, steps, steps), whose rows add up to 1.

    Returns:
        Shares (steps, steps), whose rows add up to 1.
    """
    mixed = np.eye(weights[0].shape[-1])
    for layer in weights:
        mixed = (layer.astype(np.float64).mean(0) + np.eye(len(mixed))) / 2 @ mixed
    return mixed


def over_pixels(shares: NDArray[Any], height: int, width: int, patch: int) -> NDArray[Any]:
    """Return a number of each patch, (..., patches), at every pixel that it covers, (..., height, width)."""
    down, across = -(-height // patch), -(-width // patch)
    grid = shares.reshape(*shares.shape[:-1], down, across)
    # The last patches may reach beyond the picture.
    return grid.repeat(patch, axis=-2).repeat(patch, axis=-1)[..., :height, :width]


def add(one: InputView, network: nn.Module, preprocessing: Any) -> None:
    """Show what the class token attends to, where the network reads patches behind one."""
    inputs, weights = one.seen.sample.network_inputs()[0], one.seen.attention
    size = getattr(getattr(network, "embed", None), "patch_size", None)
    has_token = hasattr(getattr(network, "body", None), "class_token")
    if inputs is None or inputs.ndim != 4 or not weights or not isinstance(size, int) or not has_token:
        return
    height, width = inputs.shape[-2:]
    patches = -(-height // size) * -(-width // size)
    if any(part.shape[1:] != (1 + patches, 1 + patches) for part in weights):
        return
    heads = over_pixels(weights[-1].values[:, 0, 1:], height, width, size)
    flow = over_pixels(rollout([part.values for part in weights])[0, 1:], height, width, size)
    one.arrays["class token"] = Recorded("class token", heads, ("head", "row", "column"))
    one.arrays["attention rollout"] = Recorded("attention rollout", flow, ("row", "column"))
    image = visible(inputs[0].float().cpu().numpy(), preprocessing)
    parts = [("rollout of all layers", flow), ("mean of the heads", heads.mean(0))]
    parts += [(f"head {number}", head) for number, head in enumerate(heads[:_MOST_HEADS], 1)]
    one.section.figures["class token"] = _figure(image, parts)
    one.section.texts.append(
        "What the class token, which the head reads, attends to: in the last layer by head, and over all layers by "
        "attention rollout, which takes the residual connections for half of each layer. A full patch has the largest "
        "weight of its map."
    )


@look.style()
def _figure(image: Pixels, parts: Sequence[tuple[str, NDArray[Any]]]) -> Figure:
    across = min(_ACROSS, len(parts))
    down = math.ceil(len(parts) / across)
    title = "what the class token attends to"
    figure, axes = look.panels(title, down, across, _SIDE * across, (_SIDE + 25) * down + 40)
    for axis in axes[len(parts) :]:
        axis.set_axis_off()
    for axis, (name, values) in zip(axes, parts, strict=False):
        # The picture faintly, so that places can be told.
        axis.imshow(image.mean(-1), cmap="gray_r", alpha=0.35)
        strongest = float(values.max()) or 1.0
        axis.imshow(values, cmap=look.shares(), vmin=0, vmax=strongest, alpha=0.85)
        axis.set_title(f"{name}\nstrongest {strongest:.2g}", fontsize=8)
        axis.set(xticks=[], yticks=[], xlabel="column", ylabel="row")
    return figure
