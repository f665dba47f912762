"""Activation functions by name."""

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

from torch import nn

ActivationName = Literal[
    "identity",
    "relu",
    "leaky_relu",
    "elu",
    "gelu",
    "gelu_tanh",
    "silu",
    "softplus",
    "sigmoid",
    "tanh",
    "hardtanh",
]

_CLASSES: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    # The approximation that GPT-2 was trained with (Hendrycks and Gimpel 2016).
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "hardtanh": nn.Hardtanh,
}

# These fall below zero and come back, so that the largest of four inputs need not give the largest output.
_NOT_MONOTONE = frozenset({"gelu", "gelu_tanh", "silu"})


def activation_layer(name: str) -> nn.Module:
    """Return a new activation layer.

    Args:
        name: One of `ActivationName`.

    Raises:
        ValueError: If there is no activation of that name.
    """
    if name not in _CLASSES:
        raise ValueError(f"activation must be one of {', '.join(get_args(ActivationName))}, not {name!r}")
    return _CLASSES[name]()


def is_monotone(name: str) -> bool:
    """Return whether the activation never decreases, that is, commutes with taking a maximum.

    Args:
        name: One of `ActivationName`.
    """
    return name not in _NOT_MONOTONE
