"""What tasks on images show of a validation: the kernels of the first layer, and answers that were wrong."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nnkit.ui import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_KERNELS = 64


def kept_inputs(inputs: Tensor) -> Tensor:
    """Return inputs as they are if they are images, else nothing of each.

    Texts of several lengths cannot be kept side by side, and nobody would see anything in them.
    """
    return inputs if inputs.ndim == 4 else inputs[:, :0]


def draw_images(
    network: nn.Module,
    images: Tensor,
    captions: Callable[[], Sequence[tuple[str, str]]],
    learnt: Mapping[str, Any],
) -> dict[str, "Figure"]:
    """Return the kernels of the first layer that sees images, and images with captions, by name.

    Args:
        network: The network.
        images: What `kept_inputs` kept, (images, channels, height, width) if they are any.
        captions: Returns two lines for each; called only where there are images to be seen.
        learnt: What was learnt from the training data, with the normalisation of the images.
    """
    found = {}
    kernels = first_kernels(network, images.shape[1:])
    if kernels is not None:
        found["first_layer"] = figures.image_grid([*map(figures.to_bytes, kernels)], side=48)
    if len(images) and images.ndim == 4:
        tiles = [visible(image.float().numpy(), learnt) for image in images]
        found["val/wrong"] = figures.image_grid(tiles, captions())
    return found


def visible(picture: NDArray[Any], learnt: Mapping[str, Any]) -> figures.Pixels:
    """Return a picture (channels, height, width) as an image, its normalisation undone."""
    mean, std = learnt.get("mean"), learnt.get("std")
    if mean is None or std is None or len(mean) != len(picture):
        return figures.to_bytes(picture)
    scale, offset = np.asarray(std).reshape(-1, 1, 1), np.asarray(mean).reshape(-1, 1, 1)
    return figures.clip_to_bytes((picture * scale + offset) * 255)


def first_kernels(network: nn.Module, shape: torch.Size) -> NDArray[Any] | None:
    """Return the kernels of the first layer that reads pictures.

    Args:
        network: The network.
        shape: Channels, height and width of a picture; anything else has no kernels to be seen.

    Returns:
        Kernels of the first convolution, or the weights of a first linear layer in the shape of the picture,
        (kernels, channels, height, width), at most 64; None if there is no such layer.
    """
    if len(shape) != 3:
        return None
    for module in network.modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, Tensor) or weight.ndim not in (2, 4):
            continue
        if weight.ndim == 2 and weight.shape[1] != math.prod(shape):
            return None
        # What NumPy has seen cannot be freed, as weights that are gathered for a validation are afterwards.
        kernels = weight.detach()[:_MAX_KERNELS].float().cpu().clone()
        return kernels.reshape(len(kernels), *(weight.shape[1:] if weight.ndim == 4 else shape)).numpy()
    return None
