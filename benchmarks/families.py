"""A training step of ResNet-20, ViT-Ti and Llama: nnkit with everything on against textbook loops of the same models.

Processor time of all threads for each step, in short rounds that alternate, so that other work on the machine counts
for little. Pictures are random ones of 32x32 in CIFAR's format; the text is Tiny Shakespeare.

python benchmarks/families.py --rounds 5
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback
from torch import Tensor, nn
from torch.nn import functional

os.environ["NNKIT_TRUST"] = "families"
import nnkit

CLASSES, VOCAB, BLOCK = 10, 65, 64
# Steps before the clock starts.
WARM = 3


class Clock(Callback):
    """Writes the processor seconds of a step into the run, those of the first steps left out."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Start."""
        if trainer.global_step == WARM:
            self.start = time.process_time()

    def on_train_batch_end(self, trainer: Any, *arguments: Any) -> None:
        """Stop after the last step, in front of the validation."""
        if trainer.global_step == self.steps:
            seconds = (time.process_time() - self.start) / (self.steps - WARM)
            Path(trainer.default_root_dir, "step.txt").write_text(str(seconds))


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


def resnet20() -> nn.Module:
    """Return ResNet-20 as tutorials write it."""
    widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
    blocks = [Residual(one, other) for one, other in pairwise(widths)]
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES))


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
        self.up, self.down = (
            nn.Linear(dim, hidden, bias=not is_llama),
            nn.Linear(hidden, dim, bias=not is_llama),
        )

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Map features (batch, time, dim) to (batch, time, dim)."""
        batch, time_, dim = x.shape
        h = self.norm1(x)
        query, key, value = (
            part(h).view(batch, time_, -1, self.width).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        if rotation is not None:
            query, key = (_rotated(part, *rotation) for part in (query, key))
            key, value = (part.repeat_interleave(self.heads // self.kv_heads, 1) for part in (key, value))
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=self.is_llama)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, time_, dim))
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

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 192, 4, 4)
        self.first = nn.Parameter(torch.zeros(1, 1, 192))
        self.positions = nn.Parameter(torch.randn(1, 65, 192) * 0.02)
        self.blocks = nn.ModuleList(Block(192, 3, 3, 768, is_llama=False) for _ in range(12))
        self.norm, self.head = nn.LayerNorm(192), nn.Linear(192, CLASSES)

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

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, 128)
        self.blocks = nn.ModuleList(Block(128, 4, 2, 384, is_llama=True) for _ in range(4))
        self.norm, self.head = nn.RMSNorm(128), nn.Linear(128, VOCAB, bias=False)
        angles = torch.arange(BLOCK)[:, None] * 10_000 ** (-torch.arange(0, 32, 2) / 32)
        angles = torch.cat([angles, angles], dim=-1)
        self.rotation = angles.cos(), angles.sin()

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (batch, time) to logits (batch * time, vocab)."""
        x = self.tokens(tokens)
        for block in self.blocks:
            x = block(x, self.rotation)
        logits: Tensor = self.head(self.norm(x)).flatten(0, 1)
        return logits


def textbook(model: nn.Module, draw: Callable[[], tuple[Tensor, Tensor]], steps: int, sgd: bool) -> float:
    """Train in a bare loop, data in memory and nothing logged; return the processor seconds of a step."""
    torch.manual_seed(0)
    parameters = model.parameters()
    optimizer: torch.optim.Optimizer = (
        torch.optim.SGD(parameters, lr=0.01, momentum=0.9, nesterov=True)
        if sgd
        else torch.optim.AdamW(parameters, lr=1e-3)
    )
    for step in range(steps):
        if step == WARM:
            start = time.process_time()
        inputs, target = draw()
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(inputs), target)
        loss.backward()
        optimizer.step()
    return (time.process_time() - start) / (steps - WARM)


def ours(words: list[str], steps: int) -> float:
    """Train nnkit with its usual callbacks and loggers; return the processor seconds of a step."""
    with tempfile.TemporaryDirectory() as directory:
        clock = ["+callbacks.clock._target_=families.Clock", f"+callbacks.clock.steps={steps}"]
        common = ["trainer.num_threads=1", f"trainer.max_steps={steps}", "trainer.limit_val_batches=1"]
        common += [
            "trainer.limit_test_batches=1",
            "data.eval_batch_size=8",
            "trainer.matmul_precision=highest",
        ]
        result = nnkit.train([*words, *clock, *common, f"output_dir={directory}"])
        return float((result.run.path / "step.txt").read_text())


def pictures(folder: Path) -> tuple[Tensor, Tensor]:
    """Write random pictures in CIFAR-10's format; return those of a file, normalised, and their classes."""
    generator = np.random.default_rng(0)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        records = generator.integers(0, 256, (1000, 3073), dtype=np.uint8)
        records[:, 0] %= CLASSES
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    inputs = torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32)) / 255
    return (inputs - inputs.mean()) / inputs.std(), torch.from_numpy(records[:, 0].astype(np.int64))


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("resnet20", "vit_tiny", "llama"))
    parser.add_argument("--path", default="../shared/data/tinyshakespeare.txt", help="the text")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        inputs, classes = pictures(Path(folder))
        text = np.frombuffer(Path(arguments.path).read_bytes(), np.uint8)
        tokens = torch.from_numpy(np.unique(text, return_inverse=True)[1].astype(np.int64))

        def some_pictures(size: int) -> tuple[Tensor, Tensor]:
            rows = torch.randint(len(inputs), (size,))
            return inputs[rows], classes[rows]

        def some_text() -> tuple[Tensor, Tensor]:
            places = torch.randint(len(tokens) - BLOCK, (12, 1)) + torch.arange(BLOCK)
            return tokens[places], tokens[places + 1].flatten()

        cifar = ["data=cifar10", f"data.root={folder}", "data.verify=false"]
        cases: dict[str, tuple[list[str], Callable[[], float]]] = {
            "resnet20": (
                ["model=resnet20", *cifar, "data.batch_size=128", "optimizer=sgd", "optimizer.lr=0.01"],
                lambda: textbook(resnet20(), lambda: some_pictures(128), 12, sgd=True),
            ),
            "vit_tiny": (
                ["model=vit_tiny", "model.patch_size=4", *cifar, "data.batch_size=4"],
                lambda: textbook(ViTTiny(), lambda: some_pictures(4), 12, sgd=False),
            ),
            "llama": (
                [
                    *("model=llama", "data=shakespeare", f"data.path={Path(arguments.path).resolve()}"),
                    *(f"data.block_size={BLOCK}", "data.batch_size=12"),
                ],
                lambda: textbook(Llama(), some_text, 60, sgd=False),
            ),
        }
        for name, (words, bare) in cases.items():
            if arguments.only in (None, name):
                rounds = [
                    (bare(), ours(words, 60 if name == "llama" else 12)) for _ in range(arguments.rounds)
                ]
                ratios = [mine / theirs for theirs, mine in rounds]
                milliseconds = [statistics.median(column) * 1e3 for column in zip(*rounds, strict=True)]
                print(
                    f"{name}: textbook {milliseconds[0]:.0f} ms, nnkit {milliseconds[1]:.0f} ms, ratio ",
                    end="",
                )
                print(f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})", flush=True)


if __name__ == "__main__":
    main()
