"""Vision Transformer: a Transformer's encoder that reads a picture as a sequence of patches."""

from typing import Any

import torch
from torch import Tensor, nn

from nnkit.layers.activation import ActivationName
from nnkit.layers.attention import SelfAttention
from nnkit.layers.checks import check_dropout, check_positive
from nnkit.layers.dropout import Dropout
from nnkit.layers.probing import STEPS, Probe
from nnkit.layers.sequence import SequenceBody, pool
from nnkit.layers.transformer import FeedForward, TransformerLayer, draw_small


class ViT(SequenceBody):
    """Pre-norm Transformer encoder over patches, with a class token and learnt positions.

    Dosovitskiy et al. 2021, "An image is worth 16x16 words: Transformers for image recognition at scale", section 3.1;
    the embed cuts the patches and maps them to vectors (E of equation 1). As in Hugging Face's ViT, dropout acts on the
    sum of patches and positions and on what each sub-layer adds; the paper's also acts inside the feed-forward network.
    The paper does not state the weights before training: they are drawn with a standard deviation of 0.02, the class
    token too. The head is one linear layer, as in the paper's fine-tuning.

    Args:
        dim_in: Width of the vectors of patches; another width than `dim` is projected to it.
        height: Of a picture, in pixels.
        width: Of a picture, in pixels.
        patch_size: Height and width of a patch, as the embed cuts them.
        dim: Width of the features.
        num_layers: Layers.
        num_heads: Heads of each attention; they divide `dim`.
        dropout: Probability that a number is set to zero while training.
        activation: Of the feed-forward networks; their hidden width is four times `dim`.
        eps: Added to the variance in each normalisation; 1e-6 as in the paper's code, 1e-12 in Hugging Face's.

    Raises:
        ValueError: If a value is out of range.
    """

    causal = False

    def __init__(
        self,
        dim_in: int,
        *,
        height: int,
        width: int,
        patch_size: int = 4,
        dim: int = 128,
        num_layers: int = 6,
        num_heads: int = 4,
        dropout: float = 0.0,
        activation: ActivationName = "gelu",
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        sizes = {
            "height": height,
            "width": width,
            "patch_size": patch_size,
            "dim": dim,
            "num_layers": num_layers,
        }
        for name, value in sizes.items():
            check_positive(name, value)
        check_dropout(dropout)
        self.dim_out = dim
        self.num_patches = -(-height // patch_size) * -(-width // patch_size)  # N
        self.project = nn.Identity() if dim_in == dim else nn.Linear(dim_in, dim)
        self.class_token = nn.Parameter(torch.empty(dim))  # x_class
        self.positions = nn.Embedding(1 + self.num_patches, dim)  # E_pos, that of the class token first
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(
                dim,
                SelfAttention(dim, num_heads),
                FeedForward(dim, 4 * dim, activation),
                norm_first=True,
                dropout=dropout,
                eps=eps,
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim, eps=eps)
        draw_small(self)
        nn.init.trunc_normal_(self.class_token, std=0.02, a=-0.04, b=0.04)

    def forward(self, features: Tensor, mask: Tensor | None = None, state: Any = None) -> tuple[Tensor, Any]:
        """Map patches (batch, patches, dim_in) to (batch, 1 + patches, dim), the class token first.

        A mask and a state, as of other `SequenceBody`s, do not exist: every patch is there.
        """
        assert mask is None
        if features.shape[1] != self.num_patches:
            raise ValueError(f"{features.shape[1]} patches are not {self.num_patches}, those of a picture")
        x = self.project(features)  # (batch, patches, dim)
        first = self.class_token.expand(x.shape[0], 1, -1)  # (batch, 1, dim)
        positions = self.positions(torch.arange(1 + self.num_patches, device=x.device))  # (1 + patches, dim)
        x = self.dropout(torch.cat([first, x], dim=1) + positions)  # equation 1: z_0
        for layer in self.layers:
            x, _ = layer(x)  # equations 2 and 3: z_l
        return self.norm(x), None

    def summary(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the features of the class token, (batch, dim): y of equation 4."""
        return pool(features, mask, "first")

    def probe(self) -> list[Probe]:
        """Return the residual after each layer; the head reads it through the last normalisation."""
        return [
            Probe(f"layer {number}", layer, STEPS, read=self.norm)
            for number, layer in enumerate(self.layers, 1)
        ]
