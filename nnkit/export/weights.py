"""The weights of a network as a file of safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import safetensors.torch
import torch
from torch import Tensor

from nnkit.export.comparison import Runner, outputs_of
from nnkit.factory import build_network
from nnkit.network import Network

if TYPE_CHECKING:
    from nnkit.runs.session import Session


def encode(network: Network, arguments: Mapping[str, Tensor]) -> bytes:
    """Return the weights as the bytes of a file, under their names in the network; arguments are not needed."""
    # Two names of one tensor are two tensors in the file.
    state = {name: tensor.clone().contiguous() for name, tensor in network.state_dict().items()}
    return safetensors.torch.save(state, {"format": "pt"})


def runner(content: bytes, session: Session) -> Runner:
    """Return what runs a network of the session's config with the weights of a file."""
    with torch.random.fork_rng(devices=[]):
        network = build_network(session.config).eval()
    network.load_state_dict(safetensors.torch.load(content))
    return lambda arguments: outputs_of(network, arguments)
