"""Steps of BERT's pre-training: nnkit with everything on against Hugging Face in a bare loop, alternating in one run.

python benchmarks/bert.py --rounds 5
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice

import torch

import nnkit
from nnkit.batches import SentenceBatch
from nnkit.data.base import DataModule

DIM, LAYERS, HEADS, LENGTH, BATCH = 256, 4, 4, 128, 32
COMMAND = [
    "model=bert", "data=pydocs_pairs", f"model.dim={DIM}", f"model.num_layers={LAYERS}", f"model.num_heads={HEADS}",
    f"data.max_length={LENGTH}", f"data.batch_size={BATCH}", "optimizer=adamw", "optimizer.lr=1e-4",
    # Tests and validation are left out of the time by both.
    "trainer.limit_val_batches=1", "trainer.limit_test_batches=1",
]  # fmt: skip


def make_peer(vocab_size: int) -> torch.nn.Module:
    """Return Hugging Face's model of the same size, dropout included, as it comes.

    Args:
        vocab_size: Tokens.
    """
    from transformers import BertConfig, BertForPreTraining

    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=DIM,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=4 * DIM,
        max_position_embeddings=512,
    )
    model: torch.nn.Module = BertForPreTraining(config).train()
    return model


def bare_steps(model: torch.nn.Module, batches: Sequence[SentenceBatch], steps: int, fused: bool) -> float:
    """Train with a bare loop on batches that are at hand, no logging at all; return the seconds.

    Args:
        model: Hugging Face's model, trained in place.
        batches: What it is trained on, over and over.
        steps: Optimizer steps.
        fused: Whether torch's fused AdamW is used instead of the default one.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=fused or None)
    start = time.perf_counter()
    for batch in islice(cycle(batches), steps):
        optimizer.zero_grad()
        loss = model(
            batch.inputs,
            attention_mask=batch.mask.long(),
            token_type_ids=batch.segments,
            labels=batch.target,
            next_sentence_label=batch.next_label,
        ).loss
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def first_batches(data: DataModule, count: int) -> list[SentenceBatch]:
    """Return the batches that nnkit trains on first."""
    data.resume_at(0, 0)
    return list(islice(data.train_dataloader(), count))


def main() -> None:
    """Print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--precision", default="highest", help="trainer.matmul_precision of both")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--fused", action="store_true", help="fused AdamW in the bare loop as well")
    arguments = parser.parse_args()
    words = [f"trainer.matmul_precision={arguments.precision}", f"trainer.num_threads={arguments.threads}"]
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as directory:
        command = [*COMMAND, *words, f"output_dir={directory}"]
        data = nnkit.train([*command, "trainer.max_steps=3"], show=False).session.data
        batches = first_batches(data, arguments.steps)
        vocab_size = data.facts()["vocab_size"]
        bare_steps(make_peer(vocab_size), batches, 3, arguments.fused)
        for number in range(arguments.rounds):
            theirs.append(bare_steps(make_peer(vocab_size), batches, arguments.steps, arguments.fused))
            result = nnkit.train([*command, f"trainer.max_steps={arguments.steps}"], show=False)
            lines = (result.run.path / "timing.jsonl").read_text().splitlines()
            ours.append(sum(json.loads(line)["seconds"] for line in lines))
            print(f"round {number + 1}: Hugging Face {theirs[-1]:.2f} s, nnkit {ours[-1]:.2f} s", flush=True)
    print(f"median step of the bare loop: {statistics.median(theirs) / arguments.steps * 1e3:.1f} ms")
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    print(
        f"nnkit / Hugging Face: {statistics.median(ratios):.3f} (rounds {min(ratios):.3f} to {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()
