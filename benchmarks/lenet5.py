"""An epoch of LeNet-5 on MNIST: nnkit with everything on against a textbook PyTorch loop, alternating in one run.

python benchmarks/lenet5.py --rounds 7
"""

import argparse
import statistics
import tempfile
import time

import torch
from torch import nn

import nnkit
from nnkit.data.base import Samples
from nnkit.data.sampler import Draw

BATCH = 64
COMMAND = ["model=lenet5", "data=mnist", f"data.batch_size={BATCH}", "optimizer=adam", "scheduler=constant"]


def textbook_network() -> nn.Sequential:
    """LeNet-5 as tutorials write it."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.MaxPool2d(2),
        nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(),
        nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip


def textbook_epoch(pixels: torch.Tensor, target: torch.Tensor) -> float:
    """Return the seconds of one epoch of the loop of tutorials: Adam, tensors in memory, no logging at all."""
    torch.manual_seed(0)
    network = textbook_network()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    loss_function = nn.CrossEntropyLoss()
    start = time.perf_counter()
    order = torch.randperm(len(target))
    for batch in order.split(BATCH):
        optimizer.zero_grad()
        loss = loss_function(network(pixels[batch]), target[batch])
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def nnkit_epochs(directory: str, epochs: int, *extra: str) -> list[float]:
    """Return the seconds of each epoch of nnkit, validation apart, as its own timing.jsonl has them."""
    import json

    result = nnkit.train(
        [*COMMAND, f"trainer.max_epochs={epochs}", f"output_dir={directory}", *extra], show=True
    )
    lines = (result.run.path / "timing.jsonl").read_text().splitlines()
    return [json.loads(line)["seconds"] for line in lines]


def all_of(samples: Samples) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a split as two tensors."""
    batch = samples[Draw(None, torch.arange(len(samples)))]
    return batch.inputs.clone(), batch.target.clone()


def main() -> None:
    """Print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--checkpoints", action="store_true", help="also measure a checkpoint every 100 steps"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        session = nnkit.train(
            [*COMMAND, "trainer.max_steps=20", f"output_dir={directory}"], show=False
        ).session
        pixels, target = all_of(session.data.split("train"))
        textbook_epoch(pixels[: 64 * 50], target[: 64 * 50])
        ours, theirs, saving = [], [], []
        for number in range(arguments.rounds):
            theirs.append(textbook_epoch(pixels, target))
            ours += nnkit_epochs(directory, 1)
            line = f"round {number + 1}: textbook {theirs[-1]:.2f} s, nnkit {ours[-1]:.2f} s"
            if arguments.checkpoints:
                saving += nnkit_epochs(directory, 1, "callbacks.checkpoint.every_n_steps=100")
                line += f", with a checkpoint every 100 steps {saving[-1]:.2f} s"
            print(line, flush=True)
    steps = -(-len(target) // BATCH)
    print(f"median step: textbook {statistics.median(theirs) / steps * 1e3:.2f} ms")
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    print(
        f"nnkit / textbook: {statistics.median(ratios):.3f} (rounds {min(ratios):.3f} to {max(ratios):.3f})"
    )
    if saving:
        costs = [a / b - 1 for a, b in zip(saving, ours, strict=True)]
        print(f"cost of a checkpoint every 100 steps: {statistics.median(costs):+.1%}")


if __name__ == "__main__":
    main()
