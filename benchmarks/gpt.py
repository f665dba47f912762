"""GPT at nanoGPT's size for a CPU: nnkit with everything on against a textbook loop of the same model, in one run.

The seconds of training are compared in short rounds that alternate, as a shared machine is fast one minute and slow the
next. The losses, of whole trainings, are over the whole validation part, its blocks read side by side.

python benchmarks/gpt.py --rounds 8
python benchmarks/gpt.py --rounds 0 --seeds 1 2 3
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import nnkit
from nnkit.data.base import DataModule

LAYERS, HEADS, DIM, BLOCK, BATCH = 4, 4, 128, 64, 12
RATE, WARMUP, CLIP = 1e-3, 100, 1.0
# Steps of a round.
_SHORT = 200


class Block(nn.Module):
    """Attention and a feed-forward network, each behind a norm and with a residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.qkv, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        self.up, self.down = nn.Linear(DIM, 4 * DIM), nn.Linear(4 * DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (batch, time, dim) to (batch, time, dim)."""
        batch, time, _ = x.shape
        query, key, value = (
            part.view(batch, time, HEADS, DIM // HEADS).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).split(DIM, dim=2)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).contiguous().view(batch, time, DIM))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class TextbookGPT(nn.Module):
    """GPT as tutorials write it: learned positions, tied head, the initialisation of GPT-2."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab_size, DIM), nn.Embedding(BLOCK, DIM)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm, self.head = nn.LayerNorm(DIM), nn.Linear(DIM, vocab_size, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                back = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * LAYERS) if back else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
        self.tokens.weight = self.head.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (batch, time) to logits (batch, time, vocab_size)."""
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x))
        return logits


def textbook_steps(model: TextbookGPT, tokens: Tensor, steps: int) -> float:
    """Train as nanoGPT does on a CPU: AdamW, warm-up and cosine, clipping, no logging at all; return the seconds."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.99))
    model.train()
    start = time.perf_counter()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, steps)
        places = torch.randint(len(tokens) - BLOCK, (BATCH,)).tolist()
        inputs = torch.stack([tokens[place : place + BLOCK] for place in places])
        target = torch.stack([tokens[place + 1 : place + 1 + BLOCK] for place in places])
        logits = model(inputs)
        loss = functional.cross_entropy(logits.view(-1, logits.shape[-1]), target.view(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return time.perf_counter() - start


def _rate(step: int, steps: int) -> float:
    if step < WARMUP:
        return RATE * (step + 1) / (WARMUP + 1)
    share = (step - WARMUP) / max(1, steps - WARMUP)
    return RATE * (0.1 + 0.45 * (1 + math.cos(math.pi * share)))


@torch.no_grad()
def textbook_loss(model: TextbookGPT, tokens: Tensor) -> float:
    """Return the mean loss over blocks side by side."""
    model.eval()
    total = 0.0
    for start in range(0, len(tokens) - 1, BLOCK):
        block = tokens[start : start + BLOCK + 1]
        total += float(functional.cross_entropy(model(block[None, :-1])[0], block[1:], reduction="sum"))
    return total / (len(tokens) - 1)


def parts_of(data: DataModule, path: str) -> tuple[Tensor, Tensor]:
    """Return the training and the validation part as the data module cuts the text, (time,) int64 each."""
    counts = data.preprocessing["counts"]
    tokens = torch.from_numpy(
        data.learnt_tokenizer.encode(Path(path).read_text(encoding="utf-8")).astype(np.int64)
    )
    train = counts["train"]["characters"]
    return tokens[:train], tokens[train : train + counts["val"]["characters"]]


def ours(command: list[str], seed: int) -> tuple[float, float, DataModule]:
    """Train nnkit; return the seconds of training, the validation loss, and the data."""
    with tempfile.TemporaryDirectory() as directory:
        result = nnkit.train([*command, f"seed={seed}", f"output_dir={directory}"])
        lines = (result.run.path / "timing.jsonl").read_text().splitlines()
    return sum(json.loads(line)["seconds"] for line in lines), result.metrics["val/loss"], result.session.data


def compare(command: list[str], seed: int, steps: int, path: str) -> tuple[float, float, float, float]:
    """Train both; return seconds and loss of nnkit, then of the textbook loop."""
    seconds, loss, data = ours([*command, f"trainer.max_steps={steps}"], seed)
    train, val = parts_of(data, path)
    torch.manual_seed(seed)
    torch.set_float32_matmul_precision("highest")
    model = TextbookGPT(data.facts()["vocab_size"])
    bare = textbook_steps(model, train, steps)
    return seconds, loss, bare, textbook_loss(model, val)


def main() -> None:
    """Print the ratio, then the losses."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="*", default=[])
    parser.add_argument("--steps", type=int, default=2000, help="of a whole training")
    parser.add_argument("--path", default="../shared/data/tinyshakespeare.txt", help="the text")
    parser.add_argument("overrides", nargs="*", help="more words for nnkit")
    arguments = parser.parse_args()
    command = ["experiment=gpt_shakespeare", f"data.path={arguments.path}", *arguments.overrides]
    ratios = []
    for number in range(arguments.rounds):
        mine, _, bare, _ = compare([*command, "trainer.limit_val_batches=1"], 0, _SHORT, arguments.path)
        ratios.append(mine / bare)
        print(f"round {number + 1}: textbook {bare:.2f} s, nnkit {mine:.2f} s", flush=True)
    if ratios:
        print(f"nnkit / textbook: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    rows = []
    for seed in arguments.seeds:
        rows.append(compare(command, seed, arguments.steps, arguments.path))
        mine, loss, bare, bare_loss = rows[-1]
        print(
            f"seed {seed}: nnkit {loss:.4f} in {mine:.0f} s, textbook {bare_loss:.4f} in {bare:.0f} s",
            flush=True,
        )
    if rows:
        print(f"validation loss: nnkit {statistics.mean(row[1] for row in rows):.4f}, ", end="")
        print(f"textbook {statistics.mean(row[3] for row in rows):.4f}")


if __name__ == "__main__":
    main()
