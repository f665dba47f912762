"""Time to a score: a textbook loop and nnkit, validated on the same data as often, until the loss is low enough."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import workloads
from contenders import clocks, device
from lines import Group, Line, Setting
from measuring import Cost
from workloads import Workload

import nnkit
from nnkit.runs.session import prepare_data

# Steps between two validations, and the most there may be.
EVERY, MOST = 50, 20_000


def validation(work: Workload, block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the validation part of the text as nnkit cuts it, in blocks (n, block) side by side."""
    data = prepare_data(nnkit.compose(work.words).config)
    counts = data.preprocessing["counts"]
    text = Path(next(word for word in work.words if word.startswith("data.path="))[10:]).read_text()
    start = counts["train"]["characters"]
    tokens = torch.from_numpy(
        data.learnt_tokenizer.encode(text[start:][: counts["val"]["characters"]])
    ).long()
    blocks = tokens[: (len(tokens) - 1) // block * block + 1]
    return blocks[:-1].view(-1, block), blocks[1:].view(-1, block)


def textbook(work: Workload, wanted: float, block: int) -> Cost:
    """Train the loop until the loss over the validation part is reached.

    Raises:
        RuntimeError: If it is not reached.
    """
    inputs, target = (part.to(device()) for part in validation(work, block))
    torch.manual_seed(0)
    network = work.network().to(device()).train()
    optimizer = work.optimizer(network.parameters())
    start = clocks()
    for step in range(1, MOST + 1):
        one, other = (part.to(device()) for part in work.draw())
        optimizer.zero_grad()
        work.loss(network(one), other).backward()
        optimizer.step()
        if step % EVERY == 0:
            with torch.no_grad():
                parts = zip(inputs.split(128), target.split(128), strict=True)
                loss = sum(float(work.loss(network(a), b)) * len(a) for a, b in parts) / len(inputs)
            if loss <= wanted:
                wall, cpu = (after - before for before, after in zip(start, clocks(), strict=True))
                return Cost(wall, cpu)
    raise RuntimeError(f"a loss of {wanted} was not reached in {MOST} steps")


def ours(work: Workload, wanted: float, *words: str) -> Cost:
    """Train nnkit until the loss over the validation part is reached; its run ends there.

    Raises:
        RuntimeError: If it is not reached.
    """
    stop = ["+callbacks.reached._target_=contenders.Reached", f"+callbacks.reached.wanted={wanted}"]
    often = [f"trainer.val_check_interval={EVERY}", f"trainer.max_steps={MOST}", "scheduler=constant"]
    often += ["data.eval_batch_size=128", "trainer.limit_test_batches=1"]
    with tempfile.TemporaryDirectory() as directory:
        threads = f"trainer.num_threads={torch.get_num_threads()}"
        result = nnkit.train([*work.words, *often, *stop, threads, *words, f"output_dir={directory}"])
        found = json.loads((result.run.path / "reached.json").read_text())
    return Cost(**found)


def measure(setting: Setting) -> Iterator[Line]:
    """Yield the seconds to a validation loss of GPT on Python's help texts."""
    if setting.quick:
        work, wanted, block = workloads.gpt(setting.materials, 8, 16, workloads.Size(32, 1, 2)), 4.0, 16
    else:
        work, wanted, block = workloads.gpt(setting.materials), 2.2, 64
    cases = {
        f"textbook loop, to a validation loss of {wanted}": partial(textbook, work, wanted, block),
        "nnkit, the same settings": partial(ours, work, wanted),
        "nnkit, optimizer.lr=4e-3": partial(ours, work, wanted, "optimizer.lr=4e-3"),
        "nnkit, the same, optimizer=muon": partial(ours, work, wanted, "optimizer=muon", "optimizer.lr=4e-3"),
    }
    # Minutes each: few turns must do.
    yield from Group(cases).measure(replace(setting, rounds=min(setting.rounds, 3)))
