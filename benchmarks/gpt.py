"""The validation loss of GPT at nanoGPT's size for a CPU: nnkit beside a textbook loop, whole trainings.

Losses are over the whole validation part, its blocks read side by side. `python -m benchmarks --only gpt` has the time
of a step.

python benchmarks/gpt.py --seeds 1 2 3
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
from textbook import GPT
from torch import Tensor, nn
from torch.nn import functional

import nnkit
from nnkit.data.base import DataModule

BLOCK, BATCH = 64, 12
RATE, WARMUP, CLIP = 1e-3, 100, 1.0


def textbook_steps(model: GPT, tokens: Tensor, steps: int) -> float:
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
def textbook_loss(model: GPT, tokens: Tensor) -> float:
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
    model = GPT(data.facts()["vocab_size"])
    bare = textbook_steps(model, train, steps)
    return seconds, loss, bare, textbook_loss(model, val)


def main() -> None:
    """Print the losses."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=2000, help="of a whole training")
    parser.add_argument("--path", default="../shared/data/tinyshakespeare.txt", help="the text")
    parser.add_argument("overrides", nargs="*", help="more words for nnkit")
    arguments = parser.parse_args()
    command = ["experiment=gpt_shakespeare", f"data.path={arguments.path}", *arguments.overrides]
    rows = []
    for seed in arguments.seeds:
        rows.append(compare(command, seed, arguments.steps, arguments.path))
        mine, loss, bare, bare_loss = rows[-1]
        print(
            f"seed {seed}: nnkit {loss:.4f} in {mine:.0f} s, textbook {bare_loss:.4f} in {bare:.0f} s",
            flush=True,
        )
    print(f"validation loss: nnkit {statistics.mean(row[1] for row in rows):.4f}, ", end="")
    print(f"textbook {statistics.mean(row[3] for row in rows):.4f}")


if __name__ == "__main__":
    main()
