"""Two and three processes beside one: are the losses equal, and how fast are they beside plain torch DDP?

python benchmarks/processes.py --only families
python benchmarks/processes.py --only speed --rounds 9
python benchmarks/processes.py --only figures

Families: each trains once with one, two and three processes without dropout, and the losses of every step and the test
are compared. What has batch norm is left out: its statistics are those of a process's share.

Speed: two processes of one thread train a GPT with nnkit, everything on as it is by itself, and with a loop written by
hand around torch's DDP, in turns within one pair of processes. Both have the same network, optimizer, batches and
process group; the loop gets its batches from memory, logs nothing and saves nothing.

Figures: what docs/scaling.md computes with. Seconds in which two processes join that have imported everything; of one
agreement of the processes, which follows every step, the least of many; and how fast a checkpoint's file is written.
"""

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from random import Random
from string import ascii_lowercase
from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import samples
import together

import nnkit
from nnkit.distributed import collectives
from nnkit.files import atomic
from nnkit.runs.following import launched
from nnkit.runs.session import make_session, prepare_data

# A model of each family with every kind of data and every sampler that it has, and what it needs beside that.
SINGLE, LENGTHS, TOKENS = "single samples", "by length", "by length, max_tokens"
CASES = [
    ("mlp", "table", SINGLE, []),
    ("mlp", "pictures", SINGLE, ["trainer.accumulate_grad_batches=3"]),
    ("cnn", "pictures", SINGLE, ["model.norm=none"]),
    ("lenet5", "pictures", SINGLE, []),
    ("lenet5_1998", "pictures", SINGLE, []),
    ("rnn", "texts", LENGTHS, []),
    ("lstm", "text", SINGLE, []),
    ("lstm", "texts", TOKENS, ["data.max_length=16", "data.max_tokens=90"]),
    ("bilstm", "texts", LENGTHS, ["loss.class_weights=balanced"]),
    ("gru", "series", SINGLE, []),
    ("transformer_encoder", "texts", LENGTHS, []),
    ("transformer", "pairs", LENGTHS, ["data.max_length=16"]),
    ("transformer", "pairs", TOKENS, ["data.max_length=16", "data.max_tokens=60"]),
    ("seq2seq_lstm", "pairs", LENGTHS, []),
    ("bert_tiny", "sentences", LENGTHS, []),
    ("gpt", "text", SINGLE, []),
    ("gpt2", "text", SINGLE, ["optimizer=muon", "optimizer.lr=0.01"]),
]
QUICK = [
    *["trainer.accelerator=cpu", "trainer.num_threads=1", "trainer.log_every_n_steps=1", "logger=[]"],
    *["scheduler=constant", "callbacks=[checkpoint,nan_guard]"],
]
# nanoGPT's size for a CPU.
SPEED = [
    *["model=gpt", "data=text_file", "data.path=text.txt", "data.block_size=64", "data.batch_size=12"],
    *["trainer.num_threads=1", "trainer.accelerator=cpu", "trainer.limit_val_batches=1"],
    *["trainer.limit_test_batches=1", "optimizer.lr=1e-3", "scheduler=constant", "trainer.devices=2"],
]
# Bytes of a file that is written to see how fast that is.
_FILE = 2**27


def families(steps: int) -> float:
    """Train every family with one, two and three processes, print a table, and return the largest difference."""
    worst = 0.0
    print(f"largest relative difference of {steps} training losses, the validation's and the test's metrics")
    print(f"{'model':20}{'data':10}{'sampler':24}{'1 and 2':>9}{'1 and 3':>9}")
    for number, (model, kind, sampler, more) in enumerate(CASES):
        words = [f"model={model}", *samples.words(kind), *samples.small(model), *QUICK, *more]
        words += [f"trainer.max_steps={steps}"]
        if "dropout" in samples.catalog.read("model", model):
            words.append("model.dropout=0")
        rows = [history(number, size, words) for size in (1, 2, 3)]
        found = [difference(rows[0], other) for other in rows[1:]]
        worst = max(worst, *found)
        print(f"{model:20}{kind:10}{sampler:24}{found[0]:9.1e}{found[1]:9.1e}", flush=True)
    print(f"largest: {worst:.1e}; left out: cnn with its batch norm")
    return worst


def history(number: int, size: int, words: list[str]) -> list[dict[str, Any]]:
    """Train in several processes and return what was logged."""
    name = f"{number}-{size}"
    ended = together.run(size, ["train", *words, f"trainer.devices={size}", f"name={name}"])
    if any(one.code for one in ended):
        raise SystemExit("\n".join(one.said for one in ended))
    lines = Path("outputs", name, "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def difference(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> float:
    """Return the largest relative difference of two logs; infinite if they hold different things."""
    if [row.keys() for row in rows] != [other.keys() for other in others]:
        return math.inf
    pairs = [
        (value, other[name]) for row, other in zip(rows, others, strict=True) for name, value in row.items()
    ]
    numbers = [(one, other) for one, other in pairs if not isinstance(one, str)]
    return max(
        abs(one - other) / max(abs(one), 1e-9) for one, other in numbers if one != other or one == other
    )


def in_processes(size: int, target: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in processes as torchrun starts them, copies of this one; return what the first returns."""
    context, port = multiprocessing.get_context("fork"), together.free_port()
    answers = context.SimpleQueue()

    def run(rank: int) -> None:
        os.environ.update({name: str(value) for name, value in together.torchrun(rank, size, port).items()})
        torch.set_num_threads(1)
        answer = target(*arguments)
        if rank == 0:
            answers.put(answer)

    started = [context.Process(target=run, args=(rank,)) for rank in range(size)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    if any(process.exitcode for process in started):
        raise SystemExit("a process has failed")
    return answers.get()


def speed(rounds: int, steps: int, words: list[str]) -> list[tuple[float, float]]:
    """Train in turns with nnkit and with the loop; return the samples a second of both in each round.

    The round before the first is not counted.
    """
    launched()
    write_text()
    distributed.barrier()
    found = []
    command = [*SPEED, *words, f"trainer.max_steps={steps}"]
    for number in range(-1, rounds):
        both = [lambda name=f"round{number}": ours(command, name), lambda: by_hand(command, steps)]
        turn = 1 if number % 2 else -1
        rates = [train() for train in both[::turn]][::turn]
        if number >= 0:
            found.append((rates[0], rates[1]))
            if distributed.get_rank() == 0:
                print(
                    f"round {number + 1}: nnkit {rates[0]:.1f}, torch DDP {rates[1]:.1f} samples/s",
                    flush=True,
                )
    return found


def write_text() -> None:
    """Write a text of as many characters as a few plays have, the same in both processes."""
    random = Random(0)
    words = ["".join(random.choices(ascii_lowercase, k=random.randint(1, 9))) for _ in range(2000)]
    if distributed.get_rank() == 0:
        Path("text.txt").write_text(" ".join(random.choices(words, k=100_000)), encoding="utf-8")


def ours(command: list[str], name: str) -> float:
    """Train with nnkit and return the samples a second."""
    run = nnkit.train([*command, f"name={name}"], show=False).run
    distributed.barrier()
    return float(json.loads((run.path / "timing.jsonl").read_text().splitlines()[0])["samples_per_second"])


def by_hand(command: list[str], steps: int) -> float:
    """Train with a plain loop around torch's DDP and return the samples a second, of both processes."""
    composition = nnkit.compose(command)
    data = prepare_data(composition.config)
    task = make_session(composition.config, composition.choices, data).task
    batches = list(islice(data.train_dataloader(), steps))
    # Each process has half of every batch.
    assert sum(len(batch.indices) for batch in batches) * 2 == steps * composition.config.data.batch_size
    network = DistributedDataParallel(task.network)
    optimizer = task.make_optimizer(task.network)
    network.train()
    distributed.barrier()
    start = time.perf_counter()
    for batch in batches:
        loss = task.loss(network(batch.inputs).flatten(0, 1), batch.target.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return steps * composition.config.data.batch_size / (time.perf_counter() - start)


def joining() -> float:
    """Join, and return the seconds of it."""
    start = time.perf_counter()
    launched()
    return time.perf_counter() - start


def agreeing(times: int) -> float:
    """Return the least seconds in which all processes agree on four flags."""
    launched()
    least = math.inf
    for _ in range(times):
        start = time.perf_counter()
        collectives.most(0, 0, 0, 0)
        least = min(least, time.perf_counter() - start)
    return least


def figures(rounds: int) -> None:
    """Print single figures."""
    seconds = [in_processes(2, joining) for _ in range(rounds)]
    print(f"joining: {statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})")
    for size in (2, 4, 8):
        print(f"agreement of {size} processes: {in_processes(size, agreeing, 300) * 1e3:.2f} ms", flush=True)
    block, rates = os.urandom(_FILE), []
    for _ in range(rounds):
        start = time.perf_counter()
        atomic.write_atomic(Path("file"), block)
        atomic.sha256(block)
        rates.append(_FILE / (time.perf_counter() - start) / 1e6)
    print(f"a file written, flushed and hashed: {statistics.median(rates):.0f} MB/s")


def main() -> int:
    """Print the tables; 1 if losses differ by more than rounding."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["families", "speed", "figures"], help="one part alone")
    parser.add_argument("--steps", type=int, default=5, help="of each family")
    parser.add_argument("--rounds", type=int, default=9, help="of the comparison of speeds")
    parser.add_argument("--round-steps", type=int, default=300, help="steps of a round")
    parser.add_argument("words", nargs="*", help="more words for nnkit in the comparison of speeds")
    given = parser.parse_args()
    torch.set_num_threads(1)
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        if given.only in (None, "families"):
            worst = families(given.steps)
        if given.only in (None, "speed"):
            rates = in_processes(2, speed, given.rounds, given.round_steps, given.words)
            ratios = [mine / bare for mine, bare in rates]
            spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
            print(f"nnkit / torch DDP: {statistics.median(ratios):.3f} ({spread})")
        if given.only in (None, "figures"):
            figures(given.rounds)
    return int(worst > 1e-6)


if __name__ == "__main__":
    sys.exit(main())
