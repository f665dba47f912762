"""Steps of an LSTM language model: nnkit with everything on against a bare torch.nn.LSTM loop, alternating in one run.

python benchmarks/lstm.py --rounds 5
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import nnkit
from nnkit.data.base import DataModule

BATCH, BLOCK, EMBEDDING, DIM, LAYERS = 32, 128, 128, 256, 2
COMMAND = [
    "model=lstm", "data=shakespeare", f"model.dim={DIM}", f"model.num_layers={LAYERS}",
    f"model.embeds.tokens.dim={EMBEDDING}", f"data.batch_size={BATCH}", f"data.block_size={BLOCK}",
]  # fmt: skip


class BareLSTM(nn.Module):
    """The character model of tutorials."""

    def __init__(self, vocab_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, EMBEDDING)
        self.lstm = nn.LSTM(EMBEDDING, DIM, LAYERS, batch_first=True, dropout=dropout)
        self.linear = nn.Linear(DIM, vocab_size)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens (batch, time) to logits (batch, time, vocab_size)."""
        features, _ = self.lstm(self.embedding(tokens))
        logits: torch.Tensor = self.linear(features)
        return logits


def bare_steps(model: BareLSTM, tokens: torch.Tensor, steps: int, lr: float = 2e-3) -> float:
    """Train with the loop of tutorials, Adam on random windows, no logging at all; return the seconds.

    Args:
        model: The model, trained in place.
        tokens: The training text, (time,) int64.
        steps: Optimizer steps.
        lr: Learning rate.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    loss_function = nn.CrossEntropyLoss()
    offsets = torch.arange(BLOCK)
    model.train()
    start = time.perf_counter()
    for _ in range(steps):
        starts = torch.randint(len(tokens) - BLOCK - 1, (BATCH, 1))
        inputs, target = tokens[starts + offsets], tokens[starts + offsets + 1]
        optimizer.zero_grad()
        loss = loss_function(model(inputs).flatten(0, 1), target.flatten())
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def encoded(data: DataModule, text: str) -> dict[str, torch.Tensor]:
    """Return the training, validation and test part of a text as the data module cuts it, (time,) int64 each."""
    counts = [data.preprocessing["counts"][part]["characters"] for part in ("train", "val", "test")]
    tokens = torch.from_numpy(data.learnt_tokenizer.encode(text).astype(np.int64))
    return dict(zip(("train", "val", "test"), tokens.split(counts), strict=True))


def main() -> None:
    """Print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--precision", default="highest", help="nnkit's trainer.matmul_precision")
    parser.add_argument("--path", default="../shared/data/tinyshakespeare.txt", help="the text")
    arguments = parser.parse_args()
    command = [*COMMAND, f"data.path={arguments.path}", f"trainer.max_steps={arguments.steps}"]
    # The data module's own share of the text; tests and validation are left out of the time by both.
    command += ["trainer.limit_val_batches=1", "trainer.limit_test_batches=1"]
    text = Path(arguments.path).read_text(encoding="utf-8")
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as directory:
        command.append(f"output_dir={directory}")
        session = nnkit.train([*command, "trainer.max_steps=5"], show=False).session
        tokens = encoded(session.data, text)["train"]
        vocab_size = session.data.facts()["vocab_size"]
        bare_steps(BareLSTM(vocab_size), tokens, 5)
        for number in range(arguments.rounds):
            torch.set_float32_matmul_precision("highest")
            theirs.append(bare_steps(BareLSTM(vocab_size), tokens, arguments.steps))
            result = nnkit.train([*command, f"trainer.matmul_precision={arguments.precision}"], show=True)
            lines = (result.run.path / "timing.jsonl").read_text().splitlines()
            ours.append(sum(json.loads(line)["seconds"] for line in lines))
            print(f"round {number + 1}: bare {theirs[-1]:.2f} s, nnkit {ours[-1]:.2f} s", flush=True)
    print(f"median step of the bare loop: {statistics.median(theirs) / arguments.steps * 1e3:.1f} ms")
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    print(f"nnkit / bare: {statistics.median(ratios):.3f} (rounds {min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
