"""Bits per character on the test part of a text: nnkit, a bare torch.nn.LSTM loop, an interpolated 5-gram.

python benchmarks/character_models.py experiment=lstm_shakespeare data.path=../shared/data/tinyshakespeare.txt
python benchmarks/character_models.py experiment=lstm_pydocs --seeds 1
"""

import argparse
import math
import statistics
import tempfile
import time

import numpy as np
import torch
from numpy.typing import NDArray
from textbook import LSTM
from torch import nn
from torch.nn import functional

import nnkit
from nnkit.data.base import DataModule
from nnkit.data.text.corpus import read_all

BATCH, BLOCK = 32, 128


def bare_steps(model: LSTM, tokens: torch.Tensor, steps: int, lr: float = 2e-3) -> float:
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


def bare_bits(model: LSTM, tokens: torch.Tensor) -> float:
    """Return the bits per character of a model over contiguous blocks, each read from an empty state."""
    model.eval()
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(tokens) - 1, BLOCK):
            block = tokens[start : start + BLOCK + 1]
            logits = model(block[None, :-1])[0]
            total += float(functional.cross_entropy(logits, block[1:], reduction="sum"))
    return total / (len(tokens) - 1) / math.log(2)


def ngram_bits(train: NDArray[np.int64], test: NDArray[np.int64], order: int, vocab_size: int) -> float:
    """Return the bits per character of an n-gram model, interpolated as Witten and Bell 1991 do (their method C).

    p_n(c | h) = (count(h c) + kinds(h) p_(n-1)(c | shorter h)) / (count(h) + kinds(h)), from the uniform p_0 up, where
    kinds(h) is the number of different characters that follow h in the training text.

    Args:
        train: Training text, (time,).
        test: Text to predict, (time,); its first character is not scored, and histories start within it.
        order: Characters an n-gram has, the predicted one included.
        vocab_size: Characters there are.
    """
    probability = np.full(len(test) - 1, 1 / vocab_size)
    for length in range(order):
        seen = _numbers(train, length + 1, vocab_size)
        grams, counts = np.unique(seen, return_counts=True)
        histories, first, kinds = np.unique(grams // vocab_size, return_index=True, return_counts=True)
        totals = np.add.reduceat(counts, first)
        wanted = _numbers(test, length + 1, vocab_size)
        # The first characters have histories shorter than this: they keep what shorter ones say.
        scored = slice(max(length - 1, 0), None)
        wanted = wanted[1:] if length == 0 else wanted
        place = np.searchsorted(histories, wanted // vocab_size).clip(max=len(histories) - 1)
        known = histories[place] == wanted // vocab_size
        gram = np.searchsorted(grams, wanted).clip(max=len(grams) - 1)
        count = np.where(grams[gram] == wanted, counts[gram], 0)
        mixed = (count + kinds[place] * probability[scored]) / (totals[place] + kinds[place])
        probability[scored] = np.where(known, mixed, probability[scored])
    return float(-np.log2(probability).mean())


def _numbers(text: NDArray[np.int64], length: int, vocab_size: int) -> NDArray[np.int64]:
    """Return each substring of this length as one number."""
    count = len(text) - length + 1
    return sum(
        (text[place : place + count] * vocab_size ** (length - 1 - place) for place in range(length)),
        np.zeros(count, dtype=np.int64),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("overrides", nargs="+")
    arguments = parser.parse_args()
    rows: dict[str, list[tuple[float, float]]] = {"nnkit": [], "bare torch.nn.LSTM loop": []}
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as directory:
            result = nnkit.train([*arguments.overrides, f"seed={seed}", f"output_dir={directory}"])
        rows["nnkit"].append((result.metrics["test/bits_per_character"], result.seconds))
        data, steps = result.session.data, int(result.session.config.trainer.max_steps)
        text = "".join(read_all(data.corpus()))
        parts, vocab_size = encoded(data, text), data.facts()["vocab_size"]
        torch.manual_seed(seed)
        torch.set_float32_matmul_precision("highest")
        model, start = LSTM(vocab_size, dropout=result.session.config.model.dropout), time.perf_counter()
        bare_steps(model, parts["train"], steps)
        rows["bare torch.nn.LSTM loop"].append((bare_bits(model, parts["test"]), time.perf_counter() - start))
        for name, found in rows.items():
            print(
                f"seed {seed}: {name} {found[-1][0]:.4f} bits per character, {found[-1][1]:.0f} s", flush=True
            )
    for name, found in rows.items():
        bits, seconds = zip(*found, strict=True)
        print(f"{name}: {statistics.mean(bits):.4f} ({', '.join(f'{one:.4f}' for one in bits)}), ", end="")
        print(f"{min(seconds):.0f} to {max(seconds):.0f} s")
    ngram = ngram_bits(parts["train"].numpy(), parts["test"].numpy(), 5, vocab_size)
    print(f"interpolated 5-gram: {ngram:.4f}")


if __name__ == "__main__":
    main()
