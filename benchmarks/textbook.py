"""The networks of the measured families as tutorials write them, in plain torch."""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


def lenet5(channels: int = 1) -> nn.Sequential:
    """LeNet-5 on pictures (batch, channels, 28, 28)."""
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2), nn.Tanh(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.MaxPool2d(2),
        nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(),
        nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip


def mlp(*widths: int) -> nn.Sequential:
    """A multilayer perceptron with ReLU; the first width is that of the flattened input, the last the classes."""
    layers: list[nn.Module] = [nn.Flatten()]
    for one, other in pairwise(widths):
        layers += [nn.Linear(one, other), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters (He et al. 2015, section 4.2)."""

    def __init__(self, dim_in: int, dim: int) -> None:
        super().__init__()
        self.stride, self.new = (1, 0) if dim_in == dim else (2, dim - dim_in)
        self.conv1 = nn.Conv2d(dim_in, dim, 3, self.stride, 1, bias=False)
        self.conv2 = nn.Conv2d(dim, dim, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(dim), nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, dim_in, height, width) to (batch, dim, height / stride, width / stride)."""
        change = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        if self.new:
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.new))
        return functional.relu(change + x)


def resnet20(classes: int = 10) -> nn.Sequential:
    """ResNet-20 on pictures (batch, 3, 32, 32)."""
    widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
    blocks = [Residual(one, other) for one, other in pairwise(widths)]
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, and a projection where the shape changes (He et al. 2015, table 1)."""

    def __init__(self, dim_in: int, dim: int, stride: int) -> None:
        super().__init__()
        sizes = ((dim_in, dim, 1, 1), (dim, dim, 3, stride), (dim, 4 * dim, 1, 1))
        layers: list[nn.Module] = []
        for channels, maps, size, step in sizes:
            layers += [
                nn.Conv2d(channels, maps, size, step, size // 2, bias=False), nn.BatchNorm2d(maps), nn.ReLU(),
            ]  # fmt: skip
        self.change = nn.Sequential(*layers[:-1])
        project = [nn.Conv2d(dim_in, 4 * dim, 1, stride, bias=False), nn.BatchNorm2d(4 * dim)]
        self.shortcut = nn.Sequential(*project) if dim_in != 4 * dim or stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, dim_in, height, width) to (batch, 4 * dim, height / stride, width / stride)."""
        return functional.relu(self.change(x) + self.shortcut(x))


def resnet50(classes: int = 10) -> nn.Sequential:
    """ResNet-50 on pictures (batch, 3, height, width)."""
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    blocks: list[nn.Module] = []
    dim_in = 64
    for stage, (depth, dim) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True)):
        for block in range(depth):
            blocks.append(Bottleneck(dim_in, dim, 2 if stage and not block else 1))
            dim_in = 4 * dim
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, classes))


class LSTM(nn.Module):
    """The character model of tutorials."""

    def __init__(
        self, vocab: int, embedding: int = 128, dim: int = 256, layers: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, embedding)
        self.lstm = nn.LSTM(embedding, dim, layers, batch_first=True, dropout=dropout)
        self.linear = nn.Linear(dim, vocab)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (batch, time) to logits (batch, time, vocab)."""
        features, _ = self.lstm(self.embedding(tokens))
        logits: Tensor = self.linear(features)
        return logits


class GPTBlock(nn.Module):
    """Attention and a feed-forward network, each behind a norm and with a residual connection."""

    def __init__(self, dim: int, heads: int, written_out: bool = False) -> None:
        super().__init__()
        self.dim, self.heads, self.written_out = dim, heads, written_out
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (batch, time, dim) to (batch, time, dim)."""
        batch, time, _ = x.shape
        query, key, value = (
            part.view(batch, time, self.heads, self.dim // self.heads).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).split(self.dim, dim=2)
        )
        if self.written_out:
            later = torch.ones(time, time, dtype=torch.bool, device=x.device).triu(1)
            scores = query @ key.transpose(2, 3) / math.sqrt(self.dim // self.heads)
            mixed = scores.masked_fill(later, -math.inf).softmax(-1) @ value
        else:
            mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).contiguous().view(batch, time, self.dim))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    """GPT as tutorials write it: learned positions, tied head, the initialisation of GPT-2.

    Args:
        vocab: Kinds of tokens.
        dim: Width.
        layers: Blocks.
        heads: Of each attention.
        block: Tokens that are read at most.
        written_out: Whether attention is the formula itself, for a compiler, instead of torch's fused kernel.
    """

    def __init__(
        self,
        vocab: int,
        dim: int = 128,
        layers: int = 4,
        heads: int = 4,
        block: int = 64,
        *,
        written_out: bool = False,
    ) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab, dim), nn.Embedding(block, dim)
        self.blocks = nn.ModuleList(GPTBlock(dim, heads, written_out) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, vocab, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                back = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers) if back else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
        self.tokens.weight = self.head.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (batch, time) to logits (batch, time, vocab)."""
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x))
        return logits


class Block(nn.Module):
    """A pre-norm Transformer layer, with the parts of a ViT or of Llama."""

    def __init__(self, dim: int, heads: int, kv_heads: int, hidden: int, is_llama: bool) -> None:
        super().__init__()
        norm: Callable[..., nn.Module] = nn.RMSNorm if is_llama else nn.LayerNorm
        self.heads, self.kv_heads, self.width, self.is_llama = heads, kv_heads, dim // heads, is_llama
        self.norm1, self.norm2 = norm(dim), norm(dim)
        self.query = nn.Linear(dim, dim, bias=not is_llama)
        self.key = nn.Linear(dim, kv_heads * self.width, bias=not is_llama)
        self.value = nn.Linear(dim, kv_heads * self.width, bias=not is_llama)
        self.out = nn.Linear(dim, dim, bias=not is_llama)
        self.gate = nn.Linear(dim, hidden, bias=False) if is_llama else None
        self.up = nn.Linear(dim, hidden, bias=not is_llama)
        self.down = nn.Linear(hidden, dim, bias=not is_llama)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Map features (batch, time, dim) to (batch, time, dim)."""
        batch, time, dim = x.shape
        h = self.norm1(x)
        query, key, value = (
            part(h).view(batch, time, -1, self.width).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        if rotation is not None:
            query, key = (_rotated(part, *rotation) for part in (query, key))
            key, value = (part.repeat_interleave(self.heads // self.kv_heads, 1) for part in (key, value))
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=self.is_llama)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, time, dim))
        h = self.norm2(x)
        hidden = (
            functional.gelu(self.up(h)) if self.gate is None else functional.silu(self.gate(h)) * self.up(h)
        )
        return x + self.down(hidden)


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


class ViTTiny(nn.Module):
    """ViT-Ti with patches of 4x4 on pictures of 32x32."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 192, 4, 4)
        self.first = nn.Parameter(torch.zeros(1, 1, 192))
        self.positions = nn.Parameter(torch.randn(1, 65, 192) * 0.02)
        self.blocks = nn.ModuleList(Block(192, 3, 3, 768, is_llama=False) for _ in range(12))
        self.norm, self.head = nn.LayerNorm(192), nn.Linear(192, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (batch, 3, 32, 32) to logits (batch, classes)."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(len(x), -1, -1), x], dim=1) + self.positions
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x)[:, 0])
        return logits


class Llama(nn.Module):
    """Llama of the size of conf/model/llama.yaml."""

    def __init__(self, vocab: int, block: int = 64) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab, 128)
        self.blocks = nn.ModuleList(Block(128, 4, 2, 384, is_llama=True) for _ in range(4))
        self.norm, self.head = nn.RMSNorm(128), nn.Linear(128, vocab, bias=False)
        angles = torch.arange(block)[:, None] * 10_000 ** (-torch.arange(0, 32, 2) / 32)
        self.register_buffer("angles", torch.cat([angles, angles], dim=-1), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (batch, time) to logits (batch, time, vocab)."""
        x, rotation = self.tokens(tokens), (self.angles.cos(), self.angles.sin())
        for block in self.blocks:
            x = block(x, rotation)
        logits: Tensor = self.head(self.norm(x))
        return logits


class BERT(nn.Module):
    """BERT and its two heads of pre-training, of torch's own encoder layers (Devlin et al. 2019)."""

    def __init__(
        self, vocab: int, dim: int = 256, layers: int = 4, heads: int = 4, length: int = 512
    ) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab, dim), nn.Embedding(length, dim)
        self.segments, self.norm, self.dropout = nn.Embedding(2, dim), nn.LayerNorm(dim), nn.Dropout(0.1)
        layer = nn.TransformerEncoderLayer(dim, heads, 4 * dim, 0.1, "gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.pooler = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 2))
        self.head = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim), nn.Linear(dim, vocab))
        self.head[-1].weight = self.tokens.weight

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Map tokens, segments and the mask of real tokens (batch, 3, time) to logits.

        Returns:
            Of each token, (batch, time, vocab), and of whether the second sentence follows, (batch, 2).
        """
        tokens, segments, mask = inputs.unbind(1)
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.tokens(tokens) + self.positions(places) + self.segments(segments)
        x = self.encoder(self.dropout(self.norm(x)), src_key_padding_mask=mask == 0)
        return self.head(x), self.pooler(x[:, 0])
